package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.AreaResult;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.StreamEntry;
import dev.faultline.iommu.iommufd.smmuv3.Smmuv3;
import dev.faultline.iommu.iommufd.vtd.Vtd;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultHandler;
import dev.faultline.ring.FaultWorker;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.LongPredicate;
import java.util.function.ToLongFunction;

/**
 * A program on {@code /dev/iommu}, without its structures and numbers: address spaces, page tables, fault queues, devices and guests'
 * IOMMUs as objects. Each method is one command; what the kernel would refuse is refused, with the same error.
 *
 * <p>Threads: any; one command at a time. Ownership: each object is closed by who made it, or with this; as in the kernel, what something
 * else holds cannot be closed (EBUSY): an attachment before its page table, a nested table before its parent. Units: bytes. Errors: {@link
 * IommufdException}. Source: {@code include/uapi/linux/iommufd.h}, Linux 7.2.
 */
public final class Iommufd implements AutoCloseable {
    private static final int READ_WRITE_OPEN = 2;
    private static final int FIXED_IOVA = 1;
    private static final int WRITEABLE = 1 << 1;
    private static final int READABLE = 1 << 2;
    private static final int FAULT_ID_VALID = 1 << 2;
    private static final int PAGE = 4096;

    /** Memory that is mapped for devices comes to lie from here on in the program's. */
    private static final long FIRST_USER_ADDRESS = 0x10_0000_0000L;

    private final Driver driver;
    private final boolean ownsDriver;
    private final UserMemory memory = new UserMemory();
    private final SystemCalls calls;
    private final Scratch scratch = new Scratch(memory);
    private final int fd;
    private final List<Device> devices = new CopyOnWriteArrayList<>();
    private final Once closing = new Once();
    private long nextUserAddress = FIRST_USER_ADDRESS;

    private Iommufd(Driver driver, boolean ownsDriver) {
        this.driver = driver;
        this.ownsDriver = ownsDriver;
        this.calls = SystemCalls.open(memory, driver);
        this.fd = calls.open(SystemCalls.DEVICE, READ_WRITE_OPEN);
    }

    /**
     * Opens {@code /dev/iommu} with the engine's own devices behind it, 16 MiB of memory for page tables, and all other defaults of {@link
     * IommuConfig#small}.
     *
     * @return the program
     */
    public static Iommufd open() {
        return new Iommufd(EngineDriver.open(IommuConfig.small()), true);
    }

    /**
     * Opens {@code /dev/iommu}.
     *
     * @param driver what is behind it; stays the caller's
     * @return the program
     */
    public static Iommufd open(Driver driver) {
        return new Iommufd(driver, false);
    }

    /** How guests' IOMMUs are spoken to. */
    GuestFormat guests() {
        return driver instanceof EngineDriver engine ? engine.architecture().guests() : Vtd.GUESTS;
    }

    /**
     * The program's system calls, for what has no method here.
     *
     * @return the process
     */
    public SystemCalls calls() {
        return calls;
    }

    /**
     * The descriptor of {@code /dev/iommu}.
     *
     * @return for {@link #calls}
     */
    public int fd() {
        return fd;
    }

    /**
     * Makes an address space, with nothing mapped.
     *
     * @return the address space: the kernel's IOAS
     */
    public AddressSpace addressSpace() {
        return new AddressSpace(run(new Request("IOMMU_IOAS_ALLOC", 0x3b81, 12), answer -> answer.u32(8)));
    }

    /**
     * Makes a fault queue.
     *
     * @return the fault queue
     */
    public FaultQueue faultQueue() {
        long both = runLong(
                new Request("IOMMU_FAULT_QUEUE_ALLOC", 0x3b8e, 16),
                answer -> (long) answer.u32(12) << Integer.SIZE | answer.u32(8));
        return new FaultQueue((int) both, (int) (both >>> Integer.SIZE));
    }

    /**
     * Makes one of the engine's devices and gives it to this program.
     *
     * @param config how
     * @return the device, attached to nothing
     * @throws IllegalStateException if this was opened with another driver than an {@link EngineDriver}
     */
    public Device device(DeviceConfig config) {
        if (!(driver instanceof EngineDriver engine)) {
            throw new IllegalStateException("driver=" + driver.getClass().getSimpleName() + ": allowed EngineDriver");
        }
        return bind(engine.device(config));
    }

