package dev.faultline.ring;

import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;

/**
 * The groups of a lane, from their first request until their device is told the answer: a slot each, in the lane's memory
 * (see {@link LaneLayout}), and the lists they are on.
 *
 * <p>Threads: the one inside the lane; {@code state} alone is read by the consumer. A slot is free, or assembling (on a list of
 * its own), or open (whole; on a list in the order in which groups became whole, which is the order of delivery and of expiry),
 * or answered with its device not told yet (in a queue of slots).
 */
final class ResponseTable {
    static final int NONE = -1;

    private final MemorySegment memory;
    private final long base;
    private final long slotBytes;
    private final int slots;
    private final Cookies cookies;

    /** Used first-in first-out, so that a cookie comes again as late as can be. */
    private final int[] free;

    private int freeHead;
    private int freeCount;

    private int openHead = NONE;
    private int openTail = NONE;

    /** The oldest open group that no read has taken. */
    private int firstWaiting = NONE;

    private int assemblingHead = NONE;

    /** The oldest open group that became whole since the clock was read. */
    private int firstUnstamped = NONE;

    /** Answered groups whose device has not been told: slots, first-in first-out, and the codes by slot. */
    private final int[] untold;

    private final byte[] codes;
    private int untoldHead;
    private int untoldCount;

    ResponseTable(MemorySegment memory, LaneLayout layout, Cookies cookies, int lane, int lastCookie) {
        this.memory = memory;
        this.base = layout.tableOffset();
        this.slotBytes = layout.slotBytes();
        this.slots = layout.allocation();
        this.cookies = cookies;
        this.free = new int[slots];
        this.untold = new int[slots];
        this.codes = new byte[slots];
        this.freeCount = slots;
        for (int slot = 0; slot < slots; slot++) {
            free[slot] = slot;
            SharedWords.putLong(
                    memory, at(slot), stateWord(LaneLayout.FREE, cookies.startingAfter(lastCookie, slot, lane)));
        }
    }

    /** What the state word of a slot holds. */
    static long stateWord(int state, int cookie) {
        return (cookie & 0xffff_ffffL) | ((long) state << 32);
    }

    private long at(int slot) {
        return base + slot * slotBytes;
    }

    // ---- fields of a slot ----

    long record(int slot, int i) {
        return at(slot) + LaneLayout.SLOT_RECORDS + (long) i * PageFaultLayout.SIZE;
    }

    int cookie(int slot) {
        return (int) SharedWords.getLong(memory, at(slot));
    }

    /** Acquire, for a reader that is not inside. */
    int state(int slot) {
        return (int) (SharedWords.getLongAcquire(memory, at(slot)) >>> 32);
    }

    private void setState(int slot, int state, int cookie) {
        // Release: for the consumer, which reads it once it has seen that something was revoked.
        SharedWords.setLongRelease(memory, at(slot), stateWord(state, cookie));
    }

    long tag(int slot) {
        return SharedWords.getLong(memory, at(slot) + LaneLayout.SLOT_TAG);
    }

    long raisedAtNs(int slot) {
        return SharedWords.getLong(memory, at(slot) + LaneLayout.SLOT_RAISED_AT);
    }

    int size(int slot) {
        return SharedWords.getInt(memory, at(slot) + LaneLayout.SLOT_SIZE);
    }

    private int next(int slot) {
        return SharedWords.getInt(memory, at(slot) + LaneLayout.SLOT_NEXT);
    }

    private int prev(int slot) {
        return SharedWords.getInt(memory, at(slot) + LaneLayout.SLOT_PREV);
    }

    private void setNext(int slot, int next) {
        SharedWords.putInt(memory, at(slot) + LaneLayout.SLOT_NEXT, next);
    }

    private void setPrev(int slot, int prev) {
        SharedWords.putInt(memory, at(slot) + LaneLayout.SLOT_PREV, prev);
    }

    // ---- free ----

    int freeCount() {
        return freeCount;
    }

    /** Takes a slot for a new group, with its next cookie; NONE if there is none. */
    int take() {
        if (freeCount == 0) {
            return NONE;
        }
        int slot = free[freeHead];
        freeHead = freeHead + 1 == slots ? 0 : freeHead + 1;
        freeCount--;
        setState(slot, LaneLayout.ASSEMBLING, cookies.next(cookie(slot)));
        SharedWords.putInt(memory, at(slot) + LaneLayout.SLOT_SIZE, 0);
        return slot;
    }

    /** Gives a slot back that is on no list. */
    void free(int slot) {
        setState(slot, LaneLayout.FREE, cookie(slot));
        int tail = freeHead + freeCount;
        free[tail >= slots ? tail - slots : tail] = slot;
        freeCount++;
    }

    // ---- assembling ----

