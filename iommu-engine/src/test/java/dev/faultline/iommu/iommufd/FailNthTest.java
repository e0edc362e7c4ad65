package dev.faultline.iommu.iommufd;

import static dev.faultline.ffm.Errno.ENOMEM;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/**
 * Everything a call takes that could be used up is refused once, one after the other: the call says ENOMEM, and afterwards the same call
 * gives the ids and descriptors it would have given. Scenario 228.
 */
class FailNthTest {
    /** A call; its result. */
    @FunctionalInterface
    private interface Step {
        int run(FaultProgram faults, int[] made);
    }

    private static int count(List<String> taken, String what) {
        return (int) taken.stream().filter(what::equals).count();
    }

    /** Runs a step with its nth use refused, until nothing more is; what it used. */
    private static List<String> everyNth(Step prepare, Step step) {
        List<String> used = new ArrayList<>();
        List<Integer> expected = outcome(prepare, step);
        for (int nth = 0; ; nth++) {
            if (nth > 100) {
                fail("more than 100 uses: " + used);
            }
            try (FaultProgram faults = new FaultProgram()) {
                int[] made = new int[4];
                assertEquals(0, prepare.run(faults, made));
                int refuse = nth;
                int[] seen = {0};
                used.clear();
                faults.calls.allocations().gate(what -> {
                    used.add(what);
                    if (seen[0]++ == refuse) {
                        throw new ErrnoException(ENOMEM);
                    }
                });
                int result = step.run(faults, made);
                faults.calls.allocations().gate(what -> {});
                if (seen[0] <= refuse) {
                    assertTrue(result >= 0);
                    return used;
                }
                assertEquals(-ENOMEM, result, () -> "with " + used + " the last refused");
                assertEquals(expected, outcome(faults, made, step), () -> "after " + used + " the last was refused");
            }
        }
    }

    private static List<Integer> outcome(Step prepare, Step step) {
        try (FaultProgram faults = new FaultProgram()) {
            int[] made = new int[4];
            assertEquals(0, prepare.run(faults, made));
            return outcome(faults, made, step);
        }
    }

    /** What a step that succeeds says, and the ids and descriptors that come next. */
    private static List<Integer> outcome(FaultProgram faults, int[] made, Step step) {
        List<Integer> all = new ArrayList<>();
        all.add(step.run(faults, made));
        for (int i = 0; i < 18; i++) {
            all.add(faults.program.word(i));
        }
        all.add(faults.program.ioas());
        all.add(faults.calls.dup(faults.fd));
        all.add(faults.calls.dup(faults.fd));
        return all;
    }

    private static final Step NOTHING = (faults, made) -> 0;

    @Test
    void scenario228Open() {
        List<String> used = everyNth(NOTHING, (faults, made) -> faults.calls.open(SystemCalls.DEVICE, 2));
        assertEquals(1, count(used, "a descriptor"));
    }

    @Test
    void scenario228IoasAlloc() {
        assertEquals(List.of("an object"), everyNth(NOTHING, (faults, made) -> faults.program.ioctl(0x3b81, 0, 0, 0)));
    }

    @Test
    void scenario228FaultQueueAlloc() {
        assertEquals(
                List.of("an object", "a descriptor"),
                everyNth(NOTHING, (faults, made) -> faults.program.ioctl(0x3b8e, 0, 0, 0, 0)));
    }

    @Test
    void scenario228HwptAllocWithAQueue() {
        List<String> used = everyNth(
                NOTHING,
                (faults, made) -> faults.program.allocTable(
                        Program.FAULT_ID_VALID, faults.first.id(), faults.parent, faults.queue[0], true));
        assertEquals(List.of("a page table", "an object"), used);
        var _ = everyNth(
                NOTHING,
                (faults, made) -> faults.program.allocTable(
                        Program.FAULT_ID_VALID, faults.first.id(), faults.ioas, faults.queue[0], false));
    }

    @Test
    void scenario228MakingADevice() {
        List<String> used = everyNth(NOTHING, (faults, made) -> faults.program.test(12, faults.ioas, 0, 0, 0, 0));
        assertEquals(2, count(used, "an object"), "itself and its binding; the table is shared");
        used = everyNth(
                (faults, made) -> {
                    made[0] = faults.program.ioas();
                    return 0;
                },
                (faults, made) -> faults.program.test(12, made[0], 0, 0, 0, 0));
        assertEquals(3, count(used, "an object"), "and the table");
        assertEquals(1, count(used, "an attach handle"));
    }

    @Test
    void scenario228AttachAndReplace() {
        Step table = (faults, made) -> {
            made[0] = faults.faulting(faults.queue);
            return 0;
        };
        assertEquals(
                List.of("an attach handle"),
                everyNth(table, (faults, made) -> faults.program.replace(faults.first, made[0])));
        assertEquals(
                List.of("an attach handle"),
                everyNth(
                        (faults, made) -> {
                            made[0] = faults.faulting(faults.queue);
                            return faults.detachPasid(faults.first, 0);
                        },
                        (faults, made) -> faults.attachPasid(faults.first, 5, made[0])));
        List<String> automatic = everyNth(
                (faults, made) -> {
                    made[0] = faults.program.ioas();
                    return 0;
                },
                (faults, made) -> faults.program.replace(faults.first, made[0]));
        assertEquals(List.of("a page table", "an object", "an attach handle"), automatic);
    }

    @Test
    void scenario228GuestsObjects() {
        Step viommu = (faults, made) -> {
            made[0] = faults.program.viommu(faults.first, faults.parent);
            return 0;
        };
        var _ = everyNth(
                NOTHING,
                (faults, made) -> faults.program.allocViommu(0, Program.VIOMMU_TYPE, faults.first.id(), faults.parent));
        var _ = everyNth(viommu, (faults, made) -> faults.program.allocVdevice(made[0], faults.first.id(), 0x99));
        List<String> events =
                everyNth(viommu, (faults, made) -> faults.program.allocEvents(0, made[0], Program.EVENT_TYPE, 4, 0));
        assertEquals(1, count(events, "a descriptor"));
    }
}
