package dev.faultline.iommu;

import com.google.errorprone.annotations.CheckReturnValue;
import dev.faultline.iommu.InvalidateRequest.State;
import dev.faultline.iommu.table.Translation;
import dev.faultline.iommu.table.WalkFault;
import dev.faultline.iommu.tlb.AtsRange;
import dev.faultline.ring.Clock;
import dev.faultline.ring.FaultProducer;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Address translation services between a function and the IOMMU: translation requests, and invalidations of the function's TLB with tag, completion and
 * time-out. Each function has one; the number of invalidations under way is bounded for a physical function and its virtual functions together.
 *
 * <p>Threads: any. Progress: {@link #invalidate} sends and does not wait; the function obeys between two accesses, at its next step, or at once if no thread
 * has entered it. {@link #await} waits, a bounded time. A handler on the thread that steps the function may wait for it: it is between two accesses, so
 * that thread obeys while it waits. Units: nanoseconds; ranges as ATS writes them. Source: PCI Express Base Specification, ATS.
 */
public final class AtsInterface {
    /** Tags there are, and the queue depth that a register says as 0. */
    public static final int TAGS = 32;

    private static final int MAX_STU = 31;
    private static final long USUAL_LIMIT_NS = 60_000_000_000L;

    private final Device device;
    private final DeviceTranslation function;
    private final DeviceGate gate;
    /** The physical function's, where the invalidations under way are counted. */
    private final AtsInterface physical;

    private final int queueDepth;

    private final @Nullable InvalidateRequest[] pending = new @Nullable InvalidateRequest[TAGS];
    private int underWay;
    private int nextTag;
    private int stu;
    private long unexpected;
    private long timedOut;
    private LongSupplier clockNs;
    private long limitNs = USUAL_LIMIT_NS;
    private volatile boolean answersInvalidations = true;

    AtsInterface(
            Device device,
            DeviceTranslation function,
            DeviceGate gate,
            @Nullable AtsInterface physical,
            int queueDepth,
            Clock clock) {
        this.device = device;
        this.function = function;
        this.gate = gate;
        this.physical = physical == null ? this : physical;
        this.queueDepth = queueDepth;
        this.clockNs = clock::nowNs;
    }

    /**
     * Lets the function use ATS, and have a TLB. A function begins like that.
     *
     * @param unit smallest translation unit: 4096 {@code <<} unit bytes, 0 to 31; a virtual function's is its physical function's
     * @throws IllegalArgumentException if {@code unit} is out of range, or another than the physical function's
     */
    public void enable(int unit) {
        Limits.inRange("unit", unit, 0, MAX_STU);
        if (physical != this && unit != physical.stu()) {
            throw new IllegalArgumentException("unit=" + unit + ": allowed the physical function's " + physical.stu());
        }
        synchronized (this) {
            stu = unit;
        }
        gate.perform(() -> function.useTlb(true));
    }

    /** Takes ATS from the function, and its TLB with what is in it: its accesses go to the IOMMU untranslated. */
    public void disable() {
        gate.perform(() -> function.useTlb(false));
    }

    /**
     * Whether the function may use ATS.
     *
     * @return true unless disabled
     */
    public boolean enabled() {
        return function.usesTlb();
    }

    /**
     * The smallest translation unit.
     *
     * @return 0 for 4096 bytes, 1 for 8192, and so on
     */
    public synchronized int stu() {
        return stu;
    }

    /**
     * How many invalidations may be under way.
     *
     * @return as the register says it: 0 is 32, or, for a virtual function, its physical function's
     */
    public int invalidateQueueDepth() {
        return physical != this || queueDepth == TAGS ? 0 : queueDepth;
    }

    /**
     * How long a function may take, and by which clock.
     *
     * @param ns a limit, 1 or more; 60 s unless told otherwise
     * @param clock gives nanoseconds
     */
    public synchronized void timeOut(long ns, LongSupplier clock) {
        Limits.inRange("ns", ns, 1, Long.MAX_VALUE);
        limitNs = ns;
        clockNs = clock;
    }

    /**
     * Asks for a translation, as the function does it; what is granted it may cache, and does.
     *
     * @param pasid the PASID, or {@link FaultProducer#NO_PASID}
     * @param address the bits below the smallest unit do not matter
     * @param noWrite NW: the function does not mean to write, so nothing is marked dirty for it
     * @param execute ER: it means to execute
     * @param privileged PMR: as a privileged request; only with PASID
     * @return the IOMMU's answer
     */
    public TranslationCompletion translate(
            int pasid, long address, boolean noWrite, boolean execute, boolean privileged) {
        TranslationCompletion[] answer = new TranslationCompletion[1];
        gate.perform(() -> answer[0] =
                translateNow(pasid, address, noWrite, execute, privileged && pasid != FaultProducer.NO_PASID));
        return answer[0];
    }

    private TranslationCompletion translateNow(
            int pasid, long address, boolean noWrite, boolean execute, boolean privileged) {
        if (!enabled()) {
            return new TranslationCompletion(TranslationCompletion.Status.UNSUPPORTED_REQUEST, 0);
        }
        long from = address & -1L << (Translation.PAGE_SHIFT + stu());
        int shift = privileged ? Translation.PRIVILEGED_SHIFT : 0;
        long word = function.request(pasid, from, noWrite, shift);
        if (word == 0 || (Translation.isFault(word) && isError(Translation.reason(word)))) {
            return new TranslationCompletion(TranslationCompletion.Status.COMPLETER_ABORT, 0);
        }
        int rights = Translation.isFault(word) ? 0 : Translation.rights(word) >>> shift;
        if ((rights & (Translation.READ | Translation.WRITE)) == 0) {
            return new TranslationCompletion(TranslationCompletion.Status.SUCCESSFUL, AtsRange.encode(0, stu()));
        }
        int size = Translation.sizeLg2(word) - Translation.PAGE_SHIFT;
        if (size < stu()) {
            return new TranslationCompletion(TranslationCompletion.Status.COMPLETER_ABORT, 0);
        }
        long entry = AtsRange.encode(Translation.page(word), size) | (rights & (Translation.READ | Translation.WRITE));
        entry |= execute && (rights & Translation.READ) != 0 && (rights & Translation.EXECUTE) != 0
                ? TranslationCompletion.EXECUTE
                : 0;
        entry |= privileged ? TranslationCompletion.PRIVILEGED : 0;
        return new TranslationCompletion(TranslationCompletion.Status.SUCCESSFUL, entry);
    }

    private static boolean isError(WalkFault reason) {
        return switch (reason) {
            case NOT_PRESENT, NO_READ, NO_WRITE, NO_EXECUTE, NO_USER, BEYOND_INPUT, INTERRUPT_WINDOW -> false;
            default -> true;
        };
    }

    /**
     * Tells the function to forget a range, as the IOMMU does it. Without PASID everything in the range goes, with PASID what belongs to it, with
     * {@code global} as well what belongs to any PASID.
     *
     * @param pasid the PASID, or {@link FaultProducer#NO_PASID}
     * @param range address and S; below the smallest unit, the whole unit
     * @param global the bit G, which means nothing without PASID
     * @return the request, or null if as many are under way as the queue is deep: {@link #expire} and try again
     */
    @CheckReturnValue
    public @Nullable InvalidateRequest invalidate(int pasid, long range, boolean global) {
        Limits.inRange("pasid", pasid, FaultProducer.NO_PASID, Device.MAX_PASID);
        if (!physical.reserve()) {
            return null;
        }
        InvalidateRequest sent;
        synchronized (this) {
            while (pending[nextTag] != null) {
                nextTag = (nextTag + 1) % TAGS;
            }
            sent = new InvalidateRequest(nextTag, pasid, range, global, clockNs.getAsLong() + limitNs);
            pending[nextTag] = sent;
            nextTag = (nextTag + 1) % TAGS;
        }
        gate.post(() -> receive(sent));
        return sent;
    }

    private synchronized boolean reserve() {
        if (underWay == queueDepth) {
            return false;
        }
        underWay++;
        return true;
    }

    private synchronized void release() {
        underWay--;
    }

    /** The function, between two accesses: those that used what it drops have moved their bytes. */
    private void receive(InvalidateRequest request) {
        if (!answersInvalidations) {
            return;
        }
        int size = Math.max(AtsRange.size(request.range()), stu());
        function.drop(request.pasid(), AtsRange.base(request.range()), size, request.global());
        // A PASID beyond its width is one that it does not support, and an unsupported request is as good as a
        // completed one.
        var _ = completion(device.requester(), 1 << request.tag(), 1);
    }

    /**
     * A completion that has arrived from the wire.
     *
     * @param requester who sent it
     * @param tags a bit for each ITag it completes
     * @param count completions that the function sends for each, 1 to 8, or 0 for 8
     * @return false if it is unexpected, in whole or in part: from another function, or for a tag that is not under way; that changes nothing
     */
    @CheckReturnValue
    public boolean completion(int requester, int tags, int count) {
        Limits.inRange("count", count, 0, 8);
        int ended = 0;
        boolean expected = requester == device.requester();
        synchronized (this) {
            for (int left = expected ? tags : 0; left != 0; left &= left - 1) {
                int tag = Integer.numberOfTrailingZeros(left);
                InvalidateRequest request = pending[tag];
                if (request == null) {
                    expected = false;
                } else if (request.completed(count)) {
                    pending[tag] = null;
                    ended++;
                }
            }
            unexpected += expected ? 0 : 1;
        }
        for (; ended > 0; ended--) {
            physical.release();
        }
        return expected;
    }

    /**
     * Ends requests whose time is over. Their tags are free, and completions for them are unexpected.
     *
     * @return how many
     */
    public int expire() {
        int ended = 0;
        synchronized (this) {
            long now = clockNs.getAsLong();
            for (int tag = 0; tag < TAGS; tag++) {
                InvalidateRequest request = pending[tag];
                if (request != null && now - request.deadlineNs >= 0) {
                    request.end(State.TIMED_OUT);
                    pending[tag] = null;
                    ended++;
                }
            }
            timedOut += ended;
        }
        for (int i = 0; i < ended; i++) {
            physical.release();
        }
        return ended;
    }

    /**
     * Waits for a request to end, and looks at the time meanwhile.
     *
     * @param request of this interface
     * @return how it ended, never {@link State#PENDING}
     * @throws IllegalStateException inside {@link Device#step}
     */
    public State await(InvalidateRequest request) {
        device.mayWait();
        for (int turn = 0; request.state() == State.PENDING; turn++) {
            var _ = expire();
            gate.whileWaiting(turn);
        }
        return request.state();
    }

    /**
     * Completions that belonged to no request.
     *
     * @return a count
     */
    public synchronized long unexpectedCompletions() {
        return unexpected;
    }

    /**
     * Requests that were not completed in time.
     *
     * @return a count
     */
    public synchronized long timeOuts() {
        return timedOut;
    }

    /** Whether the function completes invalidations; if not, it neither drops anything nor answers. */
    void answersInvalidations(boolean now) {
        answersInvalidations = now;
    }
}
