package dev.faultline.iommu.iommufd;

import static dev.faultline.iommu.iommufd.Program.FAULT_ID_VALID;
import static dev.faultline.iommu.iommufd.StreamGuest.NO_PASID;
import static dev.faultline.iommu.iommufd.StreamGuest.PAGE;
import static dev.faultline.iommu.iommufd.StreamGuest.USER;
import static dev.faultline.iommu.iommufd.StreamGuest.ipa;
import static dev.faultline.iommu.iommufd.StreamGuest.translate;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.Access;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.PageTable;
import dev.faultline.ring.Result;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;

/** What a guest's stream table entry and context descriptors mean for its device's accesses, PASID by PASID, and what it has to invalidate. */
class StreamContextsTest {
    private static final int CONTEXTS = 0;
    private static final int LEAVES = 1;
    private static final int ROOT = 16;
    private static final int DATA = 64;

    private static final int CFGI_CD = 0x05;
    private static final int NH_ASID = 0x11;
    private static final int NH_VA = 0x12;
    private static final int NH_VAA = 0x13;
    private static final int ATC_INV = 0x40;
    private static final long SID = 0x99L << 32;

    /** PASID n's first stage begins at ROOT + 3n, has ASID n, and shows page DATA + n, where 100 * n is, at 0. */
    private static StreamGuest guest(int pasids, long second) throws ErrnoException {
        return guest(DeviceConfig.plain("d").withPasidBits(8), pasids, second, translate(CONTEXTS, 4));
    }

    private static StreamGuest guest(DeviceConfig config, int pasids, long second, long first) throws ErrnoException {
        StreamGuest guest = new StreamGuest(config);
        guest.knownAs(0x99);
        for (int i = 0; i < pasids; i++) {
            guest.context(CONTEXTS, i, i, ROOT + 3 * i, StreamGuest.STALL);
            guest.tables(ROOT + 3 * i);
            guest.map(ROOT + 3 * i, 0, DATA + i, USER | 1 << 11);
            guest.put(DATA + i, 0, 100L * i);
        }
        var _ = guest.bound.attach(0, guest.stream(FAULT_ID_VALID, first, second));
        return guest;
    }

    private static long refused(AccessResult why) {
        return -why.ordinal();
    }

    private static int lastEvent(StreamGuest guest) {
        return (int) guest.events.getLast()[0] & 0xff;
    }

    @Test
    void everyPasidHasItsOwnTables() throws Exception {
        try (StreamGuest guest = guest(4, 2)) {
            for (int pasid = 1; pasid < 4; pasid++) {
                assertEquals(100L * pasid, guest.read(0, pasid));
            }
            assertEquals(0, guest.read(0, NO_PASID), "without: the first one");
            assertEquals(refused(AccessResult.BLOCKED), guest.read(0, 0), "which is nobody else's");
            assertEquals(0x06, lastEvent(guest), "F_STREAM_DISABLED");
            assertEquals(refused(AccessResult.NOT_ATTACHED), guest.read(0, 16));
            assertEquals(0x08, lastEvent(guest), "C_BAD_SUBSTREAMID");
            assertEquals(16, guest.events.getLast()[0] >>> 12 & 0xfffff);
            assertEquals(0, guest.events.getLast()[0] & 1 << 11, "whose id is always valid");
            assertEquals(refused(AccessResult.TABLE_ERROR), guest.read(0, 5));
            assertEquals(0x0a, lastEvent(guest), "C_BAD_CD");
            assertEquals(5 << 12 | 1 << 11, guest.events.getLast()[0] & 0xffff_ff00L & ~0xff);
            assertEquals(refused(AccessResult.NOT_ATTACHED), guest.read(0, 256), "wider than the device's");
        }
    }

