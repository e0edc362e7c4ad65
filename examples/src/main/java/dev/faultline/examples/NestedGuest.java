package dev.faultline.examples;

import dev.faultline.ffm.Errno;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.PageResponseLayout;
import dev.faultline.iommu.Access;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.iommufd.DeviceObject;
import dev.faultline.iommu.iommufd.EngineDriver;
import dev.faultline.iommu.iommufd.ErrnoException;
import dev.faultline.iommu.iommufd.SystemCalls;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.Result;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * A guest with an IOMMU of its own, on {@code /dev/iommu}: its manager maps the guest's memory as a second stage, the guest keeps a first
 * stage in that memory. A device of the guest's meets a page that is not there; the manager hands the fault to the guest under the id the
 * guest knows the device by; the guest mends its table, answers, and the device goes on. Then the guest takes the page away and has the
 * device forget it, by the same id.
 *
 * <p>Threads: one. Units: bytes.
 */
public final class NestedGuest implements AutoCloseable {
    private static final int PAGE = 4096;
    private static final int GUEST_PAGES = 64;

    /** Where the manager has the guest's memory, and a page of its own. */
    private static final long GUEST_AT = 0x1_0000_0000L;

    private static final long SCRATCH_AT = 0x2_0000_0000L;
    private static final long DATA_AT = SCRATCH_AT + 1024;

    /** What the guest calls its network card. */
    private static final int CARD = 0x99;

    private static final int IOAS_ALLOC = 0x3b81;
    private static final int IOAS_MAP = 0x3b85;
    private static final int HWPT_ALLOC = 0x3b89;
    private static final int HWPT_INVALIDATE = 0x3b8d;
    private static final int FAULT_QUEUE_ALLOC = 0x3b8e;
    private static final int VIOMMU_ALLOC = 0x3b90;
    private static final int VDEVICE_ALLOC = 0x3b91;
    private static final int VEVENTQ_ALLOC = 0x3b93;

    private static final int FIXED_READ_WRITE = 7;
    private static final int NEST_PARENT = 1;
    private static final int FAULT_ID_VALID = 4;
    private static final int ADDRESS_BITS = 48;

    /** An invalidation of the engine's vIOMMU, and an event of it. */
    private static final int ENTRY_BYTES = 32;

    private static final int EVENT_BYTES = 8 + 32;

    private final Arena arena = Arena.ofConfined();
    private final MemorySegment guestMemory = arena.allocate((long) GUEST_PAGES * PAGE, PAGE);
    private final MemorySegment scratch = arena.allocate(PAGE, PAGE);
    private final UserMemory memory = new UserMemory();
    private final EngineDriver driver = EngineDriver.open(IommuConfig.small());
    private final SystemCalls calls = SystemCalls.open(memory, driver);
    private final int iommu;
    private final Guest guest = new Guest(guestMemory);
    private final Device card;

    private final DeviceObject bound;
    private final int parent;
    private final int viommu;
    private final int faults;
    private final int events;

    /** Which of the guest's devices a fault record names. */
    private final Map<Integer, Integer> virtualIds;

    private int handled;

    NestedGuest() throws ErrnoException {
        memory.map(GUEST_AT, guestMemory, true);
        memory.map(SCRATCH_AT, scratch, true);
        iommu = calls.open(SystemCalls.DEVICE, 2);
        var device = driver.device(DeviceConfig.pri("card"));
        card = device.device();
        bound = device.bind(calls, iommu);
        virtualIds = Map.of(bound.id(), CARD);

        call(IOAS_ALLOC, 12, 0, 0);
        int ioas = word(2);
        call(IOAS_MAP, 40, FIXED_READ_WRITE, ioas, 0, low(GUEST_AT), high(GUEST_AT), GUEST_PAGES * PAGE, 0, 0, 0);
        call(HWPT_ALLOC, 48, NEST_PARENT, bound.id(), ioas, 0, 0, 0, 0, 0, 0, 0, 0);
        parent = word(4);
        call(VIOMMU_ALLOC, 40, 0, EngineDriver.VIOMMU_TYPE, bound.id(), parent, 0, 0, 0, 0, 0);
        viommu = word(5);
        call(VDEVICE_ALLOC, 24, viommu, bound.id(), 0, CARD, 0);
        call(FAULT_QUEUE_ALLOC, 16, 0, 0, 0);
        int faultQueue = word(2);
        faults = word(3);
        call(VEVENTQ_ALLOC, 32, 0, viommu, EngineDriver.VIOMMU_TYPE, 16, 0, 0, 0);
        events = word(6);
        bound.attach(0, nested(FAULT_ID_VALID, faultQueue));
    }

