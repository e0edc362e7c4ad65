package dev.faultline.iommu;

/**
 * The page-request groups a device has open, by their index, as a PCIe function numbers them: 9 bits, given out first-in
 * first-out, used again only after the answer.
 *
 * <p>Threads: the one that has entered the device. Nothing is allocated after construction.
 */
final class Groups {
    static final int INDICES = 512;
    static final int NONE = -1;
    private static final int INDEX_BITS = 9;

    final long[] base = new long[INDICES];
    final int[] pages = new int[INDICES];
    final int[] access = new int[INDICES];
    /** Requests raised so far; the group is whole when there are as many as pages. */
    final int[] raised = new int[INDICES];
    /** The slot that asked. */
    final int[] owner = new int[INDICES];

    private final Attachment[] attachment = new Attachment[INDICES];
    private final boolean[] open = new boolean[INDICES];
    private final int[] freed = new int[INDICES];
    private int freedHead;
    private int freedCount = INDICES;
    private final int[] list = new int[INDICES];
    private final int[] place = new int[INDICES];
    private int openCount;
    private int messages;

    Groups() {
        for (int i = 0; i < INDICES; i++) {
            freed[i] = i;
        }
    }

    static long tag(Attachment attachment, int index) {
        return attachment.key << INDEX_BITS | index;
    }

    static int index(long tag) {
        return (int) tag & (INDICES - 1);
    }

    static boolean of(Attachment attachment, long tag) {
        return tag >>> INDEX_BITS == attachment.key;
    }

    /** Page-request messages without an answer. */
    int messages() {
        return messages;
    }

    int openCount() {
        return openCount;
    }

    /** The i-th open group, in no order. */
    int openAt(int i) {
        return list[i];
    }

    boolean full() {
        return freedCount == 0;
    }

    int open(Attachment of, int slot, long from, int count, int rights) {
        int index = freed[freedHead];
        freedHead = (freedHead + 1) & (INDICES - 1);
        freedCount--;
        base[index] = from;
        pages[index] = count;
        access[index] = rights;
        raised[index] = 0;
        owner[index] = slot;
        attachment[index] = of;
        open[index] = true;
        place[index] = openCount;
        list[openCount++] = index;
        messages += count;
        return index;
    }

    void close(int index) {
        open[index] = false;
        messages -= pages[index];
        int last = list[--openCount];
        list[place[index]] = last;
        place[last] = place[index];
        freed[(freedHead + freedCount++) & (INDICES - 1)] = index;
    }

    boolean answers(long tag) {
        int index = index(tag);
        return open[index] && of(attachment[index], tag);
    }

    Attachment attachment(int index) {
        return attachment[index];
    }

    /** An open group that has asked for a page, or {@link #NONE}. */
    int covering(Attachment of, long page) {
        for (int i = 0; i < openCount; i++) {
            int index = list[i];
            if (attachment[index] == of
                    && Long.compareUnsigned(page - base[index], (long) pages[index] << Frames.SHIFT) < 0) {
                return index;
            }
        }
        return NONE;
    }
}
