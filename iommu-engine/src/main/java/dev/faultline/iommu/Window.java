package dev.faultline.iommu;

import dev.faultline.ffm.PaddedBefore;
import dev.faultline.ring.Clock;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicLongArray;

/**
 * The accesses a device has under way: slots linked from the oldest to the youngest unfinished one.
 *
 * <p>Threads: the one that has entered the device; {@link #wants} any. Nothing is allocated after construction. The last slot
 * is kept for the blocking read or write, so that these need no room in the window.
 */
final class Window extends PaddedBefore {
    static final int NONE = -1;

    /** Nobody uses the slot. */
    static final byte FREE = 0;
    /** To be tried at the next step. */
    static final byte READY = 1;
    /** Its page is asked for. */
    static final byte WAITING = 2;
    /** An older access to the same page waits; they are done in their order. */
    static final byte BEHIND = 3;
    /** It has to ask for a page, and the page requests are used up. */
    static final byte HELD = 4;
    /** Its result is to be fetched. */
    static final byte DONE = 5;

    private static final int STATES = 6;
    private static final int WANTED_PAGE_BITS = 36;
    private static final long SPREAD = 0x9e37_79b9_7f4a_7c15L;
    /** Above this many pages an access is not entered page by page among those that wait. */
    private static final int WIDE_PAGES = 64;
    /** Empty words before and after the wanted pages, which other threads read. */
    private static final int PADDING = 16;

    /** One access. Its fields are those of the thread that has entered the device. */
    static final class Slot {
        long address;
        long left;
        long bufferOffset;
        long userTag;
        /** When its page request was raised; 0 when nobody measures. */
        long raisedAtNs;
        /** The rights it needs. */
        int rights;

        int pasid;
        /** The group it waits for while it is WAITING. */
        int group = NONE;
        /** Page requests in a row that were answered SUCCESS. */
        int tries;
        /** The group was answered INVALID; the page may be there all the same, but is not asked for again. */
        boolean lastLook;

        /** Stays when the access is over, until an access with another takes the slot. */
        MemorySegment buffer = MemorySegment.NULL;

        AccessResult result = AccessResult.OK;

        private byte state;
        private int older;
        private int younger;
        private long touchedFrom;
        private int touchedPages;

        private long lastPage() {
            return (address + left - 1) >>> Frames.SHIFT;
        }
    }

    /** By which faults are timed. */
    final Clock clock;

    final int blocking;

    private final Slot[] slots;
    private final int[] count = new int[STATES];
    private int oldest = NONE;
    private int youngest = NONE;

    private final int[] free;
    private int freeCount;
    private final int[] done;
    private int doneHead;
    private int doneCount;

    /** For each unfinished access that has been tried: how many touch pages that hash here. */
    private final int[] touched;

    private int wide;

    /**
     * The key of the page a slot has asked for, 0 if none. Written by the stepping thread: before it raises the request, and
     * 0 after the access went on or failed. Read by those who evict.
     */
    private final AtomicLongArray wanted;

    Window(int slots, Clock clock) {
        this.clock = clock;
        int n = slots + 1;
        blocking = slots;
        this.slots = new Slot[n];
        Arrays.setAll(this.slots, i -> new Slot());
        free = new int[slots];
        done = new int[slots];
        touched = new int[Integer.highestOneBit(n) << 3];
        wanted = new AtomicLongArray(n + 2 * PADDING);
        for (int i = 0; i < slots; i++) {
            free[i] = slots - 1 - i;
        }
        freeCount = slots;
    }

    boolean full() {
        return freeCount == 0;
    }

    int take() {
        return free[--freeCount];
    }

    @SuppressWarnings("MemorySegmentReferenceEquality") // another object for the same memory is only stored again
    void begin(
            int slot,
            Access access,
            long from,
            MemorySegment with,
            long withOffset,
            long bytes,
            int forPasid,
            long tag) {
        Slot one = slots[slot];
        one.rights = PageRequest.carried(forPasid, access.rights());
        one.address = from;
        one.left = bytes;
        // A reference costs a mark for the collector too, and devices use one buffer again and again.
        if (one.buffer != with) {
            one.buffer = with;
        }
        one.bufferOffset = withOffset;
        one.pasid = forPasid;
        one.userTag = tag;
        one.group = NONE;
        one.tries = 0;
        one.lastLook = false;
        one.raisedAtNs = 0;
        one.older = youngest;
        one.younger = NONE;
        if (youngest == NONE) {
            oldest = slot;
        } else {
            slots[youngest].younger = slot;
        }
        youngest = slot;
        set(slot, READY);
    }