    /** A page table of the guest's: VT-d's data says where its root is. */
    private int nested(int flags, int faultQueue) {
        MemorySegment data = scratch.asSlice(DATA_AT - SCRATCH_AT, 24).fill((byte) 0);
        data.set(ValueLayout.JAVA_LONG, 8, Guest.ROOT);
        data.set(ValueLayout.JAVA_INT, 16, ADDRESS_BITS);
        int type = EngineDriver.VTD_S1;
        call(HWPT_ALLOC, 48, flags, bound.id(), viommu, 0, 0, type, 24, low(DATA_AT), high(DATA_AT), faultQueue, 0);
        return word(4);
    }

    @Override
    public void close() {
        bound.detachAll();
        bound.unbind();
        calls.close();
        driver.close();
        arena.close();
    }

    // ---- system calls ----

    private static int low(long value) {
        return (int) value;
    }

    private static int high(long value) {
        return (int) (value >>> Integer.SIZE);
    }

    private int tryCall(int request, int... words) {
        MemorySegment.copy(words, 0, scratch, ValueLayout.JAVA_INT, 0, words.length);
        return calls.ioctl(iommu, request, SCRATCH_AT);
    }

    private void call(int request, int... words) {
        int result = tryCall(request, words);
        if (result != 0) {
            throw new IllegalStateException("ioctl 0x" + Integer.toHexString(request) + ": " + Errno.name(-result));
        }
    }

    private int word(int index) {
        return scratch.get(ValueLayout.JAVA_INT, (long) index * Integer.BYTES);
    }

    // ---- the guest ----

    /** What runs in the guest: its memory, the page table it keeps there, and its driver for the card. */
    private static final class Guest {
        static final long ROOT = PAGE;

        private static final int LEVELS = 4;
        private static final int PRESENT_WRITABLE_USER = 7;
        private static final long FRAME = 0x000f_ffff_ffff_f000L;

        private final MemorySegment memory;
        private long nextFree = ROOT + PAGE;

        Guest(MemorySegment memory) {
            this.memory = memory;
        }

        private long newPage() {
            long page = nextFree;
            nextFree += PAGE;
            var _ = memory.asSlice(page, PAGE).fill((byte) 0);
            return page;
        }

        /** Where the last entry for an address is; tables on the way are made. */
        private long entry(long address) {
            long table = ROOT;
            for (int level = LEVELS; level > 1; level--) {
                long at = table + index(address, level) * Long.BYTES;
                long entry = memory.get(ValueLayout.JAVA_LONG, at);
                if (entry == 0) {
                    entry = newPage() | PRESENT_WRITABLE_USER;
                    memory.set(ValueLayout.JAVA_LONG, at, entry);
                }
                table = entry & FRAME;
            }
            return table + index(address, 1) * Long.BYTES;
        }

        private static long index(long address, int level) {
            return address >>> (12 + 9 * (level - 1)) & 511;
        }

        /** The page at an address, or 0. */
        long page(long address) {
            return memory.get(ValueLayout.JAVA_LONG, entry(address)) & FRAME;
        }

        /** Brings a page for the card; anybody else's fault is none of this guest's. */
        boolean fault(int device, long address) {
            if (device != CARD) {
                return false;
            }
            memory.set(ValueLayout.JAVA_LONG, entry(address), newPage() | PRESENT_WRITABLE_USER);
            return true;
        }

        void unmap(long address) {
            memory.set(ValueLayout.JAVA_LONG, entry(address), 0);
        }
    }

    // ---- the manager ----

    /** Hands the faults that wait to the guest, and its answers back. */
    private boolean handleFaults() {
        long got = calls.read(faults, SCRATCH_AT, PAGE / PageFaultLayout.SIZE * PageFaultLayout.SIZE);
        for (long at = 0; at < got; at += PageFaultLayout.SIZE) {
            int device = scratch.get(ValueLayout.JAVA_INT, at + PageFaultLayout.DEVICE_OFFSET);
            long address = scratch.get(ValueLayout.JAVA_LONG, at + PageFaultLayout.ADDRESS_OFFSET);
            int cookie = scratch.get(ValueLayout.JAVA_INT, at + PageFaultLayout.COOKIE_OFFSET);
            boolean brought = guest.fault(virtualIds.getOrDefault(device, -1), address);
            scratch.set(ValueLayout.JAVA_INT, DATA_AT - SCRATCH_AT, cookie);
            scratch.set(
                    ValueLayout.JAVA_INT,
                    DATA_AT - SCRATCH_AT + PageResponseLayout.CODE_OFFSET,
                    brought ? PageResponseLayout.CODE_SUCCESS : PageResponseLayout.CODE_INVALID);
            if (calls.write(faults, DATA_AT, PageResponseLayout.SIZE) != PageResponseLayout.SIZE) {
                throw new IllegalStateException("cookie " + cookie + " was refused");
            }
            handled++;
        }
        return got > 0;
    }

