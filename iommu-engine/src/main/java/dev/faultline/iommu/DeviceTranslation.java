package dev.faultline.iommu;

import dev.faultline.iommu.table.NestedWalker;
import dev.faultline.iommu.table.PlainWalk;
import dev.faultline.iommu.table.Translation;
import dev.faultline.iommu.table.Walk;
import dev.faultline.iommu.table.Walker;
import dev.faultline.iommu.tlb.AtsRange;
import dev.faultline.iommu.tlb.DeviceTlb;
import dev.faultline.iommu.tlb.InvalidationLog;
import dev.faultline.iommu.tlb.Iotlb;
import dev.faultline.iommu.tlb.TlbTag;
import dev.faultline.iommu.tlb.WalkCache;
import org.jspecify.annotations.Nullable;

/**
 * How a device finds where its bytes are: its own TLB, then the IOTLB, then a walk; and how it forgets what was invalidated.
 *
 * <p>Threads: the one that has entered the device. Nothing is allocated after construction.
 */
final class DeviceTranslation implements InvalidationLog.Reader {
    /** From so many attachments on it is cheaper to look whose each entry is. */
    private static final int FEW_ATTACHMENTS = 16;

    private static final long NOT_SEEN = -1;

    /** Last tables of guests that are remembered, a power of two. */
    private static final int GUEST_TABLES = 64;

    private final Iotlb iotlb;
    private final WalkCache walkCache;
    private final InvalidationLog log;
    private final DeviceTlb tlb;
    private final Attachments attachments;
    private final CounterWords counters;
    /** Whether there is a TLB. Written by the thread inside, read by others. */
    private volatile boolean usesTlb = true;
    /** What translates while all is blocked. */
    private final Walk nothing;

    /** The thread's inside. */
    private boolean blocked;

    /** The epoch up to which invalidations were obeyed. */
    private long obeyed;

    /** The last table that a walk came to, known until the next invalidation. */
    private @Nullable Walker lastWalker;

    private long lastEpoch;
    private long lastAddress;
    private long lastReached;
    /** The walker's departures before a whole walk that came to that table: while they are the same, a fault found there is one. */
    private long lastDepartures = NOT_SEEN;

    /** Last tables of first stages, by the range they are for; each is good while the IOTLB's sequence is what it was before the walk that came there. */
    private final @Nullable NestedWalker[] guestWalkers = new @Nullable NestedWalker[GUEST_TABLES];

    private final long[] guestRegions = new long[GUEST_TABLES];
    private final long[] guestSequences = new long[GUEST_TABLES];
    private final long[] guestTables = new long[GUEST_TABLES];
    private final NestedWalker.LastTable lastOfGuest = new NestedWalker.LastTable();

    /** What the last walk was by: a guest may have said something else since. */
    private Walk lastWalk;

    DeviceTranslation(Iommu iommu, int tlbEntries, Attachments attachments, CounterWords counters) {
        this.iotlb = iommu.iotlb();
        this.walkCache = iommu.walkCache();
        this.log = iommu.log();
        this.tlb = new DeviceTlb(tlbEntries);
        this.nothing = PlainWalk.blocked(iommu.frames().physical());
        this.lastWalk = nothing;
        this.attachments = attachments;
        this.counters = counters;
    }

    /** A translation with the right that is needed from the device's own TLB, or 0. */
    long hit(int pasid, long address, int needed) {
        long translation = tlb.lookup(pasid, address);
        if (!Translation.grants(translation, needed)) {
            return 0;
        }
        counters.add(CounterWords.TLB_HITS, 1);
        return translation;
    }

    /**
     * What the IOMMU says where the TLB has nothing: a translation with the right that is needed, or a fault, as {@link Translation} says.
     *
     * @param asked whether this access has asked for the page, and was answered
     */
    long translate(Attachment attachment, int pasid, long address, int needed, boolean asked) {
        counters.add(CounterWords.TLB_MISSES, 1);
        boolean keeps = usesTlb;
        long translation = ask(attachment, pasid, address, needed, asked && keeps);
        if (Translation.grants(translation, needed) && keeps) {
            // Needs no guard: this thread obeys every later invalidation before its next access, and looked the page up
            // after it obeyed every earlier one.
            tlb.insert(pasid, address, translation, false);
        }
        return translation;
    }

