package dev.faultline.iommu;

import dev.faultline.ring.FaultProducer;
import java.util.List;

/**
 * Attaches, replaces and detaches. Each change has two halves: what may fail, which leaves everything as it was, and what may not.
 *
 * <p>Threads: the one that has entered the device.
 */
final class AttachmentChanges {
    private final Device device;
    private final Window window;
    private final Attachments attachments;
    private final DeviceTranslation translation;
    private final PageRequestPort port;
    private final PageRequests requests;

    AttachmentChanges(
            Device device,
            Window window,
            Attachments attachments,
            DeviceTranslation translation,
            PageRequestPort port,
            PageRequests requests) {
        this.device = device;
        this.window = window;
        this.attachments = attachments;
        this.translation = translation;
        this.port = port;
        this.requests = requests;
    }

    Attachment attach(PageTable table, int pasid) {
        if (attachments.own(pasid) != null) {
            throw new IllegalStateException(
                    device + (pasid < 0 ? "" : " PASID " + pasid) + " is attached: detach it first");
        }
        Attachment fresh = reserve(table, pasid);
        translation.forget(pasid);
        attachments.add(fresh);
        return fresh;
    }

    Attachment replace(Attachment old, PageTable to) {
        requireAttached(old);
        if (old.table() == to) {
            return old;
        }
        Attachment fresh = reserve(to, old.pasid());
        put(old, fresh);
        return fresh;
    }

    /** The half of {@link #replace} that may fail. */
    Attachment reserve(Attachment old, PageTable to) {
        requireAttached(old);
        return reserve(to, old.pasid());
    }

    private void requireAttached(Attachment old) {
        if (!old.isAttached()) {
            throw new IllegalStateException(
                    device + (old.pasid() < 0 ? "" : " PASID " + old.pasid()) + " is not attached: attach it instead");
        }
    }

    /** Puts one that was reserved in the place of another, which fails no more; if that has ended since, nothing is attached. */
    void put(Attachment old, Attachment fresh) {
        if (!old.isAttached() || !fresh.isAttached()) {
            giveUp(fresh);
            return;
        }
        // This thread has entered and is between accesses: none uses the old one any more.
        attachments.replace(old, fresh);
        translation.forget(old);
        end(old);
        leaveIfDone();
    }

    /** Takes back what was reserved. */
    void giveUp(Attachment fresh) {
        if (!fresh.isAttached()) {
            return;
        }
        fresh.table().remove(fresh);
        releaseRegions(fresh);
        fresh.detached();
    }

    void detach(Attachment attachment) {
        if (!attachment.isAttached()) {
            return;
        }
        if (!attachments.has(attachment)) {
            // Reserved, and its page table is being closed.
            giveUp(attachment);
            return;
        }
        attachments.remove(attachment);
        translation.forget(attachment);
        end(attachment);
        requests.abandon(attachment, AccessResult.INVALID);
        leaveIfDone();
    }

    /** A device that takes part in no page faults any more: requests of groups that are not whole go with that. */
    private void leaveIfDone() {
        if (attachments.asksNothing()) {
            port.discard();
        }
    }

    /** All that may fail: the lane to the fault queue, and the page table's leave. */
    private Attachment reserve(PageTable table, int pasid) {
        Lane lane = port.laneTo(table.queue());
        Attachment fresh = new Attachment(attachments.nextKey(), device, table, pasid, lane);
        reserveRegions(fresh);
        try {
            table.add(fresh);
        } catch (RuntimeException e) {
            releaseRegions(fresh);
            throw e;
        }
        return fresh;
    }

    /** As in the kernel, regions count where the device is attached as a whole, and not for a PASID. */
    private void reserveRegions(Attachment fresh) {
        List<ReservedRegion> regions = device.config().reserved();
        PageTable table = fresh.table();
        if (fresh.pasid() != FaultProducer.NO_PASID || regions.isEmpty() || table.kind() == PageTable.Kind.IDENTITY) {
            return;
        }
        AddressSpace space = table.space();
        if (space != null) {
            space.reserve(fresh, regions);
            return;
        }
        for (ReservedRegion region : regions) {
            if (region.kind() == ReservedRegion.Kind.DIRECT) {
                throw new IllegalArgumentException(device + " has the region " + region
                        + ": allowed on tables of address spaces, and on those that translate nothing, for it"
                        + " has to reach it");
            }
        }
    }

    private static void releaseRegions(Attachment attachment) {
        AddressSpace space = attachment.table().space();
        if (space != null) {
            space.unreserve(attachment);
        }
    }

    /** Only after it is found no more are its groups answered, or one could be opened behind the answers. */
    private void end(Attachment attachment) {
        attachment.table().remove(attachment);
        releaseRegions(attachment);
        port.detach(requests, attachment);
        window.retry(Window.BEHIND);
        window.retry(Window.HELD);
        attachment.detached();
    }
}
