package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.iommufd.mock.MockDriver;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A process that makes random calls: half of them near to what a program would do, the rest with ids, flags, sizes and pointers
 * that are wrong in one place, or anywhere. The seed and the number of a call say which call it is.
 */
final class CallFuzzer implements AutoCloseable {
    private static final long ARENA = 0x1_0000_0000L;
    private static final int ARENA_BYTES = 65_536;
    private static final long END = ARENA + ARENA_BYTES;
    private static final long READ_ONLY = 0x1_0010_0000L;
    private static final long STRUCT = ARENA;
    private static final long BUFFER = ARENA + 0x1000;
    private static final long PAGES = ARENA + 0x4000;
    private static final long IOVA = 0x200_0000;
    private static final int MOST_DESCRIPTORS = 24;
    private static final int TEST = 0x3ba0;
    private static final int TRIGGER = 15;
    private static final int LAST = 2;

    /** Where a pointer may go wrong. */
    private static final long[] POINTERS = {
        0,
        8,
        READ_ONLY,
        END - 4,
        END - 8,
        END - 40,
        END,
        ARENA + 3,
        0x1_0020_0000L,
        0x7fff_ffff_f000L,
        0xffff_8880_0000_0000L,
        -1,
        -4096
    };

    private static final long[] LENGTHS = {
        0, 1, 0x800, 0x1000, 0x1001, 0x10000, 1L << 40, Long.MAX_VALUE, Long.MIN_VALUE, -1, -4096
    };
    private static final int[] WORDS = {0, 1, 2, 3, 4, 8, 16, 99, 0x7fff_ffff, 0x8000_0000, -1};

    /**
     * A command's words: i an id, z 0, f small flags, p a pointer, v an IOVA, l a length, n a small number, a PASID a, x anything,
     * and types by name.
     */
    private record Shape(int request, int op, int full, String words) {}

    private static final Shape[] SHAPES = {
        shape(0x3b80, 8, "i"),
        shape(0x3b81, 12, "z z"),
        shape(0x3b82, 24, "i n z P"),
        shape(0x3b83, 40, "m i i L V V"),
        shape(0x3b84, 32, "i n z P Z"),
        shape(0x3b85, 40, "m i z A L V"),
        shape(0x3b86, 24, "i V L"),
        shape(0x3b87, 24, "n n i N"),
        shape(0x3b89, 48, "f i i z z z z Z i z"),
        shape(0x3b89, 48, "f i i z z 0xdead 8 P i z"),
        shape(0x3b8a, 40, "b i 8 P z z Z"),
        shape(0x3b8b, 16, "b i z"),
        shape(0x3b8c, 48, "i b z V L S P"),
        shape(0x3b8d, 32, "i P 0xdeadbeef 8 n z"),
        shape(0x3b8d, 32, "i P 0xdeadbeef 12 n z"),
        shape(0x3b8e, 16, "z z z"),
        shape(0x3b8f, 40, "m i i V L V"),
        shape(0x3b90, 40, "z 0xdeadbeef i i z z z Z"),
        shape(0x3b90, 40, "z 0xdeadbeef i i z 24 z P"),
        shape(0x3b91, 24, "i i z N"),
        shape(0x3b92, 8, "z"),
        shape(0x3b93, 32, "z i 0xbeefbeef n z z z"),
        shape(0x3b94, 40, "z i 0xdeadbeef b z V L"),
        test(1, "i z V L"),
        test(2, "i z"),
        test(3, "i z V L A"),
        test(5, "i z z b"),
        test(6, "d z n"),
        test(7, "d z b z V L A"),
        test(8, "d z V L P b"),
        test(10, "i z i"),
        test(11, "d z i"),
        test(12, "i z z z z f"),
        test(13, "i z z z V L S P Z"),
        test(14, "i z n 0xbadbeef"),
        test(15, "z b i a n f V"),
        test(16, "i z n 0xbaddad"),
        test(17, "z z i"),
        test(18, "i z a i"),
        test(19, "i z a i"),
        test(20, "i z a"),
        test(21, "i z a i"),
    };

    private final long seed;
    private final SplittableRandom random;
    private final MemorySegment arena = MemorySegment.ofArray(new long[ARENA_BYTES / Long.BYTES]);
    private final UserMemory memory = new UserMemory();
    private final MockDriver driver = MockDriver.open();
    private SystemCalls calls;
    private long made;
    private long refused;
    private int answersWritten;

    /** Groups that were raised and not answered yet, by PASID and number. */
    private final Map<Long, Integer> open = new HashMap<>();

    private final long frames = driver.iommu().frames().freeCount();

    CallFuzzer(long seed) {
        this.seed = seed;
        random = new SplittableRandom(seed);
        memory.map(ARENA, arena, true);
        memory.map(READ_ONLY, MemorySegment.ofArray(new long[512]), false);
        calls = begin();
    }

