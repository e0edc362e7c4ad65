package dev.faultline.ring;

import com.google.errorprone.annotations.CheckReturnValue;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.Region;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * The groups that a {@link BatchHandler} is given together, in the order in which its consumer was given them.
 *
 * <p>Threads: the worker's. Ownership and lifetime: the records are copies in the worker's memory, so they are valid however long
 * the handler takes; the batch and its groups show others when it has returned. Progress: wait-free; nothing is allocated. A
 * group costs one copy of its records. Errors: an index outside the batch throws {@link IndexOutOfBoundsException}.
 */
public final class FaultBatch {
    private final FaultConsumer consumer;
    private final Region region;
    private final MemorySegment memory;
    private final FaultGroup[] groups;

    /** By group: the handler has said what becomes of it. */
    private final boolean[] answered;

    private int size;
    private long used;

    FaultBatch(FaultConsumer consumer, int most, int largestGroup) {
        this.consumer = consumer;
        this.region = Region.allocate((long) most * largestGroup * PageFaultLayout.SIZE);
        this.memory = region.segment();
        this.groups = new FaultGroup[most];
        Arrays.setAll(groups, i -> new FaultGroup());
        this.answered = new boolean[most];
    }

    /**
     * How many groups there are.
     *
     * @return 1 or more, up to what the worker was started with
     */
    public int size() {
        return size;
    }

    /**
     * One of the groups.
     *
     * @param i which, 0 to size - 1
     * @return a view of its records
     */
    public FaultGroup group(int i) {
        check(i);
        return groups[i];
    }

    /**
     * Answers one of the groups; those that are left get what the handler returns. The answer leaves when the handler has returned.
     *
     * @param i which, 0 to size - 1
     * @param code the answer; {@link Answer#LATER} leaves the group open for {@link FaultConsumer#answerLater}
     * @return {@link Result#OK}; {@link Result#STALE} if the group is answered, by an earlier call or automatically; {@link
     *     Result#CLOSED}
     */
    @CheckReturnValue
    public Result answer(int i, Answer code) {
        check(i);
        if (answered[i]) {
            return Result.STALE;
        }
        Result result = consumer.answerAndRepost(groups[i].cookie(), code);
        answered[i] = true;
        return result;
    }

    private void check(int i) {
        if (i < 0 || i >= size) {
            throw new IndexOutOfBoundsException("i=" + i + ": allowed 0 to " + (size - 1));
        }
    }

    // ---- the worker's ----

    boolean isAnswered(int i) {
        return answered[i];
    }

    /** How many more groups the batch takes. */
    int room() {
        return groups.length - size;
    }

    void clear() {
        Arrays.fill(answered, 0, size, false);
        size = 0;
        used = 0;
    }

    void add(FaultGroup group) {
        groups[size++].keep(group, memory, used);
        used += (long) group.size() * PageFaultLayout.SIZE;
    }

    void free() {
        size = 0;
        region.close();
    }

    @Override
    public String toString() {
        return "FaultBatch" + Arrays.asList(groups).subList(0, size);
    }
}
