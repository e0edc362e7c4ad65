package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.Access;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.StreamEntry;
import dev.faultline.iommu.iommufd.smmuv3.Smmuv3;
import dev.faultline.ring.Accounting;
import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.Result;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * A guest written for an SMMUv3, by the Java face: its driver writes descriptors and tables, its device faults, it mends its table,
 * invalidates by its own ids, and goes on.
 */
class SmmuGuestTest {
    private static final int PAGE = 4096;
    private static final int PAGES = 128;
    private static final long CARD = 0x99;
    private static final int PASID = 5;
    private static final int ASID = 77;

    private static final int CONTEXTS = 0;
    private static final int ROOT = 1;
    private static final long LEAF = 3 | 1 << 10 | 1 << 6;
    private static final long ADDRESS = 0x7_1234_5000L;

    /** How its device comes by pages. */
    enum Asks {
        STALLS,
        PAGE_REQUESTS
    }

    private final MemorySegment ram = Arena.ofAuto().allocate(PAGES * PAGE, PAGE);
    private long nextFree = ROOT + 1;

    // ---- the guest ----

    private void put(long at, long value) {
        ram.set(ValueLayout.JAVA_LONG, at, value);
    }

    /** Where the last entry for an address of 48 bits is; tables on the way are made. */
    private long entry(long address) {
        long table = (long) ROOT * PAGE;
        for (int shift = 39; shift > 12; shift -= 9) {
            long at = table + (address >>> shift & 511) * Long.BYTES;
            if (ram.get(ValueLayout.JAVA_LONG, at) == 0) {
                put(at, nextFree++ * PAGE | 3);
            }
            table = ram.get(ValueLayout.JAVA_LONG, at) & -PAGE;
        }
        return table + (address >>> 12 & 511) * Long.BYTES;
    }

    private long page(long address) {
        return ram.get(ValueLayout.JAVA_LONG, entry(address)) & 0xffff_ffff_f000L;
    }

    private Answer mend(long address) {
        put(entry(address), nextFree++ * PAGE | LEAF);
        return Answer.SUCCESS;
    }

    private StreamEntry stream(boolean ats) {
        put(CONTEXTS + PASID * 64 + 8, (long) ROOT * PAGE);
        put(CONTEXTS + PASID * 64, 16 | 1L << 30 | 1L << 31 | 5L << 32 | 1L << 41 | 7L << 44 | (long) ASID << 48);
        return new StreamEntry(1 | 5 << 1 | (long) CONTEXTS * PAGE | 3L << 59, ats ? 1L << 28 : 0);
    }

    // ---- the program that runs it ----

    @ParameterizedTest
    @EnumSource(Asks.class)
    @SuppressWarnings("try") // the guest's device and the attachment work without being named
    void itMendsInvalidatesAndGoesOn(Asks how) {
        DeviceConfig config = (how == Asks.STALLS ? DeviceConfig.stalling("card") : DeviceConfig.pri("card"))
                .withPasidBits(8)
                .withRequester(0x321);
        try (EngineDriver driver = Smmuv3.open(IommuConfig.small());
                var iommufd = Iommufd.open(driver);
                var card = iommufd.device(config);
                var space = iommufd.addressSpace();
                var parent = space.pageTable(card).nestParent().make();
                var iommu = parent.guestIommu(card);
                var known = iommu.device(card, CARD);
                var events = iommu.events(4);
                var faults = iommufd.faultQueue();
                var consumer = faults.consumer();
                var table = iommu.nested(card)
                        .streamEntry(stream(how == Asks.PAGE_REQUESTS))
                        .faults(faults)
                        .make();
                var attached = card.attach(table)) {
            space.map(0, ram);
            Device device = card.engine();
            assertTrue(device.enter());
            for (int i = 0; i < 4; i++) {
                assertEquals(Result.OK, consumer.post(i, 1));
            }
            consumer.submit();
            long[] value = {42};
            assertEquals(AccessResult.OK, access(device, consumer, iommu, Access.WRITE, ADDRESS + 16, value));
            long first = page(ADDRESS);
            assertEquals(42, ram.get(ValueLayout.JAVA_LONG, first + 16));

            put(entry(ADDRESS), 0);
            value[0] = 43;
            assertEquals(AccessResult.OK, access(device, consumer, iommu, Access.WRITE, ADDRESS + 16, value));
            assertEquals(43, ram.get(ValueLayout.JAVA_LONG, first + 16), "it was not told yet");
            iommu.invalidate(CARD, ADDRESS, PAGE);
            value[0] = 44;
            assertEquals(AccessResult.OK, access(device, consumer, iommu, Access.WRITE, ADDRESS + 16, value));
            assertEquals(44, ram.get(ValueLayout.JAVA_LONG, page(ADDRESS) + 16), "another page, by another fault");
            assertEquals(43, ram.get(ValueLayout.JAVA_LONG, first + 16));

            put(CONTEXTS + PASID * 64, 0);
            iommu.invalidateAll(CARD);
            assertEquals(AccessResult.TABLE_ERROR, access(device, consumer, iommu, Access.WRITE, ADDRESS, value));
            if (how == Asks.STALLS) {
                assertEquals(
                        new GuestEvents.Event(0, CARD, PASID, 0, AccessResult.TABLE_ERROR),
                        Objects.requireNonNull(events.read()));
            }
            assertNull(events.read());
            Accounting counted = consumer.accounting();
            assertEquals(2, counted.raised());
            assertEquals(2, counted.answered());
            assertEquals(0, counted.outstanding());
            device.leave();
        }
    }

