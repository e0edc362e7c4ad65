package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.Result;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** A fault queue of the mock's device read by ring: nobody steps the device, so what is submitted reaches it by whoever submits. */
class MockRingTest {
    private final FaultProgram faults = new FaultProgram();
    private final FaultConsumer consumer = ring();
    private final List<Integer> cookies = new ArrayList<>();

    private FaultConsumer ring() {
        try {
            return faults.calls.ring(faults.fd);
        } catch (ErrnoException e) {
            throw new AssertionError(e);
        }
    }

    @AfterEach
    void close() {
        consumer.close();
        faults.close();
    }

    /** The groups that have come. */
    private List<Integer> poll() {
        List<Integer> got = new ArrayList<>();
        var _ = consumer.poll(
                (userData, group) -> {
                    got.add(group.groupIndex());
                    cookies.add(group.cookie());
                },
                16);
        return got;
    }

    private void answer() {
        assertEquals(Result.OK, consumer.answerAndRepost(cookies.removeFirst(), Answer.SUCCESS));
        int _ = consumer.submit();
    }

    private void raise(int first, int last) {
        for (int group = first; group <= last; group++) {
            faults.last(faults.first, 0, group, 0x1000L * group);
        }
    }

    @Test
    void groupsThatWaitedComeWithTheReadThatIsPosted() {
        int table = faults.attachFaulting();
        raise(1, 3);
        assertEquals(List.of(), poll());
        assertEquals(Result.OK, consumer.post(1, 1));
        assertEquals(List.of(1), poll());
        assertEquals(List.of(), faults.told());
        answer();
        assertEquals(FaultProgram.all("0 0/1 0"), faults.told(), "told as it is submitted");
        assertEquals(List.of(2), poll(), "by the read that was posted with the answer");
        assertEquals(Result.OK, consumer.post(1, 4));
        assertEquals(List.of(3), poll());
        raise(4, 4);
        assertEquals(List.of(4), poll());
        assertEquals(Result.OK, consumer.answer(cookies.removeFirst(), Answer.LATER));
        int _ = consumer.submit();
        answer();
        assertEquals(FaultProgram.all("0 0/3 0"), faults.told());
        assertEquals(0, faults.program.replace(faults.first, faults.quiet()));
        assertEquals(FaultProgram.all("0 0/4 1", "0 0/2 1"), sortedBackwards(faults.told()));
        assertEquals(0, faults.program.destroy(table));
    }

    private static List<String> sortedBackwards(List<String> told) {
        return told.stream().sorted(java.util.Comparator.reverseOrder()).toList();
    }

    @Test
    void anAnswerFromAnotherThreadIsToldAtOnce() throws InterruptedException {
        int _ = faults.attachFaulting();
        assertEquals(Result.OK, consumer.post(1, 4));
        raise(1, 2);
        assertEquals(List.of(1, 2), poll());
        for (int cookie : cookies) {
            assertEquals(Result.OK, consumer.answer(cookie, Answer.LATER));
        }
        int _ = consumer.submit();
        Thread other = Thread.ofPlatform().start(() -> {
            assertEquals(Result.OK, consumer.answerLater(cookies.getLast(), Answer.INVALID));
        });
        other.join();
        assertEquals(FaultProgram.all("0 0/2 1"), faults.told());
    }
}