    @Test
    void whatBecomesOfAccessesWithoutPasid() throws Exception {
        try (StreamGuest guest = guest(2, 0)) {
            assertEquals(refused(AccessResult.BLOCKED), guest.read(0, NO_PASID));
            assertEquals(0x06, lastEvent(guest));
            assertEquals(100, guest.read(0, 1));
            assertEquals(0, guest.read(0, 0), "PASID 0 is one like the others");
            var _ = guest.bound.replace(0, guest.stream(0, translate(CONTEXTS, 4), 1));
            assertEquals(100, guest.read(ipa(DATA + 1), NO_PASID), "past the first stage");
            assertEquals(100, guest.read(0, 1));
            assertEquals(refused(AccessResult.TABLE_ERROR), guest.read(1L << 48, NO_PASID));
            assertEquals(0x11, lastEvent(guest), "F_ADDR_SIZE");
            var _ = guest.bound.replace(0, guest.stream(0, translate(CONTEXTS, 0), 0));
            assertEquals(0, guest.read(0, NO_PASID), "there is only one");
            assertEquals(refused(AccessResult.NOT_ATTACHED), guest.read(0, 1));
            var _ = guest.bound.replace(0, guest.stream(0, StreamGuest.BYPASS, 0));
            assertEquals(refused(AccessResult.NOT_ATTACHED), guest.read(0, 1));
            assertEquals(0x08, lastEvent(guest));
            var _ = guest.bound.replace(0, guest.stream(0, translate(CONTEXTS, 21), 0));
            assertEquals(refused(AccessResult.TABLE_ERROR), guest.read(0, 1));
            assertEquals(0x04, lastEvent(guest), "C_BAD_STE: more PASIDs than there are");
        }
    }

    @Test
    void descriptorsInTwoLevels() throws Exception {
        try (StreamGuest guest = guest(2, 2)) {
            guest.put(LEAVES + 2, 0, ipa(CONTEXTS) | 1);
            guest.put(LEAVES + 2, 1, ipa(LEAVES) | 1);
            guest.context(LEAVES, 70 - 64, 6, ROOT + 3, 0);
            var _ = guest.bound.replace(0, guest.stream(0, translate(LEAVES + 2, 8) | 1 << 4, 2));
            assertEquals(0, guest.read(0, NO_PASID));
            assertEquals(100, guest.read(0, 1));
            assertEquals(100, guest.read(0, 70));
            assertEquals(refused(AccessResult.NOT_ATTACHED), guest.read(0, 128), "no leaf");
            assertEquals(0x08, lastEvent(guest));
        }
    }

    /** The guest's fault is a record, the host's is not for the guest. */
    @Test
    void faultsOfTheSecondStageAreNotTheGuests() throws Exception {
        try (StreamGuest guest = guest(2, 2)) {
            int fd = guest.events(8);
            guest.put(CONTEXTS, 8 + 1, 0x1000);
            assertEquals(refused(AccessResult.NO_PAGE_REQUESTS), guest.read(0, 1));
            assertEquals(0x10, lastEvent(guest));
            assertEquals(1L << 39 | 1L << 40 | 1L << 35, guest.events.getLast()[1], "S2, of a table");
            assertEquals(0x1000, guest.events.getLast()[3]);
            guest.map(ROOT, 1, DATA - 0x50000, USER);
            assertEquals(refused(AccessResult.NO_PAGE_REQUESTS), guest.read(PAGE, NO_PASID));
            assertEquals(1L << 39 | 2L << 40 | 1L << 35, guest.events.getLast()[1], "S2, of the data");
            assertEquals(0, guest.event(fd).length);
            guest.map(ROOT, 2, DATA, USER | StreamGuest.READ_ONLY);
            assertEquals(
                    AccessResult.NO_PAGE_REQUESTS,
                    guest.access(Access.WRITE, 2 * PAGE, NO_PASID, new long[1], () -> {}));
            assertEquals(0x13, guest.event(fd)[0] & 0xff, "F_PERMISSION");
            guest.put(ROOT + 2, 3, ipa(DATA) | 3 | USER);
            assertEquals(refused(AccessResult.NO_PAGE_REQUESTS), guest.read(3 * PAGE, NO_PASID));
            assertEquals(0x12, guest.event(fd)[0] & 0xff, "F_ACCESS");
        }
    }

    /** Of the three classes that of the descriptor; a device that stalls is held, as the second stage's owner wants it. */
    @Test
    void aDescriptorThatTheSecondStageHasNot() throws Exception {
        try (StreamGuest guest = guest(2, 2)) {
            var _ = guest.bound.replace(
                    0, guest.stream(FAULT_ID_VALID, translate(CONTEXTS, 4) - ipa(CONTEXTS) + 0x1000, 2));
            int fd = guest.events(4);
            assertEquals(refused(AccessResult.NO_PAGE_REQUESTS), guest.read(0, 1));
            assertArrayEquals(
                    new long[] {
                        0x10 | 1 << 11 | 1 << 12 | (long) guest.device().requester() << 32,
                        1L << 35 | 1L << 39,
                        0,
                        0x1000
                    },
                    guest.events.getLast(),
                    "S2, CLASS 0, the descriptor's page");
            assertEquals(0, guest.event(fd).length);
        }
        DeviceConfig config = DeviceConfig.stalling("d").withPasidBits(8);
        try (StreamGuest guest = guest(config, 2, 2, translate(CONTEXTS, 4) - ipa(CONTEXTS) + 0x1000)) {
            AccessResult result = guest.access(Access.READ, 8, 1, new long[1], () -> {
                int[] group = guest.group();
                assertEquals(8, group[6], "the access's address");
                guest.answer(group[9], 1);
            });
            assertEquals(AccessResult.INVALID, result);
            assertEquals(0, guest.events.size());
        }
    }

