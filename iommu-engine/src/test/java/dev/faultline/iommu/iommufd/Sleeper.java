package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.CountDownLatch;

/** A thread that has entered a device, and steps no more. */
final class Sleeper implements AutoCloseable {
    private final CountDownLatch leave = new CountDownLatch(1);
    private final Thread thread;

    Sleeper(EngineDevice device) throws InterruptedException {
        CountDownLatch entered = new CountDownLatch(1);
        thread = Thread.ofPlatform().start(() -> {
            assertTrue(device.device().enter());
            entered.countDown();
            try {
                leave.await();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            device.device().leave();
        });
        entered.await();
    }

    /** The thread leaves. */
    @Override
    public void close() {
        leave.countDown();
        while (thread.isAlive()) {
            Thread.onSpinWait();
        }
    }
}
