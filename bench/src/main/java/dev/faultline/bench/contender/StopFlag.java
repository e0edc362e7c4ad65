package dev.faultline.bench.contender;

/**
 * Tells a responder that the slice is over.
 *
 * <p>Threads: one raises it, another looks. Responders look only while they have nothing to do, so a busy one never pays for it.
 */
public final class StopFlag {

    private volatile boolean raised;

    /** Asks the responder to return once it finds nothing to do. */
    public void raise() {
        raised = true;
    }

    /** Makes it ready for the next slice; only while no responder runs. */
    public void lower() {
        raised = false;
    }

    /**
     * Whether the responder should return.
     *
     * @return true once raised
     */
    public boolean isRaised() {
        return raised;
    }
}
