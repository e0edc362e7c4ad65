package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.faultline.iommu.iommufd.mock.MockDriver;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A program under test, over the self-tests' mock unless it says otherwise: its memory, and the commands it gives, word by word. */
final class Program implements AutoCloseable {
    static final int NEST_PARENT = 1;
    static final int FAULT_ID_VALID = 4;
    static final int PASID = 8;

    static final int DEVICE_PASID = 4;

    static final int DATA_TYPE = 0xdead;
    static final int VIOMMU_TYPE = 0xdeadbeef;
    static final int EVENT_TYPE = 0xbeefbeef;
    static final int IOTLB_VALID = 0xbadbeef;
    static final int CACHE_VALID = 0xbaddad;

    /** What a program reads into and writes from. */
    static final long ARENA = 0x1_0000_0000L;

    static final int ARENA_BYTES = 64 << 10;

    /** Where the structures are. */
    private static final long STRUCT = 0x2_0000_0000L;

    /** What the nested page tables are made from. */
    private static final long NESTED_DATA = 0x2_0000_0800L;

    private static final int TEST_BYTES = 72;

    /** A device: what replaces its page table, what names it in faults, and the page table it came with. */
    record Device(int mock, int id, int table) {}

    private final Arena life = Arena.ofShared();
    final MemorySegment arena = life.allocate(ARENA_BYTES, 4096);
    private final MemorySegment struct = MemorySegment.ofArray(new long[4096 / Long.BYTES]);
    final UserMemory memory = new UserMemory();
    private final Driver driver;
    final SystemCalls calls;
    final int fd;

    Program() {
        this(MockDriver.open());
    }

    /** Closes the driver, too. */
    Program(Driver driver) {
        this.driver = driver;
        calls = SystemCalls.open(memory, driver);
        memory.map(ARENA, arena, true);
        memory.map(STRUCT, struct, true);
        fd = calls.open(SystemCalls.DEVICE, 2);
    }

    @Override
    public void close() {
        calls.close();
        driver.close();
        life.close();
    }

    /** Gives a command, whose structure is these words; its size is their number unless the first says otherwise. */
    int ioctl(int request, int... words) {
        MemorySegment.copy(words, 0, struct, ValueLayout.JAVA_INT, 0, words.length);
        if (words[0] == 0) {
            struct.set(ValueLayout.JAVA_INT, 0, words.length * Integer.BYTES);
        }
        return calls.ioctl(fd, request, STRUCT);
    }

    /** A word of the structure, as the command left it. */
    int word(int index) {
        return struct.get(ValueLayout.JAVA_INT, (long) index * Integer.BYTES);
    }

    /** A word of the arena. */
    int read(int index) {
        return arena.get(ValueLayout.JAVA_INT, (long) index * Integer.BYTES);
    }

    void write(int index, int... words) {
        MemorySegment.copy(words, 0, arena, ValueLayout.JAVA_INT, (long) index * Integer.BYTES, words.length);
    }

    int made(int result, int at) {
        assertEquals(0, result);
        return word(at);
    }

    static int low(long value) {
        return (int) value;
    }

    static int high(long value) {
        return (int) (value >>> Integer.SIZE);
    }

    // ---- objects ----

    int destroy(int id) {
        return ioctl(0x3b80, 0, id);
    }

    int ioas() {
        return made(ioctl(0x3b81, 0, 0, 0), 2);
    }

    int map(int ioas, long at, long iova, long bytes) {
        return ioctl(0x3b85, 0, 7, ioas, 0, low(at), high(at), low(bytes), high(bytes), low(iova), high(iova));
    }

    int unmap(int ioas, long iova, long bytes) {
        return ioctl(0x3b86, 0, ioas, low(iova), high(iova), low(bytes), high(bytes));
    }

    Device device(int ioas, int flags) {
        assertEquals(0, test(12, ioas, 0, 0, 0, flags));
        return new Device(word(4), word(6), word(5));
    }

