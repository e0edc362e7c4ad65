package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/**
 * A queue is closed in every state its ends can be in: it takes a bounded time, every device is told once, the counts balance,
 * and all memory is freed, or the log says why not.
 */
class CloseInEveryStateTest {
    private static final long SECOND = 1_000_000_000L;
    private static final long CLOSE_LIMIT_NS = 100_000_000;
    /** For a machine that is busy with other things; a close that waits for somebody would take longer. */
    private static final long PATIENCE_NS = CLOSE_LIMIT_NS + 10 * SECOND;

    private interface Act {
        void on(Scene scene) throws Exception;
    }

    /** A queue with one lane, whose producer and consumer the test's thread uses where a case does not say otherwise. */
    private static final class Scene {
        final FaultQueue queue = FaultQueue.open(
                QueueConfig.of(4).withLargestGroup(2).withDeadlineNs(0).withCloseLimitNs(CLOSE_LIMIT_NS));
        final List<String> told = Collections.synchronizedList(new ArrayList<>());
        AnswerSink sink = (tag, code) -> told.add(tag + " " + code);
        final FaultProducer producer = queue.producer(4, (tag, code) -> sink.answered(tag, code));
        final FaultConsumer consumer = queue.consumer();
        final List<Integer> cookies = new ArrayList<>();
        final List<String> ends = new ArrayList<>();
        final List<Thread> threads = new ArrayList<>();
        final AtomicReference<Throwable> failure = new AtomicReference<>();
        final CompletionHandler seen = new CompletionHandler() {
            @Override
            public void group(long userData, FaultGroup group) {
                cookies.add(group.cookie());
            }

            @Override
            public void ended(long userData, Result why, int reads) {
                ends.add(userData + ":" + why + " " + reads);
            }
        };

        void enter() {
            assertTrue(producer.enter());
        }

        void raise(int tag) {
            assertEquals(Result.OK, producer.raise(tag, 1, 0, tag, (long) tag << 12, 1, true));
            producer.flush();
        }

        void post(int reads) {
            assertEquals(Result.OK, consumer.post(7, reads));
            consumer.submit();
            producer.poll();
        }

        /** Group 1 is in the consumer's hands. */
        int delivered() {
            enter();
            post(2);
            raise(1);
            assertEquals(1, consumer.poll(seen, 1));
            return cookies.getFirst();
        }

        Thread start(Thread.Builder builder, Act act) {
            Thread thread = builder.start(() -> {
                try {
                    act.on(this);
                } catch (Throwable t) {
                    failure.set(t);
                }
            });
            threads.add(thread);
            return thread;
        }

        /** Waits until a thread sleeps. */
        static void asleep(Thread thread) {
            long end = System.nanoTime() + 10 * SECOND;
            while (thread.getState() != Thread.State.TIMED_WAITING) {
                assertTrue(System.nanoTime() < end, () -> thread + " is " + thread.getState());
                LockSupport.parkNanos(1_000_000);
            }
        }
    }

    /** A case in which every end leaves in time. */
    private static DynamicTest leaves(String state, Act arrange, String... told) {
        return dynamicTest(state, () -> {
            Scene scene = new Scene();
            arrange.on(scene);
            String log = close(scene);
            assertEquals("", log);
            settle(scene, told);
        });
    }

    /** A case in which an end does not leave in time: its memory is kept, and the log says so; then it leaves. */
    private static DynamicTest stays(String state, Act arrange, String says, Act leave, String... told) {
        return dynamicTest(state, () -> {
            Scene scene = new Scene();
            arrange.on(scene);
            String log = close(scene);
            assertTrue(log.contains(says), log);
            assertTrue(log.contains(" bytes of lanes are still in use: they are kept until their ends leave"), log);
            assertTrue(scene.queue.heldBytes() > 0, "memory in use was freed");
            leave.on(scene);
            settle(scene, told);
        });
    }

    /** Closes, in bounded time; says what was logged. */
    private static String close(Scene scene) {
        PrintStream before = System.err;
        ByteArrayOutputStream log = new ByteArrayOutputStream();
        System.setErr(new PrintStream(log, true, StandardCharsets.UTF_8));
        long start = System.nanoTime();
        try {
            scene.queue.close();
        } finally {
            System.setErr(before);
        }
        assertTrue(System.nanoTime() - start < PATIENCE_NS, "the close took too long");
        return log.toString(StandardCharsets.UTF_8);
    }

