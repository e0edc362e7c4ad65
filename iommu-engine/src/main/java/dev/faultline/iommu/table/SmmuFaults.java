package dev.faultline.iommu.table;

/** The event numbers of Arm's SMMUv3 for the faults of a walk. Source: SMMUv3 architecture, event records. */
public final class SmmuFaults {
    /** CLASS: a table's entry was translated or read. */
    public static final int CLASS_TABLE = 1;
    /** CLASS: the input address was. */
    public static final int CLASS_INPUT = 2;

    private static final int WALK_ABORT = 0x0b;
    private static final int TRANSLATION = 0x10;
    private static final int ADDRESS_SIZE = 0x11;
    private static final int ACCESS = 0x12;
    private static final int PERMISSION = 0x13;

    private SmmuFaults() {}

    /**
     * The event of a fault.
     *
     * @param fault a fault word
     * @return its number; 0 for what is no event: an access that found no memory, and blocked translation
     */
    public static int event(long fault) {
        return switch (Translation.reason(fault)) {
            case TABLE_READ -> WALK_ABORT;
            case BEYOND_INPUT, NOT_PRESENT, RESERVED_BITS -> TRANSLATION;
            case OUTPUT_SIZE -> ADDRESS_SIZE;
            case NOT_ACCESSED -> ACCESS;
            case NO_READ, NO_WRITE, NO_EXECUTE, NO_USER -> PERMISSION;
            case PAGE_OUTSIDE, INTERRUPT_WINDOW, BLOCKED -> 0;
        };
    }

    /** The record's CLASS. */
    public static int classOf(long fault) {
        return Translation.step(fault) == Translation.Step.DATA ? CLASS_INPUT : CLASS_TABLE;
    }

    /** The record's S2. */
    public static boolean secondStage(long fault) {
        return Translation.stage(fault) == 2;
    }

    /** The record's TTRnW: false if the access to a table's entry was the write of a mark. */
    public static boolean tableRead(long fault) {
        return Translation.step(fault) != Translation.Step.MARK;
    }
}
