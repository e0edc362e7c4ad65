package dev.faultline.iommu;

import dev.faultline.iommu.table.StreamWalk;
import dev.faultline.iommu.tlb.AtsRange;
import dev.faultline.iommu.tlb.InvalidationLog;
import dev.faultline.iommu.tlb.Iotlb;
import dev.faultline.iommu.tlb.Stations;
import dev.faultline.iommu.tlb.TlbTag;
import dev.faultline.iommu.tlb.WalkCache;

/**
 * Makes the IOTLB, the walk cache and every device TLB forget: by page table, PASID, range, or everything. For who changes tables behind an
 * {@link AddressSpace}'s back; its own {@code unmap} and {@code evict} have done it when they return.
 *
 * <p>Threads: any; also a handler on a thread that steps devices, between two steps, and for the device it answers. When a call returns, no access begun
 * before it still uses what was to be forgotten. It may forget more than it was told. Progress: each call waits, a bounded time, until every thread that
 * has entered a device is between two accesses; so its caller may hold no lock that such a thread waits for without stepping, awaiting or leaving. Units:
 * bytes.
 */
public final class Invalidations {
    private final Iotlb iotlb;
    private final WalkCache walkCache;
    private final InvalidationLog log;
    private final Stations stations;
    private final long limitNs;

    Invalidations(Iotlb iotlb, WalkCache walkCache, InvalidationLog log, Stations stations, long limitNs) {
        this.iotlb = iotlb;
        this.walkCache = walkCache;
        this.log = log;
        this.stations = stations;
        this.limitNs = limitNs;
    }

    /**
     * Everything, of every page table.
     *
     * @throws QuiescenceTimeout if a thread has entered a device and does not step
     */
    public void everything() {
        stations.mayWait();
        long epoch = forget(Iotlb.ANY_DOMAIN, Iotlb.ANY_PASID, Iotlb.ANY_PASID, 0, -1L);
        await(epoch);
    }

    /**
     * All of a page table, with every PASID and without, and of those nested in it.
     *
     * @param table which
     * @throws QuiescenceTimeout if a thread has entered a device and does not step
     */
    public void table(PageTable table) {
        forget(table, Iotlb.ANY_PASID, 0, -1L);
    }

    /**
     * All of a PASID in a page table, and all of those nested in it.
     *
     * @param table which
     * @param pasid which, or {@link dev.faultline.ring.FaultProducer#NO_PASID} for translations without
     * @throws IllegalArgumentException if {@code pasid} is out of range
     * @throws QuiescenceTimeout if a thread has entered a device and does not step
     */
    public void pasid(PageTable table, int pasid) {
        Limits.inRange("pasid", pasid, TlbTag.NO_PASID, Device.MAX_PASID);
        forget(table, pasid, 0, -1L);
    }

    /**
     * A range of a page table, with every PASID and without, and all of those nested in it.
     *
     * @param table which
     * @param address the first byte
     * @param bytes 1 or more
     * @throws IllegalArgumentException if {@code bytes} is below 1 or the addresses wrap round
     * @throws QuiescenceTimeout if a thread has entered a device and does not step
     */
    public void range(PageTable table, long address, long bytes) {
        forget(table, Iotlb.ANY_PASID, address, last(address, bytes));
    }

    /**
     * A range of a PASID in a page table, and all of those nested in it.
     *
     * @param table which
     * @param pasid which, or {@link dev.faultline.ring.FaultProducer#NO_PASID} for translations without
     * @param address the first byte
     * @param bytes 1 or more
     * @throws IllegalArgumentException if {@code pasid} is out of range, {@code bytes} is below 1 or the addresses wrap round
     * @throws QuiescenceTimeout if a thread has entered a device and does not step
     */
    public void range(PageTable table, int pasid, long address, long bytes) {
        Limits.inRange("pasid", pasid, TlbTag.NO_PASID, Device.MAX_PASID);
        forget(table, pasid, address, last(address, bytes));
    }

    /**
     * What a guest's SMMUv3 says of one PASID, and all of that PASID.
     *
     * @param table of {@link Iommu#stream}; of others only the translations go
     * @param pasid which, or {@link dev.faultline.ring.FaultProducer#NO_PASID} for accesses without
     * @throws IllegalArgumentException if {@code pasid} is out of range
     * @throws QuiescenceTimeout if a thread has entered a device and does not step
     */
    public void context(PageTable table, int pasid) {
        Limits.inRange("pasid", pasid, TlbTag.NO_PASID, Device.MAX_PASID);
        if (table.walk() instanceof StreamWalk stream) {
            stream.drop(pasid);
        }
        forget(table, pasid, 0, -1L);
        if (pasid == 0) {
            // The same descriptor may be that of accesses without.
            forget(table, TlbTag.NO_PASID, 0, -1L);
        }
    }

