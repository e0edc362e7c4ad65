package dev.faultline.iommu.table;

import dev.faultline.iommu.table.ArmLongDescriptors.Marks;
import dev.faultline.iommu.table.Translation.Step;
import org.jspecify.annotations.Nullable;

/**
 * The walk that a context descriptor of a guest's SMMUv3 says: an Arm first stage over the second.
 *
 * <p>What is had: 64-bit descriptors, little-endian, granules of 4 KiB, TTB0 with 16 to 39 for T0SZ, addresses of 48 bits, HA and HD, ASIDs of
 * 16 bits. What is not, makes a descriptor a bad one: a second table (EPD1 has to be 1), TBI, faults that do not end the access (A has to be 1).
 *
 * <p>Immutable. Source: SMMUv3 architecture, context descriptor.
 */
final class ContextWalk extends Walk {
    private static final long T0SZ = 0x3f;
    private static final long TG0 = 3 << 6;
    private static final long EPD0 = 1 << 14;
    private static final long ENDI = 1 << 15;
    private static final long EPD1 = 1 << 30;
    private static final long VALID = 1L << 31;
    private static final int IPS_SHIFT = 32;
    private static final long AFFD = 1L << 35;
    private static final long TBI0 = 1L << 38;
    private static final long AA64 = 1L << 41;
    private static final long HD = 1L << 42;
    private static final long HA = 1L << 43;
    private static final long STALL = 1L << 44;
    private static final long RECORD = 1L << 45;
    private static final long ABORT = 1L << 46;
    private static final int ASID_SHIFT = 48;
    private static final long ROOT = 0x000f_ffff_ffff_fff0L;

    private static final long HAS_TO_BE_SET = VALID | EPD1 | AA64 | ABORT;
    private static final long FIRST_HAS_TO_BE_CLEAR = TG0 | TBI0;
    private static final int[] OUTPUT_BITS = {32, 36, 40, 42, 44, 48, 48, 48};
    private static final int LEAST_T0SZ = 16;
    private static final int MOST_T0SZ = 39;
    private static final int LEAST_ROOT_BYTES = 64;

    final int pasid;
    final int asid;
    private final boolean stalls;
    private final boolean records;
    private final boolean ats;
    private final @Nullable NestedWalker nested;

    private ContextWalk(int pasid, long word, boolean ats, @Nullable NestedWalker nested) {
        this.pasid = pasid;
        this.asid = (int) (word >>> ASID_SHIFT);
        this.stalls = (word & STALL) != 0;
        this.records = (word & RECORD) != 0;
        this.ats = ats;
        this.nested = nested;
    }

    /** What a descriptor says; null if it is a bad one. */
    static @Nullable ContextWalk of(
            int pasid, long word, long root, Walker second, boolean neverStalls, boolean ats, Cuts cuts) {
        if ((word & HAS_TO_BE_SET) != HAS_TO_BE_SET || (word & ENDI) != 0 || (neverStalls && (word & STALL) != 0)) {
            return null;
        }
        if ((word & EPD0) != 0) {
            return new ContextWalk(pasid, word, ats, null);
        }
        int size = (int) (word & T0SZ);
        int outputBits = OUTPUT_BITS[(int) (word >>> IPS_SHIFT) & 7];
        if ((word & FIRST_HAS_TO_BE_CLEAR) != 0
                || size < LEAST_T0SZ
                || size > MOST_T0SZ
                || (root & ROOT) >>> outputBits != 0) {
            return null;
        }
        ArmFirstStage first = new ArmFirstStage(Long.SIZE - size, outputBits, marks(word));
        long rootBytes = Math.clamp((long) first.entries(first.topLevel) * Long.BYTES, LEAST_ROOT_BYTES, 4096);
        return new ContextWalk(pasid, word, ats, new NestedWalker(first, root & ROOT & -rootBytes, second, cuts));
    }

    private static Marks marks(long word) {
        if ((word & HA) != 0) {
            return (word & HD) != 0 ? Marks.ACCESSED_AND_DIRTY : Marks.ACCESSED;
        }
        return (word & AFFD) != 0 ? Marks.IGNORED : Marks.FAULT;
    }

    @Override
    public long walk(long address, int needed) {
        return nested == null
                ? Translation.fault(WalkFault.NOT_PRESENT, 1, 0, Step.DATA, 0)
                : nested.walk(address, needed);
    }

    /** The first stage stalls as the descriptor says; the second as its owner says, who lets it. */
    @Override
    public boolean mayAsk(long fault, boolean asStall) {
        return asStall ? stalls || Translation.stage(fault) == 2 : ats;
    }

    @Override
    public boolean isRecorded(long fault) {
        return records || Translation.stage(fault) == 2;
    }

    @Override
    public boolean canonical(long address) {
        return nested != null && nested.canonical(address);
    }

    @Override
    public String canonicalRule() {
        return nested == null ? "none" : nested.canonicalRule();
    }

    @Override
    public WalkTrail trail(long address) {
        return nested == null ? WalkTrail.ended(address, walk(address, 0)) : nested.trail(address);
    }
}