    /** The walk that the last fault of {@link #translate} is of. */
    Walk lastWalk() {
        return lastWalk;
    }

    /** With a TLB, which the device fills as it needs to, or without one. */
    void useTlb(boolean now) {
        usesTlb = now;
        tlb.clear();
    }

    /** Blocks all translation, or lifts that. */
    void block(boolean now) {
        blocked = now;
        tlb.clear();
    }

    boolean usesTlb() {
        return usesTlb;
    }

    /**
     * A translation request over the wire. What is granted is kept.
     *
     * @param shift of the rights asked for: those of privileged requests, or of others
     * @return a translation, a fault, or 0 if nothing is attached
     */
    long request(int pasid, long address, boolean noWrite, int shift) {
        // Also while its thread waits, and obeys nothing: what is remembered may have gone.
        obey(log.epoch());
        Attachment attachment = attachments.get(pasid);
        if (attachment == null || !attachment.table().walk().of(pasid).mayAsk(0, false)) {
            return 0;
        }
        long word = 0;
        if (!noWrite) {
            word = ask(attachment, pasid, address, (Translation.READ | Translation.WRITE) << shift, false);
        }
        if (noWrite || Translation.isFault(word)) {
            word = ask(attachment, pasid, address, Translation.READ << shift, false);
        }
        if (!Translation.isFault(word)) {
            tlb.insert(pasid, address, word, false);
        }
        return word;
    }

    /** An invalidation over the wire. */
    void drop(int pasid, long address, int size, boolean global) {
        counters.add(CounterWords.INVALIDATIONS, 1);
        if (pasid == TlbTag.NO_PASID) {
            tlb.invalidateEveryPasid(address, size, true);
        } else if (global) {
            tlb.invalidateEveryPasid(address, size, false);
        } else {
            tlb.invalidate(pasid, address, size);
        }
    }

    /**
     * A translation request: what the IOMMU answers.
     *
     * @param fresh whether the page has just been mapped for this access: the IOTLB does not have it, and need not
     */
    private long ask(Attachment attachment, int pasid, long address, int needed, boolean fresh) {
        if (blocked) {
            lastWalk = nothing;
            return nothing.walk(address, needed);
        }
        PageTable table = attachment.table();
        Walk walk = table.walk();
        if (!walk.canonical(address) || !Iotlb.holds(address)) {
            lastWalk = walk.of(pasid);
            return lastWalk.walk(address, needed);
        }
        if (fresh) {
            counters.add(CounterWords.WALKS, 1);
            lastWalk = walk.of(pasid);
            return walk(table, lastWalk, address, needed);
        }
        // What a second stage translates is the same for every PASID.
        long tag = TlbTag.of(table.domain(), table.knowsPasids() ? pasid : TlbTag.NO_PASID);
        long translation = iotlb.lookup(tag, address);
        if (Translation.grants(translation, needed)) {
            counters.add(CounterWords.IOTLB_HITS, 1);
            return translation;
        }
        counters.add(CounterWords.IOTLB_MISSES, 1);
        counters.add(CounterWords.WALKS, 1);
        long sequence = iotlb.sequence();
        // Where its tables are is looked for after the sequence was read: who changes that invalidates after it.
        lastWalk = walk.of(pasid);
        translation = walk(table, lastWalk, address, needed);
        if (!Translation.isFault(translation)) {
            boolean _ = iotlb.insert(tag, address, translation, sequence);
        }
        return translation;
    }

    /** A walk from the last table, if it is known where that is. */
    private long walk(PageTable table, Walk walk, long address, int needed) {
        if (walk instanceof Walker walker) {
            return walk(table.domain(), walker, address, needed);
        }
        PageTable parent = table.parent();
        return walk instanceof NestedWalker nested && parent != null
                ? walk(parent.domain(), nested, address, needed)
                : walk.walk(address, needed);
    }