    /** What the guest's IOMMU was told to forget, with the guest's id for the device. */
    private int invalidate(int virtualId, long address) {
        MemorySegment entry = scratch.asSlice(DATA_AT - SCRATCH_AT, ENTRY_BYTES).fill((byte) 0);
        entry.set(ValueLayout.JAVA_LONG, 8, virtualId);
        entry.set(ValueLayout.JAVA_LONG, 16, address);
        entry.set(ValueLayout.JAVA_LONG, 24, 1);
        int type = EngineDriver.VIOMMU_TYPE;
        return tryCall(HWPT_INVALIDATE, 32, viommu, low(DATA_AT), high(DATA_AT), type, ENTRY_BYTES, 1, 0);
    }

    /** An access of the card, with everything that has to happen until it ends. */
    private AccessResult access(Access access, long address, MemorySegment buffer) {
        int bytes = (int) buffer.byteSize();
        if (card.start(access, address, buffer, 0, bytes, FaultProducer.NO_PASID, 1) != Result.OK) {
            throw new IllegalStateException("the card is busy");
        }
        AccessResult[] ended = new AccessResult[1];
        while (card.poll((tag, result) -> ended[0] = result) == 0) {
            if (!card.step() && !handleFaults()) {
                boolean _ = card.await(1_000_000);
            }
        }
        return ended[0];
    }

    /** The whole story; what happened, a line each. */
    String run() throws ErrnoException {
        StringBuilder told = new StringBuilder();
        long address = 0x7000_1000L;
        if (!card.enter()) {
            throw new IllegalStateException("somebody else has entered the card");
        }
        try {
            byte[] hello = "hello from the card".getBytes(StandardCharsets.US_ASCII);
            AccessResult written = access(Access.WRITE, address, MemorySegment.ofArray(hello));
            byte[] there =
                    guestMemory.asSlice(guest.page(address), hello.length).toArray(ValueLayout.JAVA_BYTE);
            told.append("write: ")
                    .append(written)
                    .append(" after ")
                    .append(handled)
                    .append(" fault, the guest's page 0x");
            told.append(Long.toHexString(guest.page(address))).append(" holds \"");
            told.append(new String(there, StandardCharsets.US_ASCII)).append("\"\n");

            guest.unmap(address);
            int foreign = invalidate(0x9, address);
            told.append("invalidate by another's id: ")
                    .append(Errno.name(-foreign))
                    .append(", ");
            told.append(word(6)).append(" done\n");
            told.append("invalidate by its own id: ")
                    .append(invalidate(CARD, address))
                    .append(", ");
            told.append(word(6)).append(" done\n");
            byte[] read = new byte[hello.length];
            AccessResult again = access(Access.READ, address, MemorySegment.ofArray(read));
            told.append("read: ")
                    .append(again)
                    .append(" after ")
                    .append(handled)
                    .append(" faults, ");
            told.append(read[0] == 0 ? "zeros of a new page\n" : "the old page\n");

            bound.replace(0, nested(0, 0));
            AccessResult refused = access(Access.READ, 0xdead_0000L, MemorySegment.ofArray(read));
            long event = calls.read(events, SCRATCH_AT, EVENT_BYTES);
            told.append("without fault queue: ")
                    .append(refused)
                    .append(", event of ")
                    .append(event)
                    .append(" bytes: device 0x");
            told.append(Integer.toHexString(word(4))).append(", address 0x").append(Integer.toHexString(word(6)));
            return told.append('\n').toString();
        } finally {
            card.leave();
        }
    }

    /**
     * Runs the guest to the end and says what happened.
     *
     * @param args none
     * @throws ErrnoException never, unless the emulated kernel refuses what this program does
     */
    public static void main(String[] args) throws ErrnoException {
        try (NestedGuest guest = new NestedGuest()) {
            System.out.print(guest.run());
        }
    }
}