    Slot at(int slot) {
        return slots[slot];
    }

    byte state(int slot) {
        return slots[slot].state;
    }

    void set(int slot, byte next) {
        Slot one = slots[slot];
        count[one.state]--;
        one.state = next;
        count[next]++;
    }

    int count(byte what) {
        return count[what];
    }

    /** Everybody in one state is to be tried again. */
    void retry(byte what) {
        if (count[what] == 0) {
            return;
        }
        for (int slot = oldest; slot != NONE; slot = slots[slot].younger) {
            if (slots[slot].state == what) {
                set(slot, READY);
            }
        }
    }

    int oldest() {
        return oldest;
    }

    int younger(int slot) {
        return slots[slot].younger;
    }

    /** The access is over: its result can be fetched, its page may go, those behind it are tried again. */
    void finish(int slot, AccessResult how) {
        Slot one = slots[slot];
        unlink(one);
        unwant(slot);
        if (one.result != how) {
            one.result = how;
        }
        set(slot, DONE);
        if (slot != blocking) {
            int at = doneHead + doneCount++;
            done[at < done.length ? at : at - done.length] = slot;
        }
        if (one.touchedPages != 0) {
            touch(one, -1);
            one.touchedPages = 0;
            retry(BEHIND);
        }
    }

    int doneCount() {
        return doneCount;
    }

    /** The slot that has been done for longest. */
    int firstDone() {
        int slot = done[doneHead];
        doneHead = doneHead + 1 == done.length ? 0 : doneHead + 1;
        doneCount--;
        return slot;
    }

    void release(int slot) {
        set(slot, FREE);
        if (slot != blocking) {
            free[freeCount++] = slot;
        }
    }

    /** Enters a slot that could not be finished among those that younger accesses must not overtake on the same page. */
    void remember(int slot) {
        Slot one = slots[slot];
        if (one.touchedPages == 0) {
            one.touchedFrom = one.address >>> Frames.SHIFT;
            one.touchedPages = (int) Math.min(Integer.MAX_VALUE, one.lastPage() - one.touchedFrom + 1);
            touch(one, 1);
        }
    }

    /** Whether an older unfinished access is still to touch the page this one comes to. */
    boolean behindOlder(int slot) {
        if (slot == oldest) {
            return false;
        }
        Slot one = slots[slot];
        long page = one.address >>> Frames.SHIFT;
        boolean mine = one.touchedPages != 0;
        boolean mineWide = one.touchedPages > WIDE_PAGES;
        if (wide == (mineWide ? 1 : 0) && touched[bucket(one.pasid, page)] <= (mine && !mineWide ? 1 : 0)) {
            return false;
        }
        for (int at = oldest; at != slot; at = slots[at].younger) {
            Slot other = slots[at];
            if (other.pasid == one.pasid && other.address >>> Frames.SHIFT <= page && page <= other.lastPage()) {
                return true;
            }
        }
        return false;
    }

    /** The key of a page that an access asks for, never 0. */
    static long wanted(int domain, long address) {
        return (long) domain << WANTED_PAGE_BITS | (address >>> Frames.SHIFT & (1L << WANTED_PAGE_BITS) - 1);
    }

    void want(int slot, long key) {
        wanted.setRelease(PADDING + slot, key);
    }

    void unwant(int slot) {
        if (wanted.getPlain(PADDING + slot) != 0) {
            wanted.setRelease(PADDING + slot, 0);
        }
    }

    /** Whether a slot has asked for a page and not gone on yet. Any thread. */
    boolean wants(long key) {
        for (int i = PADDING; i < wanted.length() - PADDING; i++) {
            if (wanted.getAcquire(i) == key) {
                return true;
            }
        }
        return false;
    }

    private void unlink(Slot one) {
        if (one.older == NONE) {
            oldest = one.younger;
        } else {
            slots[one.older].younger = one.younger;
        }
        if (one.younger == NONE) {
            youngest = one.older;
        } else {
            slots[one.younger].older = one.older;
        }
    }

    private void touch(Slot one, int by) {
        if (one.touchedPages > WIDE_PAGES) {
            wide += by;
            return;
        }
        for (int i = 0; i < one.touchedPages; i++) {
            touched[bucket(one.pasid, one.touchedFrom + i)] += by;
        }
    }

    private int bucket(int forPasid, long page) {
        return (int) (((page + ((long) forPasid << 40)) * SPREAD) >>> Integer.SIZE) & (touched.length - 1);
    }
}
