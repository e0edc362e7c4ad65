package dev.faultline.ring;

import com.google.errorprone.annotations.CheckReturnValue;
import java.util.List;
import java.util.function.LongPredicate;

/**
 * The producer's half of a fault queue: one lane, on which a device model raises page requests and is told the answers.
 *
 * <p>Threads: one at a time. A thread that is about to raise or poll calls {@link #enter}, and {@link #leave} when it stops;
 * in between it has to poll, for nobody else may act on the lane. {@link #enter} is the only step that costs; nothing is paid
 * for a fault. Ownership: who gets it closes it; {@link FaultQueue#close} closes what is left. Progress: wait-free, but for
 * {@link #await}. Nothing is allocated, no lock is taken. Errors: the {@link Result} of each call; a call by a thread that has
 * not entered throws {@link IllegalStateException}.
 */
public interface FaultProducer extends AutoCloseable {
    /** The PASID of a request that has none. */
    int NO_PASID = -1;

    /**
     * Makes the calling thread the one that uses this producer.
     *
     * @return false if another thread has entered and not left
     * @throws IllegalStateException if the calling thread itself has entered
     */
    @CheckReturnValue
    boolean enter();

    /** Publishes what is staged and lets other threads in. */
    void leave();

    /**
     * Raises a page request. Requests of one device with one group index form a group, which the last of them makes whole; a
     * whole group completes a posted read, or waits for one. Requests are staged, and published by {@link #flush}, by {@link
     * #poll}, or when a batch is full.
     *
     * @param tag handed to the answer sink; that of the last request counts
     * @param device the device's id
     * @param pasid 0 to 2^20 - 1, or {@link #NO_PASID}
     * @param group the device's index for the group, 0 or more
     * @param address what faulted
     * @param access bits of {@link dev.faultline.ffm.PageFaultLayout}, {@code PERM_READ} and so on
     * @param length how many bytes from the address the device would like, as a hint; 0 when it says nothing
     * @param last whether the group is whole with this request
     * @return {@link Result#OK}; {@link Result#FULL} if as many groups are open as were allocated: nothing was raised; {@link
     *     Result#SHORT_BUFFER} if the group has become larger than the queue's largest: all of it is dropped, nothing is
     *     answered, and nothing more of it may be raised; {@link Result#CLOSED}
     * @throws IllegalArgumentException if {@code pasid}, {@code group} {@code access} or {@code length} is outside its range
     */
    @CheckReturnValue
    Result raise(long tag, int device, int pasid, int group, long address, int access, int length, boolean last);

    /**
     * {@link #raise(long, int, int, int, long, int, int, boolean)} without a hint.
     *
     * @param tag handed to the answer sink; that of the last request counts
     * @param device the device's id
     * @param pasid 0 to 2^20 - 1, or {@link #NO_PASID}
     * @param group the device's index for the group, 0 or more
     * @param address what faulted
     * @param access bits of {@link dev.faultline.ffm.PageFaultLayout}, {@code PERM_READ} and so on
     * @param last whether the group is whole with this request
     * @return as there
     */
    @CheckReturnValue
    default Result raise(long tag, int device, int pasid, int group, long address, int access, boolean last) {
        return raise(tag, device, pasid, group, address, access, 0, last);
    }

    /**
     * Raises a page request as it came, for a device model whose numbers nobody checks, such as the one of a driver that hands on what
     * it is given.
     *
     * @param tag handed to the answer sink; that of the last request counts
     * @param flags of {@link dev.faultline.ffm.PageFaultLayout}, {@code FLAG_LAST_PAGE} and so on; others are handed on too
     * @param device the device's id
     * @param pasid any
     * @param group the device's index for the group, any
     * @param address what faulted
     * @param access any
     * @return as {@link #raise(long, int, int, int, long, int, int, boolean)}
     */
    @CheckReturnValue
    Result raiseAsIs(long tag, int flags, int device, int pasid, int group, long address, int access);

    /** Publishes what is staged. */
    void flush();

    /**
     * Publishes, takes answers to the sink, gives waiting groups to reads that were posted since, and answers what is
     * overdue. Never waits.
     *
     * @return how many groups were answered
     */
    int poll();

    /**
     * Publishes and waits, as the queue was told to, until {@link #poll} would find something.
     *
     * @param limitNs nanoseconds at most
     * @return false if the time ran out
     */
    @CheckReturnValue
    boolean await(long limitNs);

    /**
     * {@link #await} on several producers at once, for a thread that steps several devices.
     *
     * @param entered producers the calling thread has entered, 1 or more
     * @param limitNs nanoseconds at most
     * @return false if the time ran out
     * @throws IllegalArgumentException if the list is empty or has a producer that no {@link FaultQueue} made
     */
    @CheckReturnValue
    static boolean awaitAny(List<? extends FaultProducer> entered, long limitNs) {
        return LaneWait.await(entered, limitNs);
    }

    /**
     * Answers the open groups with certain tags {@link Answer#INVALID}, telling the sink, and drops those that are not whole
     * ({@link DropRule#ABANDONED}).
     *
     * @param tags which groups; of one that is not whole, the tag of its newest request
     * @param why the reason it is counted under
     * @return how many groups were answered
     */
    int revoke(LongPredicate tags, AutoAnswer why);

    /**
     * For a producer that nobody steps: has something run whenever the queue's consumer has submitted reads or answers for it, which is to
     * {@link #enter} and {@link #poll}, if nobody else is inside. The queue's file-like door does not call it: who writes there tells devices himself.
     *
     * @param attendant run by the thread that submits, maybe inside its {@code poll}; does not wait
     */
    void attend(Runnable attendant);

    /**
     * How many groups may be open at once.
     *
     * @return the allocation this producer was made with
     */
    int allocation();

    /**
     * Answers what is open {@link Answer#INVALID} ({@link AutoAnswer#DETACH}), telling the sink where the calling thread has
     * entered or nobody has, and leaves the queue. Waits a bounded time for a thread that has entered.
     */
    @Override
    void close();
}
