package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.iommufd.vtd.Vtd;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.ToLongFunction;

/**
 * A program on {@code /dev/iommu}, without its structures and numbers: address spaces, page tables, fault queues, devices and guests'
 * IOMMUs as objects. Each method is one command; what the kernel would refuse is refused, with the same error.
 *
 * <p>Threads: any, several commands at once; none holds up another but as the kernel's locks do, so that a handler on the thread that steps
 * a device may map and unmap, and make and destroy page tables, while another thread waits for that thread. Ownership: each object is closed by who made it, or with this; as in the kernel, what something
 * else holds cannot be closed (EBUSY): an attachment before its page table, a nested table before its parent. Units: bytes. Errors: {@link
 * IommufdException}. Source: {@code include/uapi/linux/iommufd.h}, Linux 7.2.
 */
public final class Iommufd implements AutoCloseable {
    private static final int READ_WRITE_OPEN = 2;
    private static final int PAGE = 4096;

    /** Memory that is mapped for devices comes to lie from here on in the program's. */
    private static final long FIRST_USER_ADDRESS = 0x10_0000_0000L;

    private final Driver driver;
    private final boolean ownsDriver;
    private final UserMemory memory = new UserMemory();
    private final SystemCalls calls;
    private final int fd;
    private final List<UserDevice> devices = new CopyOnWriteArrayList<>();
    private final Once closing = new Once();

    /** Where commands have their structures, one that is under way each. */
    private final Queue<Scratch> free = new ConcurrentLinkedQueue<>();

    private final AtomicLong nextScratch = new AtomicLong(Scratch.FIRST_ADDRESS);
    private final AtomicLong nextUserAddress = new AtomicLong(FIRST_USER_ADDRESS);

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
    public UserAddressSpace addressSpace() {
        return new UserAddressSpace(this, run(new Request("IOMMU_IOAS_ALLOC", 0x3b81, 12), answer -> answer.u32(8)));
    }

    /**
     * Makes a fault queue.
     *
     * @return the fault queue
     */
    public UserFaultQueue faultQueue() {
        long both = runLong(
                new Request("IOMMU_FAULT_QUEUE_ALLOC", 0x3b8e, 16),
                answer -> (long) answer.u32(12) << Integer.SIZE | answer.u32(8));
        return new UserFaultQueue(this, (int) both, (int) (both >>> Integer.SIZE));
    }

    /**
     * Makes one of the engine's devices and gives it to this program.
     *
     * @param config how
     * @return the device, attached to nothing
     * @throws IllegalStateException if this was opened with another driver than an {@link EngineDriver}
     */
    public UserDevice device(DeviceConfig config) {
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
    public UserDevice bind(DriverDevice device) {
        UserDevice bound = new UserDevice(this, refusedAs("bind", () -> calls.bind(fd, device)));
        devices.add(bound);
        return bound;
    }

    /**
     * The program goes away: its devices are detached and given back, what is left is destroyed, and open groups are answered. Doing it
     * again does nothing.
     *
     * @throws IommufdException the first refusal of {@link UserDevice#close}, once all devices were asked; what is left stays open, and this
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
        for (UserDevice device : devices) {
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

    /** Runs a command whose answer is a word. */
    int run(Request request, ToLongFunction<Scratch> answer) {
        return (int) runLong(request, answer);
    }

    /** Runs a command, on memory that no other uses meanwhile. */
    long runLong(Request request, ToLongFunction<Scratch> answer) {
        Scratch scratch = scratch();
        try {
            request.writeTo(scratch);
            List<ErrnoException> refusals = new ArrayList<>(1);
            int result = calls.ioctl(fd, request.number(), scratch.address(), refusals::add);
            if (result < 0) {
                ErrnoException why = refusals.isEmpty() ? new ErrnoException(-result) : refusals.getFirst();
                throw new IommufdException(
                        why.errno(), request.command(), why.field(), request.value(why.field()), why.allowed());
            }
            return answer.applyAsLong(scratch);
        } finally {
            free.add(scratch);
        }
    }

    private Scratch scratch() {
        Scratch found = free.poll();
        return found != null ? found : new Scratch(memory, nextScratch.getAndAdd(Scratch.BYTES));
    }

    /** Reads from a descriptor. */
    byte[] read(int from, int most) {
        Scratch scratch = scratch();
        try {
            int got = (int) calls.read(from, scratch.address() + Scratch.DATA, most);
            if (got < 0) {
                throw new IommufdException(-got, "read", "fd", Integer.toString(from), "a descriptor that can be read");
            }
            return scratch.data(got);
        } finally {
            free.add(scratch);
        }
    }

    /** Puts memory into the program's, where nothing was before; its address. */
    long place(MemorySegment what, boolean writable) {
        long user = nextUserAddress.getAndAdd((what.byteSize() + 2L * PAGE - 1) & -PAGE);
        memory.map(user, what, writable);
        return user;
    }

    /** Takes memory out of the program's. */
    void displace(long user) {
        memory.unmap(user);
    }

    /** The program's objects. */
    ObjectTable objects() {
        return refusedAs("objects", () -> calls.context(fd).objects());
    }

    /** A device was given back. */
    void gone(UserDevice device) {
        devices.remove(device);
    }

    void destroy(int id) {
        int _ = run(new Request("IOMMU_DESTROY", 0x3b80, 8).u32("id", 4, id), answer -> 0);
    }

    /** What may be refused. */
    @FunctionalInterface
    interface Refusable<T> {
        T run() throws ErrnoException;
    }

    static <T> T refusedAs(String command, Refusable<T> body) {
        try {
            return body.run();
        } catch (ErrnoException e) {
            throw new IommufdException(e.errno(), command, e.field(), "", e.allowed());
        }
    }

    /** What may be refused, and gives nothing. */
    @FunctionalInterface
    interface RefusableAct {
        void run() throws ErrnoException;
    }

    static void detach(RefusableAct body) {
        int _ = refusedAs("detach", () -> {
            body.run();
            return 0;
        });
    }
}
