package dev.faultline.ring;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.PaddedBefore;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.function.IntConsumer;

/**
 * The groups of a lane, from their first request until their device is told the answer: a slot each, and the order they came in.
 *
 * <p>Threads: the one inside the lane. No other side sees this memory. A slot is free, or assembling (on a list of its own), or
 * open (whole; in a queue in the order in which groups became whole, which is the order of delivery and of expiry), or answered
 * with its device not told yet (on the list of the untold).
 *
 * <p>A group of one that goes straight into a read leaves no record here, only what is needed to answer it and to name it.
 *
 * <pre>{@code
 *  0               8     16                  24              32
 *  +---------------+-----+-------------------+---------------+
 *  | cookie, state | tag | raisedAtNs, links | size, device  |
 *  +---------------+-----+-------------------+---------------+
 * }</pre>
 *
 * <p>The queue of open groups holds their cookies. A group that is answered stays in it until it comes to the front, or until the
 * queue is full and those that are answered are taken out; so an answer costs the queue nothing.
 */
abstract class ResponseTable extends PaddedBefore implements AutoCloseable {
    static final int NONE = -1;

    /** The slot is free; its cookie is the one it had last. */
    static final int FREE = 0;
    /** The group lacks its last request. */
    static final int ASSEMBLING = 1;
    /** The group is whole and waits for a read. */
    static final int WAITING = 2;
    /** The group is in a completion, or with the consumer. */
    static final int DELIVERED = 3;
    /** The group is answered {@link Answer#SUCCESS}; the sink has not been told. */
    static final int ANSWERED = 4;
    /** The group is answered {@link Answer#INVALID}; the sink has not been told. */
    static final int REFUSED = 5;

    private static final int SLOT_WORDS = 4;
    private static final int COOKIE_STATE = 0;
    private static final int TAG = 1;
    /** When the group became whole; while it assembles, or waits to be told, its neighbours on that list. */
    private static final int RAISED_AT = 2;

    private static final int SIZE_DEVICE = 3;

    /** Elements before the first that is used and after the last that keep them off their neighbours' lines. */
    private static final int SLACK = CacheLine.BYTES / Integer.BYTES;

    private final long[] words;
    private final Region records;
    private final MemorySegment recordMemory;
    private final long recordBytes;
    private final int slots;
    private final Cookies cookies;

    /** Free slots: a circle, used first-in first-out so that a cookie comes again as late as can be. */
    private final int[] free;

    private final int freeMask;

    /** Slots ever taken: so many groups were begun. */
    private long begun;

    /** Slots ever given back, and those there were at first. */
    private long freed;

    /** Cookies of open groups, and of some that were: a circle, oldest first, at least twice as large as there are slots. */
    private final int[] open;

    private final int openMask;
    private int openHead;

    /** Where the circle ends, less {@link #begun}: a group that is whole when it is begun moves both at once. */
    private int openTailAhead;

    /** Whether there are groups that no read has taken. */
    private boolean waits;

    /** If so, from here on in the circle; there may be answered ones among them. */
    private int firstWaiting;

    /** From here on in the circle groups became whole since the clock was read. */
    private int firstUnstamped;

    private long stampedAtNs;

    private int assemblingHead = NONE;

    /** Answered groups whose device has not been told, first-in first-out. */
    private int untoldHead = NONE;

    private int untoldTail = NONE;

    private ResponseTable(LaneLayout layout, Cookies cookies, int lastCookie) {
        this.slots = layout.allocation();
        this.cookies = cookies;
        this.recordBytes = (long) layout.largestGroup() * PageFaultLayout.SIZE;
        this.words = new long[slots * SLOT_WORDS + 2 * SLACK];
        int circle = CacheLine.ceilingPowerOfTwo(slots);
        this.free = new int[circle + 2 * SLACK];
        this.freeMask = circle - 1;
        this.open = new int[2 * circle + 2 * SLACK];
        this.openMask = 2 * circle - 1;
        this.records = Region.allocate(slots * recordBytes);
        this.recordMemory = records.segment();
        for (int slot = 0; slot < slots; slot++) {
            int cookie = cookies.startingAfter(lastCookie, slot, layout.lane());
            words[at(slot) + COOKIE_STATE] = cookieState(FREE, cookie);
            free[SLACK + slot] = slot;
        }
        this.freed = slots;
    }

