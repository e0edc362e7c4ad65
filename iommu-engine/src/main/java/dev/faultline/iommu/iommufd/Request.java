package dev.faultline.iommu.iommufd;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A command as {@link Iommufd} makes it: its fields by name, so that a refusal can say what was in one.
 *
 * <p>Threads: the one that makes it.
 */
final class Request {
    private record Field(int at, int bytes, long value) {}

    private final String command;
    private final int number;
    private final int bytes;
    private final Map<String, Field> fields = new LinkedHashMap<>();

    /** What a field points to. */
    private byte[] data = {};

    private int pointerAt;

    Request(String command, int number, int bytes) {
        this.command = command;
        this.number = number;
        this.bytes = bytes;
        u32("size", 0, bytes);
    }

    Request u32(String field, int at, int value) {
        fields.put(field, new Field(at, Integer.BYTES, value));
        return this;
    }

    Request u64(String field, int at, long value) {
        fields.put(field, new Field(at, Long.BYTES, value));
        return this;
    }

    /** A field that points to data; null without data. */
    Request pointer(String field, int at, byte[] to) {
        data = to;
        pointerAt = at;
        return u64(field, at, 0);
    }

    String command() {
        return command;
    }

    int number() {
        return number;
    }

    /** Puts it where a program's structure is. */
    void writeTo(Scratch scratch) {
        scratch.clear(bytes);
        for (Field field : fields.values()) {
            if (field.bytes == Integer.BYTES) {
                scratch.put32(field.at, (int) field.value);
            } else {
                scratch.put64(field.at, field.value);
            }
        }
        if (data.length > 0) {
            scratch.data(data);
            scratch.put64(pointerAt, scratch.address() + Scratch.DATA);
        }
    }

    /** What a field holds, for people. */
    String value(String field) {
        Field found = fields.get(field);
        if (found == null) {
            return "";
        }
        return found.bytes == Integer.BYTES && Math.abs(found.value) < 1 << 16
                ? Long.toString(found.value)
                : "0x" + Long.toHexString(found.bytes == Integer.BYTES ? found.value & 0xffff_ffffL : found.value);
    }
}
