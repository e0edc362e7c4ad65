package dev.faultline.iommu;

import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/** A request to the thread that has entered a device: run once by it, or called off once by who asked. */
final class Control {
    private static final int ASKED = 0;
    private static final int TAKEN = 1;
    private static final int DONE = 2;

    private final Runnable act;
    private final AtomicInteger state = new AtomicInteger();
    private @Nullable RuntimeException failure;

    Control(Runnable act) {
        this.act = act;
    }

    void run() {
        if (!state.compareAndSet(ASKED, TAKEN)) {
            return;
        }
        try {
            act.run();
        } catch (RuntimeException e) {
            failure = e;
        } finally {
            state.set(DONE);
        }
    }

    /** Whether it will never be run; false if that is too late. */
    boolean callOff() {
        return state.compareAndSet(ASKED, TAKEN);
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