    static ResponseTable of(LaneLayout layout, Cookies cookies, int lastCookie) {
        return new Alone(layout, cookies, lastCookie);
    }

    private static long cookieState(int state, int cookie) {
        return (cookie & 0xffff_ffffL) | ((long) state << 32);
    }

    private static int at(int slot) {
        return SLACK + slot * SLOT_WORDS;
    }

    /** Bytes of all this, on and off the heap. */
    long bytes() {
        return records.bytes() + (long) words.length * Long.BYTES + (long) (free.length + open.length) * Integer.BYTES;
    }

    // ---- fields of a slot ----

    /** Where a request's record is in {@link #recordMemory}. */
    long record(int slot, int i) {
        return slot * recordBytes + (long) i * PageFaultLayout.SIZE;
    }

    MemorySegment recordMemory() {
        return recordMemory;
    }

    int cookie(int slot) {
        return (int) words[at(slot) + COOKIE_STATE];
    }

    int state(int slot) {
        return (int) (words[at(slot) + COOKIE_STATE] >>> 32);
    }

    private void setState(int slot, int state) {
        words[at(slot) + COOKIE_STATE] = cookieState(state, cookie(slot));
    }

    long tag(int slot) {
        return words[at(slot) + TAG];
    }

    long raisedAtNs(int slot) {
        return words[at(slot) + RAISED_AT];
    }

    int size(int slot) {
        return (int) words[at(slot) + SIZE_DEVICE];
    }

    private int device(int slot) {
        return (int) (words[at(slot) + SIZE_DEVICE] >>> 32);
    }

    private void name(int slot, int size, long tag, int device) {
        int at = at(slot);
        words[at + TAG] = tag;
        long sizeDevice = size | (long) device << 32;
        // Mostly it is what the slot had last. A store is dear where a line of the rings is waited for.
        if (words[at + SIZE_DEVICE] != sizeDevice) {
            words[at + SIZE_DEVICE] = sizeDevice;
        }
    }

    private int next(int slot) {
        return (int) (words[at(slot) + RAISED_AT] >>> 32);
    }

    private int prev(int slot) {
        return (int) words[at(slot) + RAISED_AT];
    }

    private void setLinks(int slot, int prev, int next) {
        words[at(slot) + RAISED_AT] = (prev & 0xffff_ffffL) | (long) next << 32;
    }

    // ---- free ----

    boolean hasFree() {
        return begun != freed;
    }

    int used() {
        return slots - (int) (freed - begun);
    }

    /** Groups ever begun. */
    long begun() {
        return begun;
    }

    /** Takes a slot for a new group, with its next cookie; there has to be one. */
    private int take(int state) {
        int slot = free[SLACK + ((int) begun & freeMask)];
        begun++;
        int word = at(slot) + COOKIE_STATE;
        words[word] = cookieState(state, cookies.next((int) words[word]));
        return slot;
    }

    /** Gives a slot back that is on no list. */
    void free(int slot) {
        setState(slot, FREE);
        free[SLACK + ((int) freed & freeMask)] = slot;
        freed++;
    }

    // ---- assembling ----

    /** The group of a device that lacks its last request; NONE if there is none with that index. */
    int assembling(int device, int group) {
        for (int slot = assemblingHead; slot != NONE; slot = next(slot)) {
            if (device(slot) == device
                    && SharedWords.getInt(recordMemory, record(slot, 0) + PageFaultLayout.GROUP_OFFSET) == group) {
                return slot;
            }
        }
        return NONE;
    }

    int firstAssembling() {
        return assemblingHead;
    }

    int nextAssembling(int slot) {
        return next(slot);
    }

    /** Begins a group; there has to be a free slot. */
    int takeAssembling() {
        int slot = take(ASSEMBLING);
        openTailAhead--;
        words[at(slot) + SIZE_DEVICE] = 0;
        setLinks(slot, NONE, assemblingHead);
        if (assemblingHead != NONE) {
            setLinks(assemblingHead, slot, next(assemblingHead));
        }
        assemblingHead = slot;
        return slot;
    }

    void unlinkAssembling(int slot) {
        int next = next(slot);
        int prev = prev(slot);
        if (prev == NONE) {
            assemblingHead = next;
        } else {
            setLinks(prev, prev(prev), next);
        }
        if (next != NONE) {
            setLinks(next, prev, next(next));
        }
    }

