package dev.faultline.iommu.iommufd;

import java.util.concurrent.locks.ReentrantLock;

/**
 * An address space of a program's: the kernel's IOAS.
 *
 * <p>Threads: any. Held by its page tables and accesses; mappings hold nothing.
 */
final class Ioas extends IommufdObject {
    /** Over making a page table of it, from its id to its being found: taken before a device group's lock. */
    final ReentrantLock tables = new ReentrantLock();

    @Override
    void destroy() {}
}
