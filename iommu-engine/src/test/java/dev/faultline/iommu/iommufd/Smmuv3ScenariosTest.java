package dev.faultline.iommu.iommufd;

import static dev.faultline.iommu.iommufd.Program.FAULT_ID_VALID;
import static dev.faultline.iommu.iommufd.StreamGuest.NO_PASID;
import static dev.faultline.iommu.iommufd.StreamGuest.PAGE;
import static dev.faultline.iommu.iommufd.StreamGuest.USER;
import static dev.faultline.iommu.iommufd.StreamGuest.translate;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Access;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.iommufd.smmuv3.Smmuv3;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

/** A guest's SMMUv3 over the engine's own devices, as Linux lets a guest have it: sections L and M of the conformance scenarios, by number. */
class Smmuv3ScenariosTest {
    private static final int CFGI_CD = 0x05;
    private static final int CFGI_CD_ALL = 0x06;
    private static final int NH_ALL = 0x10;
    private static final int NH_ASID = 0x11;
    private static final int NH_VA = 0x12;
    private static final int NSNH_ALL = 0x30;
    private static final int ATC_INV = 0x40;

    private static final int CONTEXTS = 0;
    private static final int ROOT = 4;
    private static final int DATA = 32;

    /** A guest whose device 0x99 reads page DATA at 0 and nothing at 0x5000. */
    private static StreamGuest guest(DeviceConfig config, long virtualId, long context) throws ErrnoException {
        StreamGuest guest = new StreamGuest(config);
        guest.knownAs(virtualId);
        guest.context(CONTEXTS, 0, 7, ROOT, context);
        guest.tables(ROOT);
        guest.map(ROOT, 0, DATA, USER);
        guest.put(DATA, 0, 800);
        guest.put(DATA + 1, 0, 900);
        var _ = guest.bound.attach(0, guest.stream(FAULT_ID_VALID, translate(CONTEXTS, 0), 0));
        assertEquals(800, guest.read(0, NO_PASID));
        return guest;
    }

    private static long command(int op, long stream) {
        return op | stream << 32;
    }

    @Test
    void scenario189AFaultThatDoesNotStallIsAnEventWithTheVirtualId() throws Exception {
        try (StreamGuest guest = guest(DeviceConfig.plain("d"), 0x88, 0)) {
            int fd = guest.events(4);
            assertEquals(-AccessResult.NO_PAGE_REQUESTS.ordinal(), guest.read(0x5008, NO_PASID));
            long[] hosts = guest.events.getLast();
            long[] guests = guest.event(fd);
            assertEquals(0x10, hosts[0] & 0xff, "F_TRANSLATION");
            assertEquals(guest.device().requester(), hosts[0] >>> 32);
            assertEquals(0x88, guests[0] >>> 32);
            assertEquals((int) hosts[0], (int) guests[0]);
            assertEquals(1L << 35 | 2L << 40, hosts[1], "a read, of the input address, in stage 1");
            assertEquals(0x5008, hosts[2]);
            assertEquals(0, hosts[3]);
            for (int i = 1; i < 4; i++) {
                assertEquals(hosts[i], guests[i], "as hardware wrote it");
            }
            assertEquals(0, guest.group().length);
        }
    }

    @Test
    void scenario190AStallGoesToTheFaultQueue() throws Exception {
        try (StreamGuest guest = guest(DeviceConfig.stalling("d"), 0x88, StreamGuest.STALL)) {
            int fd = guest.events(4);
            AccessResult result = guest.access(Access.WRITE, 0x5008, NO_PASID, new long[1], () -> {
                int[] group = guest.group();
                assertEquals(guest.bound.id(), group[1]);
                assertEquals(2, group[4], "a write");
                assertEquals(0x5008, group[6], "the exact address");
                guest.answer(group[9], 1);
            });
            assertEquals(AccessResult.INVALID, result);
            assertEquals(0, guest.event(fd).length);
            assertEquals(0, guest.events.size());
        }
    }

