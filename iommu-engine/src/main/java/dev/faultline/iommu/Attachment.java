package dev.faultline.iommu;

import dev.faultline.ring.FaultProducer;
import org.jspecify.annotations.Nullable;

/**
 * The fact that a device translates through a page table, as a whole or for one PASID. Each attach makes a new one, so
 * that what belonged to an earlier one is never taken for its own.
 *
 * <p>Threads: any. Ownership: who attaches detaches; closing the device or the page table detaches too. Progress: {@link
 * #detach} waits, a bounded time, for the thread that has entered the device to step it.
 */
public final class Attachment implements AutoCloseable {
    /** Stands for the PASID of what is attached as a whole. */
    static final int WHOLE = FaultProducer.NO_PASID;

    /** Names it in a {@link RequestTag}. */
    final int key;

    final @Nullable Lane lane;

    private final Device device;
    private final PageTable table;
    private final int pasid;
    private volatile boolean attached = true;

    /** Where it is among those of its device; its thread's own. */
    int place;

    /** The function stops using the PASID; its thread's own. */
    boolean stopped;

    Attachment(int key, Device device, PageTable table, int pasid, @Nullable Lane lane) {
        this.key = key;
        this.device = device;
        this.table = table;
        this.pasid = pasid;
        this.lane = lane;
    }

    /**
     * Who translates.
     *
     * @return the device
     */
    public Device device() {
        return device;
    }

    /**
     * Through what.
     *
     * @return the page table
     */
    public PageTable table() {
        return table;
    }

    /**
     * For which accesses.
     *
     * @return the PASID, or {@link dev.faultline.ring.FaultProducer#NO_PASID} for those without
     */
    public int pasid() {
        return pasid;
    }

    /**
     * Whether it still holds.
     *
     * @return false once it has been detached
     */
    public boolean isAttached() {
        return attached;
    }

    /**
     * Ends it. Its open page requests are answered INVALID, its translations are forgotten, accesses that waited fail; when it
     * returns, the device uses no page by it any more. Doing it again does nothing.
     *
     * @throws QuiescenceTimeout if a thread has entered the device and does not step it within the limit; it is attached as before
     */
    public void detach() {
        device.detach(this);
    }

    /**
     * Translates through another page table from now on. The device is never without translation: either it uses the one or the
     * other. All that can fail is done before anything is changed, so a failure leaves everything as it was. Open page requests are
     * answered INVALID once the new one holds, those no read has taken first and the newest of them first, then the others in the
     * order they were delivered; requests of groups that are not whole stay, and their groups go where the last of them finds the
     * device attached.
     *
     * @param to through which it will translate
     * @return a fresh attachment, or this one if it is through {@code to} already
     * @throws IllegalStateException if this one is ended, or {@code to} or its fault queue is closed, or a thread has entered the
     *     device and does not step it within the limit
     * @throws IllegalArgumentException if it is of another {@link Iommu}, or the fault queue's largest group is smaller than the device's
     */
    public Attachment replace(PageTable to) {
        return device.replace(this, to);
    }

    /**
     * {@link #replace(PageTable)} by the one of an address space.
     *
     * @param to through whose mappings it will translate
     * @return a fresh attachment, or this one if it is through {@code to} already
     * @throws IllegalStateException as there
     * @throws IllegalArgumentException as there
     */
    public Attachment replace(AddressSpace to) {
        return replace(to.table());
    }

    /**
     * {@link #detach} that cannot fail.
     *
     * @param later run by the thread inside once this is ended, if this had returned false before; it holds up the device's thread
     * @return false if the thread that has entered the device did not step it within the limit: the attachment ends, and its open page
     *     requests are answered, when that thread steps or leaves
     */
    public boolean detachOrLeave(Runnable later) {
        return device.detachOrLeave(this, later);
    }

    /**
     * The first half of {@link #replace(PageTable)}, which does all that can fail and changes nothing: so that several devices can be
     * moved together, or none.
     *
     * @param to through which it will translate
     * @return what has to be {@linkplain Replacement#commit committed} or given up
     * @throws IllegalStateException as {@link #replace(PageTable)}
     * @throws IllegalArgumentException as there
     */
    public Replacement prepare(PageTable to) {
        return device.prepare(this, to);
    }

    /** The same as {@link #detach}. */
    @Override
    public void close() {
        detach();
    }

    /** Whether the fault queue has no room for another group of this device. */
    boolean laneFull() {
        return lane != null && lane.open == lane.groups();
    }

    /** Whether the fault queue was found closed. */
    boolean laneClosed() {
        return lane != null && lane.closed;
    }

    void detached() {
        attached = false;
    }
}
