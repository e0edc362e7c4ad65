package dev.faultline.iommu.table;

/** The walk that ended before it came to a table: every access meets the same fault. */
final class EndedWalk extends Walk {
    private final long fault;
    private final boolean ats;

    EndedWalk(long fault, boolean ats) {
        this.fault = fault;
        this.ats = ats;
    }

    @Override
    public long walk(long address, int needed) {
        return fault;
    }

    @Override
    public boolean mayAsk(long of, boolean stalls) {
        return Translation.stage(fault) == 2 && (stalls || ats);
    }

    @Override
    public boolean canonical(long address) {
        return false;
    }

    @Override
    public String canonicalRule() {
        return "none";
    }

    @Override
    public WalkTrail trail(long address) {
        return WalkTrail.ended(address, fault);
    }
}