    /**
     * Gives a device to this program, as VFIO does.
     *
     * @param device of the driver this was opened with, bound to nobody
     * @return the device, attached to nothing
     */
    public Device bind(DriverDevice device) {
        Device bound = new Device(refusedAs("bind", () -> calls.context(fd).bind(device, true)));
        devices.add(bound);
        return bound;
    }

    /**
     * The program goes away: its devices are detached and given back, what is left is destroyed, and open groups are answered. Doing it
     * again does nothing.
     *
     * @throws IommufdException the first refusal of {@link Device#close}, once all devices were asked; what is left stays open, and this
     *     may be tried again
     */
    @Override
    public void close() {
        closing.run(() -> {
            closeDevices();
            calls.close();
            if (ownsDriver) {
                driver.close();
            }
        });
    }

    private void closeDevices() {
        IommufdException first = null;
        for (Device device : devices) {
            try {
                device.close();
            } catch (IommufdException e) {
                if (first == null) {
                    first = e;
                } else {
                    first.addSuppressed(e);
                }
            }
        }
        if (first != null) {
            throw first;
        }
    }

    // ---- commands ----

    private int run(Request request, ToLongFunction<Scratch> answer) {
        return (int) runLong(request, answer);
    }

    private synchronized long runLong(Request request, ToLongFunction<Scratch> answer) {
        request.writeTo(scratch);
        List<ErrnoException> refusals = new ArrayList<>(1);
        int result = calls.ioctl(fd, request.number(), Scratch.ADDRESS, refusals::add);
        if (result < 0) {
            ErrnoException why = refusals.isEmpty() ? new ErrnoException(-result) : refusals.getFirst();
            throw new IommufdException(
                    why.errno(), request.command(), why.field(), request.value(why.field()), why.allowed());
        }
        return answer.applyAsLong(scratch);
    }

    /** Reads from a descriptor. */
    synchronized byte[] read(int from, int most) {
        int got = (int) calls.read(from, Scratch.ADDRESS + Scratch.DATA, most);
        if (got < 0) {
            throw new IommufdException(-got, "read", "fd", Integer.toString(from), "a descriptor that can be read");
        }
        return scratch.data(got);
    }

    void destroy(int id) {
        int _ = run(new Request("IOMMU_DESTROY", 0x3b80, 8).u32("id", 4, id), answer -> 0);
    }

    /** What may be tried until it is done, and is done once. Threads: any; one tries at a time. */
    static final class Once {
        /** Written under this; who reads a stale false acts as if it had come earlier. */
        private volatile boolean done;

        synchronized void run(Runnable body) {
            if (!done) {
                body.run();
                done = true;
            }
        }

        boolean isDone() {
            return done;
        }
    }

    @FunctionalInterface
    private interface Refusable<T> {
        T run() throws ErrnoException;
    }

    private static <T> T refusedAs(String command, Refusable<T> body) {
        try {
            return body.run();
        } catch (ErrnoException e) {
            throw new IommufdException(e.errno(), command, e.field(), "", e.allowed());
        }
    }

    /** Something that may be refused. */
    @FunctionalInterface
    private interface RefusableAct {
        void run() throws ErrnoException;
    }

    private static void detach(RefusableAct body) {
        int _ = refusedAs("detach", () -> {
            body.run();
            return 0;
        });
    }

    // ---- objects ----

    /** What devices see as memory: the kernel's IOAS. */
    public final class AddressSpace implements AutoCloseable {
        private final int id;

        /** Where in the program's memory what is mapped lies, by address; under the program's lock. */
        private final Map<Long, Long> userAddresses = new HashMap<>();

        private final Once destroying = new Once();

        private AddressSpace(int id) {
            this.id = id;
        }

        /**
         * Its id.
         *
         * @return 1 or more
         */
        public int id() {
            return id;
        }

        /**
         * Maps memory, for reading and writing.
         *
         * @param address where devices see it
         * @param what for the engine's devices native memory, whole pages, open until it is unmapped
         */
        public void map(long address, MemorySegment what) {
            long _ = map(FIXED_IOVA | READABLE | WRITEABLE, address, what);
        }

        /**
         * Maps memory, for reading only.
         *
         * @param address where devices see it
         * @param what as for {@link #map(long, MemorySegment)}; a segment that is itself read-only can be mapped, but the engine's devices
         *     refuse it (EFAULT)
         */
        public void mapReadOnly(long address, MemorySegment what) {
            long _ = map(FIXED_IOVA | READABLE, address, what);
        }