    @Test
    void aContextThatWantsNoRecordsGetsNone() throws Exception {
        try (StreamGuest guest = guest(2, 2)) {
            guest.put(CONTEXTS, 8, guest.get(CONTEXTS, 8) & ~StreamGuest.RECORD);
            assertEquals(100, guest.read(0, 1));
            assertEquals(refused(AccessResult.NO_PAGE_REQUESTS), guest.read(PAGE, 1));
            assertEquals(0, guest.events.size());
        }
    }

    @Test
    void aDescriptorStaysUntilItIsInvalidated() throws Exception {
        try (StreamGuest guest = guest(3, 2)) {
            assertEquals(100, guest.read(0, 1));
            assertEquals(200, guest.read(0, 2));
            guest.put(CONTEXTS, 8 + 1, ipa(ROOT + 6));
            assertEquals(0, guest.invalidate(NH_ASID | 1L << 48, 0));
            assertEquals(100, guest.read(0, 1), "walked again, from the old root");
            assertEquals(0, guest.invalidate(CFGI_CD | SID | 2 << 12, 1));
            assertEquals(100, guest.read(0, 1), "another PASID's");
            assertEquals(0, guest.invalidate(CFGI_CD | SID | 1 << 12, 1));
            assertEquals(200, guest.read(0, 1));
        }
    }

    /** The first descriptor is that of accesses without PASID, too, or of those alone. */
    @Test
    void theFirstDescriptorIsAlsoForAccessesWithoutPasid() throws Exception {
        for (int contextsLg2 : new int[] {0, 4}) {
            try (StreamGuest guest = guest(DeviceConfig.plain("d"), 2, 2, translate(CONTEXTS, contextsLg2))) {
                assertEquals(0, guest.read(0, NO_PASID));
                guest.context(CONTEXTS, 0, 9, ROOT + 3, 0);
                assertEquals(0, guest.invalidate(CFGI_CD | SID, 1, NH_ASID, 0));
                assertEquals(100, guest.read(0, NO_PASID), "S1CDMax " + contextsLg2);
            }
        }
    }

    /** As hardware forgets all of a stream when its entry is written. */
    @Test
    void whatIsAttachedAnewReadsItsDescriptorsAnew() throws Exception {
        try (StreamGuest guest = guest(3, 2)) {
            int again = guest.stream(FAULT_ID_VALID, translate(CONTEXTS, 4), 2);
            var _ = guest.bound.replace(0, again);
            assertEquals(100, guest.read(0, 1));
            var _ = guest.bound.replace(0, guest.stream(0, StreamGuest.BYPASS, 0));
            guest.put(CONTEXTS, 8 + 1, ipa(ROOT + 6));
            var _ = guest.bound.replace(0, again);
            assertEquals(200, guest.read(0, 1));
        }
    }

    /** What cannot stall is recorded also where the context wants stalls. */
    @Test
    void addressesThatCanNeverComeAreRecorded() throws Exception {
        DeviceConfig config = DeviceConfig.stalling("d").withPasidBits(8);
        try (StreamGuest guest = guest(config, 2, 2, translate(CONTEXTS, 4))) {
            int fd = guest.events(4);
            assertEquals(refused(AccessResult.NOT_CANONICAL), guest.read(1L << 40, 1));
            assertEquals(0x10, guest.event(fd)[0] & 0xff);
            guest.put(ROOT + 3 + 2, 1, 1L << 47 | 3 | 1 << 10 | USER);
            guest.put(CONTEXTS, 8, guest.get(CONTEXTS, 8) & ~(7L << 32));
            guest.put(CONTEXTS, 8 + 1, ipa(ROOT + 3));
            assertEquals(0, guest.invalidate(CFGI_CD | SID | 1 << 12, 1));
            assertEquals(refused(AccessResult.TABLE_ERROR), guest.read(PAGE, 1));
            assertEquals(0x11, guest.event(fd)[0] & 0xff, "beyond 32 bits");
            assertEquals(0, guest.group().length);
        }
    }

