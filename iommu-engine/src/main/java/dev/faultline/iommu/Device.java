package dev.faultline.iommu;

import com.google.errorprone.annotations.CheckReturnValue;
import dev.faultline.iommu.tlb.Station;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.Result;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
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
    static final int MAX_PASID = (1 << 20) - 1;

    private final Iommu iommu;
    private final DeviceConfig config;
    private final int id;
    private final int requester;
    /** The physical function, if this is a virtual one. */
    private final @Nullable Device physical;

    private final Window window;
    private final Attachments attachments;
    private final CounterWords counters = new CounterWords();
    private final DeviceTranslation translation;
    private final PageRequestInterface pri;
    private final PageRequestPort port;
    private final PageRequests requests;
    private final Accesses accesses;
    private final AttachmentChanges changes;
    private final DeviceGate gate;
    private final AtsInterface ats;
    private final Waits waits;

    /** The thread inside's own; null in a device that was never told to misbehave. */
    private @Nullable Misbehaviour misbehaviour;

    /** Under this. */
    private final List<Device> virtual = new ArrayList<>();

    Device(Iommu iommu, DeviceConfig config, int id, int requester, @Nullable Device physical) {
        this.iommu = iommu;
        this.config = config;
        this.id = id;
        this.requester = requester;
        this.physical = physical;
        this.window = new Window(config.window(), iommu.config().clock());
        this.attachments = new Attachments(config.pasidBits() == 0 ? 0 : 1 << config.pasidBits());
        this.accesses = new Accesses(config, iommu.frames().physical(), window, attachments, counters);
        this.translation = new DeviceTranslation(iommu, config.tlbEntries(), attachments, counters);
        this.pri = physical == null
                ? new PageRequestInterface(
                        this,
                        config.faults() == FaultModel.PAGE_REQUEST || config.faults() == FaultModel.STALL
                                ? config.allocation()
                                : 0,
                        config.pasidInResponses())
                : physical.pri;
        int indices = config.faults() == FaultModel.PAGE_REQUEST ? Groups.PCI_INDICES : Groups.STALL_TAGS;
        int laneGroups = Math.clamp(config.allocation() / config.groupPages(), 1, indices);
        this.port = new PageRequestPort(
                id, config, laneGroups, config.pasidInResponses(), iommu.pageRequests(), attachments, counters);
        this.requests = new PageRequests(config, window, attachments, accesses, counters, pri, port);
        this.changes = new AttachmentChanges(this, window, attachments, translation, port, requests);
        this.gate = new DeviceGate(iommu, this, port);
        this.ats = new AtsInterface(
                this,
                translation,
                gate,
                physical == null ? null : physical.ats,
                AtsInterface.TAGS,
                iommu.config().clock());
        this.waits = new Waits(this, iommu, gate, window, port, requests);
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
     * Its name on the wire.
     *
     * @return its {@link RequesterId}
     */
    public int requester() {
        return requester;
    }

    /**
     * Its translation requests and the invalidations of its TLB.
     *
     * @return the same for the device's life
     */
    public AtsInterface ats() {
        return ats;
    }

    void mayWait() {
        iommu.stations().mayWait();
    }

    /**
     * What became of the page requests it sent.
     *
     * @return the counters, of one moment
     */
    public PageRequestCounters pageRequests() {
        PageRequestCounters[] seen = new PageRequestCounters[1];
        perform(() -> seen[0] = counters.pageRequests(port.outstanding()));
        return seen[0];
    }

    /**
     * Its page request capability. A virtual function has that of its physical one.
     *
     * @return the registers
     * @throws IllegalStateException if it makes no page requests
     */
    public PageRequestInterface pageRequestInterface() {
        if (config.faults() != FaultModel.PAGE_REQUEST) {
            throw new IllegalStateException(this + " has no page request interface: faults=" + config.faults());
        }
        return pri;
    }

    /**
     * Has a driver report its page requests. Once.
     *
     * @param sink takes the responses
     * @param guestPasidTables whether guests own the tables of PASIDs behind this IOMMU, so that what is nested handles every PASID that
     *     is not attached: SMMUv3's do, those of VT-d do not
     * @return the way to report them
     * @throws IllegalStateException if it is not {@link FaultModel#REPORTED}, or this was called before
     */
    public PageRequestReporter reportTo(ResponseSink sink, boolean guestPasidTables) {
        if (config.faults() != FaultModel.REPORTED) {
            throw new IllegalStateException("faults=" + config.faults() + ": allowed REPORTED");
        }
        PageRequestReporter reporter = new PageRequestReporter(this, port, sink, guestPasidTables);
        perform(() -> port.reportBy(reporter));
        return reporter;
    }

    /**
     * Under which id handlers are told of it, from its next request on. Groups that are open keep theirs.
     *
     * @param reportedId instead of {@link #id}
     * @throws IllegalStateException if another thread has entered it and does not step it within the limit
     */
    public void reportAs(int reportedId) {
        perform(() -> port.reportAs(reportedId));
    }

    /**
     * {@link #reportAs} without waiting: where a thread has entered it, from that one's next step or its leaving on, and before anything
     * that the caller asks of the device after this.
     *
     * @param reportedId instead of {@link #id}
     */
    public void reportSoonAs(int reportedId) {
        gate.post(() -> port.reportAs(reportedId));
    }

    /**
     * Whether it was closed.
     *
     * @return true from then on; any thread
     */
    public boolean isClosed() {
        return gate.closed();
    }

    /** Takes answers, by the thread inside. */
    void pollReports() {
        var _ = port.poll(requests, false);
    }

    /**
     * Enables page requests as a driver does. On a virtual function it changes nothing.
     *
     * @param wanted page request messages, 1 or more
     * @throws IllegalStateException if they are enabled, or not stopped, or the device makes none
     * @throws IllegalArgumentException if this is a virtual function and its physical one has them disabled
     */
    public void enablePageRequests(int wanted) {
        PageRequestInterface registers = pageRequestInterface();
        if (physical == null) {
            registers.enable(wanted);
        } else if (registers.control() == 0) {
            throw new IllegalArgumentException(
                    this + ": page requests of " + physical + " are disabled: allowed enabled");
        }
    }

    /** Disables page requests. On a virtual function it changes nothing. */
    public void disablePageRequests() {
        if (physical == null) {
            pageRequestInterface().disable();
        }
    }

    /**
     * Makes a virtual function of this one. It has its own requester id, attachments, TLB and window, and uses this function's page
     * request interface: its allocation, its failure and its PASIDs in responses.
     *
     * @param function how; what it says of page requests has to agree with this device's {@link FaultModel}
     * @return the virtual function; it is closed with this one, if not before
     * @throws IllegalArgumentException if the fault model is another, or the PASIDs are wider than this function's
     * @throws IllegalStateException if this is a virtual function, or closed
     */
    public Device virtualFunction(DeviceConfig function) {
        if (physical != null) {
            throw new IllegalStateException(this + " is a virtual function: allowed on physical ones");
        }
        if (function.faults() != config.faults() || function.faults() == FaultModel.STALL) {
            throw new IllegalArgumentException("faults=" + function.faults() + ": allowed "
                    + (config.faults() == FaultModel.STALL ? "none of " : "") + config.faults()
                    + ", as the physical function");
        }
        Limits.inRange("pasidBits", function.pasidBits(), 0, config.pasidBits());
        Limits.inRange("groupPages", function.groupPages(), 1, Math.max(1, config.allocation()));
        perform(() -> {
            if (gate.closed()) {
                throw new IllegalStateException(this + " is closed");
            }
            pri.share();
        });
        Device made = iommu.device(
                function.withAllocation(config.allocation()).withPasidInResponses(config.pasidInResponses()), this);
        synchronized (virtual) {
            virtual.add(made);
        }
        return made;
    }

    /**
     * Stops asking for pages of a PASID. Accesses under way go on where the page is there, and end {@link AccessResult#STOPPED}
     * where they would have to ask. Attaching the PASID anew starts it again.
     *
     * @param pasid that is attached
     * @param how with a marker, or waiting for the responses
     * @throws IllegalStateException if nothing is attached for it
     */
    public void stopPasid(int pasid, PasidStop how) {
        checkPasid(pasid);
        perform(() -> requests.stop(attached(pasid), how));
    }

    /**
     * Whether the function has stopped asking for a PASID and everything it asked is answered.
     *
     * @param pasid that is attached
     * @return true once the PASID may be used for something else
     * @throws IllegalStateException if nothing is attached for it
     */
    public boolean isStopped(int pasid) {
        checkPasid(pasid);
        boolean[] stopped = new boolean[1];
        perform(() -> {
            Attachment attachment = attached(pasid);
            stopped[0] = attachment.stopped && requests.openOf(attachment) == 0;
        });
        return stopped[0];
    }

    /**
     * Waits until every page request that was sent before, for one PASID or without, is where the caller wants it.
     *
     * @param pasid which requests, or {@link FaultProducer#NO_PASID}
     * @param until how far they have to be
     * @param limitNs nanoseconds at most
     * @return false if the time ran out
     */
    @CheckReturnValue
    public boolean drain(int pasid, Drain until, long limitNs) {
        return waits.forDrain(pasid, until, limitNs);
    }

    /**
     * Resets the function, as a driver does it (FLR): page requests leave no more, everything that is asked is answered or dropped,
     * all accesses end {@link AccessResult#RESET}, all translations are forgotten, and page requests are enabled again if they
     * were. Attachments stay. With a physical function its virtual ones are reset.
     *
     * @throws IllegalStateException if another thread has entered it and does not step it within the limit
     */
    public void reset() {
        for (Device function : virtualFunctions()) {
            function.reset();
        }
        perform(this::resetNow);
    }

    /**
     * Blocks all translation, as a driver does before it resets a function: what the device knows is forgotten, and accesses end {@link
     * AccessResult#BLOCKED}. Attachments stay, can be ended, and count again when this is lifted; open groups stay, and are answered.
     *
     * @param now whether, or no more
     * @throws QuiescenceTimeout if another thread has entered it and does not step it within the limit
     */
    public void block(boolean now) {
        perform(() -> translation.block(now));
    }

    /**
     * Makes the device do something that devices must not do, or that must not happen to them, once: with the next group it sends that
     * fits. Told several times, it does one after the other.
     *
     * @param disaster what
     * @throws IllegalStateException if the device makes no page requests, or is closed
     */
    public void misbehave(Disaster disaster) {
        var _ = pageRequestInterface();
        perform(() -> {
            if (gate.closed()) {
                throw new IllegalStateException(this + " is closed");
            }
            if (disaster == Disaster.DEVICE_TLB_TIMEOUT) {
                ats.answersInvalidations(false);
                return;
            }
            Misbehaviour by = misbehaviour;
            if (by == null) {
                by = new Misbehaviour(requests, iommu.pageRequests(), changes, this::resetNow);
                misbehaviour = by;
                requests.misbehave(by);
            }
            by.arm(disaster);
        });
    }

    /**
     * Attaches the device as a whole: for accesses without PASID.
     *
     * @param space through which it will translate
     * @return the attachment
     * @throws IllegalStateException if it is attached already, or something is closed, or a thread has entered the device and
     *     does not step it
     * @throws IllegalArgumentException if it is of another {@link Iommu}, or the fault queue's largest group is smaller than this device's
     */
    public Attachment attach(AddressSpace space) {
        return attach(space.table());
    }

    /**
     * Attaches the device as a whole: for accesses without PASID.
     *
     * @param table through which it will translate
     * @return the attachment
     * @throws IllegalStateException if it is attached already, or something is closed, or a thread has entered the device and
     *     does not step it
     * @throws IllegalArgumentException if it is of another {@link Iommu}, or the fault queue's largest group is smaller than this device's
     */
    public Attachment attach(PageTable table) {
        return attachChecked(table, FaultProducer.NO_PASID);
    }

    /**
     * Attaches one PASID.
     *
     * @param space through which it will translate
     * @param pasid within the device's width of PASIDs
     * @return the attachment
     * @throws IllegalStateException if the PASID is attached already, or something is closed, or a thread has entered the
     *     device and does not step it
     * @throws IllegalArgumentException if it is of another {@link Iommu}, {@code pasid} is out of range, or the fault queue's largest
     *     group is smaller than this device's
     */
    public Attachment attach(AddressSpace space, int pasid) {
        return attach(space.table(), pasid);
    }

    /**
     * Attaches one PASID.
     *
     * @param table through which it will translate
     * @param pasid within the device's width of PASIDs
     * @return the attachment
     * @throws IllegalStateException if the PASID is attached already, or something is closed, or a thread has entered the
     *     device and does not step it
     * @throws IllegalArgumentException if it is of another {@link Iommu}, {@code pasid} is out of range, or the fault queue's largest
     *     group is smaller than this device's
     */
    public Attachment attach(PageTable table, int pasid) {
        checkPasid(pasid);
        return attachChecked(table, pasid);
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
        Waits.check(address, bytes);
        if (bufferOffset < 0 || bufferOffset > buffer.byteSize() - bytes) {
            throw new IndexOutOfBoundsException("bufferOffset=" + bufferOffset + ", bytes=" + bytes
                    + ": allowed within the buffer's " + buffer.byteSize());
        }
        window.begin(window.take(), access, address, buffer, bufferOffset, bytes, pasid, userTag);
        return Result.OK;
    }

    /**
     * Has somebody told of accesses that end because they could not be translated.
     *
     * @param sink instead of the one before; null for nobody
     */
    public void tellFaults(@Nullable TranslationFaultSink sink) {
        accesses.tell(sink);
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
        if (moved) {
            // What it ran takes this thread for quiescent: it may have given back what is in a TLB here.
            mine.quiesce();
        }
        moved |= requests.poll(waits.pollsAll());
        if (window.count(Window.READY) > 0) {
            mine.inAccess(true);
            try {
                moved |= accesses.runReady(mine, translation, requests);
            } finally {
                mine.inAccess(false);
            }
        }
        moved |= port.respondDue(requests);
        port.flush();
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
            long userTag = window.at(slot).userTag;
            AccessResult result = window.at(slot).result;
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
        return window.doneCount() > 0 || waits.forMove(limitNs);
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
        return Waits.forAny(devices.stream().map(device -> device.waits).toList(), limitNs);
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
        waits.transfer(Access.READ, address, into, FaultProducer.NO_PASID);
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
        waits.transfer(Access.READ, address, into, pasid);
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
        waits.transfer(Access.WRITE, address, from, FaultProducer.NO_PASID);
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
        waits.transfer(Access.WRITE, address, from, pasid);
    }

    /**
     * Detaches everything, fails what is under way with {@link AccessResult#CLOSED} or {@link AccessResult#INVALID}, and
     * leaves the fault queues. A thread that has entered may still poll and leave.
     *
     * @throws IllegalStateException if another thread has entered and does not step within the limit; the device stays open
     */
    @Override
    public void close() {
        for (Device function : virtualFunctions()) {
            function.close();
        }
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
            gate.perform(() -> changes.detach(attachment));
        }
    }

    /** Forgets the translations that were invalidated up to an epoch. Only between accesses. */
    void obey(long epoch) {
        translation.obey(epoch);
    }

    /** As a response that came over the wire. By the thread inside, or nobody. */
    void respond(int index, int pasid, int wireCode) {
        ResponseCode code = ResponseCode.ofWire(wireCode);
        perform(() -> requests.respond(index, pasid, code, false));
    }

    /** As a message of the function that belongs to no access. */
    void send(PageRequest request) {
        perform(() -> {
            requests.send(request);
            port.flush();
        });
    }

    /** {@link #perform} without waiting. */
    void post(Runnable act) {
        gate.post(act);
    }

    /** Runs something as the thread inside. */
    void perform(Runnable act) {
        gate.perform(act);
    }

    private Attachment attached(int pasid) {
        Attachment attachment = attachments.own(pasid);
        if (attachment == null) {
            throw new IllegalStateException(this + ": nothing is attached for PASID " + pasid);
        }
        return attachment;
    }

    private List<Device> virtualFunctions() {
        synchronized (virtual) {
            return List.copyOf(virtual);
        }
    }

    private void resetNow() {
        boolean enabled = pri.control() != 0;
        port.reset();
        if (physical == null && config.faults() != FaultModel.TERMINATE) {
            pri.restart(enabled);
        }
        requests.reset();
        ats.answersInvalidations(true);
        translation.forgetEverything();
        for (int slot = window.oldest(); slot != Window.NONE; slot = window.oldest()) {
            accesses.end(slot, AccessResult.RESET);
        }
    }

    // Attaching, detaching, closing: rare, by the thread that has entered.

    private Attachment attachChecked(PageTable table, int pasid) {
        table.requireOf(iommu);
        return performed(() -> changes.attach(table, pasid));
    }

    Attachment replace(Attachment old, PageTable to) {
        to.requireOf(iommu);
        return performed(() -> changes.replace(old, to));
    }

    Replacement prepare(Attachment old, PageTable to) {
        return new Replacement(this, old, performed(() -> changes.reserve(old, to)));
    }

    boolean commit(Attachment old, Attachment fresh, Runnable later) {
        return gate.performOrLeave(() -> changes.put(old, fresh), later);
    }

    /** Posted: what is reserved may wait for a thread that does not step. */
    void giveUp(Attachment fresh) {
        gate.post(() -> changes.giveUp(fresh));
    }

    boolean detachOrLeave(Attachment attachment, Runnable later) {
        return !attachment.isAttached() || gate.performOrLeave(() -> changes.detach(attachment), later);
    }

    private Attachment performed(Supplier<Attachment> change) {
        AtomicReference<@Nullable Attachment> made = new AtomicReference<>();
        perform(() -> {
            if (gate.closed()) {
                throw new IllegalStateException(this + " is closed");
            }
            made.set(change.get());
        });
        return Objects.requireNonNull(made.get());
    }

    private void closeNow() {
        // Changes may have been left to this thread.
        var _ = gate.serve();
        if (gate.closed()) {
            return;
        }
        while (attachments.size() > 0) {
            changes.detach(attachments.at(attachments.size() - 1));
        }
        gate.shut();
        port.close(requests);
        for (int slot = window.oldest(); slot != Window.NONE; slot = window.oldest()) {
            accesses.end(slot, AccessResult.CLOSED);
        }
    }

    private void checkPasid(int pasid) {
        if (config.pasidBits() == 0) {
            throw new IllegalArgumentException("pasid=" + pasid + ": allowed none, for " + this + " has no PASIDs");
        }
        Limits.inRange("pasid", pasid, 0, (1 << config.pasidBits()) - 1);
    }
}