        /**
         * Maps memory where there is room, for reading and writing.
         *
         * @param what for the engine's devices native memory, whole pages, open until it is unmapped
         * @return where devices see it
         */
        public long map(MemorySegment what) {
            return map(READABLE | WRITEABLE, 0, what);
        }

        private long map(int flags, long address, MemorySegment what) {
            synchronized (Iommufd.this) {
                long user = nextUserAddress;
                memory.map(user, what, (flags & WRITEABLE) != 0);
                nextUserAddress += (what.byteSize() + 2L * PAGE - 1) & -PAGE;
                try {
                    long at = runLong(
                            new Request("IOMMU_IOAS_MAP", 0x3b85, 40)
                                    .u32("flags", 4, flags)
                                    .u32("ioas_id", 8, id)
                                    .u64("user_va", 16, user)
                                    .u64("length", 24, what.byteSize())
                                    .u64("iova", 32, address),
                            answer -> answer.u64(32));
                    Long unmappedByCall = userAddresses.put(at, user);
                    if (unmappedByCall != null) {
                        memory.unmap(unmappedByCall);
                    }
                    return at;
                } catch (IommufdException e) {
                    memory.unmap(user);
                    throw e;
                }
            }
        }

        /**
         * Unmaps what was mapped in a range.
         *
         * @param address where the range begins
         * @param bytes how long it is, unsigned: what it cuts is refused, once what lies before was unmapped; -1 from address 0 on unmaps
         *     everything
         * @return how many bytes were unmapped
         */
        public long unmap(long address, long bytes) {
            synchronized (Iommufd.this) {
                try {
                    long unmapped = runLong(
                            new Request("IOMMU_IOAS_UNMAP", 0x3b86, 24)
                                    .u32("ioas_id", 4, id)
                                    .u64("iova", 8, address)
                                    .u64("length", 16, bytes),
                            answer -> answer.u64(16));
                    forget(at -> Long.compareUnsigned(at - address, bytes) < 0);
                    return unmapped;
                } catch (IommufdException e) {
                    forget(at -> !isMapped(at));
                    throw e;
                }
            }
        }

        /** Under the program's lock. */
        private void forget(LongPredicate isGone) {
            userAddresses.entrySet().removeIf(mapped -> {
                boolean gone = isGone.test(mapped.getKey());
                if (gone) {
                    memory.unmap(mapped.getValue());
                }
                return gone;
            });
        }

        private boolean isMapped(long address) {
            ObjectTable objects = refusedAs("unmap", () -> calls.context(fd).objects());
            Ioas ioas = objects.hold(id, Ioas.class);
            if (ioas == null) {
                return false;
            }
            try {
                return ioas.areas().copy(address, 1).result() != AreaResult.NOT_MAPPED;
            } finally {
                objects.letGo(ioas);
            }
        }

        /**
         * Begins a page table that shows what is mapped here.
         *
         * @param device what it is for
         * @return how it will be; {@link PageTableBuilder#make} makes it
         */
        public PageTableBuilder pageTable(Device device) {
            return new PageTableBuilder(device, id);
        }

        /** Destroys it, with what is mapped. Doing it again does nothing. */
        @Override
        public void close() {
            destroying.run(() -> {
                synchronized (Iommufd.this) {
                    destroy(id);
                    forget(at -> true);
                }
            });
        }

        @Override
        public String toString() {
            return "address space " + id;
        }
    }

    /** How a page table will be. What is not said is off. */
    public final class PageTableBuilder {
        private final Device device;
        private final int over;
        private int flags;
        private int faultId;
        private int dataType;
        private byte[] data = {};

        private PageTableBuilder(Device device, int over) {
            this.device = device;
            this.over = over;
        }

        /**
         * Page tables may be nested in it.
         *
         * @return this
         */
        public PageTableBuilder nestParent() {
            flags |= DriverDevice.NEST_PARENT;
            return this;
        }

        /**
         * It may be attached to PASIDs.
         *
         * @return this
         */
        public PageTableBuilder pasids() {
            flags |= DriverDevice.PASID;
            return this;
        }

        /**
         * What devices write to can be asked for.
         *
         * @return this
         */
        public PageTableBuilder dirtyTracking() {
            flags |= DriverDevice.DIRTY_TRACKING;
            return this;
        }

