package dev.faultline.iommu;

import dev.faultline.ffm.PaddedBefore;
import dev.faultline.ring.Clock;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicLongArray;

/**
 * The accesses a device has under way: slots in parallel arrays, linked from the oldest to the youngest unfinished one.
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

    /** The rights each access needs. */
    final int[] rights;

    final long[] address;
    final long[] left;
    final MemorySegment[] buffer;
    final long[] bufferOffset;
    final int[] pasid;
    final long[] userTag;
    final AccessResult[] result;
    /** The group a WAITING slot waits for. */
    final int[] group;
    /** Page requests in a row that were answered SUCCESS. */
    final int[] tries;
    /** The group was answered INVALID; the page may be there all the same, but is not asked for again. */
    final boolean[] lastLook;
    /** When its page request was raised; 0 when nobody measures. */
    final long[] raisedAtNs;

    /** By which faults are timed. */
    final Clock clock;

    final int blocking;

    private final byte[] state;
    private final int[] count = new int[STATES];
    private final int[] older;
    private final int[] younger;
    private int oldest = NONE;
    private int youngest = NONE;

    private final int[] free;
    private int freeCount;
    private final int[] done;
    private int doneHead;
    private int doneCount;

    /** For each unfinished access that has been tried: how many touch pages that hash here. */
    private final int[] touched;

    private final long[] touchedFrom;
    private final int[] touchedPages;
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
        rights = new int[n];
        address = new long[n];
        left = new long[n];
        buffer = new MemorySegment[n];
        bufferOffset = new long[n];
        pasid = new int[n];
        userTag = new long[n];
        result = new AccessResult[n];
        group = new int[n];
        tries = new int[n];
        lastLook = new boolean[n];
        raisedAtNs = new long[n];
        state = new byte[n];
        older = new int[n];
        younger = new int[n];
        free = new int[slots];
        done = new int[slots];
        touched = new int[Integer.highestOneBit(n) << 3];
        touchedFrom = new long[n];
        touchedPages = new int[n];
        wanted = new AtomicLongArray(n + 2 * PADDING);
        for (int i = 0; i < slots; i++) {
            free[i] = slots - 1 - i;
        }
        freeCount = slots;
        for (int i = 0; i < n; i++) {
            buffer[i] = MemorySegment.NULL;
            result[i] = AccessResult.OK;
        }
    }

    boolean full() {
        return freeCount == 0;
    }

    int take() {
        return free[--freeCount];
    }

    void begin(
            int slot,
            Access access,
            long from,
            MemorySegment with,
            long withOffset,
            long bytes,
            int forPasid,
            long tag) {
        rights[slot] = PageRequest.carried(forPasid, access.rights());
        address[slot] = from;
        left[slot] = bytes;
        buffer[slot] = with;
        bufferOffset[slot] = withOffset;
        pasid[slot] = forPasid;
        userTag[slot] = tag;
        group[slot] = NONE;
        tries[slot] = 0;
        lastLook[slot] = false;
        raisedAtNs[slot] = 0;
        older[slot] = youngest;
        younger[slot] = NONE;
        if (youngest == NONE) {
            oldest = slot;
        } else {
            younger[youngest] = slot;
        }
        youngest = slot;
        set(slot, READY);
    }

    byte state(int slot) {
        return state[slot];
    }

    void set(int slot, byte next) {
        count[state[slot]]--;
        state[slot] = next;
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
        for (int slot = oldest; slot != NONE; slot = younger[slot]) {
            if (state[slot] == what) {
                set(slot, READY);
            }
        }
    }

    int oldest() {
        return oldest;
    }

    int younger(int slot) {
        return younger[slot];
    }

    /** The access is over: its result can be fetched, its page may go, those behind it are tried again. */
    void finish(int slot, AccessResult how) {
        unlink(slot);
        unwant(slot);
        result[slot] = how;
        set(slot, DONE);
        if (slot != blocking) {
            int at = doneHead + doneCount++;
            done[at < done.length ? at : at - done.length] = slot;
        }
        if (touchedPages[slot] != 0) {
            touch(slot, -1);
            touchedPages[slot] = 0;
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
        buffer[slot] = MemorySegment.NULL;
        set(slot, FREE);
        if (slot != blocking) {
            free[freeCount++] = slot;
        }
    }

    /** Enters a slot that could not be finished among those that younger accesses must not overtake on the same page. */
    void remember(int slot) {
        if (touchedPages[slot] == 0) {
            touchedFrom[slot] = address[slot] >>> Frames.SHIFT;
            touchedPages[slot] = (int) Math.min(Integer.MAX_VALUE, lastPage(slot) - touchedFrom[slot] + 1);
            touch(slot, 1);
        }
    }

    /** Whether an older unfinished access is still to touch the page this one comes to. */
    boolean behindOlder(int slot) {
        if (slot == oldest) {
            return false;
        }
        long page = address[slot] >>> Frames.SHIFT;
        boolean mine = touchedPages[slot] != 0;
        boolean mineWide = touchedPages[slot] > WIDE_PAGES;
        if (wide == (mineWide ? 1 : 0) && touched[bucket(pasid[slot], page)] <= (mine && !mineWide ? 1 : 0)) {
            return false;
        }
        for (int other = oldest; other != slot; other = younger[other]) {
            if (pasid[other] == pasid[slot] && address[other] >>> Frames.SHIFT <= page && page <= lastPage(other)) {
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

    private void unlink(int slot) {
        int before = older[slot];
        int after = younger[slot];
        if (before == NONE) {
            oldest = after;
        } else {
            younger[before] = after;
        }
        if (after == NONE) {
            youngest = before;
        } else {
            older[after] = before;
        }
    }

    private long lastPage(int slot) {
        return (address[slot] + left[slot] - 1) >>> Frames.SHIFT;
    }

    private void touch(int slot, int by) {
        if (touchedPages[slot] > WIDE_PAGES) {
            wide += by;
            return;
        }
        for (int i = 0; i < touchedPages[slot]; i++) {
            touched[bucket(pasid[slot], touchedFrom[slot] + i)] += by;
        }
    }

    private int bucket(int forPasid, long page) {
        return (int) (((page + ((long) forPasid << 40)) * SPREAD) >>> Integer.SIZE) & (touched.length - 1);
    }
}
