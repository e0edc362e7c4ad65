package dev.faultline.iommu;

import dev.faultline.ring.FaultProducer;
import java.util.ArrayDeque;
import java.util.Deque;
import org.jspecify.annotations.Nullable;

/**
 * The disasters a device is told to cause: each waits for the next group it fits, and happens once.
 *
 * <p>Threads: the one that has entered the device. Not there at all in a device that behaves.
 */
final class Misbehaviour {
    private static final int FLOOD_REQUESTS = 1000;

    private final PageRequests requests;
    private final PageRequestQueue queue;
    private final Deque<Disaster> armed = new ArrayDeque<>();
    /** What has begun with a group and goes on at the next step. */
    private final Deque<Runnable> next = new ArrayDeque<>();

    private final Runnable reset;
    private final AttachmentChanges changes;

    Misbehaviour(PageRequests requests, PageRequestQueue queue, AttachmentChanges changes, Runnable reset) {
        this.requests = requests;
        this.queue = queue;
        this.changes = changes;
        this.reset = reset;
    }

    void arm(Disaster disaster) {
        armed.add(disaster);
    }

    /** What happens to a group that is about to be sent; null if nothing. */
    @Nullable
    Disaster begin(Attachment attachment, boolean anotherIsOpen) {
        Disaster first = armed.peek();
        if (first == null
                || (first == Disaster.INDEX_REUSED && !anotherIsOpen)
                || (attachment.pasid() == FaultProducer.NO_PASID && first == Disaster.STOP_MARKER_RACE)
                || first == Disaster.FAILURE_ANSWER) {
            return null;
        }
        armed.remove();
        if (first == Disaster.QUEUE_OVERFLOW) {
            queue.overflowOnce();
        }
        return first;
    }

    /** The group was sent. */
    void end(Disaster disaster, Attachment attachment, PageRequest sent) {
        switch (disaster) {
            case STOP_MARKER_RACE -> requests.send(PageRequest.stopMarker(attachment.pasid()));
            case RESET_IN_FLIGHT -> next.add(reset);
            case PASID_REUSED -> next.add(() -> reuse(attachment));
            case FLOOD -> next.add(() -> flood(sent));
            default -> {}
        }
    }

    /** Whether a response is to say failure. */
    boolean turnsResponse() {
        if (armed.peek() != Disaster.FAILURE_ANSWER) {
            return false;
        }
        armed.remove();
        return true;
    }

    /** Goes on with what has begun. */
    boolean act() {
        boolean any = false;
        for (Runnable act = next.poll(); act != null; act = next.poll()) {
            act.run();
            any = true;
        }
        return any;
    }

    boolean canAct() {
        return !next.isEmpty();
    }

    private void reuse(Attachment attachment) {
        if (attachment.isAttached()) {
            changes.detach(attachment);
            var _ = changes.attach(attachment.table(), attachment.pasid());
        }
    }

    private void flood(PageRequest like) {
        for (int i = 0; i < FLOOD_REQUESTS; i++) {
            requests.send(new PageRequest(
                    like.pasid(), i % Groups.PCI_INDICES, like.address(), like.access(), like.length(), true));
        }
    }
}
