package dev.faultline.examples.cli;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Ctrl-C and SIGTERM: what runs is told to stop, and the process ends once it has said how far it came.
 *
 * <p>Threads: any. Lifetime: from {@link #watch} to {@link #close}; the process ends at most {@link #LIMIT_MS} after the
 * signal, said or not. The Java runtime itself gives the exit status, 130 or 143.
 */
public final class Interruption implements AutoCloseable {
    /** How long the end of the process waits for the last words. */
    public static final long LIMIT_MS = 900;

    private final CountDownLatch said = new CountDownLatch(1);
    private volatile Runnable stop = () -> {};
    private final Thread hook = new Thread(this::interrupt, "interruption");
    private volatile boolean requested;

    private Interruption() {}

    private void interrupt() {
        requested = true;
        stop.run();
        try {
            boolean _ = said.await(LIMIT_MS, TimeUnit.MILLISECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /**
     * Begins to watch.
     *
     * @return to be closed when the last word is said, and everything is tidied up
     */
    public static Interruption watch() {
        Interruption it = new Interruption();
        Runtime.getRuntime().addShutdownHook(it.hook);
        return it;
    }

    /**
     * Says what is to be stopped from here on.
     *
     * @param act asks the work to stop, and returns at once
     */
    public void stops(Runnable act) {
        stop = act;
        if (requested) {
            act.run();
        }
    }

    /**
     * Whether the process is being ended.
     *
     * @return true from the signal on
     */
    public boolean requested() {
        return requested;
    }

    /** The last word is said. */
    @Override
    public void close() {
        said.countDown();
        try {
            boolean _ = Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            // The process is ending already: the hook runs, and has just been let go.
        }
    }
}
