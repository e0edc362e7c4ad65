package dev.faultline.iommu;

import static dev.faultline.ffm.PageFaultLayout.PERM_WRITE;

import dev.faultline.iommu.table.PhysicalMemory;
import dev.faultline.iommu.table.Translation;
import dev.faultline.iommu.tlb.Station;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * Moves the bytes of a device's accesses, page by page, and decides what a page that is not there means for them.
 *
 * <p>Threads: the one that has entered the device. Nothing is allocated after construction.
 */
final class Accesses {
    private static final long PAGE_OFFSET_MASK = Frames.BYTES - 1;
    /** Pages an access moves in one step, so that nobody who unmaps waits for a long one. */
    private static final int PAGES_PER_STEP = 64;

    private final int retryLimit;
    private final PhysicalMemory memory;
    private final Window window;
    private final Attachments attachments;
    private final CounterWords counters;
    private final @Nullable LatencySink latency;

    /** Any thread's to set; read where an access fails. A stale one misses a fault. */
    private volatile @Nullable TranslationFaultSink faults;

    Accesses(
            DeviceConfig config, PhysicalMemory memory, Window window, Attachments attachments, CounterWords counters) {
        this.retryLimit = config.retryLimit();
        this.memory = memory;
        this.window = window;
        this.attachments = attachments;
        this.counters = counters;
        this.latency = config.latency();
    }

    void tell(@Nullable TranslationFaultSink sink) {
        faults = sink;
    }

    boolean runReady(Station mine, DeviceTranslation translation, PageRequests requests) {
        boolean moved = false;
        boolean first = true;
        for (int slot = window.oldest(); slot != Window.NONE; ) {
            int next = window.younger(slot);
            if (window.state(slot) == Window.READY) {
                // The step has just begun with one.
                if (!first) {
                    mine.quiesce();
                }
                first = false;
                moved |= run(slot, translation, requests);
            }
            slot = next;
        }
        return moved;
    }

    private boolean run(int slot, DeviceTranslation through, PageRequests requests) {
        Window.Slot one = window.at(slot);
        boolean moved = false;
        for (int turn = 0; turn < PAGES_PER_STEP; turn++) {
            long address = one.address;
            if (window.behindOlder(slot)) {
                window.set(slot, Window.BEHIND);
                window.remember(slot);
                return moved;
            }
            // What the device has in its TLB is attached: a detach empties it.
            long translation = through.hit(one.pasid, address, one.rights);
            if (translation == 0) {
                Attachment attachment = attachments.get(one.pasid);
                if (attachment == null) {
                    end(slot, AccessResult.NOT_ATTACHED);
                    return true;
                }
                translation = through.translate(attachment, address, one.rights);
                if (translation < 0) {
                    boolean raised = miss(slot, attachment, translation, requests);
                    return raised || moved;
                }
            }
            int bytes = (int) Math.min(one.left, Frames.BYTES - (address & PAGE_OFFSET_MASK));
            if (!move(one, Translation.page(translation) | (address & PAGE_OFFSET_MASK), bytes)) {
                end(slot, AccessResult.BAD_BUFFER);
                return true;
            }
            moved = true;
            faultOver(slot, one);
            one.address = address + bytes;
            one.bufferOffset += bytes;
            one.left -= bytes;
            if (one.left == 0) {
                end(slot, AccessResult.OK);
                return true;
            }
        }
        window.remember(slot);
        return true;
    }

    private boolean move(Window.Slot one, long physical, int bytes) {
        MemorySegment buffer = one.buffer;
        long offset = one.bufferOffset;
        try {
            if ((one.rights & PERM_WRITE) != 0) {
                memory.write(physical, buffer, offset, bytes);
            } else {
                memory.read(physical, buffer, offset, bytes);
            }
        } catch (IllegalStateException
                | WrongThreadException
                | IllegalArgumentException
                | UnsupportedOperationException e) {
            return false;
        }
        counters.add(CounterWords.BYTES, bytes);
        return true;
    }

    /** The page has come and the access has used it: it may be evicted now. */
    private void faultOver(int slot, Window.Slot one) {
        one.tries = 0;
        one.lastLook = false;
        window.unwant(slot);
        if (latency != null && one.raisedAtNs != 0) {
            latency.fault(window.clock.nowNs() - one.raisedAtNs);
            one.raisedAtNs = 0;
        }
    }

    /** An access is over. */
    void end(int slot, AccessResult result) {
        counters.add(CounterWords.ACCESSES, 1);
        if (result != AccessResult.OK) {
            counters.add(CounterWords.FAILED, 1);
        }
        window.finish(slot, result);
    }

    /** The page is absent, or may not be used so. */
    private boolean miss(int slot, Attachment attachment, long fault, PageRequests requests) {
        AccessResult end = hopeless(slot, attachment, fault);
        if (end != null) {
            TranslationFaultSink told = faults;
            if (told != null) {
                told.failed(window.at(slot).pasid, window.at(slot).address, window.at(slot).rights, end);
            }
            end(slot, end);
            return true;
        }
        return requests.ask(slot, attachment);
    }

    private @Nullable AccessResult hopeless(int slot, Attachment attachment, long fault) {
        switch (Translation.reason(fault)) {
            case BEYOND_INPUT -> {
                return AccessResult.NOT_CANONICAL;
            }
            case NOT_PRESENT, NO_READ, NO_WRITE, NO_EXECUTE, NO_USER, NOT_ACCESSED -> {}
            case BLOCKED -> {
                return AccessResult.BLOCKED;
            }
            default -> {
                return AccessResult.TABLE_ERROR;
            }
        }
        if (attachment.table().queue() == null) {
            return AccessResult.NO_FAULT_QUEUE;
        }
        if (attachment.lane == null) {
            return AccessResult.NO_PAGE_REQUESTS;
        }
        if (window.at(slot).lastLook) {
            return AccessResult.INVALID;
        }
        return window.at(slot).tries >= retryLimit ? AccessResult.UNRESOLVED : null;
    }
}
