package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Errno;
import dev.faultline.ffm.IoUring;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.Region;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Scripts of reads, nops and cancels, the same on the fault queue's ring and on a real io_uring, where a read waits for a socket on which
 * nothing comes. What completes is the same as a set, batch by batch, once it is put into the same words:
 *
 * <ul>
 *   <li>the reads a cancel ends come with the cancel here, and as completions of their own with {@code -ECANCELED} there;
 *   <li>a cancel that finds nothing ends 0 reads here, and completes with {@code -ENOENT} there.
 * </ul>
 *
 * <p>There is one cancel in a batch at most: of two, io_uring's second may count again what the first has ended and not completed yet.
 */
class OperationsOnIoUringTest {
    private static final int SCRIPTS = 200;
    private static final int BATCHES = 8;
    private static final int MOST_OPERATIONS = 6;
    private static final int USER_DATA = 3;

    /** So many reads are never posted in a script. */
    private static final int ENTRIES = 64;

    private static final long LIMIT_NS = TimeUnit.SECONDS.toNanos(10);

    private enum Kind {
        POST,
        NOP,
        CANCEL,
        CANCEL_ALL
    }

    private record Operation(Kind kind, long userData) {
        static Operation random(Random random, boolean mayCancel) {
            int draw = random.nextInt(mayCancel ? 10 : 7);
            Kind kind = draw < 5 ? Kind.POST : draw < 7 ? Kind.NOP : draw < 9 ? Kind.CANCEL : Kind.CANCEL_ALL;
            return new Operation(kind, 1 + random.nextInt(USER_DATA));
        }

        /** What its completion says, in words that both have. */
        String done(int reads) {
            return switch (kind) {
                case CANCEL -> "cancelled " + reads + " of " + userData;
                case CANCEL_ALL -> "cancelled " + reads + " of all";
                case POST, NOP -> kind + " " + userData;
            };
        }
    }

    @BeforeAll
    static void needsIoUring() {
        Assumptions.assumeTrue(IoUring.missing().isEmpty(), () -> String.valueOf(IoUring.missing()));
    }

    @Test
    void whatCompletesIsTheSameSet() {
        long seed = Long.getLong("faultline.seed", System.nanoTime());
        Random random = new Random(seed);
        try (Ours ours = new Ours();
                Theirs theirs = new Theirs()) {
            for (int script = 0; script < SCRIPTS; script++) {
                for (int batch = 0; batch <= BATCHES; batch++) {
                    List<Operation> operations = new ArrayList<>();
                    if (batch == BATCHES) {
                        operations.add(new Operation(Kind.CANCEL_ALL, 0));
                    } else {
                        boolean mayCancel = true;
                        for (int i = 1 + random.nextInt(MOST_OPERATIONS); i > 0; i--) {
                            Operation operation = Operation.random(random, mayCancel);
                            mayCancel &= operation.kind == Kind.POST || operation.kind == Kind.NOP;
                            operations.add(operation);
                        }
                    }
                    assertEquals(theirs.run(operations), ours.run(operations), () -> "seed=" + seed + " " + operations);
                }
            }
            assertEquals(0, ours.queue.accounting().raised());
            assertTrue(ours.queue.accounting().balanced());
        }
    }

    /** The fault queue, both its ends driven by hand. */
    private static final class Ours implements CompletionHandler, AutoCloseable {
        private final FaultQueue queue = FaultQueue.open(QueueConfig.of(ENTRIES).withLanes(1));
        private final FaultProducer producer = queue.producer(1, (tag, code) -> {});
        private final FaultConsumer consumer = queue.consumer();
        private final List<String> done = new ArrayList<>();

        Ours() {
            assertTrue(producer.enter());
        }

        List<String> run(List<Operation> operations) {
            for (Operation operation : operations) {
                Result result = switch (operation.kind) {
                    case POST -> consumer.post(operation.userData, 1);
                    case NOP -> consumer.nop(operation.userData);
                    case CANCEL -> consumer.cancel(operation.userData);
                    case CANCEL_ALL -> consumer.cancelAll();
                };
                assertEquals(Result.OK, result, operation::toString);
            }
            done.clear();
            consumer.submit();
            producer.poll();
            consumer.poll(this, Integer.MAX_VALUE);
            Collections.sort(done);
            return List.copyOf(done);
        }

        @Override
        public void group(long userData, FaultGroup group) {
            done.add("a group that nobody raised");
        }

        @Override
        public void ended(long userData, Result why, int reads) {
            Kind kind = why == Result.OK ? Kind.NOP : userData == 0 ? Kind.CANCEL_ALL : Kind.CANCEL;
            done.add(new Operation(kind, userData).done(reads));
        }

        @Override
        public void close() {
            producer.leave();
            consumer.close();
            queue.close();
        }
    }

    /** A real io_uring, and a socket that stays silent. */
    private static final class Theirs implements AutoCloseable {
        private static final long READ = 1L << 32;

        private final LinuxCalls calls = LinuxCalls.open();
        private final IoUring ring = IoUring.open(ENTRIES, 4 * ENTRIES);
        private final Region buffer = Region.allocate(64);
        private final int[] sockets = new int[2];

        Theirs() {
            assertEquals(0, calls.socketpair(LinuxCalls.SOCK_SEQPACKET, sockets));
        }

        List<String> run(List<Operation> operations) {
            int open = 0;
            for (int i = 0; i < operations.size(); i++) {
                Operation operation = operations.get(i);
                boolean prepared = switch (operation.kind) {
                    case POST -> ring.read(sockets[0], 0, buffer.segment(), 8, READ | operation.userData);
                    case NOP -> ring.nop(i);
                    case CANCEL -> ring.cancel(READ | operation.userData, i);
                    case CANCEL_ALL -> ring.cancelAll(i);
                };
                assertTrue(prepared, operation::toString);
                open += operation.kind == Kind.POST ? 0 : 1;
            }
            List<String> done = new ArrayList<>();
            int cancelled = 0;
            long start = System.nanoTime();
            int taken = ring.submit();
            assertEquals(operations.size(), taken);
            // A cancel says how many reads it ended, each of which has a completion too.
            while (open > 0 || cancelled > 0) {
                assertTrue(System.nanoTime() - start < LIMIT_NS, "open=" + open + ", cancelled=" + cancelled);
                if (ring.ready() == 0) {
                    int waited = ring.submitAndWait(1, LIMIT_NS);
                    String state = "open=" + open + ", cancelled=" + cancelled + ", done=" + done;
                    assertTrue(waited >= 0 || waited == -Errno.EINTR, () -> Errno.name(-waited) + ": " + state);
                }
                int ready = ring.ready();
                for (int i = 0; i < ready; i++) {
                    int result = ring.result(i);
                    if ((ring.userData(i) & READ) != 0) {
                        assertEquals(-Errno.ECANCELED, result, "nothing ends a read but a cancel");
                        cancelled--;
                        continue;
                    }
                    open--;
                    Operation operation = operations.get((int) ring.userData(i));
                    boolean none = operation.kind != Kind.NOP && result == -Errno.ENOENT;
                    assertTrue(result >= 0 || none, () -> operation + " " + Errno.name(-result));
                    int reads = none ? 0 : result;
                    cancelled += reads;
                    done.add(operation.done(reads));
                }
                ring.advance(ready);
            }
            Collections.sort(done);
            return List.copyOf(done);
        }

        @Override
        public void close() {
            ring.close();
            for (int socket : sockets) {
                assertEquals(0, calls.close(socket));
            }
            buffer.close();
            calls.close();
        }
    }
}
