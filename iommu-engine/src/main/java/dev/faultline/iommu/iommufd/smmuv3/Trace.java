package dev.faultline.iommu.iommufd.smmuv3;

/**
 * Is shown what crosses the line between the SMMU and its driver, with physical ids, as a wire would show it. Not what stalls: that goes to
 * fault queues.
 *
 * <p>Threads: any, several at once; a command by the thread that gives it, an event by the one that has entered the device. It must neither wait
 * nor call back.
 */
public interface Trace {
    /**
     * The SMMU is given a command, after what a guest wrote in it was made the host's.
     *
     * @param first bits 63 to 0
     * @param second bits 127 to 64
     */
    default void command(long first, long second) {}

    /**
     * The SMMU writes an event record.
     *
     * @param first bits 63 to 0
     * @param second bits 127 to 64
     * @param third bits 191 to 128
     * @param fourth bits 255 to 192
     */
    default void event(long first, long second, long third, long fourth) {}
}