    @Test
    void whereTheGuestWantsNoStallsTheSameDeviceMakesEvents() throws Exception {
        try (StreamGuest guest = guest(DeviceConfig.stalling("d"), 0x88, 0)) {
            int fd = guest.events(4);
            assertEquals(-AccessResult.NO_PAGE_REQUESTS.ordinal(), guest.read(0x5008, NO_PASID));
            assertEquals(0x88, guest.event(fd)[0] >>> 32);
            assertEquals(0, guest.group().length);
        }
    }

    @Test
    void scenario197ThePhysicalIdReachesTheHardware() throws Exception {
        try (StreamGuest guest = guest(DeviceConfig.plain("d").withRequester(0x123), 0x99, 0)) {
            guest.commands.clear();
            assertEquals(0, guest.invalidate(command(CFGI_CD, 0x99) | 5 << 12, 1));
            assertEquals(1, guest.p.done());
            assertArrayEquals(new long[] {command(CFGI_CD, 0x123) | 5 << 12, 1}, guest.commands.getLast());
            assertEquals(0, guest.invalidate(command(CFGI_CD_ALL, 0x99), 0, command(ATC_INV, 0x99), 0x1000));
            assertArrayEquals(new long[] {command(ATC_INV, 0x123), 0x1000}, guest.commands.getLast());
            int before = guest.commands.size();
            for (int op : new int[] {CFGI_CD, CFGI_CD_ALL, ATC_INV}) {
                assertEquals(-Errno.EIO, guest.invalidate(command(op, 0x9), 0));
                assertEquals(
                        -Errno.EIO, guest.invalidate(command(op, 0x123), 0), "the physical one is not the guest's");
                assertEquals(0, guest.p.done());
            }
            assertEquals(before, guest.commands.size());
        }
    }

    @Test
    void scenario198WhatAGuestMayNotCommand() throws Exception {
        try (StreamGuest guest = guest(DeviceConfig.plain("d"), 0x99, 0)) {
            guest.commands.clear();
            guest.map(ROOT, 0, DATA + 1, USER);
            // SYNC, CFGI_STE, PRI_RESP, RESUME; STALL_TERM, S2_IPA, S12_VMALL, EL2_ALL, CFGI_ALL, PREFETCH_CONFIG,
            // nothing.
            for (int op : new int[] {0x46, 0x03, 0x41, 0x44, 0x45, 0x2a, 0x28, 0x20, 0x04, 0x01, 0x00, 0xff}) {
                assertEquals(-Errno.EIO, guest.invalidate(command(op, 0x99), 0, NSNH_ALL, 0), "op " + op);
                assertEquals(0, guest.p.done());
            }
            assertEquals(0, guest.commands.size(), "nothing was executed");
            assertEquals(800, guest.read(0, NO_PASID), "still in the TLB");
        }
    }

    @Test
    void scenario199TheVmidIsTheGuestsOwn() throws Exception {
        try (StreamGuest guest = guest(DeviceConfig.plain("d"), 0x99, 0)) {
            assertEquals(0, guest.invalidate(NSNH_ALL, -1L));
            long vmid = guest.commands.getLast()[0] >>> 32 & 0xffff;
            assertArrayEquals(new long[] {NH_ALL | vmid << 32, 0}, guest.commands.getLast());
            assertEquals(800, guest.read(0, NO_PASID));
            guest.map(ROOT, 0, DATA + 1, USER);
            long foreign = vmid + 1;
            assertEquals(0, guest.invalidate(NH_ASID | foreign << 32 | 7L << 48, 0));
            assertArrayEquals(new long[] {NH_ASID | vmid << 32 | 7L << 48, 0}, guest.commands.getLast());
            assertEquals(900, guest.read(0, NO_PASID), "it was executed");
            guest.map(ROOT, 0, DATA, USER);
            assertEquals(0, guest.invalidate(NH_ASID | 8L << 48, 0));
            assertEquals(900, guest.read(0, NO_PASID), "another ASID");
            assertEquals(0, guest.invalidate(NH_VA | foreign << 32 | 8L << 48, 0x1000));
            assertEquals(900, guest.read(0, NO_PASID), "another page");
            assertEquals(0, guest.invalidate(NH_ALL | foreign << 32, 0));
            assertEquals(800, guest.read(0, NO_PASID));
        }
    }

