package dev.faultline.iommu.iommufd;

import static dev.faultline.iommu.iommufd.Program.ARENA;
import static dev.faultline.iommu.iommufd.Program.ARENA_BYTES;
import static dev.faultline.iommu.iommufd.Program.EVENT_TYPE;
import static dev.faultline.iommu.iommufd.Program.NEST_PARENT;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;

import dev.faultline.ffm.Errno;
import java.util.Arrays;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** vEVENTQs: section L of the conformance scenarios, by number. An event of the self-tests has 4 bytes of data. */
class EventScenariosTest {
    private static final int EVENT_BYTES = 12;
    private static final int LOST = 1;
    private static final int VIRTUAL_ID = 0x99;
    private static final int MOST_DEPTH = 524_288;

    private final Program p = new Program();
    private final int ioas = p.ioas();
    private final Program.Device d1 = p.device(ioas, 0);
    private final int viommu = p.viommu(d1, p.table(NEST_PARENT, d1, ioas));
    private final int nested = p.nested(0, d1, viommu, 0);

    {
        var _ = p.vdevice(viommu, d1, VIRTUAL_ID);
        assertEquals(0, p.replace(d1, nested));
    }

    @AfterEach
    void close() {
        p.close();
    }

    /** Reads, and says what: of an event its sequence, of a header of lost ones the negative of it. */
    private int[] read(int fd, int bytes) {
        long got = p.calls.read(fd, ARENA, bytes);
        int[] sequences = new int[16];
        int n = 0;
        for (int at = 0; at < got / 4; ) {
            boolean lost = p.read(at) == LOST;
            assertEquals(lost ? LOST : 0, p.read(at), "flags");
            sequences[n++] = lost ? -p.read(at + 1) : p.read(at + 1);
            if (!lost) {
                assertEquals(VIRTUAL_ID, p.read(at + 2));
            }
            at += lost ? 2 : 3;
        }
        return Arrays.copyOf(sequences, n);
    }

    /** The object, which no program sees. */
    private EventQueue queue(int fd) {
        EventDescriptor descriptor =
                assertInstanceOf(EventDescriptor.class, p.calls.descriptors().hold(fd));
        try {
            return descriptor.queue();
        } finally {
            descriptor.letGo();
        }
    }

    private void report(int times) {
        for (int i = 0; i < times; i++) {
            assertEquals(0, p.event(d1));
        }
    }

    @Test
    void scenario173Depth() {
        assertEquals(-Errno.EINVAL, p.allocEvents(0, viommu, EVENT_TYPE, 0, 0));
        assertEquals(-Errno.EINVAL, p.allocEvents(0, viommu, EVENT_TYPE, MOST_DEPTH + 1, 0));
        assertEquals(0, p.allocEvents(0, viommu, EVENT_TYPE, MOST_DEPTH, 0));
    }

    @Test
    void scenario174OneQueueAType() {
        assertEquals(0, p.allocEvents(0, viommu, EVENT_TYPE, 1, 0));
        assertEquals(-Errno.EEXIST, p.allocEvents(0, viommu, EVENT_TYPE, 1, 0));
        assertEquals(0, p.allocEvents(0, viommu, 1, 1, 0));
    }

    @Test
    void scenario175TypeFlagsAndReserved() {
        assertEquals(-Errno.EOPNOTSUPP, p.allocEvents(0, viommu, 0, 1, 0));
        assertEquals(-Errno.EOPNOTSUPP, p.allocEvents(1, viommu, EVENT_TYPE, 1, 0));
        assertEquals(-Errno.EOPNOTSUPP, p.allocEvents(0, viommu, EVENT_TYPE, 1, 1));
    }

    @Test
    void scenarios176And177Counts() {
        int fd = p.events(viommu, 2)[1];
        assertEquals(-Errno.EINVAL, p.calls.read(fd, ARENA, 0));
        assertEquals(-Errno.EINVAL, p.calls.read(fd, ARENA, 7));
        assertEquals(0, p.calls.read(fd, ARENA, 8));
        report(1);
        assertEquals(-Errno.EINVAL, p.calls.read(fd, ARENA, 0));
        assertEquals(-Errno.EINVAL, p.calls.read(fd, ARENA, 8));
        assertEquals(-Errno.EINVAL, p.calls.read(fd, ARENA, 11));
    }

    @Test
    void scenario178AnEventHasTheVirtualId() {
        int fd = p.events(viommu, 2)[1];
        report(1);
        assertEquals(EVENT_BYTES, p.calls.read(fd, ARENA, EVENT_BYTES));
        assertEquals(0, p.read(0));
        assertEquals(0, p.read(1));
        assertEquals(VIRTUAL_ID, p.read(2));
    }

    @Test
    void scenario179LostOnesShowAtTheEnd() {
        int fd = p.events(viommu, 2)[1];
        report(3);
        assertEquals(2 * EVENT_BYTES + 8, p.calls.read(fd, ARENA, 256));
        assertEquals(LOST, p.read(6));
        assertEquals(2, p.read(7));
    }

    @Test
    void scenario180TheirSequenceIsTheNewest() {
        int fd = p.events(viommu, 2)[1];
        report(5);
        assertArrayEquals(new int[] {0, 1, -4}, read(fd, 256));
        report(1);
        assertArrayEquals(new int[] {5}, read(fd, 256));
    }

    @Test
    void scenario181ANewEventTakesTheirPlace() {
        int fd = p.events(viommu, 2)[1];
        report(3);
        assertArrayEquals(new int[] {0}, read(fd, EVENT_BYTES));
        report(1);
        assertArrayEquals(new int[] {1, 3}, read(fd, 256));
    }

