package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Errno;
import dev.faultline.ring.FaultFile;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Who handles a request, how groups are built, who is answered when, by the sheet fault-delivery-semantics, sections 3, 4, 9 and
 * 10: on requests that a driver reports, as the kernel takes them.
 */
class FaultDeliveryScenariosTest {
    private static final int RECORD = 40;
    private static final int WORDS = RECORD / 4;
    private static final int LAST = 1 << 1;

    private final Iommu iommu = Iommu.open(IommuConfig.small().withFrames(16));
    private final FaultQueue one = queue();
    private final FaultQueue two = queue();
    private final FaultFile oneFile = one.file();
    private final FaultFile twoFile = two.file();
    private final List<String> told = new ArrayList<>();
    private int nextIndex = 100;

    private static FaultQueue queue() {
        return FaultQueue.open(QueueConfig.of(8).withDeadlineNs(0).withLargestGroup(4));
    }

    @AfterEach
    void everythingIsAnswered() {
        iommu.close();
        for (FaultQueue queue : List.of(one, two)) {
            queue.close();
            assertTrue(queue.accounting().balanced(), () -> queue.accounting().toString());
            assertEquals(0, queue.accounting().outstanding());
        }
    }

    private PageRequestReporter reporter(Device device, boolean guestPasidTables) {
        return device.reportTo(
                (pasid, index, last, code) -> told.add(pasid + "/" + index + (last ? "" : "+") + " " + code),
                guestPasidTables);
    }

    private PageTable paging(FaultQueue queue) {
        return iommu.tableElsewhere(PageTable.Kind.PAGING, queue);
    }

    private PageTable nested(FaultQueue queue) {
        return iommu.tableElsewhere(PageTable.Kind.NESTED, queue);
    }

    private static int[] read(FaultFile file, int records) {
        MemorySegment buffer = MemorySegment.ofArray(new long[records * RECORD / 8]);
        long n = file.read(buffer);
        int[] words = new int[(int) Math.max(n, 0) / 4];
        MemorySegment.copy(buffer, ValueLayout.JAVA_INT, 0, words, 0, words.length);
        return words;
    }

    private static long answer(FaultFile file, int cookie, int code) {
        return file.write(MemorySegment.ofArray(new int[] {cookie, code}));
    }

