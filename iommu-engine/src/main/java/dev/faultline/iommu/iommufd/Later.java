package dev.faultline.iommu.iommufd;

import java.util.concurrent.atomic.AtomicInteger;

/**
 * What is due once several devices have done something: at the end of the call that asks for it, or, where threads that have entered devices
 * do not step them within the limit, once they do. Until then a context holds what is to be let go.
 *
 * <p>Threads: the one that makes it asks and {@linkplain #finish finishes}; the last one that is done runs it, or, where that would have to
 * wait for the address space's page tables, who holds these. It is used once.
 */
final class Later {
    /** Asks a device; false if it does what it is asked later, and runs this then. */
    @FunctionalInterface
    interface Asked {
        boolean ask(Runnable later);
    }

    private final Context context;
    private final Hwpt leaving;

    /** Those that are not done, and whoever asks. */
    private final AtomicInteger left = new AtomicInteger(1);

    private Runnable due = () -> {};

    /**
     * Asks nobody yet.
     *
     * @param leaving what is to be let go
     */
    Later(Context context, Hwpt leaving) {
        this.context = context;
        this.leaving = leaving;
    }

    /** Asks a device. */
    void await(Asked asked) {
        left.getAndIncrement();
        if (asked.ask(this::lateOne)) {
            left.getAndDecrement();
        }
    }

    /** All are asked. */
    void finish(Runnable then) {
        due = then;
        if (left.get() == 1) {
            then.run();
            return;
        }
        context.awaits();
        lateOne();
    }

    private void lateOne() {
        if (left.decrementAndGet() > 0) {
            return;
        }
        if (leaving instanceof HwptPaging paging && paging.isAutomatic()) {
            // That may destroy it, and a device's thread does not wait for who holds the lock until memory comes.
            paging.ioas().whenFree(this::last);
        } else {
            last();
        }
    }

    private void last() {
        due.run();
        context.awaitedOne();
    }
}
