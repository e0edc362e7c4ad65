package dev.faultline.iommu;

import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/** A request to the thread that has entered a device: run once by it, or called off once by who asked, who may instead wait no longer. */
final class Control {
    private static final int ASKED = 0;
    private static final int TAKEN = 1;
    private static final int DONE = 2;
    private static final int LEFT = 3;

    private final Runnable act;
    private final @Nullable Runnable later;
    private final AtomicInteger state = new AtomicInteger();
    private @Nullable RuntimeException failure;

    Control(Runnable act) {
        this(act, null);
    }

    /**
     * A request that may be left to the thread inside.
     *
     * @param later what is due then, after it
     */
    Control(Runnable act, @Nullable Runnable later) {
        this.act = act;
        this.later = later;
    }

    void run() {
        if (state.compareAndSet(ASKED, TAKEN)) {
            try {
                act.run();
            } catch (RuntimeException e) {
                failure = e;
            } finally {
                state.set(DONE);
            }
        } else if (later != null && state.compareAndSet(LEFT, DONE)) {
            act.run();
            later.run();
        }
    }

    /** Whether it will never be run; false if that is too late. */
    boolean callOff() {
        return state.compareAndSet(ASKED, TAKEN);
    }

    /** Leaves it to the thread inside; false if that has taken it. */
    boolean leave() {
        return state.compareAndSet(ASKED, LEFT);
    }

    boolean done() {
        return state.get() == DONE;
    }

    void rethrow() {
        if (failure != null) {
            throw failure;
        }
    }
}
