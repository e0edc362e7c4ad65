package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.Areas;
import dev.faultline.iommu.QuiescenceTimeout;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.locks.ReentrantLock;

/**
 * An address space of a program's: the kernel's IOAS.
 *
 * <p>Threads: any. Held by its page tables and accesses; mappings hold nothing.
 */
final class Ioas extends IommufdObject {
    /** Over making a page table of it, from its id to its being found: taken before a device's lock. */
    private final ReentrantLock tables = new ReentrantLock();

    /** What waits for {@link #tables}, instead of a thread. */
    private final Queue<Runnable> waiting = new ConcurrentLinkedQueue<>();

    private final Areas areas = new Areas();

    /** Its page tables, the oldest first; under {@link #tables}. */
    private final List<HwptPaging> paging = new ArrayList<>();

    void lock() {
        tables.lock();
    }

    void unlock() {
        tables.unlock();
        serve();
    }

    /** Runs something under the lock: now, or, while somebody holds it, by that one at its end. */
    void whenFree(Runnable act) {
        waiting.add(act);
        serve();
    }

    /** Who adds looks for the lock after, and who has unlocked looks for what was added: one of them finds the other. */
    private void serve() {
        while (!waiting.isEmpty() && tables.tryLock()) {
            try {
                for (Runnable next = waiting.poll(); next != null; next = waiting.poll()) {
                    next.run();
                }
            } finally {
                tables.unlock();
            }
        }
    }

    /** What it maps. */
    Areas areas() {
        return areas;
    }

    List<HwptPaging> paging() {
        return paging;
    }

    @Override
    void destroy() {
        try {
            var _ = areas.unmapAll();
        } catch (QuiescenceTimeout e) {
            // It is unmapped all the same. What a thread that does not step may use is not given back.
        }
    }
}
