package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.IoUring;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.SocketCalls;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A served queue whose consumer is a process of its own, which reaches it by the name of a socket. */
@SuppressWarnings("NullAway.Init") // by serve, which each test calls
class FaultServerProcessTest {
    private static final long SECOND = 1_000_000_000L;
    private static final int FAULTS = 20_000;

    private final Held before = Held.now();

    @TempDir
    Path directory;

    private Process process;

    /** Of the other process, line by line. */
    private final List<String> output = new CopyOnWriteArrayList<>();

    private FaultQueue queue;
    private FaultServer server;
    private FaultProducer producer;
    private int told;

    @BeforeEach
    void open() {
        queue = FaultQueue.open(FaultServerTest.CONFIG.withDeadlineNs(0));
        producer = queue.producer(128, (tag, code) -> told++);
        assertTrue(producer.enter());
    }

    @AfterEach
    void nothingIsLeft() throws InterruptedException {
        producer.leave();
        server.close();
        queue.close();
        process.destroyForcibly().waitFor();
        Accounting a = queue.accounting();
        assertTrue(a.balanced(), a::toString);
        assertEquals(0, a.outstanding());
        assertEquals(before, Held.now());
    }

    /** Starts the other process, and serves the queue to it. */
    private void serve(String way, int answers) throws IOException {
        Path name = directory.resolve("q");
        try (SocketCalls sockets = SocketCalls.open();
                LinuxCalls linux = LinuxCalls.open()) {
            int listening = sockets.socket(LinuxCalls.SOCK_SEQPACKET);
            assertTrue(listening >= 0);
            assertEquals(0, sockets.bind(listening, name));
            assertEquals(0, sockets.listen(listening, 1));
            process = new ProcessBuilder(List.of(
                            Path.of(System.getProperty("java.home"), "bin", "java")
                                    .toString(),
                            "--enable-native-access=ALL-UNNAMED",
                            "-XX:TieredStopAtLevel=1",
                            "-cp",
                            System.getProperty("java.class.path"),
                            ServedPeer.class.getName(),
                            name.toString(),
                            way,
                            Integer.toString(answers)))
                    .redirectErrorStream(true)
                    .start();
            Thread.ofVirtual().start(() -> {
                try (Stream<String> lines = process.inputReader().lines()) {
                    lines.forEach(output::add);
                }
            });
            assertTrue(
                    (linux.poll(listening, LinuxCalls.POLLIN, 60_000) & LinuxCalls.POLLIN) != 0, "it did not connect");
            int end = sockets.accept(listening);
            assertTrue(end >= 0);
            assertEquals(0, linux.close(listening));
            server = FaultServer.start(queue, end);
        }
        Files.delete(name);
    }

    private void pollUntil(BooleanSupplier condition) {
        long end = System.nanoTime() + 30 * SECOND;
        while (!condition.getAsBoolean()) {
            producer.poll();
            Thread.onSpinWait();
            assertTrue(System.nanoTime() < end, () -> output + ", " + server + ", " + queue.dump());
        }
    }

    private void raiseAndTake(int faults) {
        int raised = 0;
        long end = System.nanoTime() + 60 * SECOND;
        while (told < faults) {
            while (raised < faults && producer.raise(raised, 7, 5, raised & 0xffff, 0, 1, true) == Result.OK) {
                raised++;
            }
            if (producer.poll() == 0) {
                assertTrue(producer.await(20 * SECOND), () -> server + ", " + queue.dump());
            }
            assertTrue(System.nanoTime() < end, () -> server + ", " + queue.dump());
        }
    }

    private void serveAll(String way) throws Exception {
        serve(way, -1);
        raiseAndTake(FAULTS);
        assertEquals(FAULTS, queue.accounting().answered());
        assertEquals(FAULTS, server.counts().groups());
        server.close();
        assertTrue(process.waitFor(30, TimeUnit.SECONDS), "it is told of the end");
        pollUntil(() -> output.contains("balanced " + FAULTS));
        assertEquals(0, process.exitValue());
    }

    @Test
    void anotherProcessAnswers() throws Exception {
        serveAll("calls");
    }

    @Test
    void anotherProcessAnswersByIoUring() throws Exception {
        Assumptions.assumeTrue(IoUring.missing().isEmpty(), () -> String.valueOf(IoUring.missing()));
        serveAll("uring");
    }

    private void kill(String way) throws Exception {
        serve(way, 100);
        for (int i = 0; i < 128; i++) {
            assertEquals(Result.OK, producer.raise(i, 7, 5, i, 0, 1, true));
        }
        pollUntil(() -> output.contains("stuck"));
        process.destroyForcibly();
        pollUntil(() -> told == 128 && server.state() != FaultServer.State.SERVING);
        assertEquals(FaultServer.State.PEER_GONE, server.state());
        Accounting a = queue.accounting();
        assertEquals(
                Map.of(AutoAnswer.HANDLER, 128 - a.answered()), a.autoBy(), "answered is what it had answered before");
        assertEquals(a.answered(), server.counts().answers());
    }

    @Test
    void aProcessKilledInMidFaultLeavesNothingOpen() throws Exception {
        kill("calls");
    }

    @Test
    void aProcessKilledInMidFaultOnIoUringLeavesNothingOpen() throws Exception {
        Assumptions.assumeTrue(IoUring.missing().isEmpty(), () -> String.valueOf(IoUring.missing()));
        kill("uring");
    }
}
