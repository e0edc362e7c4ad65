package dev.faultline.examples.conform;

import dev.faultline.examples.BadInput;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * The memory of the recorded program, at the same addresses: its arena, its read-only page, and a place for the structures, whose
 * addresses were not recorded.
 *
 * <p>Threads: one, but for {@link #user}. The replay itself reads and writes all of it.
 */
final class CallerMemory {
    /** Fills what a call has to leave as it is. */
    static final byte PATTERN = (byte) 0xa5;

    private static final int PAGE = 4096;
    private static final long MOST_BYTES = 1 << 28;

    /** Far from what recordings use, and below the end of the user's range. */
    private static final long STRUCTURES = 0x7000_0000_0000L;

    private static final int STRUCTURES_BYTES = 64 << 10;

    private record Part(long address, MemorySegment segment) {
        boolean has(long where) {
            return where >= address && where - address < segment.byteSize();
        }
    }

    private final UserMemory user = new UserMemory();
    private final Part arena;
    private final Part readOnly;
    private final Part structures;

    CallerMemory(RecordedLine header) throws BadInput {
        RecordedLine map = header.object("memory");
        long length = map.number("arena_len");
        if (length < 1 || length > MOST_BYTES) {
            throw map.bad("memory.arena_len", "is out of range: " + length, "1 to " + MOST_BYTES);
        }
        arena = part(map, "arena", length, true);
        readOnly = map.has("read_only_page") ? part(map, "read_only_page", PAGE, false) : arena;
        structures = new Part(STRUCTURES, MemorySegment.ofArray(new byte[STRUCTURES_BYTES]));
        user.map(STRUCTURES, structures.segment, true);
    }

    private Part part(RecordedLine map, String field, long length, boolean writable) throws BadInput {
        Part part = new Part(map.number(field), MemorySegment.ofArray(new byte[(int) length]));
        try {
            user.map(part.address, part.segment, writable);
        } catch (IllegalArgumentException e) {
            throw map.bad("memory." + field, "cannot be: " + e.getMessage(), "an address of a user, apart from others");
        }
        return part;
    }

    UserMemory user() {
        return user;
    }

    long arena() {
        return arena.address;
    }

    boolean isReadOnly(long address) {
        return readOnly != arena && readOnly.has(address);
    }

    private MemorySegment from(long address) {
        for (Part part : new Part[] {arena, readOnly, structures}) {
            if (part.has(address)) {
                return part.segment.asSlice(address - part.address);
            }
        }
        return MemorySegment.NULL;
    }

    /**
     * Writes as much as is there.
     *
     * @return how many bytes that is
     */
    int put(long address, byte[] bytes) {
        MemorySegment there = from(address);
        int length = (int) Math.min(bytes.length, there.byteSize());
        MemorySegment.copy(bytes, 0, there, ValueLayout.JAVA_BYTE, 0, length);
        return length;
    }

    void fill(long address, long length, byte value) {
        MemorySegment there = from(address);
        var _ = there.asSlice(0, Math.min(length, there.byteSize())).fill(value);
    }

    /** Reads as much as is there. */
    byte[] get(long address, long length) {
        MemorySegment there = from(address);
        return there.asSlice(0, Math.min(length, there.byteSize())).toArray(ValueLayout.JAVA_BYTE);
    }

    /** A place for a structure, with the pattern behind it. */
    long structure(byte[] bytes) {
        int room = (bytes.length + 2 * PAGE - 1) / PAGE * PAGE;
        fill(STRUCTURES, Math.max(room, PAGE), PATTERN);
        put(STRUCTURES, bytes);
        return STRUCTURES;
    }

    /** A place for a structure that ends where the memory ends. */
    long structureAtTheEnd(byte[] bytes) {
        long address = STRUCTURES + STRUCTURES_BYTES - bytes.length;
        put(address, bytes);
        return address;
    }

    /** How many bytes behind a structure are not as {@link #structure} left them. */
    int scribbled(byte[] bytes) {
        int count = 0;
        for (byte b : get(STRUCTURES + bytes.length, 64)) {
            count += b == PATTERN ? 0 : 1;
        }
        return count;
    }
}