    /** A process with a device whose faults go to a queue, so that much of what follows makes sense. */
    private SystemCalls begin() {
        SystemCalls begun = SystemCalls.open(memory, driver);
        assertEquals(3, begun.open(SystemCalls.DEVICE, 2));
        require(begun, 0x3b81, 12, 0, 0);
        require(begun, TEST, 72, 12, 1, 0, 0, 0, 0, 4);
        require(begun, 0x3b8e, 16, 0, 0, 0);
        require(begun, 0x3b89, 48, 9, 3, 1);
        putLong(BUFFER, 0xbadbeef);
        require(begun, 0x3b89, 48, 12, 3, 6, 0, 0, 0xdead, 8, (int) BUFFER, (int) (BUFFER >>> 32), 5);
        require(begun, TEST, 72, 10, 2, 0, 7);
        return begun;
    }

    private void require(SystemCalls begun, int request, int... words) {
        Arrays.fill((long[]) arena.heapBase().orElseThrow(), 0, 16, 0);
        for (int i = 0; i < words.length; i++) {
            put(STRUCT + 4L * i, words[i]);
        }
        assertEquals(0, begun.ioctl(3, request, STRUCT), () -> this + ": " + Arrays.toString(words));
    }

    private static Shape shape(int request, int full, String words) {
        return new Shape(request, 0, full, words);
    }

    private static Shape test(int op, String words) {
        return new Shape(TEST, op, 72, words);
    }

    /** Makes calls, each of which has to say something of sense; after so many the process goes away, and there is a new one. */
    void run(long count, long callsOfAProcess) {
        for (long i = 0; i < count; i++) {
            long result;
            try {
                result = one();
            } catch (RuntimeException | Error e) {
                throw new AssertionError(this + ": thrown", e);
            }
            made++;
            refused += result < 0 ? 1 : 0;
            assertTrue(result >= -4095, () -> this + ": " + result);
            if (made % callsOfAProcess == 0) {
                end();
                calls = begin();
            }
            if ((made & 0xff) == 0) {
                takeResponses();
            }
        }
    }

    /** The process goes away, and has left nothing. */
    private void end() {
        calls.close();
        takeResponses();
        assertEquals(Map.of(), open, () -> this + ": groups raised less groups answered, by PASID and number");
        assertEquals(frames, driver.iommu().frames().freeCount(), () -> this + ": frames");
    }

    /** What was told: of a group that was whole, its only answer; of a part, that nobody asked for it. */
    private void takeResponses() {
        for (MockDriver.Response told : driver.takeResponses()) {
            if ((told.flags() & LAST) != 0) {
                count(told.pasid(), told.group(), -1);
            }
        }
    }

    private void count(int pasid, int group, int by) {
        open.merge(((long) pasid << 32) ^ Integer.toUnsignedLong(group), by, (a, b) -> a + b == 0 ? null : a + b);
    }

    private long one() {
        int fd = random.nextInt(3, 3 + 12);
        return switch (random.nextInt(32)) {
            case 0 -> calls.open(SystemCalls.DEVICE, random.nextInt(4));
            case 1 -> random.nextInt(3) == 0 ? calls.close(fd) : calls.poll(fd, random.nextInt(0x8000), 0);
            case 2 -> random.nextInt(4) == 0 ? calls.dup(fd) : calls.lseek(fd, random.nextInt(5), random.nextInt(5));
            case 3 -> calls.fcntl(fd, random.nextInt(6), random.nextInt(30));
            case 4, 5, 6 -> calls.read(fd, buffer(), count(40));
            case 7, 8 -> write(fd);
            case 9 -> vectors(fd);
            case 10 -> random.nextInt(8) == 0 ? map(fd) : calls.pread(fd, buffer(), count(40), random.nextInt(3));
            default -> ioctl(random.nextInt(8) == 0 ? fd : 3);
        };
    }

    private long write(int fd) {
        int answers = random.nextInt(1, 5);
        for (int i = 0; i < answers; i++) {
            put(BUFFER + 8L * i, random.nextInt(8) == 0 ? word() : ++answersWritten % 12 + 1);
            put(BUFFER + 8L * i + 4, random.nextInt(12) == 0 ? word() : random.nextInt(2));
        }
        return calls.write(
                fd, random.nextInt(12) == 0 ? buffer() : BUFFER, random.nextInt(12) == 0 ? count(8) : 8L * answers);
    }

    private long vectors(int fd) {
        int segments = random.nextInt(5);
        for (int i = 0; i < segments; i++) {
            putLong(STRUCT + 16L * i, buffer());
            putLong(STRUCT + 16L * i + 8, count(40));
        }
        long at = random.nextInt(10) == 0 ? pointer() : STRUCT;
        int given = random.nextInt(20) == 0 ? word() : segments;
        return switch (random.nextInt(4)) {
            case 0 -> calls.writev(fd, at, given);
            case 1 -> calls.preadv(fd, at, given, random.nextInt(2));
            default -> calls.readv(fd, at, given);
        };
    }

    private long map(int fd) {
        long at = calls.mmap(
                fd, random.nextInt(4) * 4096L, random.nextInt(4) * 4096L, random.nextInt(4), random.nextInt(4));
        return at > 0 && random.nextBoolean() ? calls.munmap(at, 8192) : at;
    }

