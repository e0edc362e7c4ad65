package dev.faultline.iommu;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * The memory behind an {@link Area}, and behind its copies: whole pages that somebody else has. While a page is held it stays what
 * it is, even if its owner puts something else at its address; the pages that no shown area and no pin needs are not held.
 *
 * <p>Threads: any; holding takes the lock of this. Ownership: the memory is not this object's. Units: bytes; an offset counts
 * from the beginning of the first page.
 */
public abstract class Backing {
    private static final long PAGE = Areas.PAGE_BYTES;

    private record Range(long first, long last) {}

    private final long start;
    private final long origin;
    private final long bytes;
    private final boolean writable;
    private final @Nullable HeldPages all;

    /** One for each reason to hold pages. */
    private final List<Range> reasons = new ArrayList<>();

    /** What is held, by offset: the union of {@link #reasons}. */
    private final TreeMap<Long, MemorySegment> pieces = new TreeMap<>();

    /**
     * Memory, nothing of it held.
     *
     * @param start where its owner says it begins; it is known from the beginning of that page on
     * @param length bytes from there
     * @param writable whether devices may be let write
     * @param all is told what is held; null if nobody asks
     */
    protected Backing(long start, long length, boolean writable, @Nullable HeldPages all) {
        this.start = start;
        this.origin = start & -PAGE;
        this.bytes = (start - origin) + length;
        this.writable = writable;
        this.all = all;
    }

    /**
     * Where its owner says its first page begins.
     *
     * @return a multiple of the page size
     */
    public final long origin() {
        return origin;
    }

    /**
     * How far it reaches.
     *
     * @return bytes from the beginning of its first page
     */
    public final long bytes() {
        return bytes;
    }

    /**
     * Whether devices may be let write.
     *
     * @return false if it was first mapped for reading only
     */
    public final boolean writable() {
        return writable;
    }

    /**
     * Whether it is a file's, and so belongs to no process.
     *
     * @return true for a file that processes share
     */
    public boolean isFile() {
        return false;
    }

    /**
     * Whether software can read and write it, and pin it.
     *
     * @return false for the memory of a device
     */
    public boolean isReachable() {
        return true;
    }

    /**
     * Whether it was taken from everybody. Then tables show nothing of it.
     *
     * @return true from then on
     */
    public boolean isRevoked() {
        return false;
    }

    /**
     * The memory from an offset on, to be held.
     *
     * @param offset from the beginning of the first page
     * @return one piece, as long as it is at hand; null if there is none
     */
    protected abstract @Nullable MemorySegment piece(long offset);

    /**
     * What it means that a piece is missing.
     *
     * @return the result of a change that needed it
     */
    protected AreaResult missing() {
        return AreaResult.UNREACHABLE;
    }

    /**
     * Reads or writes without holding, as software does: what is there now.
     *
     * @param offset from the beginning of the first page
     * @param data to write, or to be filled
     * @param write which of them
     * @return whether all of it was there
     */
    protected boolean transfer(long offset, MemorySegment data, boolean write) {
        long done = 0;
        while (done < data.byteSize()) {
            MemorySegment there = piece(offset + done);
            if (there == null) {
                return false;
            }
            long n = Math.min(there.byteSize(), data.byteSize() - done);
            if (write) {
                MemorySegment.copy(data, done, there, 0, n);
            } else {
                MemorySegment.copy(there, 0, data, done, n);
            }
            done += n;
        }
        return true;
    }

    /** Holds pages, first to last, until they are let go as often. */
    final synchronized AreaResult hold(long firstPage, long lastPage) {
        List<Long> added = new ArrayList<>();
        AreaResult result = AreaResult.REFUSED;
        try {
            result = collect(startOf(firstPage), endOf(lastPage), added);
        } finally {
            if (result != AreaResult.DONE) {
                added.forEach(pieces::remove);
            }
        }
        if (result == AreaResult.DONE) {
            reasons.add(new Range(firstPage, lastPage));
            if (all != null && reasons.size() == 1) {
                all.add(this);
            }
        }
        return result;
    }

    private AreaResult collect(long first, long end, List<Long> added) {
        long at = first;
        while (at < end) {
            Map.Entry<Long, MemorySegment> before = pieces.floorEntry(at);
            if (before != null && at - before.getKey() < before.getValue().byteSize()) {
                at = before.getKey() + before.getValue().byteSize();
                continue;
            }
            Long next = pieces.higherKey(at);
            long wanted = (next == null || next > end ? end : next) - at;
            MemorySegment piece = piece(at);
            if (piece == null) {
                return missing();
            }
            pieces.put(at, piece.byteSize() > wanted ? piece.asSlice(0, wanted) : piece);
            added.add(at);
        }
        return AreaResult.DONE;
    }

    /** Undoes one {@link #hold} of the same pages. */
    final synchronized void release(long firstPage, long lastPage) {
        if (!reasons.remove(new Range(firstPage, lastPage))) {
            throw new IllegalStateException("pages " + firstPage + " to " + lastPage + " are not held");
        }
        TreeMap<Long, MemorySegment> left = new TreeMap<>();
        for (Range range : reasons) {
            keep(startOf(range.first), endOf(range.last), left);
        }
        pieces.clear();
        pieces.putAll(left);
        if (all != null && reasons.isEmpty()) {
            all.remove(this);
        }
    }

    /**
     * The memory held at an offset.
     *
     * @param offset from the beginning of the first page
     * @return from there to the end of what is held in one piece; null if the page is not held
     */
    public final synchronized @Nullable MemorySegment heldAt(long offset) {
        Map.Entry<Long, MemorySegment> at = pieces.floorEntry(offset);
        if (at == null || offset - at.getKey() >= at.getValue().byteSize()) {
            return null;
        }
        return at.getValue().asSlice(offset - at.getKey());
    }

    /** How many reasons there are to hold some of it. */
    final synchronized int held() {
        return reasons.size();
    }

    /** Whether a byte of memory is among what is held. */
    final synchronized boolean holds(MemorySegment memory) {
        for (MemorySegment piece : pieces.values()) {
            if (piece.heapBase().equals(memory.heapBase())
                    && memory.address() >= piece.address()
                    && memory.address() - piece.address() < piece.byteSize()) {
                return true;
            }
        }
        return false;
    }

    /** Of the first page that part is held which a mapping can use. */
    private long startOf(long page) {
        return Math.max(page * PAGE, start - origin);
    }

    /** And so of the last. */
    private long endOf(long page) {
        return Math.min((page + 1) * PAGE, bytes);
    }

    private void keep(long from, long end, NavigableMap<Long, MemorySegment> into) {
        long at = from;
        while (at < end) {
            Map.Entry<Long, MemorySegment> kept = into.floorEntry(at);
            if (kept != null && at - kept.getKey() < kept.getValue().byteSize()) {
                at = kept.getKey() + kept.getValue().byteSize();
                continue;
            }
            Map.Entry<Long, MemorySegment> piece = pieces.floorEntry(at);
            if (piece == null) {
                throw new IllegalStateException("offset " + at + " was not held");
            }
            Long next = into.higherKey(at);
            long stop = Math.min(
                    next == null ? end : Math.min(next, end),
                    piece.getKey() + piece.getValue().byteSize());
            into.put(at, piece.getValue().asSlice(at - piece.getKey(), stop - at));
            at = stop;
        }
    }
}