        /**
         * Faults of its devices go to a queue.
         *
         * @param queue which
         * @return this
         */
        public PageTableBuilder faults(FaultQueue queue) {
            flags |= FAULT_ID_VALID;
            faultId = queue.id;
            return this;
        }

        /**
         * It is a guest's first stage as VT-d describes it, with addresses of 48 bits.
         *
         * @param root where its root table is, as the parent's input
         * @return this
         */
        public PageTableBuilder firstStage(long root) {
            ByteBuffer vtd = ByteBuffer.allocate(24).order(ByteOrder.nativeOrder());
            return data(EngineDriver.VTD_S1, vtd.putLong(8, root).putInt(16, 48).array());
        }

        /**
         * It is what a guest's SMMUv3 says of a device. Through a guest's IOMMU, with a driver that is one.
         *
         * @param entry the guest's stream table entry
         * @return this
         */
        public PageTableBuilder streamEntry(StreamEntry entry) {
            ByteBuffer words = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN);
            return data(
                    Smmuv3.STREAM_ENTRY,
                    words.putLong(entry.first()).putLong(entry.second()).array());
        }

        /**
         * It is described by data of a type that its driver knows.
         *
         * @param type of the data
         * @param bytes the data, up to 2048 bytes
         * @return this
         */
        public PageTableBuilder data(int type, byte[] bytes) {
            dataType = type;
            data = bytes.clone();
            return this;
        }

