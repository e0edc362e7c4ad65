package dev.faultline.iommu.iommufd;

/** What may be tried until it is done, and is done once. Threads: any; one tries at a time. */
final class Once {
    /** Written under this; who reads a stale false acts as if it had come earlier. */
    private volatile boolean done;

    synchronized void run(Runnable body) {
        if (!done) {
            body.run();
            done = true;
        }
    }

    boolean isDone() {
        return done;
    }
}