    /** A paging table, or a nested one of the mock; the result. */
    int allocTable(int flags, int device, int over, int fault, boolean nested) {
        return nested
                ? allocNested(flags, device, over, fault, DATA_TYPE, IOTLB_VALID, 0)
                : ioctl(0x3b89, 0, flags, device, over, 0, 0, 0, 0, 0, 0, fault, 0);
    }

    /** A nested table made from these words; the result. */
    int allocNested(int flags, int device, int over, int fault, int type, int... data) {
        MemorySegment.copy(data, 0, struct, ValueLayout.JAVA_INT, NESTED_DATA - STRUCT, data.length);
        int bytes = data.length * Integer.BYTES;
        return ioctl(0x3b89, 0, flags, device, over, 0, 0, type, bytes, low(NESTED_DATA), high(NESTED_DATA), fault, 0);
    }

    /** Like {@link #table}, of any device. */
    int table(int flags, int device, int ioas, int fault) {
        return made(allocTable(flags, device, ioas, fault, false), 4);
    }

    int table(int flags, Device device, int ioas) {
        return made(allocTable(flags, device.id, ioas, 0, false), 4);
    }

    int nested(int flags, Device device, int over, int fault) {
        return made(allocTable(flags, device.id, over, fault, true), 4);
    }

    int allocViommu(int flags, int type, int device, int parent) {
        return ioctl(0x3b90, 0, flags, type, device, parent, 0, 0, 0, 0, 0);
    }

    int viommu(Device device, int parent) {
        return made(allocViommu(0, VIOMMU_TYPE, device.id, parent), 5);
    }

    int allocVdevice(int viommu, int device, long virtualId) {
        return ioctl(0x3b91, 0, viommu, device, 0, low(virtualId), high(virtualId));
    }

    int vdevice(int viommu, Device device, long virtualId) {
        return made(allocVdevice(viommu, device.id, virtualId), 3);
    }

    int allocEvents(int flags, int viommu, int type, int depth, int reserved) {
        return ioctl(0x3b93, 0, flags, viommu, type, depth, 0, 0, reserved);
    }

    /** A vEVENTQ: its id, then its descriptor. */
    int[] events(int viommu, int depth) {
        assertEquals(0, allocEvents(0, viommu, EVENT_TYPE, depth, 0));
        return new int[] {word(5), word(6)};
    }

    int allocHwQueue(int viommu, int type, int index, long iova, long bytes) {
        return ioctl(0x3b94, 0, 0, viommu, type, index, 0, low(iova), high(iova), low(bytes), high(bytes));
    }

    /** A fault queue: its id, then its descriptor. */
    int[] faults() {
        assertEquals(0, ioctl(0x3b8e, 0, 0, 0, 0));
        return new int[] {word(2), word(3)};
    }

    /** Invalidates by an array that lies at the arena's beginning. */
    int invalidate(int id, int type, int entryBytes, int entries) {
        return ioctl(0x3b8d, 0, id, low(ARENA), high(ARENA), type, entryBytes, entries, 0);
    }

    /** How many the last invalidation says were done. */
    int done() {
        return word(6);
    }

    // ---- the test command ----

    int test(int operation, int id, int... words) {
        int[] all = new int[TEST_BYTES / Integer.BYTES];
        all[1] = operation;
        all[2] = id;
        System.arraycopy(words, 0, all, 4, words.length);
        return ioctl(0x3ba0, all);
    }

    int replace(Device device, int table) {
        return test(10, device.mock, table);
    }

    int fault(Device device, int pasid, int group, long address) {
        return test(15, 0, device.id, pasid, group, 3, low(address), high(address));
    }

    int event(Device device) {
        return test(17, 0, device.id);
    }

    /** Whether an entry of a nested table's IOTLB is still there. */
    boolean cached(int table, int entry) {
        return test(14, table, entry, IOTLB_VALID) == 0;
    }

    /** Whether an entry of a device's cache is still there. */
    boolean cached(Device device, int entry) {
        return test(16, device.id, entry, CACHE_VALID) == 0;
    }
}