    /** The group of a device that lacks its last request; NONE if there is none with that index. */
    int assembling(int device, int group) {
        for (int slot = assemblingHead; slot != NONE; slot = next(slot)) {
            long record = record(slot, 0);
            if (SharedWords.getInt(memory, record + PageFaultLayout.DEVICE_OFFSET) == device
                    && SharedWords.getInt(memory, record + PageFaultLayout.GROUP_OFFSET) == group) {
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

    void linkAssembling(int slot) {
        setPrev(slot, NONE);
        setNext(slot, assemblingHead);
        if (assemblingHead != NONE) {
            setPrev(assemblingHead, slot);
        }
        assemblingHead = slot;
    }

    void unlinkAssembling(int slot) {
        if (slot == assemblingHead) {
            assemblingHead = next(slot);
        }
        unlink(slot);
    }

    /** Adds a request; the caller has seen that it fits. */
    void addRequest(int slot, int size, long tag, int flags, int device, int pasid, int group, int perm, long address) {
        PageFaultLayout.write(memory, record(slot, size), flags, device, pasid, group, perm, address, 0, cookie(slot));
        SharedWords.putLong(memory, at(slot) + LaneLayout.SLOT_TAG, tag);
        SharedWords.putInt(memory, at(slot) + LaneLayout.SLOT_SIZE, size + 1);
    }

    // ---- open ----

    int firstOpen() {
        return openHead;
    }

    int nextOpen(int slot) {
        return next(slot);
    }

    int firstWaiting() {
        return firstWaiting;
    }

    /** A group has become whole: it waits, behind all others. */
    void linkOpen(int slot, long raisedAtNs) {
        SharedWords.putLong(memory, at(slot) + LaneLayout.SLOT_RAISED_AT, raisedAtNs);
        setPrev(slot, openTail);
        setNext(slot, NONE);
        if (openTail == NONE) {
            openHead = slot;
        } else {
            setNext(openTail, slot);
        }
        openTail = slot;
        if (firstWaiting == NONE) {
            firstWaiting = slot;
        }
        if (firstUnstamped == NONE) {
            firstUnstamped = slot;
        }
        setState(slot, LaneLayout.WAITING, cookie(slot));
    }

    /**
     * The clock was read: groups that became whole since the last time age from now on. The time they were given at first was the
     * last reading, which may be long ago; a group must not expire early.
     */
    void stamp(long nowNs) {
        for (int slot = firstUnstamped; slot != NONE; slot = next(slot)) {
            SharedWords.putLong(memory, at(slot) + LaneLayout.SLOT_RAISED_AT, nowNs);
        }
        firstUnstamped = NONE;
    }

    /** The oldest waiting group has gone into a read. */
    void setDelivered(int slot) {
        firstWaiting = next(slot);
        setState(slot, LaneLayout.DELIVERED, cookie(slot));
    }

    /** The slot of the delivered group with a cookie; NONE if no such group waits for an answer. */
    int delivered(int cookie) {
        int slot = cookies.slot(cookie);
        return slot < slots && SharedWords.getLong(memory, at(slot)) == stateWord(LaneLayout.DELIVERED, cookie)
                ? slot
                : NONE;
    }

    void unlinkOpen(int slot) {
        if (slot == firstWaiting) {
            firstWaiting = next(slot);
        }
        if (slot == firstUnstamped) {
            firstUnstamped = next(slot);
        }
        if (slot == openHead) {
            openHead = next(slot);
        }
        if (slot == openTail) {
            openTail = prev(slot);
        }
        unlink(slot);
    }

    private void unlink(int slot) {
        int next = next(slot);
        int prev = prev(slot);
        if (prev != NONE) {
            setNext(prev, next);
        }
        if (next != NONE) {
            setPrev(next, prev);
        }
    }

    // ---- answered, and the device not told ----

    boolean hasUntold() {
        return untoldCount > 0;
    }

    /** A group that is off its list is answered. */
    void addUntold(int slot, int code) {
        setState(slot, LaneLayout.ANSWERED, cookie(slot));
        int tail = untoldHead + untoldCount;
        untold[tail >= slots ? tail - slots : tail] = slot;
        codes[slot] = (byte) code;
        untoldCount++;
    }

    /** Takes the group that was answered first; NONE if there is none. */
    int takeUntold() {
        if (untoldCount == 0) {
            return NONE;
        }
        int slot = untold[untoldHead];
        untoldHead = untoldHead + 1 == slots ? 0 : untoldHead + 1;
        untoldCount--;
        return slot;
    }

    int code(int slot) {
        return codes[slot];
    }

    // ---- seeing inside ----

    /** Groups without an answer, counted slot by slot. */
    long outstanding() {
        long n = 0;
        for (int slot = 0; slot < slots; slot++) {
            int state = state(slot);
            if (state == LaneLayout.ASSEMBLING || state == LaneLayout.WAITING || state == LaneLayout.DELIVERED) {
                n++;
            }
        }
        return n;
    }

    /** The highest cookie any slot has given. */
    int lastCookie() {
        int last = 0;
        for (int slot = 0; slot < slots; slot++) {
            if (Integer.compareUnsigned(cookie(slot), last) > 0) {
                last = cookie(slot);
            }
        }
        return last;
    }

    void dump(StringBuilder text, long nowNs) {
        for (int slot = 0; slot < slots; slot++) {
            int state = state(slot);
            if (state == LaneLayout.FREE) {
                continue;
            }
            long record = record(slot, 0);
            text.append("  cookie 0x")
                    .append(Integer.toHexString(cookie(slot)))
                    .append(' ')
                    .append(LaneLayout.STATE_NAMES[state]);
            if (state != LaneLayout.ASSEMBLING) {
                text.append(", age ").append((nowNs - raisedAtNs(slot)) / 1_000).append(" us");
            }
            text.append(", device ")
                    .append(SharedWords.getInt(memory, record + PageFaultLayout.DEVICE_OFFSET))
                    .append(", pasid ")
                    .append(SharedWords.getInt(memory, record + PageFaultLayout.PASID_OFFSET))
                    .append(", group ")
                    .append(SharedWords.getInt(memory, record + PageFaultLayout.GROUP_OFFSET))
                    .append(", requests ")
                    .append(size(slot))
                    .append(", first 0x")
                    .append(Long.toHexString(SharedWords.getLong(memory, record + PageFaultLayout.ADDRESS_OFFSET)))
                    .append('\n');
        }
    }
}
