package dev.faultline.iommu;

import dev.faultline.ring.FaultProducer;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Who translates through an address space.
 *
 * <p>Threads: any. Adding and removing take a lock and cost the same for one attachment and for a million; {@link #wants} and {@link
 * #withPasid} take none, and look at devices, not at attachments.
 */
final class SpaceAttachments {
    private final Set<Attachment> all = new HashSet<>();
    private final Map<Device, Integer> perDevice = new HashMap<>();

    /** Those of {@link #perDevice}. Written under the lock; read by those who evict, after the table entry: a device that is missing
     * here was attached later, and its accesses see the changed table. */
    private volatile Device[] devices = {};

    private final AtomicInteger pasids = new AtomicInteger();

    synchronized void add(Attachment attachment) {
        all.add(attachment);
        if (perDevice.merge(attachment.device(), 1, Integer::sum) == 1) {
            devices = perDevice.keySet().toArray(Device[]::new);
        }
        count(attachment, 1);
    }

    synchronized void remove(Attachment attachment) {
        if (!all.remove(attachment)) {
            return;
        }
        if (perDevice.merge(attachment.device(), -1, Integer::sum) == 0) {
            perDevice.remove(attachment.device());
            devices = perDevice.keySet().toArray(Device[]::new);
        }
        count(attachment, -1);
    }

    synchronized List<Attachment> all() {
        return List.copyOf(all);
    }

    /** Whether any of them is for a PASID. */
    boolean withPasid() {
        return pasids.get() > 0;
    }

    /** Whether an access of any device has asked for a page and not gone on yet. */
    boolean wants(long key) {
        for (Device device : devices) {
            if (device.wants(key)) {
                return true;
            }
        }
        return false;
    }

    private void count(Attachment attachment, int by) {
        if (attachment.pasid() != FaultProducer.NO_PASID) {
            pasids.addAndGet(by);
        }
    }
}
