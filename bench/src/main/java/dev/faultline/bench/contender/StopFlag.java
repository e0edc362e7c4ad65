package dev.faultline.bench.contender;

import dev.faultline.ffm.PaddedBefore;

/**
 * Tells a responder that the slice is over.
 *
 * <p>Threads: one raises it, another looks. Responders look only while they have nothing to do, so a busy one never pays for it.
 */
public abstract sealed class StopFlag extends PaddedBefore {

    private volatile boolean raised;

    /**
     * A flag that is down.
     *
     * @return the flag
     */
    public static StopFlag create() {
        return new Alone();
    }

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

    @SuppressWarnings("unused") // they are there to take room
    private static final class Alone extends StopFlag {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;
    }
}
