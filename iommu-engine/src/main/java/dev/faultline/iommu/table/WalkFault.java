package dev.faultline.iommu.table;

/** Why a walk gave no translation. The words are nobody's in particular; {@link Translation} says at which step. */
public enum WalkFault {
    /** The input address is not one the table translates: not canonical, or too large. */
    BEYOND_INPUT,
    /** An entry could not be read: no memory is there. */
    TABLE_READ,
    NOT_PRESENT,
    RESERVED_BITS,
    /** An entry points beyond the output width. */
    OUTPUT_SIZE,
    /** The accessed flag is clear, and the hardware does not set it. */
    NOT_ACCESSED,
    NO_READ,
    NO_WRITE,
    NO_EXECUTE,
    /** The page is for privileged requests. */
    NO_USER,
    /** The page, where the translation ends, is outside of physical memory. */
    PAGE_OUTSIDE,
    /** The translation ends in the window of interrupt messages. */
    INTERRUPT_WINDOW,
    /** All translation is blocked. */
    BLOCKED;

    private static final WalkFault[] ALL = values();

    static WalkFault of(int number) {
        return ALL[number];
    }
}
