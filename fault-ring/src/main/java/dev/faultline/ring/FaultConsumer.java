package dev.faultline.ring;

import com.google.errorprone.annotations.CheckReturnValue;
import java.lang.foreign.MemorySegment;
import java.util.Set;

/**
 * The consumer's half of a source of page faults: reads are posted ahead, groups complete them, answers go back by cookie.
 *
 * <p>Threads: one, the first that calls, platform or virtual; only {@link #answerLater} and {@link #wake} are for any thread. Ownership: who
 * gets it closes it; closing answers nobody, the queue does that. Progress: wait-free, but for {@link #await} and {@link
 * #take}, which wait as the queue was told to. Nothing is allocated between {@code post} and {@code answer}. Errors: the
 * {@link Result} of each call; a call from a second thread throws {@link IllegalStateException}, a null {@link
 * NullPointerException}.
 *
 * <p>A group completes one read, whole. An answer is staged; it leaves with {@link #submit}, {@link #poll} or {@link
 * #await}, with all others staged by then.
 */
public interface FaultConsumer extends AutoCloseable {
    /** The lowest opcode of a {@link #command}. */
    int FIRST_COMMAND = 64;

    /** The highest opcode of a {@link #command}. */
    int LAST_COMMAND = 255;

    /** How large the payload of a {@link #command} may be. */
    int MOST_PAYLOAD_BYTES = 64;

    /**
     * Posts reads: room for that many groups, on every lane the queue has, and on each lane that joins later, until the next
     * post. A lane that cannot hold as many more keeps what it has.
     *
     * @param userData given back with each completion
     * @param reads how many, 1 or more
     * @return {@link Result#OK}; {@link Result#FULL} if no lane could hold as many more: nothing was posted; {@link
     *     Result#CLOSED}
     * @throws IllegalArgumentException if {@code reads} is below 1
     */
    @CheckReturnValue
    Result post(long userData, int reads);

    /**
     * Answers a group.
     *
     * @param cookie the group's
     * @param code the answer; {@link Answer#LATER} leaves the group open for {@link #answerLater}
     * @return {@link Result#OK}; {@link Result#STALE} if no such group waits; {@link Result#CLOSED}. Never refused for want of
     *     room
     */
    @CheckReturnValue
    Result answer(int cookie, Answer code);

    /**
     * Answers a group and posts the read it used once more, on the lane it came from.
     *
     * @param cookie the group's
     * @param code the answer; {@link Answer#LATER} only posts the read again
     * @return as {@link #answer}. Whatever it is but {@link Result#CLOSED}, the read is posted if the group was given to this
     *     consumer and its read has neither been posted again nor given up by {@link #answer}, no later group was given in the
     *     same slot, and the lane has room: inside a handler that means always
     */
    @CheckReturnValue
    Result answerAndRepost(int cookie, Answer code);

    /**
     * Answers a group from any thread. Where two threads call it for one cookie, one gets {@link Result#OK}.
     *
     * @param cookie the group's
     * @param code {@link Answer#SUCCESS} or {@link Answer#INVALID}
     * @return as {@link #answer}
     * @throws IllegalArgumentException if {@code code} is {@link Answer#LATER}
     */
    @CheckReturnValue
    Result answerLater(int cookie, Answer code);

    /**
     * Takes back the reads that were posted with some user data and have no group yet. Each lane ends them with one {@link
     * CompletionHandler#ended}; groups delivered before come first.
     *
     * @param userData which reads
     * @return {@link Result#OK}, {@link Result#FULL} if too many cancels are under way, {@link Result#CLOSED}
     */
    @CheckReturnValue
    Result cancel(long userData);

    /**
     * Takes back all reads that have no group yet. Each lane ends them with one {@link CompletionHandler#ended}, whose user
     * data is 0.
     *
     * @return as {@link #cancel}
     */
    @CheckReturnValue
    Result cancelAll();