    /** Adds a request; the caller has seen that it fits. */
    void addRequest(
            int slot,
            int size,
            long tag,
            int flags,
            int device,
            int pasid,
            int group,
            int perm,
            long address,
            int length) {
        PageFaultLayout.write(
                recordMemory, record(slot, size), flags, device, pasid, group, perm, address, length, cookie(slot));
        name(slot, size + 1, tag, device);
    }

    // ---- open ----

    /** A group that is off its list has become whole: it waits, behind all others. */
    void addWaiting(int slot, long nowNs) {
        setState(slot, WAITING);
        words[at(slot) + RAISED_AT] = nowNs;
        if (openTail() - openHead > openMask) {
            makeRoom();
        }
        if (!waits) {
            waits = true;
            firstWaiting = openTail();
        }
        open[SLACK + (openTail() & openMask)] = cookie(slot);
        openTailAhead++;
    }

    /** A group of one goes straight into a read: no other waits, and there is a free slot. Returns its cookie. */
    int addDelivered(long tag, int device, long nowNs) {
        if (openTail() - openHead > openMask) {
            makeRoom();
        }
        int place = SLACK + (openTail() & openMask);
        int slot = take(DELIVERED);
        words[at(slot) + RAISED_AT] = nowNs;
        name(slot, 1, tag, device);
        int cookie = cookie(slot);
        open[place] = cookie;
        return cookie;
    }

    private int openTail() {
        return (int) begun + openTailAhead;
    }

    /** The slot of the open group at a place in the circle; NONE if it was answered, and its slot perhaps used again. */
    private int openAt(int position) {
        int cookie = open[SLACK + (position & openMask)];
        int slot = cookies.slot(cookie);
        long word = words[at(slot) + COOKIE_STATE];
        int state = (int) (word >>> 32);
        return (int) word == cookie && (state == DELIVERED || state == WAITING) ? slot : NONE;
    }

    /** Takes out what is answered: half of what the circle holds, at least. */
    private void makeRoom() {
        int to = openHead;
        int end = openTail();
        int waiting = firstWaiting;
        int unstamped = firstUnstamped;
        for (int i = openHead; i != end; i++) {
            if (i == waiting) {
                firstWaiting = to;
            }
            if (i == unstamped) {
                firstUnstamped = to;
            }
            if (openAt(i) != NONE) {
                open[SLACK + (to++ & openMask)] = open[SLACK + (i & openMask)];
            }
        }
        waits &= firstWaiting != to;
        if (unstamped == end) {
            firstUnstamped = to;
        }
        openTailAhead -= end - to;
    }

    /** The oldest open group; NONE if there is none. */
    int firstOpen() {
        int slot = NONE;
        int end = openTail();
        while (openHead != end && (slot = openAt(openHead)) == NONE) {
            openHead++;
        }
        if (waits && firstWaiting - openHead < 0) {
            firstWaiting = openHead;
            waits = openHead != end;
        }
        if (firstUnstamped - openHead < 0) {
            firstUnstamped = openHead;
        }
        return slot;
    }

    /**
     * Does something to each open group; it answers none. In the order in which the kernel answers what a detach leaves: those that
     * no read has taken first, the newest first, then those that were delivered, in their order.
     */
    void forEachOpen(IntConsumer action) {
        int end = openTail();
        int delivered = waits ? firstWaiting : end;
        for (int i = end - 1; i - delivered >= 0; i--) {
            int slot = openAt(i);
            if (slot != NONE) {
                action.accept(slot);
            }
        }
        for (int i = openHead; delivered - i > 0; i++) {
            int slot = openAt(i);
            if (slot != NONE) {
                action.accept(slot);
            }
        }
    }

    /** Does something to each open group, the oldest first; it answers none. */
    void forEachOpenByAge(IntConsumer action) {
        int end = openTail();
        for (int i = openHead; end - i > 0; i++) {
            int slot = openAt(i);
            if (slot != NONE) {
                action.accept(slot);
            }
        }
    }

    boolean hasWaiting() {
        return waits;
    }

    /** The oldest open group that no read has taken; NONE if there is none. */
    int firstWaiting() {
        int end = openTail();
        while (waits) {
            int slot = openAt(firstWaiting);
            if (slot != NONE) {
                return slot;
            }
            waits = ++firstWaiting != end;
        }
        return NONE;
    }

