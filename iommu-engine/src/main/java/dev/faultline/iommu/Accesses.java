package dev.faultline.iommu;

import static dev.faultline.ffm.PageFaultLayout.PERM_WRITE;

import dev.faultline.iommu.table.PhysicalMemory;
import dev.faultline.iommu.table.Translation;
import dev.faultline.iommu.table.Walk;
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
    /** Accesses that are translated before the bytes of the first of them move; nobody who unmaps waits for more. */
    private static final int BATCH = 16;

    private final int retryLimit;
    private final boolean stalls;
    private final boolean asks;
    private final PhysicalMemory memory;
    private final Window window;
    private final Attachments attachments;
    private final CounterWords counters;
    private final @Nullable LatencySink latency;

    /** Accesses of one page each that are translated and not moved yet, in the order they were started. */
    private final int[] translated = new int[BATCH];

    private final long[] translations = new long[BATCH];
    private int translatedCount;
    /** Of no use but that a load whose value goes nowhere would not be made. */
    long fetched;

    /** Any thread's to set; read where an access fails. A stale one misses a fault. */
    private volatile @Nullable TranslationFaultSink faults;

    Accesses(
            DeviceConfig config, PhysicalMemory memory, Window window, Attachments attachments, CounterWords counters) {
        this.retryLimit = config.retryLimit();
        this.stalls = config.faults() == FaultModel.STALL;
        this.asks = stalls || config.faults() == FaultModel.PAGE_REQUEST;
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
        translatedCount = 0;
        for (int slot = window.oldest(); slot != Window.NONE; ) {
            if (translatedCount > 0 && window.state(slot) == Window.BEHIND) {
                moveTranslated();
            }
            int next = window.younger(slot);
            if (window.state(slot) == Window.READY) {
                moved |= run(slot, translation, requests);
                if (translatedCount == 0) {
                    mine.quiesce();
                } else if (translatedCount == BATCH) {
                    moveTranslated();
                    mine.quiesce();
                }
            }
            slot = next;
        }
        moveTranslated();
        return moved;
    }

    private boolean run(int slot, DeviceTranslation through, PageRequests requests) {
        Window.Slot one = window.at(slot);
        boolean moved = false;
        for (int turn = 0; turn < PAGES_PER_STEP; turn++) {
            long address = one.address;
            if (window.behindOlder(slot)) {
                if (translatedCount > 0) {
                    moveTranslated();
                    continue;
                }
                window.set(slot, Window.BEHIND);
                window.remember(slot);
                return moved;
            }
            // What the device has in its TLB is attached: a detach empties it.
            long translation = one.tries == 0 ? through.hit(one.pasid, address, one.rights) : 0;
            boolean waits = translatedCount > 0;
            if (translation == 0) {
                waits = true;
                Attachment attachment = attachments.get(one.pasid);
                if (attachment == null) {
                    moveTranslated();
                    end(slot, AccessResult.NOT_ATTACHED);
                    return true;
                }
                translation = through.translate(attachment, one.pasid, address, one.rights, one.tries != 0);
                if (translation < 0) {
                    moveTranslated();
                    boolean raised = miss(slot, attachment, translation, through.lastWalk(), requests);
                    return raised || moved;
                }
            }
            long offset = address & PAGE_OFFSET_MASK;
            if (waits && turn == 0 && one.left <= Frames.BYTES - offset) {
                translated[translatedCount] = slot;
                translations[translatedCount++] = translation;
                return true;
            }
            moveTranslated();
            if (!movePage(slot, one, translation)) {
                return true;
            }
            moved = true;
        }
        window.remember(slot);
        return true;
    }

    /**
     * Moves the bytes of accesses that are translated. All of a batch are translated first: what the TLB misses has atomic steps, which wait for every load
     * before them, so the lines of several pages would come one after the other. So they are asked for together. What the TLB has waits for nobody.
     */
    private void moveTranslated() {
        int n = translatedCount;
        translatedCount = 0;
        long bytes = 0;
        try {
            for (int i = 0; i < n; i++) {
                long offset = window.at(translated[i]).address & PAGE_OFFSET_MASK;
                bytes += memory.fetch(Translation.page(translations[i]) | offset);
            }
        } catch (IllegalStateException | WrongThreadException | IllegalArgumentException e) {
            // Memory that can not be read: the access to it ends so when it moves, and the others do not.
            bytes = 0;
        }
        fetched = bytes;
        for (int i = 0; i < n; i++) {
            int slot = translated[i];
            boolean _ = movePage(slot, window.at(slot), translations[i]);
        }
    }

    /** Moves what lies in the page an access has come to; false if that ended it. */
    private boolean movePage(int slot, Window.Slot one, long translation) {
        long offset = one.address & PAGE_OFFSET_MASK;
        int bytes = (int) Math.min(one.left, Frames.BYTES - offset);
        if (!move(one, Translation.page(translation) | offset, bytes)) {
            end(slot, AccessResult.BAD_BUFFER);
            return false;
        }
        faultOver(slot, one);
        one.address += bytes;
        one.bufferOffset += bytes;
        one.left -= bytes;
        if (one.left == 0) {
            end(slot, AccessResult.OK);
            return false;
        }
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
    private boolean miss(int slot, Attachment attachment, long fault, Walk by, PageRequests requests) {
        AccessResult end = unmendable(fault);
        // What a guest says is looked at once: in what the walk went by.
        boolean asked = end == null && asks && by.mayAsk(fault, stalls);
        if (end == null) {
            end = hopeless(slot, attachment, asked);
        }
        if (end != null) {
            TranslationFaultSink told = faults;
            if (told != null) {
                Window.Slot one = window.at(slot);
                long found = asked || !by.isRecorded(fault) ? Translation.unrecorded(fault) : fault;
                told.failed(attachment.table(), one.pasid, one.address, one.rights, end, found);
            }
            end(slot, end);
            return true;
        }
        return requests.ask(slot, attachment);
    }

    /** How an access ends whose fault nobody is asked about, or null. */
    private static @Nullable AccessResult unmendable(long fault) {
        if (Translation.step(fault) == Translation.Step.CONTEXT && Translation.stage(fault) == 1) {
            return switch (Translation.reason(fault)) {
                case BEYOND_INPUT, NOT_PRESENT -> AccessResult.NOT_ATTACHED;
                case BLOCKED -> AccessResult.BLOCKED;
                default -> AccessResult.TABLE_ERROR;
            };
        }
        return switch (Translation.reason(fault)) {
            case BEYOND_INPUT -> AccessResult.NOT_CANONICAL;
            case NOT_PRESENT, NO_READ, NO_WRITE, NO_EXECUTE, NO_USER, NOT_ACCESSED -> null;
            case BLOCKED -> AccessResult.BLOCKED;
            default -> AccessResult.TABLE_ERROR;
        };
    }

    /** How an access ends that nobody is asked about, or not again; else null. */
    private @Nullable AccessResult hopeless(int slot, Attachment attachment, boolean asked) {
        if (attachment.table().queue() == null) {
            return AccessResult.NO_FAULT_QUEUE;
        }
        if (attachment.lane == null || !asked) {
            return AccessResult.NO_PAGE_REQUESTS;
        }
        if (window.at(slot).lastLook) {
            return AccessResult.INVALID;
        }
        return window.at(slot).tries >= retryLimit ? AccessResult.UNRESOLVED : null;
    }
}
