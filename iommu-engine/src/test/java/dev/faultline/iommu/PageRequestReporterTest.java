package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ring.FaultFile;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Page requests that a driver reports: who handles them, what becomes of those that nobody does, and in which order answers come. */
class PageRequestReporterTest {
    private static final int RECORD = 40;

    private final Iommu iommu = Iommu.open(IommuConfig.small().withFrames(16));
    private final FaultQueue queue =
            FaultQueue.open(QueueConfig.of(8).withDeadlineNs(0).withLargestGroup(4));
    private final FaultFile file = queue.file();
    private final List<String> told = new ArrayList<>();
    private final Device device = iommu.device(DeviceConfig.reported("reported"));
    private final PageRequestReporter reporter = device.reportTo(
            (pasid, index, last, code) ->
                    told.add(pasid + "/" + Integer.toUnsignedString(index) + (last ? "" : "+") + " " + code),
            true);

    @AfterEach
    void everythingIsAnswered() {
        iommu.close();
        queue.close();
        assertTrue(queue.accounting().balanced(), () -> queue.accounting().toString());
        assertEquals(0, queue.accounting().outstanding());
        assertEquals(0, reporter.openGroups());
    }

    private PageTable table(PageTable.Kind kind, boolean faults) {
        return iommu.tableElsewhere(kind, faults ? queue : null);
    }

    private int[] read(int records) {
        MemorySegment buffer = MemorySegment.ofArray(new long[records * RECORD / 8]);
        long n = file.read(buffer);
        int[] words = new int[(int) Math.max(n, 0) / 4];
        MemorySegment.copy(buffer, ValueLayout.JAVA_INT, 0, words, 0, words.length);
        return words;
    }

    private void answer(int cookie, int code) {
        assertEquals(8, file.write(MemorySegment.ofArray(new int[] {cookie, code})));
    }

    @Test
    void numbersAreHandedOnAsTheyAre() {
        var _ = device.attach(table(PageTable.Kind.NESTED, true));
        device.reportAs(77);
        assertTrue(reporter.report(0xdead_beef, -1, 0x1234_5678_9abcL, 0xff, true));
        int[] words = read(1);
        assertEquals(3, words[0]);
        assertEquals(77, words[1]);
        assertEquals(0xdead_beef, words[2]);
        assertEquals(-1, words[3]);
        assertEquals(0xff, words[4]);
        assertEquals(0x5678_9abc, words[6]);
        answer(1, 0);
        reporter.takeAnswers();
        assertEquals(List.of(0xdead_beef + "/4294967295 SUCCESS"), told);
    }

    @Test
    void whatNobodyHandlesIsAnsweredAtOnceAlsoIfMoreIsToCome() {
        assertFalse(reporter.report(0, 1, 0, 1, true));
        var _ = device.attach(table(PageTable.Kind.PAGING, false));
        assertFalse(reporter.report(0, 2, 0, 1, false));
        assertEquals(List.of("0/1 INVALID", "0/2+ INVALID"), told);
    }

    @Test
    void onlyWhatIsNestedHandlesPasidsThatAreNotAttached() {
        Attachment whole = device.attach(table(PageTable.Kind.PAGING, true));
        assertFalse(reporter.report(5, 1, 0, 1, true));
        Attachment nested = whole.replace(table(PageTable.Kind.NESTED, true));
        assertTrue(reporter.report(5, 2, 0, 1, true));
        Attachment own = device.attach(table(PageTable.Kind.PAGING, false), 5);
        assertFalse(reporter.report(5, 3, 0, 1, true), "its own attachment hides the nested one");
        own.detach();
        nested.detach();
        assertEquals(List.of("5/1 INVALID", "5/3 INVALID", "5/2 INVALID"), told);
    }

    @Test
    void detachAnswersTheUnreadNewestFirstThenTheReadByCookie() {
        Attachment attachment = device.attach(table(PageTable.Kind.NESTED, true));
        for (int i = 1; i <= 6; i++) {
            assertTrue(reporter.report(0, i, 0, 1, true));
        }
        assertEquals(10 * 4, read(4).length);
        answer(2, 0);
        // The lowest free cookie, 2, is given to group 5.
        assertEquals(10, read(1).length);
        assertTrue(reporter.report(0, 7, 0, 1, true));
        attachment.detach();
        assertEquals(
                List.of(
                        "0/2 SUCCESS",
                        "0/7 INVALID",
                        "0/6 INVALID",
                        "0/1 INVALID",
                        "0/5 INVALID",
                        "0/3 INVALID",
                        "0/4 INVALID"),
                told);
    }

