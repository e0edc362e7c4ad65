package dev.faultline.examples.replay;

import java.lang.management.ManagementFactory;

/** How much a thread has allocated on the heap, as the Java runtime counts it. Any thread. */
final class AllocatedBytes {
    private static final com.sun.management.ThreadMXBean THREADS =
            (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();

    private AllocatedBytes() {}

    static long ofCurrentThread() {
        return THREADS.getCurrentThreadAllocatedBytes();
    }

    static long of(Thread thread) {
        return Math.max(0, THREADS.getThreadAllocatedBytes(thread.threadId()));
    }
}
