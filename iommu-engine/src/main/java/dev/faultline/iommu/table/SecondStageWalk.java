package dev.faultline.iommu.table;

import dev.faultline.iommu.table.Translation.Step;

/** The second of two stages where the first does nothing: its faults are those of a second stage. */
final class SecondStageWalk extends Walk {
    private final Walker second;
    private final boolean ats;

    SecondStageWalk(Walker second, boolean ats) {
        this.second = second;
        this.ats = ats;
    }

    @Override
    public long walk(long address, int needed) {
        if (!canonical(address)) {
            return Translation.fault(WalkFault.OUTPUT_SIZE, 1, 0, Step.DATA, 0);
        }
        long found = second.walk(address, needed);
        return found < 0 ? Translation.inSecondStage(found, Step.DATA, 0, address) : found;
    }

    @Override
    public boolean mayAsk(long fault, boolean stalls) {
        return stalls ? Translation.stage(fault) == 2 : ats;
    }

    @Override
    public boolean canonical(long address) {
        return address >>> StreamWalk.ADDRESS_BITS == 0;
    }

    @Override
    public String canonicalRule() {
        return "0 to 0x" + Long.toHexString((1L << StreamWalk.ADDRESS_BITS) - 1);
    }

    @Override
    public WalkTrail trail(long address) {
        return second.trail(address);
    }
}
