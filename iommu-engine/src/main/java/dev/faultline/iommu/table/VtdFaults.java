package dev.faultline.iommu.table;

/** The fault reasons of Intel VT-d in scalable mode for the faults of a walk. Source: VT-d specification, fault conditions. */
public final class VtdFaults {
    private static final int FIRST_STAGE_READ = 0x70;
    private static final int FIRST_STAGE_NOT_PRESENT = 0x71;
    private static final int FIRST_STAGE_RESERVED = 0x72;
    private static final int FIRST_STAGE_ROOT_READ = 0x73;
    private static final int TABLE_BEYOND_WIDTH = 0x74;
    private static final int ROOT_TABLE_NOT_READABLE = 0x75;
    private static final int TABLE_NOT_READABLE = 0x76;
    private static final int TABLE_NOT_WRITABLE = 0x77;
    private static final int SECOND_STAGE_READ = 0x78;
    private static final int SECOND_STAGE_NOT_PRESENT = 0x79;
    private static final int SECOND_STAGE_RESERVED = 0x7a;
    private static final int SECOND_STAGE_ROOT_READ = 0x7b;
    private static final int NOT_CANONICAL = 0x80;
    private static final int USER = 0x81;
    private static final int EXECUTE = 0x82;
    private static final int BEYOND_HARDWARE = 0x83;
    private static final int BEYOND_WIDTH = 0x84;
    private static final int WRITE = 0x85;
    private static final int READ = 0x86;
    private static final int INTERRUPT = 0x87;

    private VtdFaults() {}

    /**
     * The reason of a fault.
     *
     * @param fault a fault word
     * @param firstStageTop the level of the first stage's root
     * @param secondStageTop that of the second's
     * @return the code; 0 for what VT-d does not know
     */
    public static int code(long fault, int firstStageTop, int secondStageTop) {
        return Translation.stage(fault) == 1
                ? first(fault, firstStageTop)
                : second(fault, firstStageTop, secondStageTop);
    }

    private static int first(long fault, int top) {
        return switch (Translation.reason(fault)) {
            case BEYOND_INPUT -> NOT_CANONICAL;
            case TABLE_READ -> Translation.level(fault) == top ? FIRST_STAGE_ROOT_READ : FIRST_STAGE_READ;
            case NOT_PRESENT -> FIRST_STAGE_NOT_PRESENT;
            case RESERVED_BITS, OUTPUT_SIZE -> FIRST_STAGE_RESERVED;
            default -> rights(fault);
        };
    }

    private static int second(long fault, int firstTop, int top) {
        Translation.Step step = Translation.step(fault);
        WalkFault reason = Translation.reason(fault);
        boolean ofTable = step != Translation.Step.DATA && Translation.address(fault) != 0;
        return switch (reason) {
            case TABLE_READ -> Translation.level(fault) == top ? SECOND_STAGE_ROOT_READ : SECOND_STAGE_READ;
            case RESERVED_BITS, OUTPUT_SIZE -> SECOND_STAGE_RESERVED;
            case BEYOND_INPUT -> ofTable ? TABLE_BEYOND_WIDTH : BEYOND_WIDTH;
            case NOT_PRESENT, NO_READ, NO_WRITE -> {
                if (step == Translation.Step.MARK) {
                    yield TABLE_NOT_WRITABLE;
                }
                if (step == Translation.Step.TABLE) {
                    yield Translation.fetchedLevel(fault) == firstTop ? ROOT_TABLE_NOT_READABLE : TABLE_NOT_READABLE;
                }
                yield reason == WalkFault.NOT_PRESENT ? SECOND_STAGE_NOT_PRESENT : rights(fault);
            }
            default -> rights(fault);
        };
    }

    private static int rights(long fault) {
        return switch (Translation.reason(fault)) {
            case NO_USER -> USER;
            case NO_EXECUTE -> EXECUTE;
            case NO_WRITE -> WRITE;
            case NO_READ -> READ;
            case PAGE_OUTSIDE -> BEYOND_HARDWARE;
            case INTERRUPT_WINDOW -> INTERRUPT;
            default -> 0;
        };
    }
}
