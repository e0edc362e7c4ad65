package dev.faultline.iommu;

/**
 * The page-request groups a device has open, by their index, as a PCIe function numbers them: 9 bits, given out first-in
 * first-out, used again only after the response. A device that stalls numbers its tags the same way, with up to 16 bits.
 *
 * <p>Threads: the one that has entered the device. Nothing is allocated after construction.
 */
final class Groups {
    static final int PCI_INDICES = 512;
    static final int STALL_TAGS = 1 << 16;
    static final int NONE = -1;

    private static final byte FREE = 0;
    private static final byte OPEN = 1;
    /** The function waits no longer; the index stays in use until its response comes. */
    private static final byte LATE = 2;

    final long[] base;
    final int[] pages;
    final int[] access;
    /** That its requests carry, or none. */
    final int[] pasid;
    /** The slot that asked. */
    final int[] owner;
    /** When it was opened, in ticks of whoever watches the time. */
    final int[] openedAt;

    private final Attachment[] attachment;
    private final byte[] state;
    private final int[] freed;
    private int freedHead;
    private int freedCount;
    private final int[] list;
    private final int[] place;
    private int openCount;
    private int lateCount;

    Groups(int indices) {
        base = new long[indices];
        pages = new int[indices];
        access = new int[indices];
        pasid = new int[indices];
        owner = new int[indices];
        openedAt = new int[indices];
        attachment = new Attachment[indices];
        state = new byte[indices];
        freed = new int[indices];
        freedCount = indices;
        list = new int[indices];
        place = new int[indices];
        for (int i = 0; i < indices; i++) {
            freed[i] = i;
        }
    }

    int indices() {
        return freed.length;
    }

    /** Groups without a response, late ones included. */
    int openCount() {
        return openCount;
    }

    /** The i-th of them, in no order. */
    int openAt(int i) {
        return list[i];
    }

    boolean full() {
        return freedCount == 0;
    }

    /** Whether every group that is open is late. */
    boolean allLate() {
        return openCount > 0 && lateCount == openCount;
    }

    int open(Attachment of, int forPasid, int slot, long from, int count, int rights, int now) {
        int index = freed[freedHead];
        freedHead = freedHead + 1 == freed.length ? 0 : freedHead + 1;
        freedCount--;
        base[index] = from;
        pages[index] = count;
        access[index] = rights;
        pasid[index] = forPasid;
        owner[index] = slot;
        openedAt[index] = now;
        attachment[index] = of;
        state[index] = OPEN;
        place[index] = openCount;
        list[openCount++] = index;
        return index;
    }

    void close(int index) {
        if (state[index] == LATE) {
            lateCount--;
        }
        state[index] = FREE;
        int last = list[--openCount];
        list[place[index]] = last;
        place[last] = place[index];
        int at = freedHead + freedCount++;
        freed[at < freed.length ? at : at - freed.length] = index;
    }

    void setLate(int index) {
        if (state[index] == OPEN) {
            state[index] = LATE;
            lateCount++;
        }
    }

    /** Whether a response to an index is expected. */
    boolean isOpen(int index) {
        return index < state.length && state[index] != FREE;
    }

    boolean isLate(int index) {
        return state[index] == LATE;
    }

    Attachment attachment(int index) {
        return attachment[index];
    }

    /** An open group that has asked for a page, or {@link #NONE}. */
    int covering(Attachment of, int forPasid, long page) {
        for (int i = 0; i < openCount; i++) {
            int index = list[i];
            if (attachment[index] == of
                    && pasid[index] == forPasid
                    && state[index] == OPEN
                    && Long.compareUnsigned(page - base[index], (long) pages[index] << Frames.SHIFT) < 0) {
                return index;
            }
        }
        return NONE;
    }

    /** The index of another open group; there has to be one. */
    int anotherThan(int index) {
        return list[0] == index ? list[1] : list[0];
    }

    /** How many groups of a PASID, or of those without, lack their response. */
    int openOf(Attachment of, int forPasid) {
        int n = 0;
        for (int i = 0; i < openCount; i++) {
            if (attachment[list[i]] == of && pasid[list[i]] == forPasid) {
                n++;
            }
        }
        return n;
    }

    /** How many groups of an attachment lack their response. */
    int openOf(Attachment of) {
        int n = 0;
        for (int i = 0; i < openCount; i++) {
            if (attachment[list[i]] == of) {
                n++;
            }
        }
        return n;
    }
}