    /** The oldest waiting group has gone into a read. */
    void setDelivered(int slot) {
        waits = ++firstWaiting != openTail();
        setState(slot, DELIVERED);
    }

    /**
     * The clock was read: groups that became whole since the last time age from now on, if that was long ago. The time they were
     * given at first was the last reading.
     *
     * @param toleranceNs what is not long ago
     */
    void stamp(long nowNs, long toleranceNs) {
        int end = openTail();
        if (nowNs - stampedAtNs > toleranceNs) {
            for (; firstUnstamped != end; firstUnstamped++) {
                int slot = openAt(firstUnstamped);
                if (slot != NONE) {
                    words[at(slot) + RAISED_AT] = nowNs;
                }
            }
        }
        firstUnstamped = end;
        stampedAtNs = nowNs;
    }

    /** The slot of the delivered group with a cookie; NONE if no such group waits for an answer. */
    int delivered(int cookie) {
        int slot = cookies.slot(cookie);
        return slot < slots && words[at(slot) + COOKIE_STATE] == cookieState(DELIVERED, cookie) ? slot : NONE;
    }

    // ---- answered, and the device not told ----

    boolean hasUntold() {
        return untoldHead != NONE;
    }

    /** An open group is answered. */
    void addUntold(int slot, boolean invalid) {
        setState(slot, invalid ? REFUSED : ANSWERED);
        setLinks(slot, NONE, NONE);
        if (untoldHead == NONE) {
            untoldHead = slot;
        } else {
            setLinks(untoldTail, NONE, slot);
        }
        untoldTail = slot;
    }

    /** Takes the group that was answered first; NONE if there is none. */
    int takeUntold() {
        int slot = untoldHead;
        if (slot != NONE) {
            untoldHead = next(slot);
        }
        return slot;
    }

    /** What an answered group was answered. */
    Answer answer(int slot) {
        return state(slot) == REFUSED ? Answer.INVALID : Answer.SUCCESS;
    }

    // ---- seeing inside ----

    /** Groups without an answer, counted slot by slot. */
    long outstanding() {
        long n = 0;
        for (int slot = 0; slot < slots; slot++) {
            int state = state(slot);
            if (state == ASSEMBLING || state == WAITING || state == DELIVERED) {
                n++;
            }
        }
        return n;
    }

    /** The newest cookie given, in the circle of cookies: slots are used in turn, so it is near the one that was used last. */
    int newestCookie() {
        int newest = cookie(free[SLACK + ((int) begun - 1 & freeMask)]);
        for (int slot = 0; slot < slots; slot++) {
            if (cookie(slot) - newest > 0) {
                newest = cookie(slot);
            }
        }
        return newest;
    }

    /** The slots in use, as {@link LaneDump} has them. */
    long[] inUse(long nowNs) {
        long[] groups = new long[used() * LaneDump.WORDS];
        int n = 0;
        // The second bound is for a reader that is not inside, which the count may have left behind.
        for (int slot = 0; slot < slots && n < groups.length; slot++) {
            if (state(slot) != FREE) {
                groups[n] = words[at(slot) + COOKIE_STATE];
                groups[n + 1] = words[at(slot) + SIZE_DEVICE];
                groups[n + 2] = nowNs - raisedAtNs(slot);
                groups[n + 3] = SharedWords.getLong(recordMemory, record(slot, 0) + PageFaultLayout.PASID_OFFSET);
                groups[n + 4] = SharedWords.getLong(recordMemory, record(slot, 0) + PageFaultLayout.ADDRESS_OFFSET);
                n += LaneDump.WORDS;
            }
        }
        return n == groups.length ? groups : Arrays.copyOf(groups, n);
    }

    @Override
    public void close() {
        records.close();
    }

    /** Keeps the fields above off the lines of what comes after them. */
    @SuppressWarnings("unused")
    private static final class Alone extends ResponseTable {
        long after0, after1, after2, after3, after4, after5, after6, after7;
        long after8, after9, after10, after11, after12, after13, after14, after15;

        Alone(LaneLayout layout, Cookies cookies, int lastCookie) {
            super(layout, cookies, lastCookie);
        }
    }
}
