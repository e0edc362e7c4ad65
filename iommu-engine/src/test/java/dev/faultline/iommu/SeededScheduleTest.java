package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ring.Accounting;
import dev.faultline.ring.Answer;
import dev.faultline.ring.AutoAnswer;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** Devices, queue and handler in virtual time: what a seed decides, and that it decides everything. */
class SeededScheduleTest {
    private static final int SEEDS = 40;
    private static final int DEVICES = 3;
    private static final int ACCESSES = 60;
    private static final int PAGES = 24;
    private static final long DEADLINE_NS = 40_000;

    /** All that a run shows. */
    private record Run(long order, long acts, long ns, Accounting accounting, List<String> ends) {}

    /** Devices read and write at random; the handler maps, refuses, forgets, answers late, and takes pages away. */
    private static Run run(long seed) {
        SeededSchedule schedule = new SeededSchedule(seed);
        List<String> ends = new ArrayList<>();
        QueueConfig config = QueueConfig.of(32).withDeadlineNs(DEADLINE_NS).withClock(schedule.clock());
        try (FaultQueue queue = FaultQueue.open(config);
                Iommu iommu = Iommu.open(IommuConfig.small().withClock(schedule.clock()))) {
            AddressSpace space = iommu.addressSpace(TableFormat.X86_4_LEVEL, queue);
            FaultConsumer consumer = queue.consumer();
            assertEquals(Result.OK, consumer.post(1, 32));
            int[] started = new int[DEVICES];
            List<Device> devices = new ArrayList<>();
            for (int i = 0; i < DEVICES; i++) {
                int number = i;
                Device device = iommu.device(DeviceConfig.pri("d" + i).withWindow(4));
                devices.add(device);
                device.attach(space);
                assertTrue(device.enter());
                schedule.add(() -> {
                    boolean moved = device.step();
                    moved |= device.poll((tag, result) -> ends.add(number + "/" + tag + " " + result)) > 0;
                    if (started[number] < ACCESSES) {
                        Access access = schedule.pick(2) == 0 ? Access.READ : Access.WRITE;
                        long address = 0x4000_0000L + 4096L * schedule.pick(PAGES);
                        MemorySegment buffer = MemorySegment.ofArray(new byte[8]);
                        if (device.start(access, address, buffer, 0, 8, -1, started[number]) == Result.OK) {
                            started[number]++;
                            moved = true;
                        }
                    }
                    return moved;
                });
            }
            List<Integer> late = new ArrayList<>();
            schedule.add(() -> consumer.poll(
                            (userData, group) -> {
                                schedule.spend(schedule.pick(2_000));
                                boolean _ = space.zero(group.address(0));
                                Answer answer = switch (schedule.pick(8)) {
                                    case 0 -> Answer.INVALID;
                                    case 1, 2 -> Answer.LATER;
                                    default -> Answer.SUCCESS;
                                };
                                if (answer == Answer.LATER) {
                                    late.add(group.cookie());
                                }
                                assertNotEquals(Result.CLOSED, consumer.answerAndRepost(group.cookie(), answer));
                            },
                            1 + schedule.pick(3))
                    > 0);
            schedule.add(() -> {
                // One in four is forgotten, which the deadline has to make good.
                if (late.isEmpty() || schedule.pick(16) != 0) {
                    return false;
                }
                Collections.swap(late, schedule.pick(late.size()), late.size() - 1);
                int cookie = late.removeLast();
                return schedule.pick(4) == 0 || consumer.answerLater(cookie, Answer.SUCCESS) != Result.CLOSED;
            });
            schedule.add(() -> schedule.pick(10) == 0
                    && space.unmap(0x4000_0000L + 4096L * schedule.pick(PAGES), 4096L * (1 + schedule.pick(2))));
            boolean ended = schedule.runUntil(() -> ends.size() == DEVICES * ACCESSES, TimeUnit.SECONDS.toNanos(10));
            assertTrue(ended, () -> "seed=" + seed + ": " + ends.size() + " ended; " + queue.dump());
            devices.forEach(Device::leave);
            consumer.close();
            Accounting accounting = queue.accounting();
            assertTrue(accounting.balanced(), accounting::toString);
            assertEquals(0, accounting.outstanding(), () -> "seed=" + seed);
            return new Run(schedule.order(), schedule.acts(), schedule.nowNs(), accounting, ends);
        }
    }

    @Test
    void theSameSeedGivesTheSameRun() {
        long first = Long.getLong("faultline.seed", System.nanoTime());
        long byDeadline = 0;
        for (long seed = first; seed < first + SEEDS; seed++) {
            Run run = run(seed);
            assertEquals(run, run(seed), "seed=" + seed);
            assertNotEquals(run.order(), run(seed + SEEDS).order(), "seed=" + seed);
            byDeadline += run.accounting().autoBy().getOrDefault(AutoAnswer.DEADLINE, 0L);
        }
        assertTrue(byDeadline > 0, "deadlines pass in virtual time, seed=" + first);
    }

    @Test
    void whereEverybodyWaitsForEverybodyTheTimeRunsOut() {
        SeededSchedule schedule = new SeededSchedule(1);
        schedule.add(() -> false);
        schedule.add(() -> false);
        assertFalse(schedule.runUntil(() -> false, TimeUnit.HOURS.toNanos(3)));
        assertTrue(schedule.nowNs() >= TimeUnit.HOURS.toNanos(3));
        assertTrue(schedule.acts() < 10_000_000, "time leaps");
        assertTrue(schedule.runUntil(() -> true, 0), "nobody has to act");
    }

    @Test
    void badInputIsNamed() {
        SeededSchedule schedule = new SeededSchedule(1);
        assertEquals(
                "actors=0: add some before",
                assertThrows(IllegalStateException.class, () -> schedule.runUntil(() -> false, 1))
                        .getMessage());
        assertEquals(
                "ns=-1: allowed 0 to 2305843009213693951",
                assertThrows(IllegalArgumentException.class, () -> schedule.spend(-1))
                        .getMessage());
    }
}
