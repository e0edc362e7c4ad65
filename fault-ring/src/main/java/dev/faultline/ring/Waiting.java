package dev.faultline.ring;

/**
 * How both ends of a queue wait for each other: latency against processor time, chosen where the queue is made.
 *
 * <p>Whichever it is, nothing is lost: only the time until a thread notices differs. Figures are in {@code docs/ring.md}. A
 * virtual thread keeps its carrier while it looks, and gives it up where it lets other threads run and where it sleeps; nothing
 * pins it.
 */
public enum Waiting {
    /**
     * Looks again at once, and lets other threads run after about a millisecond only, then every 64 looks. Quickest;
     * takes a core for each end, idle or not. Ends that have to share one wait that millisecond for each other.
     */
    SPIN,
    /** Lets other threads run between two looks. Takes a core for each end, idle or not, that nobody else wants. */
    YIELD,
    /**
     * Looks again for some 20 to 50 us, then sleeps until woken. Takes a core for each end while it has work, and nothing while it
     * is idle; waking a sleeper costs about 50 us.
     */
    SPIN_THEN_PARK,
    /**
     * As {@link #SPIN_THEN_PARK}, but the consumer sleeps on an eventfd, which may also be waited for together with other descriptors:
     * {@link FaultQueue#wakeDescriptor}. A wait takes whole milliseconds, and a virtual thread that sleeps so keeps its carrier. Needs
     * Linux and native access.
     */
    EVENTFD;

    /** What {@link #idle} returns when it is time to sleep. */
    static final int SLEEP = -1;

    // A spin of some 20 to 50 us: below what waking costs, so that sleeping too early costs no more than it saves.
    private static final int LOOKS_BEFORE_SLEEP = 1_000;
    private static final int LOOKS_BEFORE_YIELD = 20_000;
    private static final int YIELD_EVERY = 64;

    /**
     * Whether a thread that waits for long sleeps.
     *
     * @return false for {@link #SPIN} and {@link #YIELD}
     */
    public boolean sleeps() {
        return this == SPIN_THEN_PARK || this == EVENTFD;
    }

    /**
     * Lets some time pass after a look that found nothing.
     *
     * @param looks 0 at first, then what the last call returned
     * @return the looks counted, or {@link #SLEEP}
     */
    int idle(int looks) {
        if (this == YIELD) {
            Thread.yield();
            return (looks + 1) & Integer.MAX_VALUE;
        }
        if (sleeps() && looks >= LOOKS_BEFORE_SLEEP) {
            return SLEEP;
        }
        if (looks >= LOOKS_BEFORE_YIELD) {
            // Where threads outnumber cores, the one waited for may be among those that get to run now.
            Thread.yield();
            return looks - YIELD_EVERY;
        }
        Thread.onSpinWait();
        return looks + 1;
    }
}
