package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.faultline.ffm.PageFaultLayout;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Consumers and producers on virtual threads that share one carrier: whoever waited without giving it up would keep the one he
 * waits for from running, for as long as his limit.
 */
class VirtualThreadsTest {
    private static final long LIMIT_NS = 60_000_000_000L;
    private static final int QUEUES = 8;
    private static final int ROUNDS = 50;

    /** The program of the other process. */
    static final class OneCarrier {
        private OneCarrier() {}

        public static void main(String[] args) throws InterruptedException {
            switch (args[0]) {
                case "ring" -> ring(Waiting.valueOf(args[1]));
                case "file" -> file();
                case "wake" -> wake();
                default -> throw new IllegalArgumentException("args[0]=" + args[0]);
            }
        }

        /** Each queue has two virtual threads: one takes and answers, the other raises and waits for the answer. */
        private static void ring(Waiting waiting) throws InterruptedException {
            AtomicInteger answered = new AtomicInteger();
            List<FaultQueue> queues = new ArrayList<>();
            List<Thread> producers = new ArrayList<>();
            List<Thread> consumers = new ArrayList<>();
            for (int q = 0; q < QUEUES; q++) {
                FaultQueue queue = FaultQueue.open(QueueConfig.of(4).withWaiting(waiting));
                queues.add(queue);
                consumers.add(Thread.ofVirtual().start(() -> takeAll(queue.consumer())));
                producers.add(Thread.ofVirtual().start(() -> raiseAll(queue, answered)));
            }
            for (Thread producer : producers) {
                producer.join();
            }
            for (FaultQueue queue : queues) {
                queue.close();
                print(queue.accounting().balanced() && queue.heldBytes() == 0 ? "" : queue.toString());
            }
            for (Thread consumer : consumers) {
                consumer.join();
            }
            print("answered " + answered);
        }

        private static void takeAll(FaultConsumer consumer) {
            Result result = consumer.post(0, 4);
            FaultGroup group = new FaultGroup();
            while (result != Result.CLOSED) {
                result = consumer.take(group, LIMIT_NS);
                if (result == Result.OK) {
                    Result _ = consumer.answerAndRepost(group.cookie(), Answer.SUCCESS);
                }
            }
            consumer.close();
        }

        private static void raiseAll(FaultQueue queue, AtomicInteger answered) {
            FaultProducer producer =
                    queue.producer(4, (tag, code) -> answered.addAndGet(code == Answer.SUCCESS ? 1 : 0));
            if (!producer.enter()) {
                throw new IllegalStateException("a new producer is entered");
            }
            for (int i = 0; i < ROUNDS; i++) {
                if (producer.raise(i, 1, 1, i, i << 12, 1, true) != Result.OK) {
                    throw new IllegalStateException("round " + i);
                }
                while (producer.poll() == 0) {
                    if (!producer.await(LIMIT_NS)) {
                        throw new IllegalStateException("round " + i + ": " + queue.dump());
                    }
                }
            }
            producer.leave();
        }

        /** The file-like door: two threads in poll, of which one leads and one follows, and a producer. */
        private static void file() throws InterruptedException {
            AtomicInteger answered = new AtomicInteger();
            try (FaultQueue queue = FaultQueue.open(QueueConfig.of(4))) {
                FaultFile file = queue.file();
                List<Thread> readers = new ArrayList<>();
                for (int i = 0; i < 2; i++) {
                    readers.add(Thread.ofVirtual().start(() -> readAll(file)));
                }
                Thread producer = Thread.ofVirtual().start(() -> raiseAll(queue, answered));
                producer.join();
                file.close();
                for (Thread reader : readers) {
                    reader.join();
                }
            }
            print("answered " + answered);
        }

        private static void readAll(FaultFile file) {
            MemorySegment record = MemorySegment.ofArray(new int[PageFaultLayout.SIZE / Integer.BYTES]);
            MemorySegment response = MemorySegment.ofArray(new int[2]);
            while (file.poll(FaultFile.POLLIN, LIMIT_NS) > 0) {
                if (file.read(record) > 0) {
                    int cookie = record.get(ValueLayout.JAVA_INT, PageFaultLayout.COOKIE_OFFSET);
                    response.set(ValueLayout.JAVA_INT, 0, cookie);
                    long _ = file.write(response);
                }
            }
        }

        /** Many that wait for nothing, and one who wakes them. */
        private static void wake() throws InterruptedException {
            AtomicInteger woken = new AtomicInteger();
            List<FaultQueue> queues = new ArrayList<>();
            List<FaultConsumer> consumers = new ArrayList<>();
            List<Thread> threads = new ArrayList<>();
            for (int q = 0; q < QUEUES; q++) {
                FaultQueue queue = FaultQueue.open(QueueConfig.of(4));
                queues.add(queue);
                FaultConsumer consumer = queue.consumer();
                consumers.add(consumer);
                threads.add(Thread.ofVirtual().start(() -> {
                    if (consumer.await((userData, group) -> {}, 1, LIMIT_NS) == Result.WOKEN) {
                        woken.incrementAndGet();
                    }
                    consumer.close();
                }));
            }
            Thread.ofVirtual()
                    .start(() -> consumers.forEach(FaultConsumer::wake))
                    .join();
            for (Thread thread : threads) {
                thread.join();
            }
            queues.forEach(FaultQueue::close);
            print("woken " + woken);
        }

        private static void print(String line) {
            if (!line.isEmpty()) {
                System.out.println(line);
            }
        }
    }

    /** All but EVENTFD, whose sleeper is in a system call: docs/ring.md says so. */
    @ParameterizedTest
    @EnumSource(value = Waiting.class, mode = EnumSource.Mode.EXCLUDE, names = "EVENTFD")
    void bothEndsShareOneCarrier(Waiting waiting) throws Exception {
        assertEquals("answered " + QUEUES * ROUNDS, oneCarrier("ring", waiting.name()));
    }

    @Test
    void theFileLikeDoorSharesOneCarrier() throws Exception {
        assertEquals("answered " + ROUNDS, oneCarrier("file"));
    }

    @Test
    void thoseWhoWaitAreWokenByOneBesideThem() throws Exception {
        assertEquals("woken " + QUEUES, oneCarrier("wake"));
    }

    /** What a program says whose virtual threads have one carrier, and no more when one of them keeps it. */
    private static String oneCarrier(String... args) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Djdk.virtualThreadScheduler.parallelism=1",
                "-Djdk.virtualThreadScheduler.maxPoolSize=1",
                "--enable-native-access=ALL-UNNAMED",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                OneCarrier.class.getName()));
        command.addAll(List.of(args));
        Process process = new ProcessBuilder(command)
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        if (!process.waitFor(50, TimeUnit.SECONDS)) {
            process.destroyForcibly();
            throw new AssertionError(args[0] + " does not end: somebody keeps the carrier");
        }
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
        assertEquals(0, process.exitValue(), said);
        return said;
    }
}