    @Test
    void whatIsNotUsedOfAnEntryOrDescriptorDoesNotMatter() throws Exception {
        try (StreamGuest guest = guest(2, 2)) {
            for (int format = 0; format < 4; format++) {
                var _ = guest.bound.replace(0, guest.stream(0, translate(CONTEXTS, 0) | (long) format << 4, 0));
                assertEquals(0, guest.read(0, NO_PASID), "of one descriptor there is no format");
            }
            guest.put(LEAVES, 0, 0);
            var _ = guest.bound.replace(0, guest.stream(0, translate(LEAVES, 4) | 1 << 4, 2));
            assertEquals(refused(AccessResult.NOT_ATTACHED), guest.read(0, NO_PASID));
            assertEquals(
                    0x08 | (long) guest.device().requester() << 32, guest.events.getLast()[0]);
            guest.put(CONTEXTS, 0, guest.get(CONTEXTS, 0) | 1 << 14 | 1 << 6);
            var _ = guest.bound.replace(0, guest.stream(0, translate(CONTEXTS, 0), 0));
            assertEquals(refused(AccessResult.NO_FAULT_QUEUE), guest.read(0, NO_PASID));
            assertEquals(0x10, lastEvent(guest), "EPD0: no table, whatever its granule");
        }
    }

    @Test
    void anAsidIsForgottenAloneAndAPageOfEveryone() throws Exception {
        try (StreamGuest guest = guest(3, 2)) {
            for (int pasid = 1; pasid < 3; pasid++) {
                assertEquals(100L * pasid, guest.read(0, pasid));
                guest.map(ROOT + 3 * pasid, 0, DATA, USER);
            }
            assertEquals(0, guest.invalidate(NH_ASID | 2L << 48, 0));
            assertEquals(100, guest.read(0, 1));
            assertEquals(0, guest.read(0, 2));
            assertEquals(0, guest.invalidate(NH_VAA, 0x40_0000));
            assertEquals(100, guest.read(0, 1), "another page");
            assertEquals(0, guest.invalidate(NH_VA | 2L << 48 | 3 << 12, -2L * PAGE | 1 << 10));
            assertEquals(100, guest.read(0, 1), "to the end of all addresses");
            assertEquals(0, guest.invalidate(NH_VAA | 3 << 12 | 1 << 20, 1 << 10));
            assertEquals(0, guest.read(0, 1));
            guest.map(ROOT + 3, 0, DATA + 1, USER);
            assertEquals(0, guest.invalidate(ATC_INV | SID | 1 << 11 | 2 << 12, 52));
            assertEquals(0, guest.read(0, 1), "another PASID's");
            assertEquals(0, guest.invalidate(ATC_INV | SID | 1 << 11 | 1 << 12, 3));
            assertEquals(100, guest.read(0, 1));
            guest.map(ROOT + 3, 0, DATA, USER);
            assertEquals(0, guest.invalidate(ATC_INV | SID, 52));
            assertEquals(0, guest.read(0, 1), "without PASID: of all");
        }
    }

    /** More PASIDs than descriptors are kept: nobody knows which an ASID stands for, so more is forgotten. */
    @Test
    void anAsidWhoseDescriptorMadeRoomIsForgottenToo() throws Exception {
        try (StreamGuest guest = guest(DeviceConfig.plain("d").withPasidBits(10), 2, 2, translate(CONTEXTS, 4))) {
            guest.put(LEAVES + 2, 0, ipa(CONTEXTS) | 1);
            guest.put(LEAVES + 2, 4, ipa(LEAVES) | 1);
            guest.context(LEAVES, 1, 257, ROOT, 0);
            var _ = guest.bound.replace(0, guest.stream(0, translate(LEAVES + 2, 10) | 1 << 4, 2));
            assertEquals(100, guest.read(0, 1));
            assertEquals(0, guest.read(0, 257), "at the place of PASID 1");
            guest.map(ROOT + 3, 0, DATA, USER);
            assertEquals(100, guest.read(0, 1));
            assertEquals(0, guest.invalidate(NH_ASID | 1L << 48, 0));
            assertEquals(0, guest.read(0, 1));
        }
    }

    /** The guest names any address of a large page that the host has in small ones. */
    @Test
    void aLargePageIsForgottenWhole() throws Exception {
        try (StreamGuest guest = guest(1, 2)) {
            // 2 MiB of the guest's, of which its memory is a part: pages of 4 KiB at the host's.
            guest.put(ROOT + 1, 1, (ipa(0) & -(2L << 20)) | 1 | 1 << 10 | USER);
            long page = 2 << 20 | (ipa(DATA) & (2 << 20) - 1);
            guest.put(DATA + 1, 0, 7);
            assertEquals(7, guest.read(page + PAGE, NO_PASID));
            guest.put(ROOT + 1, 1, ipa(ROOT + 40) | 3);
            assertEquals(0, guest.invalidate(NH_VA, 2 << 20));
            assertEquals(refused(AccessResult.NO_PAGE_REQUESTS), guest.read(page + PAGE, NO_PASID));
        }
    }

