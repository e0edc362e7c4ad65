package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.function.Executable;

/**
 * Every misuse of a queue, its producer and its doors has a named result, or an exception that names the field, its value and
 * what is allowed. The consumer's own are in the contract, which holds for every source.
 */
class MisuseTest {
    private final FaultQueue queue = FaultQueue.open(QueueConfig.of(4).withDeadlineNs(0));
    private final FaultProducer producer = queue.producer(2, (tag, code) -> {});
    private final QueueConfig config = QueueConfig.of(1);

    @AfterEach
    void nothingHasChanged() {
        queue.close();
        Accounting after = queue.accounting();
        assertTrue(after.balanced() && after.outstanding() == 0, after::toString);
        assertEquals(0, queue.heldBytes());
    }

    private static DynamicTest refused(Class<? extends Exception> type, String message, Executable call) {
        return dynamicTest(message, () -> {
            Exception refused = assertThrows(type, call);
            String said = String.valueOf(refused.getMessage());
            assertTrue(said.startsWith(message), said);
            assertTrue(said.contains("allowed"), said);
        });
    }

    private static DynamicTest bad(String message, Executable call) {
        return refused(IllegalArgumentException.class, message, call);
    }

    private static DynamicTest absent(String message, Executable call) {
        return refused(NullPointerException.class, message, call);
    }

    private static DynamicTest untimely(String message, Executable call) {
        return refused(IllegalStateException.class, message, call);
    }

    private static void ignore(Object result) {
        assertTrue(result != null);
    }

    /** A null where the compiler would not let one stand. */
    @SuppressWarnings({"NullAway", "TypeParameterUnusedInFormals"})
    private static <T> T nothing() {
        return null;
    }

    @TestFactory
    List<DynamicTest> settings() {
        return List.of(
                bad("entries=0: allowed 1 to 1048576", () -> QueueConfig.of(0)),
                bad("entries=1048577: allowed 1 to 1048576", () -> QueueConfig.of((1 << 20) + 1)),
                bad("largestGroup=0: allowed 1 to 2048", () -> config.withLargestGroup(0)),
                bad("largestGroup=2049: allowed 1 to 2048", () -> config.withLargestGroup(2049)),
                bad("lanes=0: allowed 1 to 4096", () -> config.withLanes(0)),
                bad("lanes=4097: allowed 1 to 4096", () -> config.withLanes(4097)),
                bad("deadlineNs=-1: allowed 0 to ", () -> config.withDeadlineNs(-1)),
                bad("deadlineNs=" + Long.MAX_VALUE + ": allowed 0 to ", () -> config.withDeadlineNs(Long.MAX_VALUE)),
                bad("closeLimitNs=-1: allowed 0 to ", () -> config.withCloseLimitNs(-1)),
                absent(
                        "waiting=null: allowed SPIN, YIELD, SPIN_THEN_PARK, EVENTFD",
                        () -> config.withWaiting(nothing())),
                absent("config=null: allowed a QueueConfig", () -> FaultQueue.open(nothing())),
                bad("allocation=0: allowed 1 to 1048576 with lanes=16", () -> queue.producer(0, (tag, code) -> {})),
                bad(
                        "allocation=1048577: allowed 1 to 1048576 with lanes=16",
                        () -> queue.producer((1 << 20) + 1, (tag, code) -> {})),
                absent("sink=null: allowed an AnswerSink", () -> queue.producer(1, nothing())));
    }

    @TestFactory
    List<DynamicTest> doorsAndLanes() {
        List<DynamicTest> all = new ArrayList<>();
        FaultQueue one = FaultQueue.open(config.withLanes(1));
        all.add(dynamicTest("a lane and a door", () -> {
            ignore(one.producer(1, (tag, code) -> {}));
            ignore(one.consumer());
        }));
        all.add(refused(
                IllegalStateException.class,
                "lanes=1 are all taken: allowed",
                () -> one.producer(1, (tag, code) -> {})));
        all.add(untimely("door=consumer is taken: allowed is one door, once", one::consumer));
        all.add(untimely("door=consumer is taken: allowed is one door, once", one::file));
        all.add(dynamicTest("closed", one::close));
        all.add(untimely("the queue is closed: allowed", one::consumer));
        all.add(untimely("the queue is closed: allowed", one::file));
        all.add(untimely("the queue is closed: allowed", () -> one.producer(1, (tag, code) -> {})));
        FaultQueue two = FaultQueue.open(config);
        all.add(dynamicTest("a file", () -> ignore(two.file())));
        all.add(untimely("door=file is taken: allowed is one door, once", two::consumer));
        all.add(untimely("door=file is taken: allowed is one door, once", two::file));
        all.add(dynamicTest("closed", two::close));
        return all;
    }

