package dev.faultline.bench.contender;

import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.Result;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** Waits in {@code await}, and so sleeps before each request. */
final class ParkedResponder extends QueueResponder.Alone {

    private static final long LIMIT_NS = TimeUnit.SECONDS.toNanos(10);

    /** How long it has been asleep before it is woken: a core that has just become idle wakes faster. */
    private static final long SETTLE_NS = 200_000;

    private int served;
    private @Nullable HotThread self;

    /** Null until the responder's thread is about to wait, and again when it has returned from its slice. */
    private volatile @Nullable HotThread waiter;

    /**
     * A responder that has not waited yet.
     *
     * @param queue whose consumer it is
     */
    ParkedResponder(FaultQueue queue) {
        super(queue);
    }

    @Override
    public void begin() {
        super.begin();
        if (self == null) {
            self = HotThread.current(-1);
        }
        waiter = self;
    }

    @Override
    public int serve() {
        served = 0;
        Result result = consumer().await(this, 1, LIMIT_NS);
        if (result == Result.WOKEN) {
            waiter = null;
        }
        return served;
    }

    @Override
    public void group(long userData, FaultGroup group) {
        super.group(userData, group);
        served++;
    }

    @Override
    public void awaitIdle() {
        while (!isAsleep()) {
            Thread.onSpinWait();
        }
        long begun = System.nanoTime();
        while (System.nanoTime() - begun < SETTLE_NS) {
            Thread.onSpinWait();
        }
    }

    private boolean isAsleep() {
        HotThread thread = waiter;
        return thread != null && thread.isAsleep();
    }

    @Override
    public void wake() {
        consumer().wake();
    }

    @Override
    public boolean sleeps() {
        return true;
    }
}