    /**
     * A walk of two stages from the last table of the first, if it is known where that lies in the host's memory and nothing was invalidated since: the guest's
     * tables, and where the second stage has them, change before an invalidation begins.
     */
    private long walk(int parentDomain, NestedWalker nested, long address, int needed) {
        long sequence = iotlb.sequence();
        long region = address >>> nested.lastTableShift();
        int at = (int) region & (GUEST_TABLES - 1);
        if (guestWalkers[at] != nested || guestRegions[at] != region || guestSequences[at] != sequence) {
            long translation = nested.walk(address, needed, lastOfGuest);
            long reached = lastOfGuest.take();
            if (reached != 0) {
                guestWalkers[at] = nested;
                guestRegions[at] = region;
                guestSequences[at] = sequence;
                guestTables[at] = reached;
            }
            return translation;
        }
        long reached = guestTables[at];
        long leaf = nested.leafFrom(reached, address, needed);
        if (leaf != 0) {
            long between = nested.between(leaf, address);
            // What a guest writes may be beyond what the second stage translates, and what caches can tell apart.
            if (nested.second().canonical(between) && Iotlb.holds(between)) {
                long host = walk(parentDomain, nested.second(), between, needed);
                if (!Translation.isFault(host)) {
                    return nested.composed(reached, leaf, address, host);
                }
            }
        }
        return nested.walk(address, needed);
    }

    private long walk(int domain, Walker walker, long address, int needed) {
        int shift = walker.lastTableShift();
        if (walker != lastWalker || obeyed != lastEpoch || (address ^ lastAddress) >>> shift != 0) {
            int size = shift - Translation.PAGE_SHIFT;
            long reached = walkCache.lookup(domain, address, size);
            if (reached == 0) {
                long sequence = walkCache.sequence();
                reached = walker.reach(address, 0);
                if (reached <= 0) {
                    return walker.walk(address, needed);
                }
                boolean _ = walkCache.insert(domain, address, size, reached, sequence);
            }
            lastWalker = walker;
            lastEpoch = obeyed;
            lastAddress = address;
            lastReached = reached;
            lastDepartures = NOT_SEEN;
        }
        long translation = walker.walkFrom(lastReached, 0, address, needed);
        if (!Translation.isFault(translation) || walker.departures() == lastDepartures) {
            return translation;
        }
        // That table may have been replaced, and the invalidation be under way: a fault is one only if the whole
        // walk says so.
        long departures = walker.departures();
        translation = walker.walk(address, needed);
        if (Translation.isFault(translation)
                && Translation.level(translation) == 0
                && Translation.page(Translation.address(translation)) == Translation.page(lastReached)) {
            lastDepartures = Math.max(departures, NOT_SEEN);
        }
        return translation;
    }

    /** Forgets the translations that were invalidated up to an epoch. Only between accesses. */
    void obey(long epoch) {
        log.read(obeyed, epoch, this);
        obeyed = epoch;
    }

    /** Forgets all that came by an attachment. */
    void forget(Attachment attachment) {
        if (attachment.table().walk().everyPasid()) {
            tlb.clear();
        } else {
            forget(attachment.pasid());
        }
    }

    /** Forgets all of a PASID. */
    void forget(int pasid) {
        tlb.invalidate(pasid, 0, AtsRange.EVERYTHING);
    }

    @Override
    public void forget(int domain, int pasid, long address, int size) {
        counters.add(CounterWords.INVALIDATIONS, 1);
        if (domain == Iotlb.ANY_DOMAIN) {
            tlb.invalidateEveryPasid(address, size, true);
        } else if (pasid != Iotlb.ANY_PASID) {
            Attachment attachment = attachments.get(pasid);
            if (attachment != null && attachment.table().domain() == domain) {
                tlb.invalidate(pasid, address, size);
            }
        } else if (attachments.size() <= FEW_ATTACHMENTS) {
            for (int i = 0; i < attachments.size(); i++) {
                Attachment attachment = attachments.at(i);
                if (attachment.table().domain() == domain) {
                    if (attachment.table().walk().everyPasid()) {
                        tlb.invalidateEveryPasid(address, size, true);
                        return;
                    }
                    tlb.invalidate(attachment.pasid(), address, size);
                }
            }
        } else {
            tlb.invalidateEveryPasid(address, size, true);
        }
    }

    @Override
    public void forgetEverything() {
        counters.add(CounterWords.FLUSHES, 1);
        tlb.clear();
    }
}
