package dev.faultline.examples.replay;

import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.iommu.AddressSpace;
import dev.faultline.iommu.Eviction;
import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultHandler;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * The demand pager: maps the pages that devices ask for, and when the frames are used up takes one from the page that
 * CLOCK chooses, writing back what is dirty.
 *
 * <p>Threads: {@link #handle} by one, the worker; the counts are for everybody once the worker has stopped. Ownership: the
 * backing store and the recorder are the caller's. Progress: as the address space's eviction, which waits for devices to be
 * between two accesses. Nothing is allocated, but for pages seen or written back for the first time.
 */
final class Pager implements FaultHandler, ClockReplacement.Residents {
    /** Which address space a request is for. */
    interface Spaces {
        /** A number for the space, below 2^20. */
        int number(FaultGroup group, int request);

        AddressSpace space(int number);
    }

    private static final int EVERY_ACCESS =
            PageFaultLayout.PERM_READ | PageFaultLayout.PERM_WRITE | PageFaultLayout.PERM_EXEC;

    private final Spaces spaces;
    private final ClockReplacement clock;
    private final BackingStore store;
    private final Turnstile turnstile;
    private final @Nullable FaultRecorder recorder;
    private final Runnable onFailure;
    private final long startNs;

    private volatile @Nullable Throwable failure;
    private long mapped;
    private long restored;
    private long evictions;
    private long writtenBack;
    private long busy;

    /**
     * Makes a pager.
     *
     * @param spaces where pages are mapped
     * @param frames pages that may be mapped at once
     * @param store where contents come from and go to
     * @param startNs from when on times are recorded, by the clock of the queue
     * @param turnstile is gone through for each group
     * @param recorder is told each group, or null
     * @param onFailure called once serving has failed for good
     */
    Pager(
            Spaces spaces,
            int frames,
            BackingStore store,
            long startNs,
            Turnstile turnstile,
            @Nullable FaultRecorder recorder,
            Runnable onFailure) {
        this.spaces = spaces;
        this.clock = new ClockReplacement(frames);
        this.store = store;
        this.startNs = startNs;
        this.turnstile = turnstile;
        this.recorder = recorder;
        this.onFailure = onFailure;
    }

    @Override
    public Answer handle(FaultGroup group) {
        turnstile.enter();
        try {
            return serve(group);
        } catch (RuntimeException | Error e) {
            failure = e;
            onFailure.run();
            return Answer.INVALID;
        } finally {
            turnstile.leave();
        }
    }

    private Answer serve(FaultGroup group) {
        if (recorder != null) {
            recorder.write(group, Math.max(0, group.raisedAtNs() - startNs));
        }
        for (int i = 0; i < group.size(); i++) {
            int number = spaces.number(group, i);
            long address = group.address(i);
            long key = PageKey.of(number, address);
            // Resident already: asked for a second time, or together with a page that was missing.
            if (clock.contains(key) || PageKey.address(key) != (address & -TraceAccess.PAGE_BYTES)) {
                continue;
            }
            if (clock.isFull() && clock.evictOne(this) == ClockReplacement.NO_VICTIM) {
                if (i > 0) {
                    return Answer.SUCCESS; // the page that was missing is there; the others were a wish
                }
                throw new IllegalStateException("every page is waited for: frames=" + clock.size());
            }
            boolean known = store.holds(key);
            boolean fresh = spaces.space(number).map(address, store.read(key), EVERY_ACCESS);
            if (!fresh) {
                throw new IllegalStateException("0x" + Long.toHexString(address) + " was mapped by somebody else");
            }
            clock.add(key);
            mapped++;
            if (known) {
                restored++;
            }
        }
        return Answer.SUCCESS;
    }

    @Override
    public boolean usedSince(long key) {
        return spaces.space(PageKey.number(key)).accessedAndClear(PageKey.address(key));
    }

    @Override
    public boolean evict(long key) {
        MemorySegment incoming = store.incoming();
        Eviction eviction = spaces.space(PageKey.number(key)).evict(PageKey.address(key), incoming);
        switch (eviction) {
            case DIRTY -> {
                store.write(key);
                writtenBack++;
                evictions++;
            }
            case CLEAN -> evictions++;
            case BUSY -> busy++;
            case NOT_MAPPED -> throw new IllegalStateException("0x" + Long.toHexString(key) + " is gone");
        }
        return eviction != Eviction.BUSY;
    }

    /** What made it fail, if it did. Any thread. */
    @Nullable
    Throwable failure() {
        return failure;
    }

    /** Pages mapped. */
    long mapped() {
        return mapped;
    }

    /** Of those, pages that had been written back before. */
    long restored() {
        return restored;
    }

    /** Pages evicted. */
    long evictions() {
        return evictions;
    }

    /** Of those, pages that were dirty. */
    long writtenBack() {
        return writtenBack;
    }

    /** Evictions refused because a device waits for the page. */
    long busy() {
        return busy;
    }
}