        /**
         * Makes it.
         *
         * @return the page table: the kernel's HWPT
         */
        public PageTable make() {
            synchronized (Iommufd.this) {
                scratch.data(data);
                return new PageTable(run(
                        new Request("IOMMU_HWPT_ALLOC", 0x3b89, 48)
                                .u32("flags", 4, flags)
                                .u32("dev_id", 8, device.id())
                                .u32("pt_id", 12, over)
                                .u32("data_type", 24, dataType)
                                .u32("data_len", 28, data.length)
                                .u64("data_uptr", 32, data.length == 0 ? 0 : Scratch.ADDRESS + Scratch.DATA)
                                .u32("fault_id", 40, faultId),
                        answer -> answer.u32(16)));
            }
        }
    }

    /** What devices translate through: the kernel's HWPT. */
    public final class PageTable implements AutoCloseable {
        private final int id;
        private final Once destroying = new Once();

        private PageTable(int id) {
            this.id = id;
        }

        /**
         * Its id.
         *
         * @return 1 or more
         */
        public int id() {
            return id;
        }

        /**
         * Begins a page table of a guest's, nested in this one.
         *
         * @param device what it is for
         * @return how it will be
         */
        public PageTableBuilder nested(Device device) {
            return new PageTableBuilder(device, id);
        }

        /**
         * Makes a guest's IOMMU over this one.
         *
         * @param device which physical IOMMU it is on
         * @return the guest's IOMMU, of the type of the driver's architecture
         */
        public GuestIommu guestIommu(Device device) {
            return new GuestIommu(run(
                    new Request("IOMMU_VIOMMU_ALLOC", 0x3b90, 40)
                            .u32("type", 8, guests().type())
                            .u32("dev_id", 12, device.id())
                            .u32("hwpt_id", 16, id),
                    answer -> answer.u32(20)));
        }

        /** Destroys it. Doing it again does nothing. */
        @Override
        public void close() {
            destroying.run(() -> destroy(id));
        }

        @Override
        public String toString() {
            return "page table " + id;
        }
    }

    /** A guest's IOMMU: the kernel's vIOMMU. */
    public final class GuestIommu implements AutoCloseable {
        private final int id;
        private final Once destroying = new Once();

        /** By the ids that faults carry. */
        private final ConcurrentHashMap<Integer, Long> virtualIds = new ConcurrentHashMap<>();

        private GuestIommu(int id) {
            this.id = id;
        }

        /**
         * Its id.
         *
         * @return 1 or more
         */
        public int id() {
            return id;
        }

        /**
         * Says by which id the guest knows a device.
         *
         * @param device behind the same physical IOMMU
         * @param virtualId the guest's id
         * @return the guest's device, which is closed when the guest has it no more
         */
        public GuestDevice device(Device device, long virtualId) {
            int made = run(
                    new Request("IOMMU_VDEVICE_ALLOC", 0x3b91, 24)
                            .u32("viommu_id", 4, id)
                            .u32("dev_id", 8, device.id())
                            .u64("virt_id", 16, virtualId),
                    answer -> answer.u32(12));
            virtualIds.put(device.id(), virtualId);
            return new GuestDevice(this, made, device.id());
        }

        /**
         * By which id the guest knows the device that a fault names, for who hands the fault to the guest.
         *
         * @param deviceId {@link FaultGroup#device}
         * @return the guest's id; empty if the guest has no such device
         */
        public OptionalLong virtualId(int deviceId) {
            Long known = virtualIds.get(deviceId);
            return known == null ? OptionalLong.empty() : OptionalLong.of(known);
        }

        /**
         * Begins a page table of the guest's, nested through this.
         *
         * @param device what it is for
         * @return how it will be
         */
        public PageTableBuilder nested(Device device) {
            return new PageTableBuilder(device, id);
        }

        /**
         * Has a device forget what the guest changed in its page table.
         *
         * @param virtualId the guest's id of the device
         * @param address the first page, as the guest's table translates it: a multiple of 4096
         * @param bytes how far: a positive multiple of 4096
         * @throws IommufdException EIO if the guest has no such device
         */
        public void invalidate(long virtualId, long address, long bytes) {
            forget(guests().forget(virtualId, address, (bytes + PAGE - 1) / PAGE));
        }

        /**
         * Has a device forget everything it knows of the guest's page tables.
         *
         * @param virtualId the guest's id of the device
         * @throws IommufdException EIO if the guest has no such device
         */
        public void invalidateAll(long virtualId) {
            forget(guests().forgetAll(virtualId));
        }

        private void forget(byte[] entries) {
            Request request = new Request("IOMMU_HWPT_INVALIDATE", 0x3b8d, 32)
                    .u32("hwpt_id", 4, id)
                    .u64("data_uptr", 8, Scratch.ADDRESS + Scratch.DATA)
                    .u32("data_type", 16, guests().invalidationType())
                    .u32("entry_len", 20, guests().invalidationBytes())
                    .u32("entry_num", 24, entries.length / guests().invalidationBytes());
            synchronized (Iommufd.this) {
                scratch.data(entries);
                int _ = Iommufd.this.run(request, answer -> 0);
            }
        }

        /**
         * Makes a queue of events: of accesses of the guest's devices that end because an address is not translated.
         *
         * @param depth how many it keeps unread, 1 to 524288; further ones are lost, and that shows
         * @return the queue; one at a time
         */
        public GuestEvents events(int depth) {
            long both = runLong(
                    new Request("IOMMU_VEVENTQ_ALLOC", 0x3b93, 32)
                            .u32("viommu_id", 8, id)
                            .u32("type", 12, guests().type())
                            .u32("veventq_depth", 16, depth),
                    answer -> (long) answer.u32(24) << Integer.SIZE | answer.u32(20));
            return new GuestEvents(Iommufd.this, (int) both, (int) (both >>> Integer.SIZE));
        }

        /** Destroys it. Doing it again does nothing. */
        @Override
        public void close() {
            destroying.run(() -> destroy(id));
        }

        @Override
        public String toString() {
            return "guest's IOMMU " + id;
        }
    }

    /** A device as a guest knows it: the kernel's vDEVICE. */
    public final class GuestDevice implements AutoCloseable {
        private final GuestIommu guest;
        private final int id;
        private final int deviceId;
        private final Once destroying = new Once();

        private GuestDevice(GuestIommu guest, int id, int deviceId) {
            this.guest = guest;
            this.id = id;
            this.deviceId = deviceId;
        }

        /**
         * Its id among the program's objects, which is not the guest's.
         *
         * @return 1 or more
         */
        public int id() {
            return id;
        }

        /** The guest knows it no more. Doing it again does nothing. */
        @Override
        public void close() {
            destroying.run(() -> {
                destroy(id);
                guest.virtualIds.remove(deviceId);
            });
        }
    }

    /** Where faults go: the kernel's fault queue with its descriptor. It is read by the descriptor or by ring, not by both. */
    public final class FaultQueue implements AutoCloseable {
        private final int id;
        private final int faultFd;
        private final Once closing = new Once();
        private final Once destroying = new Once();

        private FaultQueue(int id, int faultFd) {
            this.id = id;
            this.faultFd = faultFd;
        }

        /**
         * Its id.
         *
         * @return 1 or more
         */
        public int id() {
            return id;
        }

        /**
         * Its descriptor, for {@link #calls}.
         *
         * @return the number
         */
        public int fd() {
            return faultFd;
        }

        /**
         * Reads it by ring: as every other fault queue. Before a page table is made with it, and before its descriptor is used.
         *
         * @return the consumer, once
         * @throws IommufdException EBUSY if it is used already, EBADF if its descriptor is closed
         */
        public FaultConsumer consumer() {
            if (closing.isDone()) {
                throw new IommufdException(Errno.EBADF, "ring", "fd", Integer.toString(faultFd), "one that is open");
            }
            return refusedAs("ring", () -> calls.ring(faultFd));
        }

        /**
         * Has a handler answer its faults, on a thread of its own. Before a page table is made with it. In a fault, {@code device()} is the {@link Device#id} it is attached under.
         *
         * @param handler answers
         * @return the worker, closed before this
         */
        public FaultWorker run(FaultHandler handler) {
            return consumer().run(handler);
        }

        /**
         * Closes its descriptor and destroys it. Doing it again does nothing.
         *
         * @throws IommufdException EBUSY if a page table has it: its descriptor is closed, and destroying it may be tried again
         */
        @Override
        public void close() {
            closing.run(() -> {
                int _ = calls.close(faultFd);
            });
            destroying.run(() -> destroy(id));
        }

        @Override
        public String toString() {
            return "fault queue " + id;
        }
    }

    /** A device of the program's. */
    public final class Device implements AutoCloseable {
        private final DeviceObject bound;
        private final Once closing = new Once();

        private Device(DeviceObject bound) {
            this.bound = bound;
        }

        /**
         * Its id, which its faults carry.
         *
         * @return 1 or more
         */
        public int id() {
            return bound.id();
        }

        /**
         * The engine's device, to be stepped, read and written by.
         *
         * @return the device
         */
        public dev.faultline.iommu.Device engine() {
            return bound.device().device();
        }

        /**
         * Attaches the device as a whole.
         *
         * @param table to what
         * @return the attachment
         */
        public Attachment attach(PageTable table) {
            return attach(table, 0);
        }

        /**
         * Attaches one PASID.
         *
         * @param table to what
         * @param pasid 1 or more, or 0 for the device as a whole
         * @return the attachment
         */
        public Attachment attach(PageTable table, int pasid) {
            requireOpen();
            int _ = refusedAs("attach", () -> bound.attach(pasid, table.id));
            return new Attachment(bound, pasid);
        }

        /**
         * Attaches the device as a whole, through an automatic page table without fault queue.
         *
         * @param space what it will see
         * @return the attachment
         */
        public Attachment attach(AddressSpace space) {
            requireOpen();
            int _ = refusedAs("attach", () -> bound.attach(0, space.id));
            return new Attachment(bound, 0);
        }

        private void requireOpen() {
            if (closing.isDone()) {
                throw new IommufdException(
                        Errno.ENODEV, "attach", "device", Integer.toString(id()), "one that is not closed");
            }
        }

        /**
         * Detaches it and gives it back. Doing it again does nothing.
         *
         * @throws IommufdException EBUSY if a thread has entered it and does not step it within the limit: it may be tried again
         */
        @Override
        public void close() {
            closing.run(() -> {
                detach(bound::detachAll);
                bound.unbind();
                devices.remove(this);
            });
        }

        @Override
        public String toString() {
            return "device " + id();
        }
    }

    /** The fact that a device, or a PASID of it, translates through a page table. */
    public static final class Attachment implements AutoCloseable {
        private final DeviceObject bound;
        private final int pasid;
        private final Once ending = new Once();

        private Attachment(DeviceObject bound, int pasid) {
            this.bound = bound;
            this.pasid = pasid;
        }

        /**
         * Translates through another page table from now on, without a moment of none. Open groups are answered INVALID.
         *
         * @param table the other
         * @throws IommufdException EINVAL if this is ended
         */
        public void replace(PageTable table) {
            if (ending.isDone()) {
                throw new IommufdException(
                        Errno.EINVAL, "replace", "pasid", Integer.toString(pasid), "one that is attached");
            }
            int _ = refusedAs("replace", () -> bound.replace(pasid, table.id));
        }

        /**
         * Ends it. Open groups are answered INVALID. Doing it again does nothing.
         *
         * @throws IommufdException EBUSY if a thread has entered the device and does not step it within the limit: it may be tried again
         */
        @Override
        public void close() {
            ending.run(() -> detach(() -> bound.detach(pasid)));
        }
    }
}
