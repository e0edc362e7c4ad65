package dev.faultline.iommu;

import dev.faultline.iommu.table.Translation;

/**
 * How a device finds where its bytes are: its own TLB, then the IOTLB, then a walk; and how it forgets what was invalidated.
 *
 * <p>Threads: the one that has entered the device. Nothing is allocated after construction.
 */
final class DeviceTranslation {
    private final Iotlb iotlb;
    private final InvalidationLog log;
    private final DeviceTlb tlb;
    private final Attachments attachments;
    private final CounterWords counters;
    /** The epoch up to which invalidations were obeyed. */
    private long obeyed;

    DeviceTranslation(Iommu iommu, int tlbEntries, Attachments attachments, CounterWords counters) {
        this.iotlb = iommu.iotlb();
        this.log = iommu.log();
        this.tlb = new DeviceTlb(tlbEntries);
        this.attachments = attachments;
        this.counters = counters;
    }

    /** A translation with the right that is needed, or a fault, as {@link Translation} says. */
    long translate(Attachment attachment, long address, int needed) {
        AddressSpace space = attachment.space();
        if (!space.format().canonical(address)) {
            return space.table().walk(address, needed);
        }
        long key = TlbKey.ofPasid(attachment.pasid(), address);
        long translation = tlb.lookup(key);
        if (Translation.grants(translation, needed)) {
            counters.add(CounterWords.TLB_HITS, 1);
            return translation;
        }
        counters.add(CounterWords.TLB_MISSES, 1);
        long spaceKey = TlbKey.ofSpace(space.number(), address);
        translation = iotlb.lookup(spaceKey);
        if (Translation.grants(translation, needed)) {
            counters.add(CounterWords.IOTLB_HITS, 1);
        } else {
            counters.add(CounterWords.IOTLB_MISSES, 1);
            counters.add(CounterWords.WALKS, 1);
            long sequence = iotlb.sequence();
            translation = space.table().walk(address, needed);
            if (translation < 0) {
                return translation;
            }
            iotlb.insert(spaceKey, translation, sequence);
        }
        // Needs no guard: this thread obeys every later invalidation before its next access, and looked the page up
        // after it obeyed every earlier one.
        tlb.insert(key, translation);
        return translation;
    }

    /** Forgets the translations that were invalidated up to an epoch. Only between accesses. */
    void obey(long epoch) {
        if (epoch - obeyed > log.entries()) {
            flush();
        } else {
            for (long entry = obeyed; entry < epoch; entry++) {
                long what = log.read(entry);
                if (what == InvalidationLog.UNREADABLE) {
                    flush();
                    break;
                }
                invalidate(what);
            }
        }
        obeyed = epoch;
    }

    /** Forgets all of a PASID. */
    void forget(int pasid) {
        tlb.removePasid(pasid);
    }

    private void invalidate(long what) {
        counters.add(CounterWords.INVALIDATIONS, 1);
        int space = InvalidationLog.space(what);
        for (int i = 0; i < attachments.size(); i++) {
            Attachment attachment = attachments.at(i);
            if (attachment.space().number() != space) {
                continue;
            }
            if (InvalidationLog.isWholeSpace(what)) {
                tlb.removePasid(attachment.pasid());
            } else {
                tlb.remove(TlbKey.ofPasidPage(attachment.pasid(), what));
            }
        }
    }

    private void flush() {
        counters.add(CounterWords.FLUSHES, 1);
        tlb.clear();
    }
}