    /**
     * What {@link #contexts} does, without waiting for accesses under way: for who attaches a device, which has none by this page table yet.
     *
     * @param table of {@link Iommu#stream}; of others only the translations go
     */
    public void renew(PageTable table) {
        if (table.walk() instanceof StreamWalk stream) {
            stream.dropAll();
        }
        var _ = table.forget(0, Iotlb.EVERYTHING);
    }

    /**
     * What a guest's SMMUv3 says of every PASID, and all of the page table.
     *
     * @param table of {@link Iommu#stream}; of others only the translations go
     * @throws QuiescenceTimeout if a thread has entered a device and does not step
     */
    public void contexts(PageTable table) {
        if (table.walk() instanceof StreamWalk stream) {
            stream.dropAll();
        }
        table(table);
    }

    /**
     * All of the PASIDs whose first stage a guest's SMMUv3 calls by a number.
     *
     * @param table of {@link Iommu#stream}; of others everything goes
     * @param asid the number the guest gave, 0 to 65535
     * @throws QuiescenceTimeout if a thread has entered a device and does not step
     */
    public void asid(PageTable table, int asid) {
        int[] pasids = table.walk() instanceof StreamWalk stream ? stream.pasids(asid) : null;
        if (pasids == null) {
            table(table);
            return;
        }
        for (int pasid : pasids) {
            pasid(table, pasid);
        }
    }

    /**
     * A range of a page table, with every PASID and without, and the rest of each page of a guest's first stage that reaches into it: of a page
     * that is larger than those below it, TLBs have parts, and its guest names any address of it.
     *
     * @param table which
     * @param address the first byte
     * @param bytes 1 or more
     * @throws IllegalArgumentException if {@code bytes} is below 1 or the addresses wrap round
     * @throws QuiescenceTimeout if a thread has entered a device and does not step
     */
    public void pages(PageTable table, long address, long bytes) {
        long last = last(address, bytes);
        long within;
        // A walk that began before may note a larger page meanwhile; it is over after the wait.
        do {
            within = (1L << table.walk().largestCutLg2()) - 1;
            forget(table, Iotlb.ANY_PASID, address & ~within, last | within);
        } while ((1L << table.walk().largestCutLg2()) - 1 > within);
    }

    private static long last(long address, long bytes) {
        long last = address + bytes - 1;
        if (bytes < 1 || Long.compareUnsigned(last, address) < 0) {
            throw new IllegalArgumentException(
                    "bytes=" + bytes + ": allowed 1 to the end of all addresses from 0x" + Long.toHexString(address));
        }
        return last;
    }

    private void forget(PageTable table, int pasid, long first, long last) {
        stations.mayWait();
        // The IOTLB has a second stage's translations without PASID, device TLBs have all with the PASID of their
        // request.
        int tagged = pasid == Iotlb.ANY_PASID || table.knowsPasids() ? pasid : TlbTag.NO_PASID;
        long epoch = forget(table.domain(), tagged, pasid, first, last);
        for (PageTable child : table.nested()) {
            epoch = child.forget(0, Iotlb.EVERYTHING);
        }
        await(epoch);
    }

    private long forget(int domain, int tagged, int pasid, long first, long last) {
        long from = first & -Frames.BYTES;
        while (true) {
            // The largest aligned piece that begins here and does not reach beyond the end.
            int size = Math.min(Long.numberOfTrailingZeros(from >>> Frames.SHIFT), AtsRange.EVERYTHING);
            while (size > 0 && Long.compareUnsigned(end(from, size), last | (Frames.BYTES - 1)) > 0) {
                size--;
            }
            iotlb.invalidate(domain, tagged, from, size);
            walkCache.invalidate(domain, from, size);
            long epoch = log.append(domain, pasid, from, size);
            if (Long.compareUnsigned(end(from, size), last) >= 0) {
                return epoch;
            }
            from = end(from, size) + 1;
        }
    }

    private void await(long epoch) {
        String stuck = stations.await(epoch, limitNs);
        if (stuck != null) {
            throw new QuiescenceTimeout(stuck, limitNs);
        }
    }

    private static long end(long from, int size) {
        return size == AtsRange.EVERYTHING ? -1L : from + (1L << (Frames.SHIFT + size)) - 1;
    }
}
