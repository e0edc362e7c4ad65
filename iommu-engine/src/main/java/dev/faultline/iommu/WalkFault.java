package dev.faultline.iommu;

/** Why a walk gave no translation. The codes are the fault reasons of Intel VT-d; a walk returns them negated. */
enum WalkFault {
    /** An entry points at a table outside of physical memory. */
    TABLE_OUTSIDE(0x70),
    NOT_PRESENT(0x71),
    RESERVED_BITS(0x72),
    NOT_CANONICAL(0x80),
    NO_EXECUTE(0x82),
    /** The page lies outside of physical memory. */
    PAGE_OUTSIDE(0x83),
    NO_WRITE(0x85);

    final long walked;

    WalkFault(int code) {
        this.walked = -code;
    }

    static WalkFault of(long walked) {
        for (WalkFault fault : values()) {
            if (fault.walked == walked) {
                return fault;
            }
        }
        throw new AssertionError("walk result " + walked);
    }
}
