package dev.faultline.iommu.table;

/** The event numbers of Arm's SMMUv3 for the faults of a walk. Source: SMMUv3 architecture, event records. */
public final class SmmuFaults {
    /** CLASS: a context descriptor was fetched. */
    public static final int CLASS_CONTEXT = 0;
    /** CLASS: a table's entry was translated or read. */
    public static final int CLASS_TABLE = 1;
    /** CLASS: the input address was. */
    public static final int CLASS_INPUT = 2;

    /** The level of a fault whose reason is the stream table entry, and not a context descriptor. */
    static final int STREAM_ENTRY = 2;

    private static final int BAD_STREAM_ENTRY = 0x04;
    private static final int STREAM_DISABLED = 0x06;
    private static final int BAD_SUBSTREAM = 0x08;
    private static final int CONTEXT_FETCH = 0x09;
    private static final int BAD_CONTEXT = 0x0a;
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
        if (isConfiguration(fault)) {
            return switch (Translation.reason(fault)) {
                case TABLE_READ -> CONTEXT_FETCH;
                case BLOCKED -> STREAM_DISABLED;
                case RESERVED_BITS -> Translation.level(fault) == STREAM_ENTRY ? BAD_STREAM_ENTRY : BAD_CONTEXT;
                default -> BAD_SUBSTREAM;
            };
        }
        return switch (Translation.reason(fault)) {
            case TABLE_READ -> WALK_ABORT;
            case BEYOND_INPUT, NOT_PRESENT, RESERVED_BITS -> TRANSLATION;
            case OUTPUT_SIZE -> ADDRESS_SIZE;
            case NOT_ACCESSED -> ACCESS;
            case NO_READ, NO_WRITE, NO_EXECUTE, NO_USER -> PERMISSION;
            case PAGE_OUTSIDE, INTERRUPT_WINDOW, BLOCKED -> 0;
        };
    }

    /** Whether what the guest wrote of its device or PASID is at fault, and no translation. Such a fault never stalls. */
    public static boolean isConfiguration(long fault) {
        return Translation.step(fault) == Translation.Step.CONTEXT && Translation.stage(fault) == 1;
    }

    /** The record's CLASS. */
    public static int classOf(long fault) {
        return switch (Translation.step(fault)) {
            case DATA -> CLASS_INPUT;
            case TABLE, MARK -> CLASS_TABLE;
            case CONTEXT -> CLASS_CONTEXT;
        };
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
