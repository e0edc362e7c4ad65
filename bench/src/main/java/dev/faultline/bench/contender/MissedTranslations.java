package dev.faultline.bench.contender;

import dev.faultline.iommu.Access;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.AccessSink;
import dev.faultline.iommu.AddressSpace;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.Iommu;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.PageTable;
import dev.faultline.iommu.TableFormat;
import dev.faultline.iommu.table.Translation;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.Result;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Accesses of 8 bytes that every TLB misses: a device without one reads 2048 pages in turn, and the IOTLB has four entries. Through a guest's tables of four levels
 * over a second stage of four, or through that second stage alone.
 */
final class MissedTranslations extends OneThread {
    private static final int WINDOW = 16;
    private static final int PAGES = 2048;
    private static final int TABLE_ENTRIES = 512;
    private static final long PAGE_BYTES = 4096;
    /** Where the host has the pages; a guest has them from 0 on. */
    private static final long FIRST_ADDRESS = 0x4000_0000L;
    /** Present, writable, for everybody, accessed, dirty. */
    private static final long USABLE = 0b110_0111;

    private static final int FIRST_LAST_TABLE = 3;
    private static final int GUEST_TABLES = FIRST_LAST_TABLE + PAGES / TABLE_ENTRIES;

    private final Arena arena = Arena.ofShared();
    private final MemorySegment buffer = arena.allocate(Long.BYTES, Long.BYTES);
    private final Iommu iommu =
            Iommu.open(IommuConfig.small().withFrames(2 * PAGES).withIotlbEntries(4));
    private final AddressSpace host = iommu.addressSpace(TableFormat.VTD_SECOND_4_LEVEL, null);
    private final Device device = iommu.device(DeviceConfig.plain("lab").withWindow(WINDOW));
    private final long[] frames = new long[GUEST_TABLES];
    private final PageTable table;
    private final long base;
    private final AccessSink sink = this::finished;
    private int page;
    private int failed;

    /** @param nested whether through both stages */
    MissedTranslations(boolean nested) {
        for (int i = 0; i < GUEST_TABLES; i++) {
            frames[i] = iommu.frames().allocate();
            require(host.map(i * PAGE_BYTES, frames[i], PAGE_BYTES, Translation.RIGHTS));
        }
        put(0, 0, PAGE_BYTES);
        put(1, 0, 2 * PAGE_BYTES);
        for (int i = 0; i < PAGES; i++) {
            long address = FIRST_ADDRESS + i * PAGE_BYTES;
            require(host.zero(address));
            put(FIRST_LAST_TABLE + i / TABLE_ENTRIES, i % TABLE_ENTRIES, address);
        }
        for (int i = FIRST_LAST_TABLE; i < GUEST_TABLES; i++) {
            put(2, i - FIRST_LAST_TABLE, i * PAGE_BYTES);
        }
        table = nested ? iommu.nested(host.table(), TableFormat.X86_4_LEVEL, 0, null) : host.table();
        base = nested ? 0 : FIRST_ADDRESS;
        var _ = device.attach(table);
        device.ats().disable();
    }

    private void put(int of, int index, long address) {
        iommu.frames().segment(frames[of]).set(ValueLayout.JAVA_LONG, (long) index * Long.BYTES, address | USABLE);
    }

    private static void require(boolean mapped) {
        if (!mapped) {
            throw new IllegalStateException("mapped already");
        }
    }

    private void finished(long userTag, AccessResult result) {
        failed += result == AccessResult.OK ? 0 : 1;
    }

    @Override
    public void begin() {
        if (!device.enter()) {
            throw new IllegalStateException("another thread has entered the device");
        }
    }

    @Override
    public int request(int roundTrips) {
        for (int done = 0; done < roundTrips; done += WINDOW) {
            for (int i = 0; i < WINDOW; i++) {
                long address = base + page * PAGE_BYTES;
                page = page + 1 == PAGES ? 0 : page + 1;
                if (device.start(Access.READ, address, buffer, 0, Long.BYTES, FaultProducer.NO_PASID, i) != Result.OK) {
                    throw new IllegalStateException("the window is full");
                }
            }
            for (int polled = 0; polled < WINDOW; ) {
                boolean moved = device.step();
                int now = device.poll(sink);
                if (!moved && now == 0) {
                    throw new IllegalStateException("nothing moves");
                }
                polled += now;
            }
        }
        return roundTrips;
    }

    @Override
    public void end() {
        device.leave();
        if (failed > 0) {
            throw new IllegalStateException("failed=" + failed);
        }
    }

    @Override
    public void close() {
        device.close();
        if (table.parent() != null) {
            table.close();
        }
        host.close();
        for (long frame : frames) {
            iommu.frames().free(frame);
        }
        iommu.close();
        arena.close();
    }
}