    @Test
    void scenario200TheNumberIsOfThoseThatWereExecuted() throws Exception {
        try (StreamGuest guest = guest(DeviceConfig.plain("d"), 0x99, 0)) {
            guest.commands.clear();
            guest.map(ROOT, 0, DATA + 1, USER);
            long[] words = new long[200];
            for (int i = 0; i < 100; i++) {
                words[2 * i] = i == 69 ? 0x46 : NH_VA | 7L << 48;
                words[2 * i + 1] = i == 68 ? 0 : (i + 1L) * PAGE;
            }
            assertEquals(-Errno.EIO, guest.invalidate(words));
            assertEquals(69, guest.p.done());
            assertEquals(69, guest.commands.size());
            assertEquals(900, guest.read(0, NO_PASID), "the last of them counts");
        }
    }

    @Test
    void entriesAreReadAsTheKernelReadsThem() throws Exception {
        try (StreamGuest guest = guest(DeviceConfig.plain("d"), 0x99, 0)) {
            assertEquals(-Errno.EINVAL, guest.p.invalidate(guest.viommu, Smmuv3.TYPE, 16, 0), "none");
            assertEquals(-Errno.EINVAL, guest.p.invalidate(guest.viommu, 0, 16, 1), "another type");
            guest.p.write(0, NSNH_ALL, 0, 0, 0, 0, 0, NSNH_ALL, 0, 0, 0, 1, 0);
            assertEquals(0, guest.p.invalidate(guest.viommu, Smmuv3.TYPE, 24, 1), "zeros after it");
            assertEquals(-Errno.E2BIG, guest.p.invalidate(guest.viommu, Smmuv3.TYPE, 24, 2));
            assertEquals(0, guest.p.done(), "all are read before any is done");
            assertEquals(0, guest.p.invalidate(guest.viommu, Smmuv3.TYPE, 8, 1), "zeros that are left off");
            assertEquals(
                    -Errno.EOPNOTSUPP,
                    guest.p.invalidate(guest.stream(0, StreamGuest.BYPASS, 0), 1, 16, 1),
                    "a page table of such a guest");
        }
    }

    @Test
    void whatIsToldOfTheHardware() throws Exception {
        try (StreamGuest guest = new StreamGuest(DeviceConfig.stalling("d").withPasidBits(10))) {
            Program p = guest.p;
            int low = Program.low(Program.ARENA);
            int high = Program.high(Program.ARENA);
            assertEquals(0, p.ioctl(0x3b8a, 0, 0, guest.bound.id(), 48, low, high, 0, 0, 0, 0));
            assertEquals(2, p.word(6), "IOMMU_HW_INFO_TYPE_ARM_SMMUV3");
            assertEquals(40, p.word(3));
            assertEquals(10, p.word(7) & 0xff, "PASID bits");
            assertEquals(0, p.read(0), "no flags");
            assertEquals(3, p.read(2) & 3, "both stages");
            assertEquals(20, p.read(3) >>> 6 & 31, "SSIDSIZE");
            assertEquals(5 | 1 << 4, p.read(7) & 0x7f, "48 bits, granules of 4 KiB");
            assertEquals(0, p.read(10), "room that is left");
            assertEquals(-Errno.EOPNOTSUPP, p.ioctl(0x3b8a, 0, 1, guest.bound.id(), 0, 0, 0, 1, 0, 0, 0));
            assertEquals(0, p.ioctl(0x3b8a, 0, 1, guest.bound.id(), 0, 0, 0, 2, 0, 0, 0));
        }
    }

