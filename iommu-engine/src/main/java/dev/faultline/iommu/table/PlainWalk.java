package dev.faultline.iommu.table;

import dev.faultline.iommu.table.Translation.Step;

/** No tables: every address is where it says, or none is anywhere. */
public final class PlainWalk extends Walk {
    /** What the TLBs keep of an address. */
    private static final int INPUT_BITS = 48;

    private final PhysicalMemory memory;
    private final boolean blocked;

    private PlainWalk(PhysicalMemory memory, boolean blocked) {
        this.memory = memory;
        this.blocked = blocked;
    }

    /** An address is the physical address, with every right. */
    public static PlainWalk identity(PhysicalMemory memory) {
        return new PlainWalk(memory, false);
    }

    /** No address is translated. */
    public static PlainWalk blocked(PhysicalMemory memory) {
        return new PlainWalk(memory, true);
    }

    @Override
    public long walk(long address, int needed) {
        if (blocked) {
            return Translation.fault(WalkFault.BLOCKED, 1, 0, Step.DATA, 0);
        }
        if (!canonical(address)) {
            return Translation.fault(WalkFault.BEYOND_INPUT, 1, 0, Step.DATA, 0);
        }
        int size = memory.reachLg2(address, INPUT_BITS);
        return size < 0
                ? Translation.fault(WalkFault.PAGE_OUTSIDE, 1, 0, Step.DATA, 0)
                : Translation.of(address, Translation.ALL_RIGHTS, size);
    }

    @Override
    public boolean canonical(long address) {
        return address >>> INPUT_BITS == 0;
    }

    @Override
    public String canonicalRule() {
        return "0 to 0x" + Long.toHexString((1L << INPUT_BITS) - 1);
    }

    @Override
    public WalkTrail trail(long address) {
        return WalkTrail.plain(blocked, address, walk(address, Translation.READ));
    }
}
