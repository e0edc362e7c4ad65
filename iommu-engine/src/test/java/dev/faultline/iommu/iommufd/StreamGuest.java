package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.faultline.iommu.Access;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.iommufd.smmuv3.Smmuv3;
import dev.faultline.iommu.iommufd.smmuv3.Trace;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.Result;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/**
 * A guest with an SMMUv3, and the program that runs it: pages of memory that are physical for the guest, in which its context descriptors
 * and tables lie. All its first stages have 39 bits, three levels.
 */
final class StreamGuest implements AutoCloseable {
    static final int PAGE = 4096;
    static final int PAGES = 256;
    static final int NO_PASID = FaultProducer.NO_PASID;

    static final long VALID = 1;
    static final long ABORT = VALID;
    static final long BYPASS = VALID | 4 << 1;
    static final long TRANSLATE = VALID | 5 << 1;
    static final long ATS = 1L << 28;

    static final long STALL = 1L << 44;
    static final long RECORD = 1L << 45;
    static final long USER = 1 << 6;
    static final long READ_ONLY = 1 << 7;

    private static final long ACCESSED = 1 << 10;
    private static final int T0SZ = 25;
    private static final long MEMORY = 0x3_0000_0000L;
    private static final long FIRST_IPA = 0x4000_0000L;

    /** What crossed the line between the SMMU and its driver. */
    final List<long[]> commands = new ArrayList<>();

    final List<long[]> events = new ArrayList<>();

    private final Arena life = Arena.ofShared();
    private final MemorySegment memory = life.allocate((long) PAGES * PAGE, PAGE);
    final EngineDriver driver = Smmuv3.open(IommuConfig.small(), new Trace() {
        @Override
        public void command(long first, long second) {
            commands.add(new long[] {first, second});
        }

        @Override
        public void event(long first, long second, long third, long fourth) {
            events.add(new long[] {first, second, third, fourth});
        }
    });
    final Program p = new Program(driver);
    final int ioas = p.ioas();
    final EngineDevice engine;
    final DeviceObject bound;
    final int parent;
    final int viommu;
    final int[] faults = p.faults();

    /** The page table its device is attached to, for who keeps one there; else 0. */
    int attached;

    StreamGuest(DeviceConfig config) throws ErrnoException {
        p.memory.map(MEMORY, memory, true);
        engine = driver.device(config);
        bound = engine.bind(p.calls, p.fd);
        parent = p.table(Program.NEST_PARENT, bound.id(), ioas, 0);
        viommu = p.made(p.allocViommu(0, Smmuv3.TYPE, bound.id(), parent), 5);
        assertEquals(0, p.map(ioas, MEMORY, FIRST_IPA, (long) PAGES * PAGE));
    }

    Device device() {
        return engine.device();
    }

    void knownAs(long virtualId) {
        assertEquals(0, p.allocVdevice(viommu, bound.id(), virtualId));
    }

    // ---- its memory ----

    static long ipa(int page) {
        return FIRST_IPA + (long) page * PAGE;
    }

    void put(int page, int index, long value) {
        memory.set(ValueLayout.JAVA_LONG, (long) page * PAGE + (long) index * Long.BYTES, value);
    }

    long get(int page, int index) {
        return memory.get(ValueLayout.JAVA_LONG, (long) page * PAGE + (long) index * Long.BYTES);
    }

    /** A context descriptor whose first stage is rooted in a page. */
    void context(int page, int index, int asid, int root, long more) {
        put(page, 8 * index + 1, ipa(root));
        put(
                page,
                8 * index,
                T0SZ | 1L << 30 | 1L << 31 | 5L << 32 | 1L << 41 | RECORD | 1L << 46 | (long) asid << 48 | more);
    }

    /** A first stage in three pages from its root on, of the first 2 MiB. */
    void tables(int root) {
        put(root, 0, ipa(root + 1) | 3);
        put(root + 1, 0, ipa(root + 2) | 3);
    }

    /** Maps one of these pages. */
    void map(int root, int at, int page, long rights) {
        put(root + 2, at, ipa(page) | 3 | ACCESSED | rights);
    }

    void unmap(int root, int at) {
        put(root + 2, at, 0);
    }

    // ---- its stream table entry ----

    int allocStream(int flags, int over, long first, long second) {
        return p.allocNested(
                flags,
                bound.id(),
                over,
                faults[0],
                Smmuv3.STREAM_ENTRY,
                Program.low(first),
                Program.high(first),
                Program.low(second),
                Program.high(second));
    }

    int stream(int flags, long first, long second) {
        return p.made(allocStream(flags, viommu, first, second), 4);
    }

    /** One that translates, by descriptors in a page. */
    static long translate(int page, int contextsLg2) {
        return TRANSLATE | ipa(page) | (long) contextsLg2 << 59;
    }

    // ---- what it commands and is told ----

    /** Gives commands of two words; they lie in the program's arena. */
    int invalidate(long... words) {
        MemorySegment.copy(words, 0, p.arena, ValueLayout.JAVA_LONG, 0, words.length);
        return p.invalidate(viommu, Smmuv3.TYPE, 16, words.length / 2);
    }

    int events(int depth) {
        assertEquals(0, p.allocEvents(0, viommu, Smmuv3.TYPE, depth, 0));
        return p.word(6);
    }

    /** The next event's four words, or none. */
    long[] event(int fd) {
        int got = (int) p.calls.read(fd, Program.ARENA, 40);
        if (got == 0) {
            return new long[0];
        }
        assertEquals(40, got);
        return p.arena.asSlice(8, 32).toArray(ValueLayout.JAVA_LONG);
    }

    /** The next group of one request: its eight words and the address's two, or none. */
    int[] group() {
        int got = (int) p.calls.read(faults[1], Program.ARENA, 40);
        assertEquals(got, got == 0 ? 0 : 40);
        return p.arena.asSlice(0, got).toArray(ValueLayout.JAVA_INT);
    }

    void answer(int cookie, int code) {
        p.write(0, cookie, code);
        assertEquals(8, p.calls.write(faults[1], Program.ARENA, 8));
    }

    // ---- its device ----

    /** An access of 8 bytes; what is to be done when it gets no further. */
    AccessResult access(Access access, long address, int pasid, long[] value, Runnable whenStuck) {
        boolean entered = device().enter();
        assertEquals(Result.OK, device().start(access, address, MemorySegment.ofArray(value), 0, Long.BYTES, pasid, 1));
        AccessResult[] ended = new AccessResult[1];
        while (device().poll((tag, result) -> ended[0] = result) == 0) {
            if (!device().step()) {
                whenStuck.run();
            }
        }
        if (entered) {
            device().leave();
        }
        return ended[0];
    }

    /** What is read, or how it ended as a negative number. */
    long read(long address, int pasid) {
        long[] value = new long[1];
        AccessResult result = access(Access.READ, address, pasid, value, () -> {
            throw new AssertionError("it waits");
        });
        return result == AccessResult.OK ? value[0] : -result.ordinal();
    }

    @Override
    public void close() throws ErrnoException {
        bound.detachAll();
        bound.unbind();
        p.close();
        life.close();
    }
}
