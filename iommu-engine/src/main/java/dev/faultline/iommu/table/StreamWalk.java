package dev.faultline.iommu.table;

import dev.faultline.iommu.table.Translation.Step;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * The walk of a device whose stream table entry is a guest's: nothing, the second stage alone, or for each PASID the first stage that a
 * context descriptor in the guest's memory says, over the second.
 *
 * <p>Descriptors that are right are kept, as hardware keeps them, until they are dropped: {@link #CACHED} at most, each PASID at one place.
 * Translations in the TLBs are tagged by PASID and not by ASID; so whoever drops a descriptor has what was translated by it forgotten too, and
 * where one had to make room for another nobody knows any more which PASIDs an ASID stands for.
 *
 * <p>Threads: any; a walk takes no lock and allocates nothing once its descriptor is cached; fetching one does both. Memory order: a walk
 * whose translation is cached has read the TLB's sequence before it looks for its descriptor; who drops does so before it makes the TLB forget.
 * Source: SMMUv3 architecture, stream table entry, context descriptor table.
 */
public final class StreamWalk extends Walk {
    /** Bits of addresses on both sides of a stage that does nothing. */
    static final int ADDRESS_BITS = 48;

    private static final int CACHED = 256;
    private static final int MOST_CONTEXTS_LG2 = 20;
    private static final int CONTEXT_LG2 = 6;
    private static final int TABLE_ENTRY_LG2 = 3;
    private static final int NO_PASID = -1;

    private static final int FORMAT_4K_LEAVES = 1;
    private static final int FORMAT_64K_LEAVES = 2;
    private static final int LEAF_4K_LG2 = 6;
    private static final int LEAF_64K_LG2 = 10;
    private static final long TABLE_VALID = 1;
    private static final long TABLE_ADDRESS = 0x000f_ffff_ffff_f000L;

    private static final int PLAIN_BYPASSES = 1;
    private static final int PLAIN_USES_FIRST = 2;

    /**
     * What a stream table entry that translates says.
     *
     * @param pointer where the context descriptors are, as the second stage's input
     * @param format S1Fmt
     * @param contextsLg2 S1CDMax
     * @param plain S1DSS
     * @param neverStalls S1STALLD
     * @param ats whether the device may ask for translations and pages
     */
    public record Contexts(long pointer, int format, int contextsLg2, int plain, boolean neverStalls, boolean ats) {}

    private final Walker second;
    private final @Nullable Walk all;
    private final Contexts contexts;
    private final Cuts cuts = new Cuts();

    /** Written under the lock, read by every walk; a stale one costs what an access of before would have met. */
    private final AtomicReferenceArray<@Nullable ContextWalk> cached;

    private final Object lock = new Object();

    /** How often something was dropped; written under the lock. */
    private volatile int drops;

    /** A descriptor is used that is not among the cached. Written under the lock, read by who looks for an ASID's PASIDs. */
    private volatile boolean incomplete;

    private StreamWalk(Walker second, @Nullable Walk all, Contexts contexts) {
        this.second = second;
        this.all = all;
        this.contexts = contexts;
        this.cached = new AtomicReferenceArray<>(all == null ? CACHED : 0);
    }

    private static final Contexts NONE = new Contexts(0, 0, 0, 0, false, true);

    /** No access is translated, and none is an event. */
    public static StreamWalk abort(Walker second) {
        return new StreamWalk(second, PlainWalk.blocked(second.memory), NONE);
    }

    /** Accesses without PASID are translated by the second stage alone. */
    public static StreamWalk bypass(Walker second) {
        return new StreamWalk(second, new SecondStageWalk(second, true), NONE);
    }

    /** Each PASID's accesses are translated by its own first stage. */
    public static StreamWalk of(Walker second, Contexts contexts) {
        // Of one descriptor alone there is no format.
        boolean legal = contexts.contextsLg2 == 0
                || (contexts.contextsLg2 <= MOST_CONTEXTS_LG2 && contexts.format <= FORMAT_64K_LEAVES);
        Walk all = legal ? null : refused(WalkFault.RESERVED_BITS, SmmuFaults.STREAM_ENTRY, 0);
        return new StreamWalk(second, all, contexts);
    }

    @Override
    public Walk of(int pasid) {
        if (all != null) {
            return pasid == NO_PASID || !(all instanceof SecondStageWalk) ? all : refused(WalkFault.BEYOND_INPUT, 0, 0);
        }
        ContextWalk found = cached.getAcquire(place(pasid));
        return found != null && found.pasid == pasid ? found : look(pasid);
    }

    @Override
    public boolean everyPasid() {
        return true;
    }

    @Override
    public int largestCutLg2() {
        return cuts.largestLg2();
    }

    @Override
    public long walk(long address, int needed) {
        return of(NO_PASID).walk(address, needed);
    }

    @Override
    public boolean mayAsk(long fault, boolean stalls) {
        return of(NO_PASID).mayAsk(fault, stalls);
    }

    @Override
    public boolean canonical(long address) {
        return address >>> ADDRESS_BITS == 0;
    }

    @Override
    public String canonicalRule() {
        return "0 to 0x" + Long.toHexString((1L << ADDRESS_BITS) - 1);
    }

    @Override
    public WalkTrail trail(long address) {
        return of(NO_PASID).trail(address);
    }

    // ---- what is cached ----

    /** Forgets one PASID's descriptor; that of PASID 0 is also for accesses without. */
    public void drop(int pasid) {
        synchronized (lock) {
            drops++;
            forget(pasid);
            if (pasid == 0) {
                forget(NO_PASID);
            }
        }
    }

    /** Forgets all descriptors. */
    public void dropAll() {
        synchronized (lock) {
            drops++;
            for (int i = 0; i < cached.length(); i++) {
                cached.set(i, null);
            }
            incomplete = false;
        }
    }

    /** The PASIDs that an ASID stands for; null if that is not known of all. */
    public int @Nullable [] pasids(int asid) {
        if (all != null) {
            return new int[0];
        }
        synchronized (lock) {
            return incomplete
                    ? null
                    : IntStream.range(0, cached.length())
                            .mapToObj(cached::get)
                            .filter(context -> context != null && context.asid == asid)
                            .mapToInt(context -> context == null ? NO_PASID : context.pasid)
                            .toArray();
        }
    }

    private void forget(int pasid) {
        if (all != null) {
            return;
        }
        ContextWalk found = cached.get(place(pasid));
        if (found != null && found.pasid == pasid) {
            cached.set(place(pasid), null);
        }
    }

    private static int place(int pasid) {
        return (pasid + 1) & (CACHED - 1);
    }

    // ---- what the guest says ----

    /** What the architecture says of accesses with and without PASID. */
    private Walk look(int pasid) {
        if (pasid == NO_PASID && contexts.contextsLg2 > 0) {
            if (contexts.plain == PLAIN_BYPASSES) {
                return new SecondStageWalk(second, contexts.ats);
            }
            return contexts.plain == PLAIN_USES_FIRST ? fetch(pasid, 0) : refused(WalkFault.BLOCKED, 0, 0);
        }
        if (pasid == NO_PASID) {
            return fetch(pasid, 0);
        }
        if (contexts.contextsLg2 == 0 || pasid >>> contexts.contextsLg2 != 0) {
            return refused(WalkFault.BEYOND_INPUT, 0, 0);
        }
        return pasid == 0 && contexts.plain == PLAIN_USES_FIRST
                ? refused(WalkFault.BLOCKED, 0, 0)
                : fetch(pasid, pasid);
    }

    private Walk fetch(int pasid, int index) {
        int before = drops;
        long table = contexts.pointer;
        int within = index;
        if (contexts.format != 0 && contexts.contextsLg2 > 0) {
            int leafLg2 = contexts.format == FORMAT_4K_LEAVES ? LEAF_4K_LG2 : LEAF_64K_LG2;
            long at = table + ((long) (index >>> leafLg2) << TABLE_ENTRY_LG2);
            long host = second.walk(at, Translation.READ);
            if (host < 0) {
                return ended(unreadable(host, at));
            }
            long entry = read(host, at);
            if ((entry & TABLE_VALID) == 0 || (entry & TABLE_ADDRESS) >>> ADDRESS_BITS != 0) {
                return refused(WalkFault.NOT_PRESENT, 1, at);
            }
            table = entry & TABLE_ADDRESS & -(1L << (leafLg2 + CONTEXT_LG2));
            within = index & ((1 << leafLg2) - 1);
        }
        long at = table + ((long) within << CONTEXT_LG2);
        long host = second.walk(at, Translation.READ);
        if (host < 0) {
            return ended(unreadable(host, at));
        }
        ContextWalk made = ContextWalk.of(
                pasid, read(host, at), read(host, at + Long.BYTES), second, contexts.neverStalls, contexts.ats, cuts);
        if (made == null) {
            return refused(WalkFault.RESERVED_BITS, 0, at);
        }
        keep(made, before);
        return made;
    }

    private long read(long host, long at) {
        return second.memory.entry(Translation.page(host) | (at & ((1 << Translation.PAGE_SHIFT) - 1)));
    }

    private static long unreadable(long host, long at) {
        return Translation.reason(host) == WalkFault.PAGE_OUTSIDE
                ? Translation.fault(WalkFault.TABLE_READ, 1, 0, Step.CONTEXT, at)
                : Translation.inSecondStage(host, Step.CONTEXT, 0, at);
    }

    private void keep(ContextWalk made, int before) {
        synchronized (lock) {
            int place = place(made.pasid);
            ContextWalk there = cached.get(place);
            if (drops == before) {
                incomplete |= there != null && there.pasid != made.pasid;
                cached.set(place, made);
            } else {
                incomplete |= there == null || there.pasid != made.pasid;
            }
        }
    }

    private static Walk refused(WalkFault reason, int level, long at) {
        return new EndedWalk(Translation.fault(reason, 1, level, Step.CONTEXT, at), false);
    }

    private Walk ended(long fault) {
        return new EndedWalk(fault, contexts.ats);
    }
}