    private static void settle(Scene scene, String... told) throws Exception {
        for (Thread thread : scene.threads) {
            thread.join(10_000);
            assertFalse(thread.isAlive(), () -> thread + " goes on");
        }
        Throwable failure = scene.failure.get();
        if (failure != null) {
            throw new AssertionError(failure);
        }
        try {
            scene.producer.poll();
            scene.producer.leave();
        } catch (IllegalStateException e) {
            // The test's thread has not entered; whoever had, or the close, has told the sink.
            assertTrue(String.valueOf(e.getMessage()).startsWith("poll by"), e::toString);
        }
        assertEquals(List.of(told), scene.told);
        Accounting after = scene.queue.accounting();
        assertTrue(after.balanced(), after::toString);
        assertEquals(0, after.outstanding(), after::toString);
        assertEquals(0, scene.queue.heldBytes());
        assertEquals(Result.CLOSED, scene.consumer.answerLater(1, Answer.SUCCESS));
        scene.queue.close();
    }

    @TestFactory
    List<DynamicTest> whateverTheProducerHasRaised() {
        return List.of(
                leaves("nothing at all", s -> {}),
                leaves("entered, nothing raised", Scene::enter),
                leaves("reads posted, nothing raised", s -> {
                    s.enter();
                    s.post(3);
                }),
                leaves("assembling", s -> {
                    s.enter();
                    assertEquals(Result.OK, s.producer.raise(1, 1, 0, 1, 0, 1, false));
                }),
                leaves(
                        "staged and not published",
                        s -> {
                            s.enter();
                            assertEquals(Result.OK, s.producer.raise(1, 1, 0, 1, 0, 1, true));
                        },
                        "1 INVALID"),
                leaves(
                        "waiting for a read",
                        s -> {
                            s.enter();
                            s.raise(1);
                            s.raise(2);
                        },
                        "1 INVALID",
                        "2 INVALID"),
                leaves(
                        "waiting, and the producer left",
                        s -> {
                            s.enter();
                            s.raise(1);
                            s.producer.leave();
                        },
                        "1 INVALID"),
                leaves(
                        "delivered and not seen",
                        s -> {
                            s.enter();
                            s.post(1);
                            s.raise(1);
                        },
                        "1 INVALID"),
                leaves("delivered and seen", Scene::delivered, "1 INVALID"),
                leaves(
                        "its producer was closed before",
                        s -> {
                            s.delivered();
                            s.producer.close();
                        },
                        "1 INVALID"),
                leaves(
                        "several lanes",
                        s -> {
                            s.delivered();
                            FaultProducer other =
                                    s.queue.producer(2, (tag, code) -> s.told.add("other " + tag + " " + code));
                            assertTrue(other.enter());
                            assertEquals(Result.OK, other.raise(5, 1, 0, 5, 0, 1, true));
                            other.leave();
                        },
                        "1 INVALID",
                        "other 5 INVALID"));
    }

    @TestFactory
    List<DynamicTest> whateverTheConsumerHasAnswered() {
        return List.of(
                leaves(
                        "LATER pending",
                        s -> assertEquals(Result.OK, s.consumer.answer(s.delivered(), Answer.LATER)),
                        "1 INVALID"),
                leaves(
                        "answered LATER, not taken",
                        s -> {
                            int cookie = s.delivered();
                            s.start(
                                    Thread.ofPlatform(),
                                    t -> assertEquals(Result.OK, t.consumer.answerLater(cookie, Answer.SUCCESS)));
                            s.threads.getFirst().join();
                        },
                        "1 SUCCESS"),
                leaves(
                        "answer staged and not submitted",
                        s -> assertEquals(Result.OK, s.consumer.answer(s.delivered(), Answer.SUCCESS)),
                        "1 INVALID"),
                leaves(
                        "answer submitted and not taken",
                        s -> {
                            assertEquals(Result.OK, s.consumer.answer(s.delivered(), Answer.SUCCESS));
                            s.consumer.submit();
                        },
                        "1 SUCCESS"),
                leaves(
                        "answer taken and not told",
                        s -> {
                            int cookie = s.delivered();
                            s.producer.leave();
                            assertEquals(Result.OK, s.consumer.answerLater(cookie, Answer.SUCCESS));
                        },
                        "1 SUCCESS"),
                leaves("cancel submitted and not taken", s -> {
                    s.enter();
                    s.post(3);
                    assertEquals(Result.OK, s.consumer.cancelAll());
                    s.consumer.submit();
                }),
                leaves("cancel ended and not seen", s -> {
                    s.enter();
                    s.post(3);
                    assertEquals(Result.OK, s.consumer.cancel(7));
                    s.consumer.submit();
                    s.producer.poll();
                }),
                leaves(
                        "the consumer left",
                        s -> {
                            s.delivered();
                            s.consumer.close();
                        },
                        "1 INVALID"));
    }

