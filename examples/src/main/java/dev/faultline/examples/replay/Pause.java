package dev.faultline.examples.replay;

/** Waiting for a thread that is about to act. */
final class Pause {
    private Pause() {}

    /** Lets another thread have the core, if one wants it. Only how long it takes depends on that, never what happens. */
    @SuppressWarnings("ThreadPriorityCheck")
    static void letOthersRun() {
        Thread.yield();
    }
}
