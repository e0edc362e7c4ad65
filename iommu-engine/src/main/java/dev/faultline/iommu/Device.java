package dev.faultline.iommu;

import static dev.faultline.ffm.PageFaultLayout.PERM_WRITE;

import com.google.errorprone.annotations.CheckReturnValue;
import dev.faultline.ring.Answer;
import dev.faultline.ring.AutoAnswer;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.Result;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.jctools.queues.varhandle.MpscUnboundedVarHandleArrayQueue;
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
    private static final long PAGE_OFFSET_MASK = Frames.BYTES - 1;
    /** Pages an access moves in one step, so that nobody who unmaps waits for a long one. */
    private static final int PAGES_PER_STEP = 64;

    private static final long AWAIT_SLICE_NS = 1_000_000;
    /** A lane without open groups is polled once in so many steps: others may want something done there. */
    private static final int IDLE_STEPS = 16;

    private static final int MAX_PASID = (1 << 20) - 1;

    private final Iommu iommu;
    private final DeviceConfig config;
    private final int id;
    private final MemorySegment memory;
    private final Iotlb iotlb;
    private final InvalidationLog log;
    private final DeviceTlb tlb;
    private final Window window;
    private final Groups groups = new Groups();
    private final int laneGroups;
    private final Attachments attachments = new Attachments();
    private final CounterWords counters = new CounterWords();
    private final Queue<Control> controls = new MpscUnboundedVarHandleArrayQueue<>(16);
    private final AtomicReference<@Nullable Thread> owner = new AtomicReference<>();
    private final @Nullable LatencySink latency;

    // What follows belongs to the thread that has entered; owner hands it from one to the next.
    private Lane[] lanes = {};
    private @Nullable Station station;
    private List<FaultProducer> producers = List.of();
    private long obeyed;
    private int steps;
    /** A group whose requests are not all raised, or NONE. Others wait for it. */
    private int raising = Groups.NONE;

    private volatile boolean closed;

    Device(Iommu iommu, DeviceConfig config, int id) {
        this.iommu = iommu;
        this.config = config;
        this.id = id;
        this.memory = iommu.frames().memory();
        this.iotlb = iommu.iotlb();
        this.log = iommu.log();
        this.tlb = new DeviceTlb(config.tlbEntries());
        this.window = new Window(config.window());
        this.laneGroups = Math.clamp(config.allocation() / config.groupPages(), 1, Groups.INDICES);
        this.latency = config.latency();
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
        Thread me = Thread.currentThread();
        if (closed || !owner.compareAndSet(null, me)) {
            return false;
        }
        int entered = 0;
        try {
            if (closed) {
                return false;
            }
            Station claimed = iommu.stations().claim();
            try {
                while (entered < lanes.length && lanes[entered].producer.enter()) {
                    entered++;
                }
                if (entered == lanes.length) {
                    station = claimed;
                    claimed.add(this);
                    return true;
                }
            } finally {
                if (station == null && claimed.empty()) {
                    iommu.stations().release(claimed);
                }
            }
            return false;
        } finally {
            if (station == null) {
                while (entered > 0) {
                    lanes[--entered].producer.leave();
                }
                owner.set(null);
            }
        }
    }

    /** Lets other threads in. Accesses under way stay under way, and go on when somebody steps the device again. */
    public void leave() {
        Station mine = entered();
        for (Lane lane : lanes) {
            lane.staged = false;
            lane.producer.leave();
        }
        mine.remove(this);
        station = null;
        if (mine.empty()) {
            iommu.stations().release(mine);
        }
        owner.set(null);
        // A request that came in before may have counted on the steps that will not come now.
        if (!controls.isEmpty() && enter()) {
            serve();
            leave();
        }
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
        entered();
        if (closed) {
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
        Station mine = entered();
        mine.quiesce();
        boolean moved = !controls.isEmpty() && serve();
        boolean all = ++steps % IDLE_STEPS == 0;
        for (Lane lane : lanes) {
            if (all || lane.open > 0) {
                lane.producer.poll();
                lane.staged = false;
                moved |= takeAnswers(lane);
            }
        }
        if (raising != Groups.NONE) {
            moved |= raise(raising);
            if (raising == Groups.NONE) {
                window.retry(Window.HELD);
            }
        }
        if (window.count(Window.READY) > 0) {
            mine.inAccess(true);
            try {
                moved |= runReady(mine);
            } finally {
                mine.inAccess(false);
            }
        }
        for (Lane lane : lanes) {
            if (lane.staged) {
                lane.staged = false;
                lane.producer.flush();
            }
        }
        return moved;
    }

    /**
     * Hands out the accesses that have ended.
     *
     * @param sink takes them, in the order they ended
     * @return how many
     */
    public int poll(AccessSink sink) {
        entered();
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
            device.entered();
            producers.addAll(device.producers);
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
            Station mine = devices.getFirst().entered();
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
        if (!closed) {
            perform(this::closeNow);
        }
        iommu.closed(this);
        if (mine() && station != null) {
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
            perform(() -> detachNow(attachment));
        }
    }

    /** Forgets the translations that were invalidated up to an epoch. Only between accesses. */
    void obey(long epoch) {
        if (epoch - obeyed > log.entries()) {
            flushTlb();
        } else {
            for (long entry = obeyed; entry < epoch; entry++) {
                long what = log.read(entry);
                if (what == InvalidationLog.UNREADABLE) {
                    flushTlb();
                    break;
                }
                invalidate(what);
            }
        }
        obeyed = epoch;
    }

    /** Runs what other threads have asked for. */
    boolean serve() {
        boolean any = false;
        for (Control next = controls.poll(); next != null; next = controls.poll()) {
            next.run();
            any = true;
        }
        return any;
    }

    // Attaching, detaching, closing: rare, by the thread that has entered.

    private Attachment attachChecked(AddressSpace space, int pasid) {
        AtomicReference<@Nullable Attachment> made = new AtomicReference<>();
        perform(() -> made.set(attachNow(space, pasid)));
        Attachment attachment = made.get();
        if (attachment == null) {
            throw new IllegalStateException(this + " is closed");
        }
        return attachment;
    }

    private Attachment attachNow(AddressSpace space, int pasid) {
        if (closed) {
            throw new IllegalStateException(this + " is closed");
        }
        if (attachments.get(pasid) != null) {
            throw new IllegalStateException(
                    this + (pasid < 0 ? "" : " PASID " + pasid) + " is attached: detach it first");
        }
        FaultQueue queue = space.queue();
        Lane lane = queue == null || !config.pri() || config.allocation() == 0 ? null : laneOf(queue);
        Attachment attachment = new Attachment(iommu.nextAttachmentKey(), this, space, pasid, lane);
        space.add(attachment);
        attachments.add(attachment);
        return attachment;
    }

    private Lane laneOf(FaultQueue queue) {
        for (Lane lane : lanes) {
            if (lane.queue == queue) {
                return lane;
            }
        }
        int largest = queue.config().largestGroup();
        if (config.groupPages() > largest) {
            throw new IllegalArgumentException(
                    "groupPages=" + config.groupPages() + ": allowed 1 to the fault queue's largestGroup=" + largest);
        }
        Lane lane = new Lane(queue, laneGroups);
        if (!lane.producer.enter()) {
            lane.producer.close();
            throw new IllegalStateException("the new lane of " + this + " is in use by somebody else");
        }
        Lane[] more = new Lane[lanes.length + 1];
        System.arraycopy(lanes, 0, more, 0, lanes.length);
        more[lanes.length] = lane;
        use(more);
        return lane;
    }

    private void detachNow(Attachment attachment) {
        if (!attachment.isAttached()) {
            return;
        }
        // Unpublished: no access translates through it any more. Quiesced: this thread has entered and is between
        // accesses.
        attachments.remove(attachment);
        attachment.space().remove(attachment);
        tlb.removePasid(attachment.pasid());
        Lane lane = attachment.lane;
        if (lane != null) {
            lane.producer.revoke(tag -> Groups.of(attachment, tag), AutoAnswer.DETACH);
            takeAnswers(lane);
            for (int i = groups.openCount() - 1; i >= 0; i--) {
                int group = groups.openAt(i);
                if (groups.attachment(group) == attachment) {
                    abandon(group, lane, AccessResult.INVALID);
                }
            }
        }
        window.retry(Window.BEHIND);
        window.retry(Window.HELD);
        attachment.detached();
    }

    private void closeNow() {
        if (closed) {
            return;
        }
        while (attachments.size() > 0) {
            detachNow(attachments.at(attachments.size() - 1));
        }
        closed = true;
        for (Lane lane : lanes) {
            lane.producer.close();
            takeAnswers(lane);
        }
        use(new Lane[0]);
        for (int slot = window.oldest(); slot != Window.NONE; slot = window.oldest()) {
            end(slot, AccessResult.CLOSED);
        }
    }

    /** Runs something as the thread that has entered: here if that is the caller or nobody, else at that thread's next step. */
    private void perform(Runnable act) {
        if (mine()) {
            act.run();
            return;
        }
        Control control = new Control(act);
        controls.offer(control);
        Station own = iommu.stations().current();
        boolean wasOnline = own != null && own.online();
        if (own != null && wasOnline) {
            own.goOffline();
        }
        try {
            long start = System.nanoTime();
            for (int turn = 0; !control.done(); turn++) {
                if (enter()) {
                    serve();
                    leave();
                } else if (closed && owner.get() == null) {
                    control.run();
                } else if (System.nanoTime() - start > iommu.config().limitNs() && control.callOff()) {
                    Thread who = owner.get();
                    throw new IllegalStateException(this + " was entered by thread \""
                            + (who == null ? "?" : who.getName()) + "\", which did not step it for "
                            + iommu.config().limitNs() / 1_000_000 + " ms");
                } else {
                    if (own != null) {
                        own.serve();
                    }
                    Stations.pause(turn);
                }
            }
        } finally {
            if (own != null && wasOnline && !own.empty()) {
                own.goOnline();
            }
        }
        control.rethrow();
    }

    private void use(Lane[] changed) {
        lanes = changed;
        List<FaultProducer> list = new ArrayList<>();
        for (Lane lane : changed) {
            list.add(lane.producer);
        }
        producers = List.copyOf(list);
    }

    // Answers.

    private boolean takeAnswers(Lane lane) {
        int n = lane.noted();
        for (int i = 0; i < n; i++) {
            answered(lane, lane.tag(i), lane.code(i));
        }
        lane.forget();
        return n > 0;
    }

    private void answered(Lane lane, long tag, Answer code) {
        if (!groups.answers(tag)) {
            counters.add(CounterWords.UNKNOWN_ANSWERS, 1);
            return;
        }
        int group = Groups.index(tag);
        Attachment attachment = groups.attachment(group);
        int asked = groups.owner[group];
        int pages = groups.pages[group];
        closeGroup(group, lane);
        if (pages == 1) {
            // Nobody else waits for a group of one page.
            wake(asked, group, true, code == Answer.SUCCESS ? null : AccessResult.INVALID);
        } else {
            // One INVALID stands for all pages of the group. The page that was missing may have come all the same, so
            // it is
            // looked for once more; accesses to the other pages ask for themselves.
            boolean lookAgain = code == Answer.SUCCESS || attachments.get(attachment.pasid()) == attachment;
            AccessResult end = lookAgain ? null : AccessResult.INVALID;
            for (int slot = window.oldest(); slot != Window.NONE; ) {
                int next = window.younger(slot);
                if (slot == asked && code != Answer.SUCCESS) {
                    window.lastLook[slot] = true;
                }
                wake(slot, group, slot == asked, end);
                slot = next;
            }
        }
        window.retry(Window.HELD);
    }

    private void wake(int slot, int group, boolean asked, @Nullable AccessResult end) {
        if (window.state(slot) != Window.WAITING || window.group[slot] != group) {
            return;
        }
        window.group[slot] = Groups.NONE;
        if (end != null) {
            end(slot, end);
            return;
        }
        if (asked) {
            window.tries[slot]++;
        }
        counters.add(CounterWords.RETRIES, 1);
        window.set(slot, Window.READY);
    }

    private void closeGroup(int group, Lane lane) {
        groups.close(group);
        lane.open--;
        if (raising == group) {
            raising = Groups.NONE;
        }
    }

    /** A group that will get no answer. */
    private void abandon(int group, Lane lane, AccessResult end) {
        closeGroup(group, lane);
        for (int slot = window.oldest(); slot != Window.NONE; ) {
            int next = window.younger(slot);
            wake(slot, group, false, end);
            slot = next;
        }
        window.retry(Window.HELD);
    }

    // Accesses.

    private boolean runReady(Station mine) {
        boolean moved = false;
        for (int slot = window.oldest(); slot != Window.NONE; ) {
            int next = window.younger(slot);
            if (window.state(slot) == Window.READY) {
                mine.quiesce();
                moved |= run(slot);
            }
            slot = next;
        }
        return moved;
    }

    private boolean run(int slot) {
        boolean moved = false;
        for (int turn = 0; turn < PAGES_PER_STEP; turn++) {
            long address = window.address[slot];
            Attachment attachment = attachments.get(window.pasid[slot]);
            if (attachment == null) {
                end(slot, AccessResult.NOT_ATTACHED);
                return true;
            }
            if (window.behindOlder(slot)) {
                window.set(slot, Window.BEHIND);
                window.remember(slot);
                return moved;
            }
            long translation = translate(attachment, address, window.rights[slot]);
            if (translation < 0) {
                boolean raised = miss(slot, attachment, translation);
                return raised || moved;
            }
            int bytes = (int) Math.min(window.left[slot], Frames.BYTES - (address & PAGE_OFFSET_MASK));
            if (!move(slot, (translation & PageTable.PAGE) | (address & PAGE_OFFSET_MASK), bytes)) {
                end(slot, AccessResult.BAD_BUFFER);
                return true;
            }
            moved = true;
            faultOver(slot);
            window.address[slot] = address + bytes;
            window.bufferOffset[slot] += bytes;
            window.left[slot] -= bytes;
            if (window.left[slot] == 0) {
                end(slot, AccessResult.OK);
                return true;
            }
        }
        window.remember(slot);
        return true;
    }

    private boolean move(int slot, long physical, int bytes) {
        MemorySegment buffer = window.buffer[slot];
        long offset = window.bufferOffset[slot];
        try {
            if ((window.rights[slot] & PERM_WRITE) != 0) {
                MemorySegment.copy(buffer, offset, memory, physical, bytes);
            } else {
                MemorySegment.copy(memory, physical, buffer, offset, bytes);
            }
        } catch (IllegalStateException
                | WrongThreadException
                | IllegalArgumentException
                | UnsupportedOperationException e) {
            return false;
        }
        counters.add(CounterWords.BYTES, bytes);
        return true;
    }

    /** The page has come and the access has used it: it may be evicted now. */
    private void faultOver(int slot) {
        window.tries[slot] = 0;
        window.lastLook[slot] = false;
        window.unwant(slot);
        if (latency != null && window.raisedAtNs[slot] != 0) {
            latency.fault(System.nanoTime() - window.raisedAtNs[slot]);
            window.raisedAtNs[slot] = 0;
        }
    }

    private void end(int slot, AccessResult result) {
        counters.add(CounterWords.ACCESSES, 1);
        if (result != AccessResult.OK) {
            counters.add(CounterWords.FAILED, 1);
        }
        window.finish(slot, result);
    }

    /** A translation with the right that is needed, or the negated code of a {@link WalkFault}. */
    private long translate(Attachment attachment, long address, int needed) {
        AddressSpace space = attachment.space();
        if (!space.format().canonical(address)) {
            return WalkFault.NOT_CANONICAL.walked;
        }
        long key = TlbKey.ofPasid(attachment.pasid(), address);
        long translation = tlb.lookup(key);
        if ((translation & needed) == needed) {
            counters.add(CounterWords.TLB_HITS, 1);
            return translation;
        }
        counters.add(CounterWords.TLB_MISSES, 1);
        long spaceKey = TlbKey.ofSpace(space.number(), address);
        translation = iotlb.lookup(spaceKey);
        if ((translation & needed) == needed) {
            counters.add(CounterWords.IOTLB_HITS, 1);
        } else {
            counters.add(CounterWords.IOTLB_MISSES, 1);
            counters.add(CounterWords.WALKS, 1);
            long sequence = iotlb.sequence();
            translation = space.table().walk(address, needed);
            if (translation < 0) {
                return translation;
            }
            iotlb.insert(spaceKey, translation, sequence);
        }
        // Needs no guard: this thread obeys every later invalidation before its next access, and looked the page up
        // after it
        // obeyed every earlier one.
        tlb.insert(key, translation);
        return translation;
    }

    /** The page is absent, or may not be used so. */
    private boolean miss(int slot, Attachment attachment, long fault) {
        AccessResult end = hopeless(slot, attachment, fault);
        if (end != null) {
            end(slot, end);
            return true;
        }
        Lane lane = attachment.lane;
        if (lane == null) {
            throw new AssertionError("no lane");
        }
        long page = window.address[slot] & PageTable.PAGE;
        window.remember(slot);
        if (config.groupPages() > 1) {
            int covering = groups.covering(attachment, page);
            if (covering != Groups.NONE) {
                window.group[slot] = covering;
                window.set(slot, Window.WAITING);
                window.want(slot, TlbKey.ofPasid(attachment.pasid(), page));
                return false;
            }
        }
        int pages = groupPages(attachment, page);
        if (raising != Groups.NONE
                || groups.full()
                || groups.messages() + pages > config.allocation()
                || lane.open == lane.groups()) {
            counters.add(CounterWords.HELD, 1);
            window.set(slot, Window.HELD);
            return false;
        }
        int group = groups.open(attachment, slot, page, pages, window.rights[slot]);
        lane.open++;
        counters.add(CounterWords.GROUPS, 1);
        window.group[slot] = group;
        window.set(slot, Window.WAITING);
        if (latency != null) {
            window.raisedAtNs[slot] = System.nanoTime();
        }
        // Before the request: whoever answers it maps the page only after this, and an eviction after that sees it.
        window.want(slot, TlbKey.ofPasid(attachment.pasid(), page));
        raising = group;
        raise(group);
        return true;
    }

    private @Nullable AccessResult hopeless(int slot, Attachment attachment, long fault) {
        if (fault == WalkFault.NOT_CANONICAL.walked) {
            return AccessResult.NOT_CANONICAL;
        }
        if (fault != WalkFault.NOT_PRESENT.walked
                && fault != WalkFault.NO_WRITE.walked
                && fault != WalkFault.NO_EXECUTE.walked) {
            return AccessResult.TABLE_ERROR;
        }
        if (attachment.space().queue() == null) {
            return AccessResult.NO_FAULT_QUEUE;
        }
        if (attachment.lane == null) {
            return AccessResult.NO_PAGE_REQUESTS;
        }
        if (window.lastLook[slot]) {
            return AccessResult.INVALID;
        }
        return window.tries[slot] >= config.retryLimit() ? AccessResult.UNRESOLVED : null;
    }

    private int groupPages(Attachment attachment, long page) {
        PageFormat format = attachment.space().format();
        int n = 1;
        while (n < config.groupPages()) {
            long next = page + (long) n * Frames.BYTES;
            if (!format.canonical(next) || (next ^ page) < 0) {
                break;
            }
            n++;
        }
        return n;
    }

    /** Raises what is left of a group. */
    private boolean raise(int group) {
        Attachment attachment = groups.attachment(group);
        Lane lane = attachment.lane;
        if (lane == null) {
            throw new AssertionError("no lane");
        }
        boolean any = false;
        while (groups.raised[group] < groups.pages[group]) {
            int n = groups.raised[group];
            Result result = lane.producer.raise(
                    Groups.tag(attachment, group),
                    id,
                    attachment.pasid(),
                    group,
                    groups.base[group] + (long) n * Frames.BYTES,
                    groups.access[group],
                    n + 1 == groups.pages[group]);
            if (result == Result.FULL) {
                return any;
            }
            if (result != Result.OK) {
                abandon(group, lane, AccessResult.CLOSED);
                return true;
            }
            lane.staged = true;
            any = true;
            groups.raised[group] = n + 1;
            counters.add(CounterWords.PAGE_REQUESTS, 1);
        }
        raising = Groups.NONE;
        return true;
    }

    private void invalidate(long what) {
        counters.add(CounterWords.INVALIDATIONS, 1);
        int space = InvalidationLog.space(what);
        for (int i = 0; i < attachments.size(); i++) {
            Attachment attachment = attachments.at(i);
            if (attachment.space().number() != space) {
                continue;
            }
            if (InvalidationLog.isWholeSpace(what)) {
                tlb.removePasid(attachment.pasid());
            } else {
                tlb.remove(TlbKey.ofPasidPage(attachment.pasid(), what));
            }
        }
    }

    private void flushTlb() {
        counters.add(CounterWords.FLUSHES, 1);
        tlb.clear();
    }

    // Waiting.

    private boolean canMove() {
        return window.count(Window.READY) > 0 || !controls.isEmpty();
    }

    private boolean awaitMove(long limitNs) {
        Station mine = entered();
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
        boolean enters = !mine();
        if (enters) {
            enterSoon(address, pasid, access);
        }
        int slot = window.blocking;
        AccessResult result;
        long stoppedAt;
        try {
            if (closed) {
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
            if (closed) {
                throw new AccessFault(address, name(), pasid, access, AccessResult.CLOSED);
            }
            if (System.nanoTime() - start > iommu.config().limitNs()) {
                Thread who = owner.get();
                throw new IllegalStateException(
                        this + " was entered by thread \"" + (who == null ? "?" : who.getName()) + "\"");
            }
            Station own = iommu.stations().current();
            if (own != null) {
                own.quiesce();
            }
            Stations.pause(turn);
        }
    }

    private boolean mine() {
        return Thread.currentThread().equals(owner.get());
    }

    private Station entered() {
        Station mine = station;
        if (mine == null || !mine()) {
            throw new IllegalStateException(this + ": this thread has not entered it");
        }
        return mine;
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