    @TestFactory
    List<DynamicTest> whoeverSleepsOrWorks() {
        return List.of(
                leaves("the consumer sleeps", s -> {
                    s.enter();
                    Thread thread = s.start(Thread.ofPlatform(), t -> {
                        assertEquals(Result.OK, t.consumer.post(7, 2));
                        Result result;
                        do {
                            result = t.consumer.await(t.seen, 1, 60 * SECOND);
                        } while (result == Result.OK);
                        assertEquals(Result.CLOSED, result);
                        assertEquals(List.of("7:CLOSED 2"), t.ends);
                    });
                    Scene.asleep(thread);
                }),
                leaves("the consumer sleeps on a virtual thread", s -> {
                    s.enter();
                    Thread thread = s.start(
                            Thread.ofVirtual(),
                            t -> assertEquals(Result.CLOSED, t.consumer.take(new FaultGroup(), 60 * SECOND)));
                    Scene.asleep(thread);
                }),
                leaves(
                        "the producer sleeps",
                        s -> {
                            Thread thread = s.start(Thread.ofPlatform(), t -> {
                                t.enter();
                                t.raise(1);
                                assertTrue(t.producer.await(60 * SECOND));
                                assertEquals(1, t.producer.poll());
                                assertEquals(Result.CLOSED, t.producer.raise(2, 1, 0, 2, 0, 1, true));
                                t.producer.leave();
                            });
                            Scene.asleep(thread);
                        },
                        "1 INVALID"),
                leaves(
                        "inside a sink, by the sink",
                        s -> {
                            int cookie = s.delivered();
                            s.raise(2);
                            s.sink = (tag, code) -> {
                                s.told.add(tag + " " + code);
                                if (tag == 1) {
                                    assertEquals("", close(s));
                                }
                            };
                            assertEquals(Result.OK, s.consumer.answer(cookie, Answer.SUCCESS));
                            s.consumer.submit();
                            s.producer.poll();
                        },
                        "1 SUCCESS",
                        "2 INVALID"),
                leaves("a worker without work", s -> {
                    s.enter();
                    s.threads.add(s.consumer.run(group -> Answer.SUCCESS).thread());
                }),
                leaves(
                        "a worker that said LATER",
                        s -> {
                            s.enter();
                            CountDownLatch handled = new CountDownLatch(1);
                            s.threads.add(s.consumer
                                    .run(group -> {
                                        handled.countDown();
                                        return Answer.LATER;
                                    })
                                    .thread());
                            s.raise(1);
                            pollUntil(s, handled);
                        },
                        "1 INVALID"),
                leaves(
                        "the producer's thread died inside",
                        s -> s.start(Thread.ofPlatform(), t -> {
                                    t.enter();
                                    t.raise(1);
                                })
                                .join(),
                        "1 INVALID"),
                leaves(
                        "the consumer's thread died",
                        s -> {
                            s.enter();
                            s.raise(1);
                            s.start(Thread.ofPlatform(), t -> assertEquals(Result.OK, t.consumer.post(7, 2)))
                                    .join();
                        },
                        "1 INVALID"));
    }

    private static void pollUntil(Scene scene, CountDownLatch latch) {
        long end = System.nanoTime() + 10 * SECOND;
        while (latch.getCount() > 0) {
            scene.producer.poll();
            assertTrue(System.nanoTime() < end, "not reached");
        }
    }

