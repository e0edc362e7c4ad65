package dev.faultline.iommu;

/**
 * Is told of accesses that end because an address could not be translated, and nobody is asked for the page: what hardware records as
 * a fault.
 *
 * <p>Threads: the one that has entered the device, inside {@link Device#step}; it must neither start accesses nor unmap.
 */
@FunctionalInterface
public interface TranslationFaultSink {
    /**
     * An access ends.
     *
     * @param table through which it was translated
     * @param pasid its PASID, or {@link dev.faultline.ring.FaultProducer#NO_PASID}
     * @param address the first byte that was not moved
     * @param access what it wanted: the bits of a fault record's permissions
     * @param why how it ends
     * @param fault what the walk found, for who makes a record of it as hardware does: a word of {@code dev.faultline.iommu.table.Translation}
     */
    void failed(PageTable table, int pasid, long address, int access, AccessResult why, long fault);
}
