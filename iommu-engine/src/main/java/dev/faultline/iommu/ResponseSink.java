package dev.faultline.iommu;

/** Takes the responses to page requests that a driver has reported, see {@link Device#reportTo}. */
@FunctionalInterface
public interface ResponseSink {
    /**
     * A group is answered, or a request that nobody handles. By the thread that has entered the device, or reports: it returns soon, and
     * does nothing to the device.
     *
     * @param pasid of the group's last request, 0 if that had none
     * @param index the group's
     * @param last whether the request was the last of its group, which one that nobody handles need not be
     * @param code the answer
     */
    void responded(int pasid, int index, boolean last, ResponseCode code);
}
