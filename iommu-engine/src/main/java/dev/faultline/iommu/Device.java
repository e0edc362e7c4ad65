package dev.faultline.iommu;

import com.google.errorprone.annotations.CheckReturnValue;
import dev.faultline.iommu.tlb.Station;
import dev.faultline.iommu.tlb.Stations;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.Result;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * A device that moves bytes to and from memory through the IOMMU, and asks for the pages it misses. It is a state machine:
 * {@link #start} begins an access, {@link #step} moves all of them on, {@link #poll} fetches those that ended. {@link #read}
 * and {@link #write} are loops over these.
 *
 * <p>Threads: one at a time. It calls {@link #enter}, then has to step or await again and again, and {@link #leave}; one
 * thread may have entered many devices. {@link #attach}, {@link #close} and {@link #counters} are for any thread. Ownership:
 * who makes it closes it; buffers are the device's while an access is under way. Progress: {@link #step}, {@link #start} and
 * {@link #poll} never wait, allocate nothing and take no lock; {@link #await}, {@link #read} and {@link #write} wait. Units:
 * bytes, nanoseconds.
 *
 * <p>Order: accesses of one PASID that touch the same page are done in the order they were started; others as their pages
 * come. An access over several pages is done page by page.
 */
public final class Device implements AutoCloseable {
    private static final long AWAIT_SLICE_NS = 1_000_000;
    /** A lane without open groups is polled once in so many steps: others may want something done there. */
    private static final int IDLE_STEPS = 16;

    private static final int MAX_PASID = (1 << 20) - 1;

    private final Iommu iommu;
    private final DeviceConfig config;
    private final int id;
    private final Window window;
    private final Attachments attachments = new Attachments();
    private final CounterWords counters = new CounterWords();
    private final DeviceTranslation translation;
    private final PageRequests requests;
    private final Accesses accesses;
    private final DeviceGate gate;

    /** The thread inside's own. */
    private int steps;

    Device(Iommu iommu, DeviceConfig config, int id) {
        this.iommu = iommu;
        this.config = config;
        this.id = id;
        this.window = new Window(config.window());
        this.accesses = new Accesses(config, iommu.frames().memory(), window, attachments, counters);
        this.translation = new DeviceTranslation(iommu, config.tlbEntries(), attachments, counters);
        this.requests = new PageRequests(id, config, window, attachments, accesses, counters);
        this.gate = new DeviceGate(iommu, this, requests);
    }

    /**
     * Its name.
     *
     * @return for people
     */
    public String name() {
        return config.name();
    }

    /**
     * Its id.
     *
     * @return what its page requests carry
     */
    public int id() {
        return id;
    }

    /**
     * How it was made.
     *
     * @return the configuration
     */
    public DeviceConfig config() {
        return config;
    }

    /**
     * What it has done.
     *
     * @return the counters
     */
    public Counters counters() {
        return counters.snapshot();
    }

    /**
     * Attaches the device as a whole: for accesses without PASID.
     *
     * @param space through which it will translate
     * @return the attachment
     * @throws IllegalStateException if it is attached already, or something is closed, or a thread has entered the device and
     *     does not step it
     * @throws IllegalArgumentException if the fault queue's largest group is smaller than this device's
     */
    public Attachment attach(AddressSpace space) {
        return attachChecked(space, FaultProducer.NO_PASID);
    }

    /**
     * Attaches one PASID.
     *
     * @param space through which it will translate
     * @param pasid 0 to 2^20 - 1
     * @return the attachment
     * @throws IllegalStateException if the PASID is attached already, or something is closed, or a thread has entered the
     *     device and does not step it
     * @throws IllegalArgumentException if {@code pasid} is out of range, or the fault queue's largest group is smaller than
     *     this device's
     */
    public Attachment attach(AddressSpace space, int pasid) {
        Limits.inRange("pasid", pasid, 0, MAX_PASID);
        return attachChecked(space, pasid);
    }

    /**
     * Makes the calling thread the one that steps this device.
     *
     * @return false if a thread has entered it already, or it is closed
     */
    @CheckReturnValue
    public boolean enter() {
        return gate.enter();
    }

    /** Lets other threads in. Accesses under way stay under way, and go on when somebody steps the device again. */
    public void leave() {
        gate.leave();
    }

    /**
     * Begins an access. Bytes move in later steps.
     *
     * @param access read or write
     * @param address where, in the address space attached
     * @param buffer where the bytes go or come from
     * @param bufferOffset the first of them
     * @param bytes how many, 1 or more
     * @param pasid which attachment, or {@link FaultProducer#NO_PASID}
     * @param userTag handed back when it has ended
     * @return {@link Result#OK}; {@link Result#FULL} if the window is: {@link #poll} first; {@link Result#CLOSED}
     * @throws IndexOutOfBoundsException if the buffer does not hold so many bytes
     * @throws IllegalArgumentException if {@code bytes} is below 1 or the address wraps round
     */
    @CheckReturnValue
    public Result start(
            Access access, long address, MemorySegment buffer, long bufferOffset, int bytes, int pasid, long userTag) {
        gate.entered();
        if (gate.closed()) {
            return Result.CLOSED;
        }
        if (window.full()) {
            return Result.FULL;
        }
        check(address, bytes);
        if (bufferOffset < 0 || bufferOffset > buffer.byteSize() - bytes) {
            throw new IndexOutOfBoundsException("bufferOffset=" + bufferOffset + ", bytes=" + bytes
                    + ": allowed within the buffer's " + buffer.byteSize());
        }
        window.begin(window.take(), access, address, buffer, bufferOffset, bytes, pasid, userTag);
        return Result.OK;
    }

    /**
     * Moves everything on that can move: obeys invalidations, takes answers, runs accesses, the oldest first, raises page
     * requests.
     *
     * @return whether anything moved; if not, {@link #await}
     */
    public boolean step() {
        Station mine = gate.entered();
        mine.quiesce();
        boolean moved = gate.hasControls() && gate.serve();
        moved |= requests.poll(++steps % IDLE_STEPS == 0);
        moved |= requests.goOn();
        if (window.count(Window.READY) > 0) {
            mine.inAccess(true);
            try {
                moved |= accesses.runReady(mine, translation, requests);
            } finally {
                mine.inAccess(false);
            }
        }
        requests.flush();
        return moved;
    }

    /**
     * Hands out the accesses that have ended.
     *
     * @param sink takes them, in the order they ended
     * @return how many
     */
    public int poll(AccessSink sink) {
        gate.entered();
        int n = window.doneCount();
        for (int i = 0; i < n; i++) {
            int slot = window.firstDone();
            long userTag = window.userTag[slot];
            AccessResult result = window.result[slot];
            window.release(slot);
            sink.finished(userTag, result);
        }
        return n;
    }

    /**
     * How many accesses are under way or wait to be fetched by {@link #poll}.
     *
     * @return 0 to the window's size
     */
    public int pending() {
        return window.doneCount()
                + window.count(Window.READY)
                + window.count(Window.WAITING)
                + window.count(Window.BEHIND)
                + window.count(Window.HELD);
    }

    /**
     * Waits until a step would move something, as the fault queue was told to wait. Nobody who unmaps waits for this thread
     * meanwhile.
     *
     * @param limitNs nanoseconds at most
     * @return false if the time ran out
     */
    public boolean await(long limitNs) {
        return window.doneCount() > 0 || awaitMove(limitNs);
    }

    /**
     * {@link #await} on several devices at once.
     *
     * @param devices that the calling thread has entered, 1 or more
     * @param limitNs nanoseconds at most
     * @return false if the time ran out
     * @throws IllegalStateException if the calling thread has not entered one of them
     */
    public static boolean awaitAny(List<Device> devices, long limitNs) {
        long start = System.nanoTime();
        List<FaultProducer> producers = new ArrayList<>();
        for (Device device : devices) {
            device.gate.entered();
            producers.addAll(device.requests.producers());
            device.steps = -1;
        }
        while (true) {
            for (Device device : devices) {
                if (device.window.doneCount() > 0 || device.canMove()) {
                    return true;
                }
            }
            long left = limitNs - (System.nanoTime() - start);
            if (left <= 0) {
                return false;
            }
            Station mine = devices.getFirst().gate.entered();
            mine.goOffline();
            try {
                long slice = Math.min(left, AWAIT_SLICE_NS);
                if (producers.isEmpty()) {
                    LockSupport.parkNanos(slice);
                } else if (FaultProducer.awaitAny(producers, slice)) {
                    return true;
                }
            } finally {
                mine.goOnline();
            }
        }
    }

    /**
     * Reads, waiting for missing pages.
     *
     * @param address where
     * @param into filled
     * @throws AccessFault if it cannot be done; bytes before {@link AccessFault#address} were read
     * @throws IllegalStateException if another thread has entered the device and does not leave within the limit
     */
    public void read(long address, MemorySegment into) {
        transfer(Access.READ, address, into, FaultProducer.NO_PASID);
    }

    /**
     * Reads for a PASID, waiting for missing pages.
     *
     * @param address where
     * @param into filled
     * @param pasid which attachment
     * @throws AccessFault if it cannot be done; bytes before {@link AccessFault#address} were read
     * @throws IllegalStateException if another thread has entered the device and does not leave within the limit
     */
    public void read(long address, MemorySegment into, int pasid) {
        transfer(Access.READ, address, into, pasid);
    }

    /**
     * Writes, waiting for missing pages.
     *
     * @param address where
     * @param from written
     * @throws AccessFault if it cannot be done; bytes before {@link AccessFault#address} were written
     * @throws IllegalStateException if another thread has entered the device and does not leave within the limit
     */
    public void write(long address, MemorySegment from) {
        transfer(Access.WRITE, address, from, FaultProducer.NO_PASID);
    }

    /**
     * Writes for a PASID, waiting for missing pages.
     *
     * @param address where
     * @param from written
     * @param pasid which attachment
     * @throws AccessFault if it cannot be done; bytes before {@link AccessFault#address} were written
     * @throws IllegalStateException if another thread has entered the device and does not leave within the limit
     */
    public void write(long address, MemorySegment from, int pasid) {
        transfer(Access.WRITE, address, from, pasid);
    }

    /**
     * Detaches everything, fails what is under way with {@link AccessResult#CLOSED} or {@link AccessResult#INVALID}, and
     * leaves the fault queues. A thread that has entered may still poll and leave.
     *
     * @throws IllegalStateException if another thread has entered and does not step within the limit; the device stays open
     */
    @Override
    public void close() {
        if (!gate.closed()) {
            gate.perform(this::closeNow);
        }
        iommu.closed(this);
        if (gate.isEntered()) {
            leave();
        }
    }

    @Override
    public String toString() {
        return "device " + config.name() + " (" + id + ")";
    }

    /** Whether an access has asked for a page and not gone on yet. Any thread. */
    boolean wants(long key) {
        return window.wants(key);
    }

    /** Ends an attachment. Any thread. */
    void detach(Attachment attachment) {
        if (attachment.isAttached()) {
            gate.perform(() -> detachNow(attachment));
        }
    }

    /** Forgets the translations that were invalidated up to an epoch. Only between accesses. */
    void obey(long epoch) {
        translation.obey(epoch);
    }

    // Attaching, detaching, closing: rare, by the thread that has entered.

    private Attachment attachChecked(AddressSpace space, int pasid) {
        AtomicReference<@Nullable Attachment> made = new AtomicReference<>();
        gate.perform(() -> made.set(attachNow(space, pasid)));
        Attachment attachment = made.get();
        if (attachment == null) {
            throw new IllegalStateException(this + " is closed");
        }
        return attachment;
    }

    private Attachment attachNow(AddressSpace space, int pasid) {
        if (gate.closed()) {
            throw new IllegalStateException(this + " is closed");
        }
        if (attachments.get(pasid) != null) {
            throw new IllegalStateException(
                    this + (pasid < 0 ? "" : " PASID " + pasid) + " is attached: detach it first");
        }
        Lane lane = requests.laneTo(space.queue());
        Attachment attachment = new Attachment(iommu.nextAttachmentKey(), this, space, pasid, lane);
        space.add(attachment);
        attachments.add(attachment);
        return attachment;
    }

    private void detachNow(Attachment attachment) {
        if (!attachment.isAttached()) {
            return;
        }
        // Unpublished: no access translates through it any more. Quiesced: this thread has entered and is between
        // accesses.
        attachments.remove(attachment);
        attachment.space().remove(attachment);
        translation.forget(attachment.pasid());
        requests.detach(attachment);
        window.retry(Window.BEHIND);
        window.retry(Window.HELD);
        attachment.detached();
    }

    private void closeNow() {
        if (gate.closed()) {
            return;
        }
        while (attachments.size() > 0) {
            detachNow(attachments.at(attachments.size() - 1));
        }
        gate.shut();
        requests.close();
        for (int slot = window.oldest(); slot != Window.NONE; slot = window.oldest()) {
            accesses.end(slot, AccessResult.CLOSED);
        }
    }

    // Waiting.

    private boolean canMove() {
        return window.count(Window.READY) > 0 || gate.hasControls();
    }

    private boolean awaitMove(long limitNs) {
        Station mine = gate.entered();
        if (canMove()) {
            return true;
        }
        mine.goOffline();
        try {
            long start = System.nanoTime();
            while (true) {
                long left = limitNs - (System.nanoTime() - start);
                if (left <= 0) {
                    return false;
                }
                if (awaitLanes(left) || canMove()) {
                    return true;
                }
            }
        } finally {
            mine.goOnline();
        }
    }

    private boolean awaitLanes(long limitNs) {
        // A slice, for a request by another thread wakes no lane.
        long slice = Math.min(limitNs, AWAIT_SLICE_NS);
        // The next step polls every lane.
        steps = -1;
        List<FaultProducer> producers = requests.producers();
        if (producers.isEmpty()) {
            LockSupport.parkNanos(slice);
            return false;
        }
        return FaultProducer.awaitAny(producers, slice);
    }

    private void transfer(Access access, long address, MemorySegment buffer, int pasid) {
        long bytes = buffer.byteSize();
        if (bytes == 0) {
            return;
        }
        check(address, bytes);
        boolean enters = !gate.mine();
        if (enters) {
            enterSoon(address, pasid, access);
        }
        int slot = window.blocking;
        AccessResult result;
        long stoppedAt;
        try {
            if (gate.closed()) {
                throw new AccessFault(address, name(), pasid, access, AccessResult.CLOSED);
            }
            if (window.state(slot) != Window.FREE) {
                throw new IllegalStateException(this + ": a blocking access is under way; do not block inside step()");
            }
            window.begin(slot, access, address, buffer, 0, bytes, pasid, 0);
            while (window.state(slot) != Window.DONE) {
                if (!step() && window.state(slot) != Window.DONE) {
                    awaitMove(AWAIT_SLICE_NS);
                }
            }
            result = window.result[slot];
            stoppedAt = window.address[slot];
            window.release(slot);
        } finally {
            if (enters) {
                leave();
            }
        }
        if (result != AccessResult.OK) {
            throw new AccessFault(stoppedAt, name(), pasid, access, result);
        }
    }

    private void enterSoon(long address, int pasid, Access access) {
        long start = System.nanoTime();
        for (int turn = 0; !enter(); turn++) {
            if (gate.closed()) {
                throw new AccessFault(address, name(), pasid, access, AccessResult.CLOSED);
            }
            if (System.nanoTime() - start > iommu.config().limitNs()) {
                throw new IllegalStateException(this + " was entered by thread \"" + gate.ownerName() + "\"");
            }
            Station own = iommu.stations().current();
            if (own != null) {
                own.quiesce();
            }
            Stations.pause(turn);
        }
    }

    private static void check(long address, long bytes) {
        if (bytes < 1) {
            throw new IllegalArgumentException("bytes=" + bytes + ": allowed 1 or more");
        }
        if (Long.compareUnsigned(address + (bytes - 1), address) < 0) {
            throw new IllegalArgumentException("bytes=" + bytes + ": 0x" + Long.toHexString(address)
                    + " and so many bytes go round the end of all addresses");
        }
    }
}
