package dev.faultline.ring;

import java.time.Duration;

/** A thread that belongs to something that is being closed. */
final class OwnThread {
    private OwnThread() {}

    /**
     * Waits for its end, also while interrupted, which the caller then is still.
     *
     * @param limitNs nanoseconds at most
     */
    static void join(Thread thread, long limitNs) {
        boolean interrupted = false;
        long end = System.nanoTime() + limitNs;
        for (long left = limitNs; left > 0 && thread.isAlive(); left = end - System.nanoTime()) {
            try {
                thread.join(Duration.ofNanos(left));
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
