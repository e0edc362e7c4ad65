package dev.faultline.iommu.iommufd;

import static dev.faultline.iommu.iommufd.Program.ARENA;
import static dev.faultline.iommu.iommufd.Program.NEST_PARENT;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.faultline.ffm.Errno;
import dev.faultline.ring.Accounting;
import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Events that go into reads posted ahead on a ring. */
class EventRingTest {
    private static final int VIRTUAL_ID = 0x99;

    private final Program p = new Program();
    private final int ioas = p.ioas();
    private final Program.Device d1 = p.device(ioas, 0);
    private final int viommu = p.viommu(d1, p.table(NEST_PARENT, d1, ioas));
    private final int[] events;
    private final FaultQueue ring =
            FaultQueue.open(QueueConfig.of(16).withLargestGroup(4).withDeadlineNs(0));
    private final FaultConsumer consumer = ring.consumer();
    private final List<String> got = new ArrayList<>();
    private final List<Integer> cookies = new ArrayList<>();

    EventRingTest() {
        int nested = p.nested(0, d1, viommu, 0);
        var _ = p.vdevice(viommu, d1, VIRTUAL_ID);
        assertEquals(0, p.replace(d1, nested));
        events = p.events(viommu, 2);
    }

    @AfterEach
    void close() {
        consumer.close();
        ring.close();
        Accounting all = ring.accounting();
        assertEquals(all.raised(), all.answered() + all.autoAnswered() + all.dropped() + all.outstanding());
        p.close();
    }

    private void report(int times) {
        for (int i = 0; i < times; i++) {
            assertEquals(0, p.event(d1));
        }
    }

    /** What has come: sequences, negative for lost ones. */
    private List<String> poll() {
        got.clear();
        var _ = consumer.poll(
                (userData, event) -> {
                    assertEquals(events[0], event.device());
                    cookies.add(event.cookie());
                    if (EventRing.isLost(event)) {
                        got.add("lost up to " + event.groupIndex());
                    } else {
                        int[] data = new int[1];
                        assertEquals(Integer.BYTES, EventRing.data(event, MemorySegment.ofArray(data)));
                        assertEquals(VIRTUAL_ID, data[0]);
                        got.add("" + event.groupIndex());
                    }
                },
                16);
        return List.copyOf(got);
    }

    private void answer() {
        assertEquals(Result.OK, consumer.answerAndRepost(cookies.removeFirst(), Answer.SUCCESS));
        int _ = consumer.submit();
    }

    @Test
    void eachEventEndsAReadThatWasPosted() throws Exception {
        assertEquals(Result.OK, consumer.post(1, 4));
        report(1);
        try (EventRing _ = p.calls.events(events[1], ring, 8)) {
            assertEquals(List.of("0"), poll(), "what lay there before, by the read that is posted on the new lane");
            report(2);
            assertEquals(List.of("1", "2"), poll());
            assertEquals(List.of(), poll());
            report(3);
            assertEquals(List.of("3"), poll(), "four reads were posted");
            answer();
            answer();
            assertEquals(List.of("4", "5"), poll(), "they came before the reads were posted again");
            report(1);
            assertEquals(List.of(), poll());
            answer();
            assertEquals(List.of("6"), poll());
        }
    }

    @Test
    void whatTheRingHasNoRoomForWaitsAndIsLostAsOnTheDescriptor() throws Exception {
        assertEquals(Result.OK, consumer.post(1, 4));
        try (EventRing _ = p.calls.events(events[1], ring, 1)) {
            assertEquals(List.of(), poll());
            report(6);
            assertEquals(List.of("0"), poll());
            answer();
            assertEquals(List.of("1"), poll());
            answer();
            assertEquals(List.of("2"), poll());
            answer();
            assertEquals(List.of("lost up to 5"), poll());
            answer();
            report(1);
            assertEquals(List.of("6"), poll());
        }
    }

    @Test
    void oneReaderAtATime() throws Exception {
        EventRing on = p.calls.events(events[1], ring, 4);
        assertEquals(-Errno.EBADFD, p.calls.read(events[1], ARENA, 64));
        assertEquals(-Errno.EBADFD, p.calls.poll(events[1], 1, 0));
        assertEquals(
                Errno.EBUSY,
                assertThrows(ErrnoException.class, () -> p.calls.events(events[1], ring, 4))
                        .errno());
        assertEquals(
                Errno.ENOTTY,
                assertThrows(ErrnoException.class, () -> p.calls.events(p.fd, ring, 4))
                        .errno());
        assertEquals(0, p.calls.close(events[1]));
        assertEquals(-Errno.EBUSY, p.destroy(events[0]), "the ring holds it");
        on.close();
        on.close();
        assertEquals(0, p.destroy(events[0]));
        FaultQueue small = FaultQueue.open(QueueConfig.of(4).withLargestGroup(1));
        assertThrows(IllegalArgumentException.class, () -> p.calls.events(p.events(viommu, 2)[1], small, 4));
        small.close();
    }

    @Test
    void theDescriptorIsReadAgainOnceTheRingIsClosed() throws Exception {
        EventRing on = p.calls.events(events[1], ring, 4);
        on.close();
        report(1);
        assertEquals(12, p.calls.read(events[1], ARENA, 64));
    }
}