    private AccessResult access(
            Device device, FaultConsumer consumer, GuestIommu iommu, Access access, long address, long[] value) {
        assertEquals(Result.OK, device.start(access, address, MemorySegment.ofArray(value), 0, Long.BYTES, PASID, 1));
        AccessResult[] ended = new AccessResult[1];
        while (device.poll((tag, result) -> ended[0] = result) == 0) {
            var _ = device.step();
            consumer.poll((userData, group) -> handle(consumer, iommu, group), 4);
        }
        return ended[0];
    }

    private void handle(FaultConsumer consumer, GuestIommu iommu, FaultGroup group) {
        assertEquals(CARD, iommu.virtualId(group.device()).orElseThrow());
        assertEquals(PASID, group.pasid(0));
        assertEquals(Result.OK, consumer.answerAndRepost(group.cookie(), mend(group.address(0))));
    }

    @Test
    @SuppressWarnings("try")
    void aRangeIsForgottenByCommandsOfItsSize() {
        try (EngineDriver driver = Smmuv3.open(IommuConfig.small());
                var iommufd = Iommufd.open(driver);
                var card = iommufd.device(DeviceConfig.stalling("card").withPasidBits(8));
                var space = iommufd.addressSpace();
                var parent = space.pageTable(card).nestParent().make();
                var iommu = parent.guestIommu(card);
                var known = iommu.device(card, CARD);
                var table = iommu.nested(card).streamEntry(stream(false)).make();
                var attached = card.attach(table)) {
            space.map(0, ram);
            for (int pages : new int[] {1, 2, 31, 32, 33, 63, 64, 65, 100}) {
                for (int i = 0; i < pages; i++) {
                    put(entry(ADDRESS + (long) i * PAGE), 60L * PAGE | LEAF);
                }
                put(60L * PAGE, 1);
                put(61L * PAGE, 2);
                iommu.invalidateAll(CARD);
                long last = ADDRESS + (pages - 1L) * PAGE;
                assertEquals(1, read(card, last));
                put(entry(last), 61L * PAGE | LEAF);
                assertEquals(1, read(card, last));
                iommu.invalidate(CARD, ADDRESS, (long) pages * PAGE);
                assertEquals(2, read(card, last), pages + " pages");
            }
            iommu.invalidate(CARD, 0, Long.MAX_VALUE - PAGE);
            assertEquals(2, read(card, ADDRESS + 99L * PAGE));
        }
    }

    private static long read(UserDevice card, long address) {
        long[] value = new long[1];
        card.engine().read(address, MemorySegment.ofArray(value), PASID);
        return value[0];
    }
}