    private long ioctl(int fd) {
        Shape shape = SHAPES[random.nextInt(SHAPES.length)];
        Arrays.fill((long[]) arena.heapBase().orElseThrow(), 0, 16, 0);
        long at = STRUCT;
        put(at, shape.full);
        at += 4;
        if (shape.op != 0) {
            put(at, shape.op);
            at += 4;
        }
        Matcher words = WORD.matcher(shape.words);
        while (words.find()) {
            String word = words.group();
            boolean wide = Character.isUpperCase(word.charAt(0));
            if (wide) {
                at = (at + 7) & -8;
                putLong(at, wide(word.charAt(0)));
            } else {
                put(at, narrow(word));
            }
            at += wide ? 8 : 4;
        }
        if (shape.request == 0x3b8d || shape.op == 13 || shape.request == 0x3b82) {
            for (int i = 0; i < 12; i++) {
                put(BUFFER + 4L * i, random.nextInt(4));
            }
        }
        int request = shape.request;
        long argument = STRUCT;
        switch (random.nextInt(24)) {
            case 0 -> put(STRUCT + 4L * random.nextInt(shape.full / 4), word());
            case 1 -> putLong(STRUCT + 8L * random.nextInt(shape.full / 8), POINTERS[random.nextInt(POINTERS.length)]);
            case 2 -> put(STRUCT, shape.full + random.nextInt(-12, 12));
            case 3 -> argument = pointer();
            case 4 -> request = random.nextInt(4) == 0 ? request ^ (1 << random.nextInt(31)) : request;
            default -> {}
        }
        if (request == TEST && get(STRUCT + 4) == 9) {
            return 0; // a limit of the whole kernel's
        }
        long result = calls.ioctl(fd, request, argument);
        if (result == 0
                && request == TEST
                && get(STRUCT + 4) == TRIGGER
                && argument == STRUCT
                && (get(STRUCT + 12) & 1) == 0) {
            count(get(STRUCT + 20), get(STRUCT + 24), 1);
        }
        if (result > MOST_DESCRIPTORS) {
            // A buffer's descriptor.
            return calls.close((int) result);
        }
        if (result == 0 && argument == STRUCT) {
            int made = request == 0x3b8e
                    ? get(STRUCT + 12)
                    : request == 0x3b93
                            ? get(STRUCT + 24)
                            : request == TEST && get(STRUCT + 4) == 5 ? get(STRUCT + 16) : 0;
            return made > MOST_DESCRIPTORS ? calls.close(made) : 0;
        }
        return result;
    }

    private static final Pattern WORD = Pattern.compile("\\S+");

    private int narrow(String word) {
        return switch (word.charAt(0)) {
            case 'i' -> random.nextInt(16) == 0 ? word() : random.nextInt(1, random.nextBoolean() ? 8 : 24);
            case 'd' -> random.nextInt(3, 3 + 12);
            case 'm' -> random.nextInt(1, 8);
            case 'f' -> random.nextInt(16);
            case 'b' -> random.nextInt(2);
            case 'n' -> random.nextInt(4);
            case 'a' -> random.nextInt(8) == 0 ? new int[] {1024, 1 << 20, -1}[random.nextInt(3)] : random.nextInt(4);
            case 'z' -> 0;
            default ->
                Integer.decode(
                        word.startsWith("0x") ? "" + (int) Long.decode(word).longValue() : word);
        };
    }

    private long wide(char word) {
        return switch (word) {
            case 'P' -> random.nextInt(16) == 0 ? pointer() : BUFFER;
            case 'A' -> random.nextInt(24) == 0 ? pointer() : PAGES + 0x800L * random.nextInt(8);
            case 'V' -> random.nextInt(24) == 0 ? pointer() : IOVA + 0x800L * random.nextInt(24);
            case 'L' ->
                random.nextInt(24) == 0 ? LENGTHS[random.nextInt(LENGTHS.length - 5)] : 0x800L * random.nextInt(1, 6);
            case 'S' -> 0x800L << random.nextInt(3);
            case 'N' -> random.nextInt(4);
            default -> 0;
        };
    }

    private long buffer() {
        return random.nextInt(8) == 0 ? pointer() : BUFFER;
    }

    private long pointer() {
        return POINTERS[random.nextInt(POINTERS.length)];
    }

    private long count(int unit) {
        return random.nextInt(8) == 0 ? LENGTHS[random.nextInt(LENGTHS.length)] : (long) unit * random.nextInt(6);
    }

    private int word() {
        return WORDS[random.nextInt(WORDS.length)];
    }

    private void put(long at, int value) {
        arena.set(ValueLayout.JAVA_INT_UNALIGNED, at - ARENA, value);
    }

    private void putLong(long at, long value) {
        arena.set(ValueLayout.JAVA_LONG_UNALIGNED, at - ARENA, value);
    }

    private int get(long at) {
        return arena.get(ValueLayout.JAVA_INT_UNALIGNED, at - ARENA);
    }

    long refused() {
        return refused;
    }

    @Override
    public void close() {
        end();
        driver.close();
    }

    @Override
    public String toString() {
        return "seed " + seed + ", call " + made;
    }
}