    @Test
    void scenario144DetachAnswersTheFaultsOfEveryPasid() throws Exception {
        DeviceConfig config = DeviceConfig.stalling("d").withPasidBits(8);
        try (StreamGuest guest = guest(config, 4, 2, translate(CONTEXTS, 4))) {
            Device device = guest.device();
            assertTrue(device.enter());
            long[] value = new long[1];
            for (int pasid = 1; pasid < 4; pasid++) {
                assertEquals(
                        Result.OK,
                        device.start(
                                Access.READ, 5L * PAGE, MemorySegment.ofArray(value), 0, Long.BYTES, pasid, pasid));
            }
            while (device.step()) {}
            int[] first = guest.group();
            assertEquals(1, first[2], "its PASID");
            assertEquals(guest.bound.id(), first[1]);
            assertEquals(2, guest.group()[2]);
            guest.bound.detach(0);
            List<AccessResult> ended = new ArrayList<>();
            while (ended.size() < 3) {
                var _ = device.step();
                device.poll((tag, result) -> ended.add(result));
            }
            assertEquals(List.of(AccessResult.INVALID, AccessResult.INVALID, AccessResult.INVALID), ended);
            assertEquals(0, guest.group().length);
            device.leave();
            assertEquals(refused(AccessResult.NOT_ATTACHED), guest.read(0, 1), "nothing is left in its TLB");
        }
    }

    /** A device that asks by PRI does so only where the guest has turned ATS on, and then makes no events. */
    @Test
    void pageRequestsNeedAts() throws Exception {
        DeviceConfig config = DeviceConfig.pri("d").withPasidBits(8);
        try (StreamGuest guest = guest(config, 2, 2, translate(CONTEXTS, 4))) {
            assertEquals(refused(AccessResult.NO_PAGE_REQUESTS), guest.read(5L * PAGE, 1));
            assertEquals(0x10, lastEvent(guest));
            var _ = guest.bound.replace(0, guest.stream(FAULT_ID_VALID, translate(CONTEXTS, 4), 2 | StreamGuest.ATS));
            AccessResult result = guest.access(Access.READ, 5L * PAGE, 1, new long[1], () -> {
                int[] group = guest.group();
                assertEquals(1, group[2]);
                guest.map(ROOT + 3, 5, DATA + 1, USER);
                guest.answer(group[9], 0);
            });
            assertEquals(AccessResult.OK, result);
            assertEquals(1, guest.events.size());
        }
    }

    @Test
    void groupsOfSeveralPagesAreAPasidsOwn() throws Exception {
        DeviceConfig config = DeviceConfig.pri("d").withPasidBits(8).withGroupPages(4);
        try (StreamGuest guest = guest(config, 3, 2 | StreamGuest.ATS, translate(CONTEXTS, 4))) {
            Device device = guest.device();
            assertTrue(device.enter());
            for (int pasid = 1; pasid < 3; pasid++) {
                assertEquals(
                        Result.OK,
                        device.start(Access.READ, 8L * PAGE, MemorySegment.ofArray(new long[1]), 0, 8, pasid, pasid));
            }
            while (device.step()) {}
            assertEquals(320, guest.p.calls.read(guest.faults[1], Program.ARENA, 640), "one for each");
            assertEquals(1, guest.p.read(2));
            assertEquals(2, guest.p.read(42));
            assertFalse(guest.p.read(9) == guest.p.read(49));
            guest.answer(guest.p.read(49), 1);
            device.leave();
        }
    }

    private static PageTable table(StreamGuest guest) {
        return Objects.requireNonNull(guest.bound.domain(0)).table();
    }

    @Test
    void whatIsExplainedOfAnAddress() throws Exception {
        try (StreamGuest guest = guest(1, 2)) {
            String said = table(guest).explain(0).toString();
            assertTrue(said.contains("Arm first stage"), said);
            var _ = guest.bound.replace(0, guest.stream(0, translate(CONTEXTS, 4), 0));
            assertFalse(table(guest).explain(0).toString().isEmpty());
            assertArrayEquals(new long[0], guest.event(guest.events(1)));
        }
    }
}