    /** Who handles a request: "one" or "two", its queue, or "nobody", who has answered INVALID at once. */
    private String handler(PageRequestReporter reporter, int pasid) {
        told.clear();
        int index = nextIndex++;
        if (!reporter.report(pasid, index, 0x1000, 1, true)) {
            assertEquals(List.of(pasid + "/" + index + " INVALID"), told);
            assertFalse(reporter.report(pasid, index, 0x1000, 1, false), "one that is not the last neither");
            assertEquals(pasid + "/" + index + "+ INVALID", told.getLast());
            return "nobody";
        }
        int[] words = read(oneFile, 1);
        FaultFile from = words.length > 0 ? oneFile : twoFile;
        if (words.length == 0) {
            words = read(twoFile, 1);
        }
        assertEquals(index, words[3]);
        assertEquals(8, answer(from, words[9], 0));
        reporter.takeAnswers();
        assertEquals(List.of(pasid + "/" + index + " SUCCESS"), told);
        return from == oneFile ? "one" : "two";
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void faultDelivery3WhoHandlesARequest(boolean guestPasidTables) {
        Device device = iommu.device(DeviceConfig.reported("d"));
        PageRequestReporter reporter = reporter(device, guestPasidTables);
        assertEquals("nobody", handler(reporter, 0));
        assertEquals("nobody", handler(reporter, 5));
        Attachment whole = device.attach(paging(one));
        assertEquals("one", handler(reporter, 0));
        assertEquals("nobody", handler(reporter, 5), "a table of pages has no other PASIDs");
        whole = whole.replace(nested(one));
        assertEquals("one", handler(reporter, 0));
        assertEquals(guestPasidTables ? "one" : "nobody", handler(reporter, 5));
        Attachment five = device.attach(paging(two), 5);
        assertEquals("one", handler(reporter, 0));
        assertEquals("two", handler(reporter, 5));
        assertEquals(guestPasidTables ? "one" : "nobody", handler(reporter, 6));
        five = five.replace(iommu.tableElsewhere(PageTable.Kind.PAGING, null));
        assertEquals("nobody", handler(reporter, 5), "it hides the other, though it takes no faults");
        five = five.replace(paging(two));
        whole.detach();
        assertEquals("nobody", handler(reporter, 0));
        assertEquals("two", handler(reporter, 5));
        assertEquals("nobody", handler(reporter, 6));
        five.detach();
        whole = device.attach(iommu.tableElsewhere(PageTable.Kind.NESTED, null));
        assertEquals("nobody", handler(reporter, 0));
        assertEquals("nobody", handler(reporter, 5));
        whole.detach();
    }

    @Test
    void faultDelivery4AGroupIsBuiltByItsIndexAndAnsweredByItsLastRequest() {
        Device device = iommu.device(DeviceConfig.reported("d"));
        PageRequestReporter reporter = reporter(device, true);
        var _ = device.attach(nested(one));
        assertTrue(reporter.report(3, 7, 0x1000, 1, false));
        assertTrue(reporter.report(4, 8, 0x2000, 1, false));
        assertTrue(reporter.report(5, 7, 0x3000, 2, false));
        assertEquals(0, read(oneFile, 4).length, "nothing of a part");
        assertTrue(reporter.report(6, 7, 0x4000, 1, true));
        int[] words = read(oneFile, 4);
        assertEquals(3 * WORDS, words.length);
        List<List<Integer>> seen = new ArrayList<>();
        for (int i = 0; i < words.length; i += WORDS) {
            seen.add(List.of(words[i + 2], words[i + 6], words[i] & LAST, words[i + 9]));
        }
        int cookie = words[9];
        assertEquals(
                List.of(List.of(3, 0x1000, 0, cookie), List.of(5, 0x3000, 0, cookie), List.of(6, 0x4000, LAST, cookie)),
                seen,
                "as they came, whatever their PASID");
        assertEquals(8, answer(oneFile, cookie, 1));
        reporter.takeAnswers();
        assertEquals(List.of("6/7 INVALID"), told, "the last one's PASID and index");
        assertTrue(reporter.report(9, 8, 0x5000, 1, true));
        words = read(oneFile, 4);
        assertEquals(2 * WORDS, words.length, "the other index has waited for its last");
        assertEquals(List.of(4, 9), List.of(words[2], words[WORDS + 2]));
        assertEquals(8, answer(oneFile, words[9], 0));
        reporter.takeAnswers();
        assertEquals("9/8 SUCCESS", told.getLast());
    }

    @Test
    void faultDelivery9WhatAnswersNothing() {
        Device device = iommu.device(DeviceConfig.reported("d"));
        Device other = iommu.device(DeviceConfig.reported("e"));
        PageRequestReporter reporter = reporter(device, false);
        PageTable table = paging(one);
        Attachment whole = device.attach(table);
        Attachment five = device.attach(table, 5);
        Attachment others = other.attach(table);
        assertTrue(reporter.report(0, 1, 0x1000, 1, true));
        int cookie = read(oneFile, 1)[9];
        assertTrue(reporter.report(0, 2, 0x1000, 1, true));
        assertTrue(reporter.report(0, 3, 0x1000, 1, false));

        assertSame(whole, whole.replace(table), "by the same");
        PageTable closed = paging(two);
        closed.close();
        Attachment before = whole;
        assertThrows(IllegalStateException.class, () -> before.replace(closed));
        assertThrows(IllegalStateException.class, () -> device.attach(table), "attached already");
        assertThrows(IllegalStateException.class, () -> device.attach(closed, 6));
        five.detach();
        others.detach();
        reporter.takeAnswers();
        assertEquals(List.of(), told);
        assertEquals(2, one.accounting().outstanding());
        assertEquals(1, device.pageRequests().outstanding(), "what is not whole is where it was");
        whole.detach();
        assertEquals(List.of("0/2 INVALID", "0/1 INVALID"), told, "what was not read, then what was");
        assertEquals(1, device.pageRequests().discarded(), "nothing of the device takes faults any more");
        assertTrue(cookie > 0);
    }

    @Test
    void faultDelivery102DetachAnswersWhatItHasAndNothingComesAfterIt() {
        Device device = iommu.device(DeviceConfig.reported("d"));
        PageRequestReporter reporter = reporter(device, false);
        Attachment whole = device.attach(paging(one));
        assertTrue(reporter.report(0, 1, 0x1000, 1, true));
        assertTrue(reporter.report(0, 2, 0x1000, 1, true));
        int cookie = read(oneFile, 1)[9];
        whole.detach();
        assertEquals(List.of("0/2 INVALID", "0/1 INVALID"), told);
        assertEquals(-Errno.EINVAL, answer(oneFile, cookie, 0), "it is answered");
        assertEquals(0, read(oneFile, 4).length);
        assertEquals("nobody", handler(reporter, 0));
        Attachment again = device.attach(paging(one));
        assertTrue(again.key != whole.key, "a fresh one, though for the same device");
        assertEquals("one", handler(reporter, 0));
        again.detach();
    }

    @Test
    void faultDelivery103ReplaceAnswersOnTheOldQueueAndGoesOnOnTheNew() {
        Device device = iommu.device(DeviceConfig.reported("d"));
        PageRequestReporter reporter = reporter(device, false);
        Attachment whole = device.attach(paging(one));
        assertTrue(reporter.report(0, 1, 0x1000, 1, true));
        int cookie = read(oneFile, 1)[9];
        assertTrue(reporter.report(0, 2, 0x1000, 1, true));
        Attachment fresh = whole.replace(paging(two));
        assertFalse(whole.isAttached());
        assertEquals(List.of("0/2 INVALID", "0/1 INVALID"), told, "the old one's faults");
        assertEquals(0, one.accounting().outstanding());
        assertEquals(-Errno.EINVAL, answer(oneFile, cookie, 0));
        assertEquals(-Errno.EINVAL, answer(twoFile, cookie, 0));
        assertEquals("two", handler(reporter, 0));
        fresh.detach();
    }
}