    @TestFactory
    List<DynamicTest> whoeverDoesNotLeave() {
        CountDownLatch producerMayGo = new CountDownLatch(1);
        CountDownLatch consumerMayGo = new CountDownLatch(1);
        CountDownLatch handlerMayGo = new CountDownLatch(1);
        return List.of(
                stays(
                        "a thread that has entered and does not poll",
                        s -> {
                            CountDownLatch raised = new CountDownLatch(1);
                            s.start(Thread.ofPlatform(), t -> {
                                t.enter();
                                t.raise(1);
                                raised.countDown();
                                producerMayGo.await();
                                assertEquals(1, t.producer.poll());
                                t.producer.leave();
                            });
                            raised.await();
                        },
                        "lane 0 is entered by a thread that does not poll; its groups are answered when it does",
                        s -> {
                            assertEquals(List.of(), s.told);
                            producerMayGo.countDown();
                        },
                        "1 INVALID"),
                stays(
                        "a consumer that does not call",
                        s -> {
                            s.enter();
                            s.raise(1);
                            CountDownLatch joined = new CountDownLatch(1);
                            s.start(Thread.ofPlatform(), t -> {
                                assertEquals(Result.OK, t.consumer.post(7, 2));
                                joined.countDown();
                                consumerMayGo.await();
                                assertEquals(Result.CLOSED, t.consumer.await(t.seen, 9, SECOND));
                            });
                            joined.await();
                        },
                        "",
                        s -> consumerMayGo.countDown(),
                        "1 INVALID"),
                stays(
                        "a handler that does not return",
                        s -> {
                            s.enter();
                            CountDownLatch stuck = new CountDownLatch(1);
                            s.threads.add(s.consumer
                                    .run(group -> {
                                        stuck.countDown();
                                        while (handlerMayGo.getCount() > 0) {
                                            LockSupport.parkNanos(1_000_000);
                                        }
                                        return Answer.SUCCESS;
                                    })
                                    .thread());
                            s.raise(1);
                            pollUntil(s, stuck);
                        },
                        "",
                        s -> {
                            assertEquals(List.of("1 INVALID"), s.told, "its device does not wait for the handler");
                            handlerMayGo.countDown();
                        },
                        "1 INVALID"));
    }

    @Test
    void aHandlerMayCloseTheQueueAndItsConsumerLeavesAfterwards() throws Exception {
        Scene scene = new Scene();
        scene.enter();
        scene.post(1);
        scene.raise(1);
        int n = scene.consumer.poll(
                (userData, group) -> {
                    String log = close(scene);
                    assertTrue(log.contains(" bytes of lanes are still in use"), log);
                    assertEquals(0x1000, group.address(0), "still to be seen");
                    assertEquals(Result.CLOSED, scene.consumer.answer(group.cookie(), Answer.SUCCESS));
                },
                1);
        assertEquals(1, n);
        assertTrue(scene.queue.heldBytes() > 0, "its consumer has not left");
        scene.consumer.close();
        settle(scene, "1 INVALID");
    }

    @Test
    void aWorkerInsideItsHandlerIsWaitedFor() throws Exception {
        Scene scene = new Scene();
        scene.enter();
        CountDownLatch handling = new CountDownLatch(1);
        scene.threads.add(scene.consumer
                .run(group -> {
                    handling.countDown();
                    LockSupport.parkNanos(10_000_000);
                    return Answer.SUCCESS;
                })
                .thread());
        scene.raise(1);
        pollUntil(scene, handling);
        assertEquals("", close(scene), "the worker is waited for");
        settle(scene, scene.told.toArray(String[]::new));
        assertEquals(1, scene.told.size());
    }

    @Test
    void twoThreadsThatCloseAreBothDoneInTime() throws Exception {
        Scene scene = new Scene();
        scene.delivered();
        scene.producer.leave();
        scene.consumer.close();
        scene.start(Thread.ofPlatform(), s -> s.queue.close());
        scene.start(Thread.ofPlatform(), s -> s.queue.close());
        settle(scene, "1 INVALID");
    }

    @Test
    void aSinkThatThrowsIsHeardOfAndEverybodyIsTold() throws Exception {
        Scene scene = new Scene();
        scene.enter();
        scene.raise(1);
        scene.raise(2);
        scene.sink = (tag, code) -> {
            scene.told.add(tag + " " + code);
            if (tag == 1) {
                throw new IllegalStateException("as the test wants");
            }
        };
        assertThrows(IllegalStateException.class, scene.queue::close);
        settle(scene, "1 INVALID", "2 INVALID");
    }

    @Test
    void aQueueNobodyUsesClosesAtOnce() {
        FaultQueue queue = FaultQueue.open(QueueConfig.of(1));
        queue.close();
        queue.close();
        assertEquals(0, queue.heldBytes());
        assertEquals(Accounting.ZERO, queue.accounting());
        assertThrows(IllegalStateException.class, queue::consumer);
    }
}
