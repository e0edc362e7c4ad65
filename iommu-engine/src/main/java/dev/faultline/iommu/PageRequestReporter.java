package dev.faultline.iommu;

import static dev.faultline.ffm.PageFaultLayout.FLAG_LAST_PAGE;
import static dev.faultline.ffm.PageFaultLayout.FLAG_PASID_VALID;

import java.util.Arrays;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * A driver's way of reporting page requests that its device made: the kernel's {@code iommu_report_device_fault}. A request is
 * taken as the kernel takes it. Its numbers are handed on as they are. The attachment of its PASID handles it; where there is none and the
 * driver says that guests own its PASID tables, the attachment without PASID does, if that is nested. What nobody handles is answered
 * INVALID at once, whether it is the last of its group or not. A group for which there is no room is answered INVALID.
 *
 * <p>Threads: any; a call may wait, a bounded time, for the thread that has entered the device to step it. Ownership: the device's.
 * Source: {@code drivers/iommu/io-pgfault.c}, Linux 7.2.
 */
public final class PageRequestReporter {
    private static final int FIRST_SLOTS = 16;

    private final Device device;
    private final PageRequestPort port;
    private final ResponseSink sink;
    private final boolean guestPasidTables;

    /** Written by the thread inside. A stale value costs a look for answers, or one too late. */
    private final AtomicInteger openGroups = new AtomicInteger();

    // What a group's last request said, by slot; a free slot holds the next free one. By the thread inside.
    private int[] pasids = new int[FIRST_SLOTS];
    private int[] indices = new int[FIRST_SLOTS];
    private int firstFree;

    PageRequestReporter(Device device, PageRequestPort port, ResponseSink sink, boolean guestPasidTables) {
        this.device = device;
        this.port = port;
        this.sink = sink;
        this.guestPasidTables = guestPasidTables;
        link(0);
    }

    private void link(int from) {
        for (int slot = from; slot < pasids.length; slot++) {
            pasids[slot] = slot + 1;
        }
    }

    /**
     * Reports a page request.
     *
     * @param pasid any, 0 if it has none
     * @param index its group's, any
     * @param address what faulted
     * @param access handed on
     * @param last whether the group is whole with it
     * @return false if nobody handles it, and it was answered INVALID
     * @throws IllegalStateException if a thread has entered the device and does not step it, or the device is closed
     */
    public boolean report(int pasid, int index, long address, int access, boolean last) {
        boolean[] handled = new boolean[1];
        device.perform(() -> {
            // Answers that were written before are told before.
            takeAnswersInside();
            handled[0] = port.report(pasid, index, address, access, last);
            port.flush();
        });
        return handled[0];
    }

    /**
     * Tells the sink the answers that were given by the file-like door of a queue. Without it they are told with the next report. Answers by
     * ring are told when they are submitted, by the thread that does so.
     *
     * @throws IllegalStateException if a thread has entered the device and does not step it
     */
    public void takeAnswers() {
        device.perform(this::takeAnswersInside);
    }

    /**
     * How many groups wait for an answer, or for the sink to be told.
     *
     * @return exact while nobody reports or answers
     */
    public int openGroups() {
        return openGroups.get();
    }

    /** A queue's consumer has submitted something: nobody steps such a device. Does not wait. */
    void attend() {
        if (openGroups.get() > 0) {
            device.post(this::takeAnswersInside);
        }
    }

    private void takeAnswersInside() {
        device.pollReports();
    }

    // For the port, by the thread inside.

    /** Who handles a request; null if nobody is asked. */
    @Nullable
    Attachment handler(Attachments attachments, int pasid) {
        if (pasid == 0) {
            return attachments.get(Attachment.WHOLE);
        }
        // A negative number would be WHOLE, or nobody's.
        Attachment own = pasid < 0 ? null : attachments.own(pasid);
        if (own != null || !guestPasidTables) {
            return own;
        }
        Attachment whole = attachments.get(Attachment.WHOLE);
        return whole != null && whole.table().kind() == PageTable.Kind.NESTED ? whole : null;
    }

    static int flags(int pasid, boolean last) {
        return (pasid == 0 ? 0 : FLAG_PASID_VALID) | (last ? FLAG_LAST_PAGE : 0);
    }

    /** The tag of a group, which remembers what {@link #answered} has to tell. */
    long tag(int attachmentKey, int pasid, int index) {
        int slot = firstFree;
        if (slot == pasids.length) {
            pasids = Arrays.copyOf(pasids, 2 * slot);
            indices = Arrays.copyOf(indices, 2 * slot);
            link(slot);
        }
        firstFree = pasids[slot];
        openGroups.lazySet(openGroups.getPlain() + 1);
        pasids[slot] = pasid;
        indices[slot] = index;
        return RequestTag.ofSlot(attachmentKey, slot);
    }

    /** The group was not raised after all. */
    void drop(long tag) {
        int slot = RequestTag.slot(tag);
        pasids[slot] = firstFree;
        firstFree = slot;
        openGroups.lazySet(openGroups.getPlain() - 1);
    }

    void answered(long tag, ResponseCode code) {
        int slot = RequestTag.slot(tag);
        int pasid = pasids[slot];
        int index = indices[slot];
        drop(tag);
        sink.responded(pasid, index, true, code);
    }

    void refused(int pasid, int index, boolean last) {
        sink.responded(pasid, index, last, ResponseCode.INVALID);
    }
}