    /**
     * Does nothing, and comes back: a lane ends it with one {@link CompletionHandler#ended}, {@link Result#OK}, after everything
     * submitted to that lane before. Shows that whoever uses the producer polls.
     *
     * @param userData given back
     * @return {@link Result#OK}, {@link Result#FULL} if no lane has room for it, {@link Result#CLOSED}
     */
    @CheckReturnValue
    Result nop(long userData);

    /**
     * Sends a command to the engine behind a lane. It is done in order with the answers to the groups of that lane, and ends with
     * one {@link CompletionHandler#ended}: {@link Result#OK} and what the engine returned, or {@link Result#REFUSED}.
     *
     * @param cookie of any group of the lane, answered or not
     * @param opcode {@link #FIRST_COMMAND} to {@link #LAST_COMMAND}; what it means is the engine's business
     * @param userData given back
     * @param payload up to {@link #MOST_PAYLOAD_BYTES} bytes, a multiple of 4, copied before this returns
     * @return {@link Result#OK}; {@link Result#FULL} if too much is under way; {@link Result#STALE} if the cookie names no lane that
     *     is there, or this source has no engine behind it; {@link Result#CLOSED}
     * @throws IllegalArgumentException if {@code opcode} or the size of {@code payload} is not allowed
     */
    @CheckReturnValue
    Result command(int cookie, int opcode, long userData, MemorySegment payload);

    /**
     * Sends what is staged.
     *
     * @return how many submissions were sent
     */
    int submit();

    /**
     * Submits, then hands over what has completed. Never waits.
     *
     * @param handler takes the completions
     * @param limit how many at most, 0 or more; with 0 it only submits
     * @return how many were handed over
     * @throws IllegalArgumentException if {@code limit} is below 0
     */
    int poll(CompletionHandler handler, int limit);

    /**
     * Polls until enough has been handed over.
     *
     * @param handler takes the completions
     * @param atLeast how many have to be handed over, 0 or more
     * @param limitNs nanoseconds to wait at most; with 0 or less it looks once
     * @return {@link Result#OK}, {@link Result#TIMED_OUT}, {@link Result#WOKEN}, or {@link Result#CLOSED} once the queue is
     *     closed and nothing is left to hand over
     * @throws IllegalArgumentException if {@code atLeast} is below 0
     */
    @CheckReturnValue
    Result await(CompletionHandler handler, int atLeast, long limitNs);

    /**
     * Waits for one group, for a thread that likes to block. Reads that end are passed over.
     *
     * @param into shows the group, until the next call on this consumer
     * @param limitNs nanoseconds to wait at most; with 0 or less it looks once
     * @return {@link Result#OK}, {@link Result#TIMED_OUT}, {@link Result#WOKEN}, {@link Result#CLOSED}
     */
    @CheckReturnValue
    Result take(FaultGroup into, long limitNs);

    /** Ends a wait that is under way, or the next one, with {@link Result#WOKEN}. Any thread. */
    void wake();

    /**
     * Hands every group to a handler on a thread of its own, which posts the reads, answers and posts again.
     *
     * @param handler decides
     * @return the running worker; from here on this consumer is its own
     */
    FaultWorker run(FaultHandler handler);

    /**
     * Hands all groups that are there at once to a handler, on a thread of its own, which posts the reads, answers and posts
     * again. Waits for the first group of a batch, never for more.
     *
     * @param handler decides
     * @param most groups in a batch, 1 to the number of reads that can be posted at once; the worker keeps memory for as many of
     *     the largest
     * @return the running worker; from here on this consumer is its own
     * @throws IllegalArgumentException if {@code most} is outside its range
     */
    FaultWorker run(BatchHandler handler, int most);

    /**
     * What became of every group.
     *
     * @return the counts of this moment. Any thread
     */
    Accounting accounting();

    /**
     * What this source promises beyond this contract.
     *
     * @return the guarantees
     */
    Set<Guarantee> guarantees();

    /** Leaves the queue. Groups that were delivered stay open until the deadline or the queue's close. */
    @Override
    void close();
}
