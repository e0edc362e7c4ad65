package dev.faultline.iommu.iommufd;

import static dev.faultline.ffm.Errno.EINVAL;
import static dev.faultline.ffm.Errno.ENOMEM;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What is answered without a write, and what is not. Section I. Groups of several devices (146) do not come up. */
class AutomaticAnswerScenariosTest {
    private final FaultProgram faults = new FaultProgram();
    private final Program program = faults.program;
    private final Program.Device device = faults.first;

    @AfterEach
    void close() {
        faults.close();
    }

    private void group(int index) {
        faults.last(device, 0, index, 0x1000L * index);
    }

    @Test
    void scenario138DetachAnswersInTheKernelsOrder() {
        var _ = faults.attachFaulting();
        group(2);
        assertEquals(40, faults.read(faults.fd, 40));
        group(1);
        group(3);
        assertEquals(0, faults.detachPasid(device, 0));
        assertEquals(FaultProgram.all("0 0/3 1", "0 0/1 1", "0 0/2 1"), faults.told());
        assertEquals(0, faults.read(faults.fd, 400));
        assertEquals(-EINVAL, faults.write(faults.fd, 1, 0));
        assertEquals(List.of(), faults.told());
    }

    @Test
    void scenario139OtherDevicesAreNotTouched() {
        int table = faults.attachFaulting();
        Program.Device second = program.device(faults.ioas, 0);
        assertEquals(0, program.replace(second, table));
        group(1);
        faults.last(second, 0, 2, 0x2000);
        assertEquals(0, faults.detachPasid(device, 0));
        assertEquals(FaultProgram.all("0 0/1 1"), faults.told());
        assertEquals("[2 0/2 cookie 1]", faults.messages(faults.fd, 4).toString());
        assertEquals(8, faults.write(faults.fd, 1, 0));
    }

    @Test
    void scenario140ReplaceByATableWithoutQueue() {
        var _ = faults.attachFaulting();
        group(1);
        assertEquals(0, program.replace(device, faults.quiet()));
        assertEquals(FaultProgram.all("0 0/1 1"), faults.told());
        assertEquals(0, faults.read(faults.fd, 40));
    }

    @Test
    void scenario141ReplaceByATableWithAnotherQueue() {
        var _ = faults.attachFaulting();
        int[] second = program.faults();
        group(1);
        assertEquals(40, faults.read(faults.fd, 40));
        group(2);
        assertEquals(0, program.replace(device, faults.faulting(second)));
        assertEquals(FaultProgram.all("0 0/2 1", "0 0/1 1"), faults.told());
        group(3);
        assertEquals(0, faults.read(faults.fd, 40));
        assertEquals("[2 0/3 cookie 1]", faults.messages(second[1], 1).toString());
    }

    @Test
    void scenario142AReplaceThatFailsAnswersNobody() {
        var _ = faults.attachFaulting();
        group(1);
        faults.calls.allocations().gate(what -> {
            if (what.equals("an attach handle")) {
                throw new ErrnoException(ENOMEM);
            }
        });
        int quiet = faults.quiet();
        assertEquals(-ENOMEM, program.replace(device, quiet));
        faults.calls.allocations().gate(what -> {});
        assertEquals(List.of(), faults.told());
        assertEquals(1, faults.messages(faults.fd, 1).size());
        assertEquals(8, faults.write(faults.fd, 1, 0));
        assertEquals(0, program.destroy(quiet));
    }

    @Test
    void scenario143OnlyThePasidsOwn() {
        int table = faults.attachFaulting();
        assertEquals(0, faults.attachPasid(device, 7, table));
        group(1);
        faults.last(device, 7, 2, 0x2000);
        assertEquals(0, faults.detachPasid(device, 7));
        assertEquals(FaultProgram.all("0 7/2 1"), faults.told());
        assertEquals("[2 0/1 cookie 1]", faults.messages(faults.fd, 4).toString());
        assertEquals(8, faults.write(faults.fd, 1, 0));
    }

    @Test
    void scenario144PasidsThatTheNestedTableHandled() {
        var _ = faults.attachFaulting();
        faults.last(device, 1, 1, 0);
        faults.last(device, 2, 2, 0);
        faults.last(device, 3, 3, 0);
        assertEquals(0, faults.detachPasid(device, 0));
        assertEquals(FaultProgram.all("0 3/3 1", "0 2/2 1", "0 1/1 1"), faults.told());
    }

    @Test
    void scenario145ClosingTheDescriptorAnswersNobody() {
        var _ = faults.attachFaulting();
        group(1);
        assertEquals(40, faults.read(faults.fd, 40));
        group(2);
        assertEquals(0, faults.calls.close(faults.fd));
        assertEquals(List.of(), faults.told());
        assertEquals(0, faults.detachPasid(device, 0));
        assertEquals(FaultProgram.all("0 0/2 1", "0 0/1 1"), faults.told());
    }

    /** One thread asks for pages all the time, one reads and answers, one attaches and detaches: every group is answered once. */
    @Test
    void scenarios147And148DetachWhileOthersRun() throws Exception {
        int table = faults.attachFaulting();
        long buffer = 0x7000_0000L;
        MemorySegment own = MemorySegment.ofArray(new long[512]);
        program.memory.map(buffer, own, true);
        DeviceObject bound = Objects.requireNonNull(
                faults.calls.context(program.fd).objects().hold(device.id(), DeviceObject.class));
        AtomicBoolean stop = new AtomicBoolean();
        AtomicInteger written = new AtomicInteger();
        Thread answerer = Thread.ofPlatform().start(() -> {
            while (!stop.get()) {
                long n = faults.calls.read(faults.fd, buffer, 40 * 8);
                for (long at = 0; at < n; at += 40) {
                    int cookie = own.get(ValueLayout.JAVA_INT, at + 36);
                    own.set(ValueLayout.JAVA_INT, 2048, cookie);
                    own.set(ValueLayout.JAVA_INT, 2052, 0);
                    if (faults.calls.write(faults.fd, buffer + 2048, 8) == 8) {
                        written.incrementAndGet();
                    }
                }
            }
        });
        int[] changes = {0};
        Thread changer = Thread.ofPlatform().start(() -> {
            try {
                while (!stop.get()) {
                    bound.detach(0);
                    int _ = bound.attach(0, table);
                    changes[0]++;
                }
            } catch (ErrnoException e) {
                throw new AssertionError(e);
            }
        });
        int groups = 20_000;
        for (int i = 0; i < groups; i++) {
            faults.last(device, 0, i & 0xffff, 0x1000L * i);
        }
        stop.set(true);
        answerer.join();
        changer.join();
        bound.context().objects().letGo(bound);
        assertEquals(0, faults.detachPasid(device, 0));
        assertEquals(0, faults.read(faults.fd, 40));
        List<String> told = faults.told();
        assertEquals(groups, told.size(), "each group is answered once");
        assertEquals(
                written.get(), told.stream().filter(each -> each.endsWith(" 0")).count());
        assertFalse(changes[0] == 0);
    }
}