    @Test
    void whatAGuestMaySayOfItsDevice() throws Exception {
        try (StreamGuest guest = new StreamGuest(DeviceConfig.plain("d"))) {
            long good = translate(CONTEXTS, 0);
            for (int bit = 56; bit < 59; bit++) {
                assertEquals(-Errno.EIO, guest.allocStream(0, guest.viommu, good | 1L << bit, 0));
            }
            long allowed = 0xff | 1 << 27 | 1 << 28;
            for (int bit = 0; bit < 64; bit++) {
                int result = guest.allocStream(0, guest.viommu, good, 1L << bit);
                assertEquals((allowed >>> bit & 1) != 0 ? 0 : -Errno.EIO, result, "bit " + bit);
            }
            for (int config = 0; config < 8; config++) {
                boolean known = config == 0 || config == 4 || config == 5;
                assertEquals(
                        known ? 0 : -Errno.EIO,
                        guest.allocStream(0, guest.viommu, 1 | (long) config << 1, 0),
                        "" + config);
            }
            assertEquals(0, guest.allocStream(0, guest.viommu, -2, -1), "not valid: nothing else counts");
            assertEquals(-Errno.EOPNOTSUPP, guest.allocStream(0, guest.parent, good, 0), "not without vIOMMU");
            assertEquals(-Errno.EOPNOTSUPP, guest.allocStream(Program.PASID, guest.viommu, good, 0));
            Program p = guest.p;
            assertEquals(-Errno.EINVAL, p.allocNested(0, guest.bound.id(), guest.viommu, 0, 1, 0, 0, 0, 0));
            assertEquals(-Errno.EINVAL, p.allocNested(0, guest.bound.id(), guest.viommu, 0, 2, 0, 0));
            assertEquals(-Errno.EINVAL, p.allocNested(0, guest.bound.id(), guest.viommu, 0, 2, 0, 0, 0, 0, 0));
            assertEquals(
                    -Errno.EOPNOTSUPP, p.allocTable(9, guest.bound.id(), guest.ioas, 0, false), "parent for PASIDs");
            assertEquals(-Errno.EOPNOTSUPP, p.allocViommu(0, 2, guest.bound.id(), guest.parent));
        }
    }

    @Test
    void scenario167OnlyWhatTranslatesNeedsAVirtualId() throws Exception {
        try (StreamGuest guest = new StreamGuest(DeviceConfig.plain("d"))) {
            int translates = guest.stream(0, translate(CONTEXTS, 0), 0);
            assertEquals(
                    Errno.ENOENT,
                    assertThrows(ErrnoException.class, () -> guest.bound.attach(0, translates))
                            .errno());
            guest.put(DATA, 0, 5);
            var _ = guest.bound.attach(0, guest.stream(0, StreamGuest.BYPASS, 0));
            assertEquals(5, guest.read(StreamGuest.ipa(DATA), NO_PASID));
            var _ = guest.bound.replace(0, guest.stream(0, StreamGuest.ABORT, 0));
            assertEquals(-AccessResult.BLOCKED.ordinal(), guest.read(StreamGuest.ipa(DATA), NO_PASID));
            assertEquals(0, guest.events.size(), "an abort is no event");
            guest.knownAs(0x99);
            var _ = guest.bound.replace(0, translates);
            int fd = guest.events(4);
            assertEquals(-AccessResult.TABLE_ERROR.ordinal(), guest.read(0, NO_PASID));
            assertEquals(0x0a, guest.event(fd)[0] & 0xff, "C_BAD_CD");
        }
    }

    @Test
    void twoGuestsHaveTheirOwnVmids() throws Exception {
        try (StreamGuest guest = guest(DeviceConfig.plain("d"), 0x99, 0)) {
            int other = guest.p.table(Program.NEST_PARENT, guest.bound.id(), guest.ioas, 0);
            int viommu = guest.p.made(guest.p.allocViommu(0, Smmuv3.TYPE, guest.bound.id(), other), 5);
            assertEquals(0, guest.invalidate(NSNH_ALL, 0));
            long mine = guest.commands.getLast()[0] >>> 32;
            guest.read(0, NO_PASID);
            guest.map(ROOT, 0, DATA + 1, USER);
            MemorySegment.copy(new long[] {NSNH_ALL, 0}, 0, guest.p.arena, ValueLayout.JAVA_LONG, 0, 2);
            assertEquals(0, guest.p.invalidate(viommu, Smmuv3.TYPE, 16, 1));
            assertEquals(true, mine != guest.commands.getLast()[0] >>> 32);
            assertEquals(800, guest.read(0, NO_PASID), "nothing of the first guest's was forgotten");
            assertEquals(0, guest.p.destroy(viommu));
            assertEquals(0, guest.p.destroy(other));
        }
    }
}