    @TestFactory
    List<DynamicTest> requests() {
        return List.of(
                dynamicTest("entered", () -> assertTrue(producer.enter())),
                bad("pasid=1048576: allowed 0 to 1048575, or NO_PASID", () -> raise(1 << 20, 0, 0)),
                bad("pasid=-2: allowed 0 to 1048575, or NO_PASID", () -> raise(-2, 0, 0)),
                bad("group=-1: allowed 0 or more", () -> raise(0, -1, 0)),
                bad("access=16: allowed bits 1 (read), 2 (write), 4 (execute), 8 (privileged)", () -> raise(0, 0, 16)),
                bad("access=-1: allowed bits", () -> raise(0, 0, -1)),
                absent("tags=null: allowed a LongPredicate", () -> producer.revoke(nothing(), AutoAnswer.DETACH)),
                absent("why=null: allowed an AutoAnswer", () -> producer.revoke(tag -> true, nothing())),
                bad("entered=[]: allowed 1 producer or more", () -> ignore(FaultProducer.awaitAny(List.of(), 0))),
                absent("entered=null: allowed", () -> ignore(FaultProducer.awaitAny(nothing(), 0))),
                untimely("lane=0: ", () -> ignore(producer.enter())),
                dynamicTest("nothing was raised", () -> {
                    assertEquals(0, queue.accounting().requests());
                    assertFalse(producer.await(-1), "a limit that is over");
                    producer.leave();
                }));
    }

    private void raise(int pasid, int group, int access) {
        ignore(producer.raise(0, 0, pasid, group, 0, access, true));
    }

    /** Each call on a producer by a thread that has not entered. */
    private List<DynamicTest> foreignCalls(String lane) {
        return List.of(
                untimely("raise by ", () -> raise(0, 0, 0)),
                untimely("flush by ", producer::flush),
                untimely("poll by ", producer::poll),
                untimely("await by ", () -> ignore(producer.await(0))),
                untimely("await by ", () -> ignore(FaultProducer.awaitAny(List.of(producer), 0))),
                untimely("revoke by ", () -> producer.revoke(tag -> true, AutoAnswer.DETACH)),
                untimely("leave by ", producer::leave),
                dynamicTest(lane, () -> {
                    String said = String.valueOf(assertThrows(IllegalStateException.class, producer::poll)
                            .getMessage());
                    assertTrue(said.contains(lane), said);
                }));
    }

    @TestFactory
    List<DynamicTest> aThreadThatHasNotEntered() {
        return foreignCalls("lane=0 is entered by null; allowed is the thread that has entered");
    }

    @Test
    void aThreadThatHasNotEnteredWhileAnotherHas() throws Exception {
        assertTrue(producer.enter());
        AtomicReference<Throwable> failure = new AtomicReference<>();
        Thread other = Thread.ofPlatform().start(() -> {
            try {
                assertFalse(producer.enter());
                for (DynamicTest call : foreignCalls("lane=0 is entered by Thread[")) {
                    call.getExecutable().execute();
                }
            } catch (Throwable t) {
                failure.set(t);
            }
        });
        other.join();
        assertEquals(null, failure.get());
        producer.leave();
    }

    @Test
    void aProducerThatIsClosed() {
        assertTrue(producer.enter());
        producer.close();
        producer.close();
        assertEquals(Result.CLOSED, producer.raise(1, 1, 1, 1, 1, 1, true));
        assertEquals(0, producer.poll());
        assertEquals(0, producer.revoke(tag -> true, AutoAnswer.DETACH));
        assertFalse(producer.await(0));
        producer.flush();
        producer.leave();
        assertTrue(producer.enter(), "its thread may come for what it has not been told");
        producer.leave();
    }

    @Test
    void aForeignProducerInAList() {
        FaultProducer foreign = (FaultProducer) java.lang.reflect.Proxy.newProxyInstance(
                getClass().getClassLoader(), new Class<?>[] {FaultProducer.class}, (proxy, method, args) -> "foreign");
        IllegalArgumentException refused =
                assertThrows(IllegalArgumentException.class, () -> ignore(FaultProducer.awaitAny(List.of(foreign), 0)));
        assertEquals("producer=foreign: allowed are those a FaultQueue has made", refused.getMessage());
    }

    @Test
    void aConsumerThatIsUsedHasNoWorkerAndAWorkerHasNoSecond() {
        FaultConsumer consumer = queue.consumer();
        FaultWorker worker = consumer.run(group -> Answer.SUCCESS);
        String said =
                String.valueOf(assertThrows(IllegalStateException.class, () -> consumer.run(group -> Answer.SUCCESS))
                        .getMessage());
        assertTrue(said.contains("has a worker") && said.contains("allowed"), said);
        worker.close();
        worker.close();
        assertFalse(worker.isRunning());
    }

    @Test
    void aGroupThatShowsNothing() {
        FaultGroup group = new FaultGroup();
        assertEquals(0, group.size());
        for (int i : new int[] {-1, 0, 1}) {
            IndexOutOfBoundsException refused =
                    assertThrows(IndexOutOfBoundsException.class, () -> ignore(group.address(i)));
            assertTrue(String.valueOf(refused.getMessage()).startsWith("i=" + i + ": allowed "), refused::toString);
        }
    }

    @Test
    void queuesThatAreGoneKnowTheirCounts() {
        FaultQueue gone = FaultQueue.open(config);
        gone.close();
        assertEquals(Accounting.ZERO, gone.accounting());
        assertEquals(Accounting.ZERO + "\n", gone.dump());
    }
}
