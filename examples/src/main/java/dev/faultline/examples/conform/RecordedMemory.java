package dev.faultline.examples.conform;

import dev.faultline.examples.BadInput;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/**
 * The lines of a recording that show memory. Where they say their direction, it is that; where not, they are what the command
 * before them wrote, if it is one that writes, and else what the next will read. What the memory held before such a command is
 * known, too.
 *
 * <p>Threads: one.
 */
final class RecordedMemory {
    private static final byte HW_INFO_BEFORE = (byte) 0xaa;
    private static final byte[] VIOMMU_DATA_BEFORE = {(byte) 0xef, (byte) 0xbe, 0, 0};
    private static final int VIOMMU_DATA_BYTES = 24;
    private static final byte[] NESTED_DATA = {(byte) 0xef, (byte) 0xbe, (byte) 0xad, 0xb, 0, 0, 0, 0};
    private static final int NESTED_DATA_TYPE = 0xdead;

    private final CallerMemory memory;
    private final boolean directionsGiven;

    RecordedMemory(CallerMemory memory, boolean directionsGiven) {
        this.memory = memory;
        this.directionsGiven = directionsGiven;
    }

    private static boolean isMemory(List<RecordedLine> lines, int index) throws BadInput {
        return index >= 0
                && index < lines.size()
                && lines.get(index).text("op", "").equals("memory");
    }

    private static int request(RecordedLine line) throws BadInput {
        return line.text("op", "").equals("ioctl")
                ? (int) line.number("request", Commands.number(line.text("name", "")))
                : 0;
    }

    /** Whether the line shows what the call before it left behind. */
    private boolean isOutput(List<RecordedLine> lines, int index) throws BadInput {
        RecordedLine line = lines.get(index);
        if (directionsGiven) {
            return line.text("dir", "in").equals("out");
        }
        int before = index > 0 ? request(lines.get(index - 1)) : 0;
        int after = 0;
        for (int i = index + 1; i < lines.size() && after == 0 && !lines.get(i).isHeader(); i++) {
            after = request(lines.get(i));
        }
        return switch (before) {
            case Commands.IOVA_RANGES, Commands.GET_HW_INFO, Commands.GET_DIRTY_BITMAP -> true;
            case Commands.VIOMMU_ALLOC -> line.has("arena") || after != Commands.HWPT_INVALIDATE;
            default -> false;
        };
    }

    private long address(RecordedLine line) throws BadInput {
        return line.number("at", memory.arena());
    }

    private static byte[] bytes(RecordedLine line) throws BadInput {
        return line.bytes(line.has("arena") ? "arena" : "bytes");
    }

    /** Puts memory in place, or compares it. */
    void line(List<RecordedLine> lines, int index, Comparison comparison) throws BadInput {
        RecordedLine line = lines.get(index);
        byte[] bytes = bytes(line);
        if (isOutput(lines, index)) {
            comparison.bytes("memory", bytes, memory.get(address(line), bytes.length));
        } else if (memory.put(address(line), bytes) < bytes.length) {
            throw line.bad("at", "is outside the caller's memory", "as many bytes as the header's memory has there");
        }
    }

    /** Makes memory what it was before a command, as far as the recording leaves that unsaid. */
    void before(List<RecordedLine> lines, int index, int request, byte[] struct) throws BadInput {
        if (directionsGiven) {
            return;
        }
        ByteBuffer in = ByteBuffer.wrap(struct).order(ByteOrder.LITTLE_ENDIAN);
        if (isMemory(lines, index + 1) && isOutput(lines, index + 1)) {
            RecordedLine after = lines.get(index + 1);
            memory.fill(
                    address(after), bytes(after).length, request == Commands.GET_HW_INFO ? HW_INFO_BEFORE : (byte) 0);
        }
        if (request == Commands.VIOMMU_ALLOC && struct.length >= 40 && in.getInt(24) != 0) {
            memory.fill(in.getLong(32), VIOMMU_DATA_BYTES, (byte) 0);
            memory.put(in.getLong(32), VIOMMU_DATA_BEFORE);
        }
        if (request == Commands.HWPT_INVALIDATE && lines.get(index).has("arg") && struct.length >= 28) {
            memory.fill(in.getLong(8), (long) in.getInt(20) * in.getInt(24), (byte) 0);
        }
        if (request == Commands.HWPT_ALLOC
                && struct.length >= 40
                && in.getInt(24) == NESTED_DATA_TYPE
                && in.getInt(28) != 0
                && !isMemory(lines, index - 1)) {
            memory.put(in.getLong(32), NESTED_DATA);
        }
    }
}
