package dev.faultline.iommu.iommufd.smmuv3;

/**
 * A command as it stands in a command queue.
 *
 * <p>Immutable. Source: SMMUv3 architecture, command formats.
 *
 * @param first bits 63 to 0
 * @param second bits 127 to 64
 */
record Command(long first, long second) {
    static final int BYTES = 16;

    static final int CFGI_CD = 0x05;
    static final int CFGI_CD_ALL = 0x06;
    static final int TLBI_NH_ALL = 0x10;
    static final int TLBI_NH_ASID = 0x11;
    static final int TLBI_NH_VA = 0x12;
    static final int TLBI_NH_VAA = 0x13;
    static final int TLBI_NSNH_ALL = 0x30;
    static final int ATC_INV = 0x40;

    /** What {@link #atsSize} says for all addresses. */
    static final int EVERYTHING = 52;

    private static final int OP = 0xff;
    private static final long GLOBAL = 1 << 9;
    private static final long SECURE = 1 << 10;
    private static final long SUBSTREAM_VALID = 1 << 11;
    private static final int SUBSTREAM_SHIFT = 12;
    private static final int SUBSTREAM_MASK = (1 << 20) - 1;
    private static final int STREAM_SHIFT = 32;
    private static final int VMID_SHIFT = 32;
    private static final int ASID_SHIFT = 48;
    private static final int NUMBER_MASK = 0xffff;
    private static final int NUM_SHIFT = 12;
    private static final int SCALE_SHIFT = 20;
    private static final int RANGE_MASK = 31;
    private static final int LEVEL_SHIFT = 8;
    private static final int GRANULE_SHIFT = 10;
    private static final int SIZE_MASK = 63;
    private static final long ADDRESS = -4096L;
    private static final int GRANULE_4K = 1;

    static Command withStream(int op, long stream) {
        return new Command(op | stream << STREAM_SHIFT, 0);
    }

    /** Of all of a function's TLB from an address on, or of so much as a power of two of pages holds. */
    static Command atcInvalidate(long stream, long address, int size) {
        return new Command(ATC_INV | stream << STREAM_SHIFT, (address & ADDRESS) | size);
    }

    /** Of a number of pages, or of a few more; for every ASID. */
    static Command tlbInvalidate(long address, long pages) {
        int scale = Math.clamp(Long.SIZE - Long.numberOfLeadingZeros(pages - 1) - 5, 0, RANGE_MASK);
        long number = Math.min((pages - 1) >>> scale, RANGE_MASK);
        return number == 0
                ? new Command(TLBI_NH_VAA, address & ADDRESS)
                : new Command(
                        TLBI_NH_VAA | number << NUM_SHIFT | (long) scale << SCALE_SHIFT,
                        (address & ADDRESS) | GRANULE_4K << GRANULE_SHIFT);
    }

    int op() {
        return (int) first & OP;
    }

    int stream() {
        return (int) (first >>> STREAM_SHIFT);
    }

    boolean hasSubstream() {
        return (first & SUBSTREAM_VALID) != 0;
    }

    int substream() {
        return (int) (first >>> SUBSTREAM_SHIFT) & SUBSTREAM_MASK;
    }

    boolean isGlobal() {
        return (first & GLOBAL) != 0;
    }

    int vmid() {
        return (int) (first >>> VMID_SHIFT) & NUMBER_MASK;
    }

    int asid() {
        return (int) (first >>> ASID_SHIFT) & NUMBER_MASK;
    }

    long address() {
        return second & ADDRESS;
    }

    /** log2 of the pages of an ATC_INV. */
    int atsSize() {
        return (int) second & SIZE_MASK;
    }

    /** Pages of 4 KiB that a TLBI by address means. */
    long pages() {
        return granule() == 0 ? 1 : (num() + 1L) << scale();
    }

    private int granule() {
        return (int) (second >>> GRANULE_SHIFT) & 3;
    }

    private int num() {
        return (int) (first >>> NUM_SHIFT) & RANGE_MASK;
    }

    private int scale() {
        return (int) (first >>> SCALE_SHIFT) & RANGE_MASK;
    }

    /** Whether hardware would take it, as far as its fields say. */
    boolean isLegal() {
        if ((first & SECURE) != 0) {
            return false;
        }
        return switch (op()) {
            case TLBI_NH_VA, TLBI_NH_VAA ->
                granule() == 0 || (granule() == GRANULE_4K && (num() | scale() | (second >>> LEVEL_SHIFT & 3)) != 0);
            case ATC_INV -> atsSize() <= EVERYTHING;
            default -> true;
        };
    }

    Command withVmid(int vmid) {
        return new Command((first & ~((long) NUMBER_MASK << VMID_SHIFT)) | (long) vmid << VMID_SHIFT, second);
    }

    Command withStream(int stream) {
        return new Command((first & (1L << STREAM_SHIFT) - 1) | (long) stream << STREAM_SHIFT, second);
    }

    @Override
    public String toString() {
        return "Command[0x" + Long.toHexString(first) + ", 0x" + Long.toHexString(second) + "]";
    }
}
