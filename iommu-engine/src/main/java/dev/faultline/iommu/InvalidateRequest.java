package dev.faultline.iommu;

/**
 * One request to a function to forget translations, from its sending to its end.
 *
 * <p>Threads: any. Lifetime: its tag is free for another request as soon as it has ended. Source: PCI Express Base Specification, ATS,
 * invalidate request and completion.
 */
public final class InvalidateRequest {
    /** How far it is. */
    public enum State {
        /** Sent; completions are missing. */
        PENDING,
        /** Completed: the function uses nothing any more of what it was to forget. Also where the function does not support the request. */
        COMPLETED,
        /** Nobody knows what the function still uses: it did not complete in time. */
        TIMED_OUT
    }

    private static final int ALL_COMPLETIONS = 8;

    final long deadlineNs;

    private final int tag;
    private final int pasid;
    private final long range;
    private final boolean global;
    private int completions;
    private volatile State state = State.PENDING;

    InvalidateRequest(int tag, int pasid, long range, boolean global, long deadlineNs) {
        this.tag = tag;
        this.pasid = pasid;
        this.range = range;
        this.global = global;
        this.deadlineNs = deadlineNs;
    }

    /**
     * Its ITag.
     *
     * @return 0 to 31
     */
    public int tag() {
        return tag;
    }

    /**
     * Whose translations.
     *
     * @return a PASID, or {@link dev.faultline.ring.FaultProducer#NO_PASID}
     */
    public int pasid() {
        return pasid;
    }

    /**
     * Which addresses.
     *
     * @return address and S, as ATS writes ranges
     */
    public long range() {
        return range;
    }

    /**
     * Whether it means every PASID.
     *
     * @return the bit G
     */
    public boolean global() {
        return global;
    }

    /**
     * How far it is. {@link AtsInterface#expire} looks at the time, this does not.
     *
     * @return the state
     */
    public State state() {
        return state;
    }

    /** Counts a completion, under the interface's lock; true if that was the last. */
    boolean completed(int count) {
        completions = (completions + 1) % ALL_COMPLETIONS;
        if (completions != count % ALL_COMPLETIONS) {
            return false;
        }
        state = State.COMPLETED;
        return true;
    }

    void end(State how) {
        state = how;
    }

    @Override
    public String toString() {
        return "invalidate request " + tag + ", PASID " + pasid + ", 0x" + Long.toHexString(range)
                + (global ? ", global" : "") + ": " + state;
    }
}