    @Test
    void scenario182TheirHeaderAlone() {
        int fd = p.events(viommu, 2)[1];
        report(3);
        assertArrayEquals(new int[] {0, 1}, read(fd, 2 * EVENT_BYTES));
        assertArrayEquals(new int[] {-2}, read(fd, 8));
        assertEquals(0, p.calls.read(fd, ARENA, 8));
    }

    @Test
    void aHeaderThatDoesNotFitComesNext() {
        int fd = p.events(viommu, 1)[1];
        report(2);
        assertArrayEquals(new int[] {0}, read(fd, EVENT_BYTES + 7));
        assertArrayEquals(new int[] {-1}, read(fd, 256));
    }

    @Test
    void scenario183WithoutAQueueAnEventIsGone() {
        assertEquals(-Errno.EOPNOTSUPP, p.event(d1));
        int fd = p.events(viommu, 2)[1];
        report(1);
        assertArrayEquals(new int[] {0}, read(fd, 256));
    }

    @Test
    void scenario184SequencesBeginAgain() {
        int[] events = p.events(viommu, 2);
        queue(events[1]).sequence(Integer.MAX_VALUE);
        report(2);
        assertArrayEquals(new int[] {Integer.MAX_VALUE, 0}, read(events[1], 256));
    }

    @Test
    void scenario185ACopyThatFailsLosesNothing() {
        int fd = p.events(viommu, 2)[1];
        report(2);
        assertEquals(-Errno.EFAULT, p.calls.read(fd, 0, 64));
        assertEquals(-Errno.EFAULT, p.calls.read(fd, ARENA + ARENA_BYTES - 4, 64));
        assertEquals(-Errno.EFAULT, p.calls.read(fd, ARENA + ARENA_BYTES - 10, 64));
        assertEquals(EVENT_BYTES, p.calls.read(fd, ARENA + ARENA_BYTES - 16, 64), "the second one's header fitted");
        report(2);
        assertArrayEquals(new int[] {1, 2, -3}, read(fd, 256), "the depth counts as before");
    }

    @Test
    void scenario186Poll() throws Exception {
        int fd = p.events(viommu, 2)[1];
        assertEquals(0, p.calls.poll(fd, 0xffff, 0));
        report(1);
        assertEquals(0x41, p.calls.poll(fd, 0xffff, 0));
        assertEquals(1, p.calls.poll(fd, 1, -1));
        var _ = read(fd, 256);
        Thread reporter = Thread.ofPlatform().start(() -> {
            try {
                Thread.sleep(50);
                report(1);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        });
        assertEquals(1, p.calls.poll(fd, 1, 10_000), "woken");
        reporter.join();
    }

    @Test
    void scenario187Write() {
        int fd = p.events(viommu, 2)[1];
        assertEquals(-Errno.EINVAL, p.calls.write(fd, ARENA, 8));
        assertEquals(-Errno.EINVAL, p.calls.write(fd, ARENA, 0));
        assertEquals(-Errno.ESPIPE, p.calls.pread(fd, ARENA, 64, 0));
        assertEquals(-Errno.ENOTTY, p.calls.ioctl(fd, 0x3b81, ARENA));
    }

    @Test
    void scenario188WhatItsDescriptorHolds() {
        int[] events = p.events(viommu, 2);
        assertEquals(-Errno.EBUSY, p.destroy(events[0]));
        assertEquals(-Errno.EBUSY, p.destroy(viommu));
        report(1);
        assertEquals(0, p.calls.close(events[1]));
        report(1);
        assertEquals(0, p.destroy(events[0]));
        assertEquals(-Errno.EOPNOTSUPP, p.event(d1));
        int[] again = p.events(viommu, 2);
        assertEquals(events[0], again[0]);
        report(1);
        assertArrayEquals(new int[] {0}, read(again[1], 256));
    }

    @Test
    void aDeviceThatIsNotAttachedThroughTheViommuReportsNothing() {
        int fd = p.events(viommu, 2)[1];
        assertEquals(-Errno.ENOENT, p.test(17, 0, 99));
        assertEquals(0, p.replace(d1, ioas));
        assertEquals(-Errno.ENOENT, p.event(d1));
        assertEquals(0, p.replace(d1, nested));
        report(1);
        assertArrayEquals(new int[] {0}, read(fd, 256));
    }

    @Test
    void scenario229EventsNeverCrossQueues() {
        int[][] queues = new int[10][];
        Program.Device[] devices = new Program.Device[10];
        int parent = p.table(NEST_PARENT, d1, ioas);
        for (int i = 0; i < queues.length; i++) {
            devices[i] = p.device(ioas, 0);
            int of = p.viommu(devices[i], parent);
            int fault = p.faults()[1];
            int through = p.nested(0, devices[i], of, 0);
            var _ = p.vdevice(of, devices[i], VIRTUAL_ID);
            assertEquals(0, p.replace(devices[i], through));
            queues[i] = new int[] {p.events(of, 4)[1], fault};
            assertEquals(0, p.allocEvents(0, of, 1, 4, 0));
        }
        for (int i = 0; i < queues.length; i++) {
            for (int times = 0; times <= i % 3; times++) {
                assertEquals(0, p.event(devices[i]));
            }
        }
        for (int i = 0; i < queues.length; i++) {
            assertEquals(i % 3 + 1, read(queues[i][0], 256).length);
            assertEquals(0, p.calls.read(queues[i][1], ARENA, 40));
        }
    }

    @Test
    void theContextLivesWithItsDescriptor() {
        int fd = p.events(viommu, 2)[1];
        report(1);
        assertEquals(0, p.calls.close(p.fd));
        assertArrayEquals(new int[] {0}, read(fd, 256));
        assertEquals(0, p.calls.close(fd));
        assertEquals(-Errno.EBADF, p.calls.read(fd, ARENA, 64));
    }
}
