package dev.faultline.iommu.table;

import static dev.faultline.ffm.PageFaultLayout.PERM_EXEC;
import static dev.faultline.ffm.PageFaultLayout.PERM_PRIV;
import static dev.faultline.ffm.PageFaultLayout.PERM_READ;
import static dev.faultline.ffm.PageFaultLayout.PERM_WRITE;

/**
 * What a walk found, as one word: a translation, which is never 0, or a fault, which is negative.
 *
 * <pre>
 *  63 62     58 57       52 51                   12 11    6 5         3 2         0
 * +--+---------+-----------+-----------------------+-------+-----------+-----------+
 * | 0|    0    | size - 12 |  page (4 KiB)         |   0   | X W R     | X W R     |
 * +--+---------+-----------+-----------------------+-------+-privileged+-others----+
 *
 *  63 62 61     59 58   56 55    52 51                                  3 2   1  0
 * +--+--+---------+-------+--------+-------------------------------------+-----+---+
 * | 1| u| fetched | level | reason |  address                            |step | s |
 * +--+--+---------+-------+--------+-------------------------------------+-----+---+
 * </pre>
 *
 * <p>A translation: {@code page} is that of the address that was asked for; {@code size} is log2 of the range, naturally
 * aligned, for which the word holds but for the page's number within it: the smaller of the two stages' leaves. The rights
 * are those of requests without privilege, {@code PERM_READ}, {@code PERM_WRITE} and {@code PERM_EXEC}, and three bits higher
 * those of requests with it; at least one is granted. Write is among them only once the table knows that the page is dirty, so
 * no cached copy can dirty a page behind the table's back. Bits 6 to 11 are free for who keeps the word, and 0 from a walk.
 *
 * <p>A fault: {@code s} is 0 for the first stage, 1 for the second; {@code step} is what was translated or read;
 * {@code level} is the one, of that stage, at which it ended. In the second of two stages {@code address} is that stage's input
 * (of the data, or of the first stage's entry, whose level is then {@code fetched}); else it is the entry's, 0 if none was
 * reached. Bits 2 to 0 of addresses are lost. {@code u} is 0 from a walk; who ends the access sets it if hardware makes no record.
 */
public final class Translation {
    public static final int PAGE_SHIFT = 12;
    public static final long PAGE_MASK = 0x000f_ffff_ffff_f000L;

    public static final int READ = PERM_READ;
    public static final int WRITE = PERM_WRITE;
    public static final int EXECUTE = PERM_EXEC;
    /** How far the rights of privileged requests lie above those of others. */
    public static final int PRIVILEGED_SHIFT = 3;

    /** Every right of one kind of request. */
    public static final int RIGHTS = READ | WRITE | EXECUTE;

    public static final int ALL_RIGHTS = RIGHTS | RIGHTS << PRIVILEGED_SHIFT;
    public static final int ALL_WRITE = WRITE | WRITE << PRIVILEGED_SHIFT;
    public static final int ALL_READ = READ | READ << PRIVILEGED_SHIFT;
    public static final int ALL_EXECUTE = EXECUTE | EXECUTE << PRIVILEGED_SHIFT;

    /** Bits a cache may use for itself. */
    public static final long FREE_MASK = 0xfc0;

    /** What was translated or read when a walk ended. */
    public enum Step {
        /** The address itself, by its own access. */
        DATA,
        /** A table's entry, by a read. */
        TABLE,
        /** A table's entry, by the write of an accessed or dirty mark. */
        MARK,
        /**
         * What says where a PASID's tables are, by a read. In the first stage it is the reason that tells: BEYOND_INPUT and NOT_PRESENT,
         * there is none for the PASID; BLOCKED, accesses without PASID, or with this, are refused; RESERVED_BITS, it is not one; TABLE_READ,
         * no memory is there.
         */
        CONTEXT;

        private static final Step[] ALL = values();
    }

    private static final int SIZE_SHIFT = 52;
    private static final int SIZE_MASK = 63;
    private static final long FAULT = 1L << 63;
    private static final long UNRECORDED = 1L << 62;
    private static final int FETCHED_SHIFT = 59;
    private static final int LEVEL_SHIFT = 56;
    private static final int LEVEL_MASK = 7;
    private static final int REASON_SHIFT = 52;
    private static final int REASON_MASK = 15;
    private static final long ADDRESS_MASK = 0x000f_ffff_ffff_fff8L;
    private static final int STEP_SHIFT = 1;
    private static final int STEP_MASK = 3;

    private Translation() {}

    /** The rights an access needs: {@code PERM_*}, with {@code PERM_PRIV} among them if it is privileged. */
    public static int needed(int perm) {
        return (perm & PERM_PRIV) != 0 ? (perm & RIGHTS) << PRIVILEGED_SHIFT : perm & RIGHTS;
    }

    public static long of(long physical, int rights, int sizeLg2) {
        return (long) (sizeLg2 - PAGE_SHIFT) << SIZE_SHIFT | (physical & PAGE_MASK) | rights;
    }

    public static boolean isFault(long word) {
        return word < 0;
    }

    /** Whether this is a translation with all of some rights. False for 0, which stands for nothing. */
    public static boolean grants(long word, int needed) {
        return word > 0 && (word & needed) == needed;
    }

    /** The physical address of the 4 KiB that hold the address asked for. */
    public static long page(long word) {
        return word & PAGE_MASK;
    }

    public static int rights(long word) {
        return (int) word & ALL_RIGHTS;
    }

    public static int sizeLg2(long word) {
        return (int) (word >>> SIZE_SHIFT & SIZE_MASK) + PAGE_SHIFT;
    }

    /** A fault that a stage's own walk found. */
    static long fault(WalkFault reason, int stage, int level, Step step, long entryAddress) {
        return FAULT
                | (stage - 1)
                | (long) level << LEVEL_SHIFT
                | (long) reason.ordinal() << REASON_SHIFT
                | (entryAddress & ADDRESS_MASK)
                | (long) step.ordinal() << STEP_SHIFT;
    }

    /** A fault of the second of two stages, from what its walk found. */
    static long inSecondStage(long fault, Step step, int fetchedLevel, long input) {
        return (fault & ((long) LEVEL_MASK << LEVEL_SHIFT | (long) REASON_MASK << REASON_SHIFT))
                | FAULT
                | (long) fetchedLevel << FETCHED_SHIFT
                | (input & ADDRESS_MASK)
                | (long) step.ordinal() << STEP_SHIFT
                | 1;
    }

    /** The fault of an access of which hardware makes no record: it stalled, or nobody wants one. */
    public static long unrecorded(long fault) {
        return fault | UNRECORDED;
    }

    public static boolean isUnrecorded(long fault) {
        return (fault & UNRECORDED) != 0;
    }

    public static WalkFault reason(long fault) {
        return WalkFault.of((int) (fault >>> REASON_SHIFT) & REASON_MASK);
    }

    /** 1 or 2. */
    public static int stage(long fault) {
        return (int) (fault & 1) + 1;
    }

    public static int level(long fault) {
        return (int) (fault >>> LEVEL_SHIFT) & LEVEL_MASK;
    }

    public static Step step(long fault) {
        return Step.ALL[(int) (fault >>> STEP_SHIFT) & STEP_MASK];
    }

    /** Of a second-stage fault on an entry of the first stage: that entry's level. */
    public static int fetchedLevel(long fault) {
        return (int) (fault >>> FETCHED_SHIFT) & LEVEL_MASK;
    }

    /** Whole but for bits 2 to 0. */
    public static long address(long fault) {
        return fault & ADDRESS_MASK;
    }
}