    @Test
    void moreGroupsThanReadsAreListedInOrder() {
        var _ = device.attach(table(PageTable.Kind.NESTED, true));
        for (int i = 0; i < 1000; i++) {
            assertTrue(reporter.report(0, i, i, 1, true));
        }
        int[] words = read(1000);
        assertEquals(10 * 1000, words.length);
        for (int i = 0; i < 1000; i++) {
            assertEquals(i, words[10 * i + 3]);
            assertEquals(i + 1, words[10 * i + 9]);
        }
        assertEquals(List.of(), told);
    }

    @Test
    void partialRequestsGoWhenNothingAttachedTakesPartInFaults() {
        PageTable faults = table(PageTable.Kind.NESTED, true);
        Attachment attachment = device.attach(faults);
        assertTrue(reporter.report(0, 1, 0x1000, 1, false));
        attachment = attachment.replace(table(PageTable.Kind.NESTED, true));
        assertTrue(reporter.report(0, 1, 0x2000, 1, true));
        assertEquals(20, read(2).length, "between tables with a queue they stay");
        assertTrue(reporter.report(0, 2, 0x1000, 1, false));
        attachment = attachment.replace(table(PageTable.Kind.PAGING, false)).replace(faults);
        assertTrue(reporter.report(0, 2, 0x2000, 1, true));
        assertEquals(10, read(2).length);
        attachment.detach();
    }

    @Test
    void aGroupThatDoesNotFitIsAnsweredInvalid() {
        var _ = device.attach(table(PageTable.Kind.NESTED, true));
        for (int i = 0; i < 4; i++) {
            assertTrue(reporter.report(0, 1, i, 1, false));
        }
        assertFalse(reporter.report(0, 1, 9, 1, true));
        assertEquals(List.of("0/1 INVALID"), told);
        assertTrue(reporter.report(0, 1, 9, 1, true), "nothing of it is left");
    }

    @Test
    void scenario96WithoutTablesOfTheGuestNothingHandlesAPasidThatIsNotAttached() {
        Device other = iommu.device(DeviceConfig.reported("other"));
        PageRequestReporter without = other.reportTo(
                (pasid, index, last, code) -> told.add("other " + pasid + "/" + index + " " + code), false);
        var _ = other.attach(table(PageTable.Kind.NESTED, true));
        assertFalse(without.report(5, 1, 0, 1, true));
        assertEquals(List.of("other 5/1 INVALID"), told);
        assertTrue(without.report(0, 2, 0, 1, true));
        assertEquals(10, read(2).length);
        answer(1, 0);
        without.takeAnswers();
        assertEquals(List.of("other 5/1 INVALID", "other 0/2 SUCCESS"), told);
    }

    /** All memory for groups is taken when a device is attached, so what runs out is its bound; and the answer is INVALID. */
    @Test
    void scenario105AGroupWithoutRoomIsRefusedWithWhatCameBefore() {
        Device other = iommu.device(DeviceConfig.reported("other").withAllocation(2));
        PageRequestReporter small = other.reportTo(
                (pasid, index, last, code) -> told.add(pasid + "/" + index + (last ? "" : "+") + " " + code), true);
        var _ = other.attach(table(PageTable.Kind.NESTED, true));
        int groups = 0;
        do {
            groups++;
            assertTrue(small.report(0, groups, 0x1000, 1, false));
        } while (small.report(0, groups, 0x2000, 1, true));
        assertTrue(groups > 2, "two fit");
        assertEquals(List.of("0/" + groups + " INVALID"), told);
        assertEquals(20 * (groups - 1), read(2 * groups).length, "nothing of the last is readable");
        answer(1, 0);
        small.takeAnswers();
        assertTrue(small.report(0, groups, 0x3000, 1, true));
        assertEquals(10, read(2).length, "what came before is gone");
    }

    @Test
    void scenario106ARequestWithoutRoomIsLeftOut() {
        Device other = iommu.device(DeviceConfig.reported("other").withAllocation(2));
        PageRequestReporter small = other.reportTo((pasid, index, last, code) -> told.add(index + " " + code), true);
        var _ = other.attach(table(PageTable.Kind.NESTED, true));
        int most = Groups.PCI_INDICES;
        assertTrue(small.report(0, 1, 0xa000, 1, false));
        for (int i = 1; i < most; i++) {
            assertTrue(small.report(0, most + i, 0, 1, false));
        }
        assertTrue(small.report(0, 1, 0xb000, 1, false), "dropped, and not answered");
        assertEquals(1, other.pageRequests().overflowDropped());
        assertEquals(List.of(), told);
        assertTrue(small.report(0, 1, 0xc000, 1, true));
        int[] words = read(4);
        assertEquals(20, words.length);
        assertEquals(List.of(0xa000, 0xc000), List.of(words[6], words[16]));
    }

    @Test
    void onlySuchDevicesAreReportedFor() {
        Device plain = iommu.device(DeviceConfig.plain("plain"));
        assertThrows(IllegalStateException.class, () -> plain.reportTo((pasid, index, last, code) -> {}, false));
    }
}
