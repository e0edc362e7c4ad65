package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.AccessFault;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.DeviceConfig;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
import org.junit.jupiter.api.Test;

/** A guest's IOMMU by the Java face: what it has devices forget, and what it hears of them. */
class GuestIommuTest {
    private static final int PAGE = 4096;
    private static final long CARD = 0x1_0000_0099L;

    private final MemorySegment ram = Arena.ofAuto().allocate(16 * PAGE, PAGE);

    private void shows(int number, int page) {
        ram.set(ValueLayout.JAVA_LONG, 3 * PAGE + 8L * number, (long) page * PAGE | 7);
    }

    private static long read(UserDevice device, long address) {
        long[] value = new long[1];
        device.engine().read(address, MemorySegment.ofArray(value));
        return value[0];
    }

    @Test
    @SuppressWarnings("try") // the guest's device and the attachment work without being named
    void itForgetsAndHears() {
        for (int level = 0; level < 3; level++) {
            ram.set(ValueLayout.JAVA_LONG, (long) level * PAGE, (level + 1L) * PAGE | 7);
        }
        ram.set(ValueLayout.JAVA_LONG, 8L * PAGE, 800);
        ram.set(ValueLayout.JAVA_LONG, 9L * PAGE, 900);
        try (var iommufd = Iommufd.open();
                var card = iommufd.device(DeviceConfig.pri("card"));
                var space = iommufd.addressSpace();
                var parent = space.pageTable(card).nestParent().make();
                var iommu = parent.guestIommu(card);
                var known = iommu.device(card, CARD);
                var events = iommu.events(1);
                var table = iommu.nested(card).firstStage(0).make();
                var attached = card.attach(table)) {
            space.map(0, ram);
            shows(0, 8);
            shows(1, 8);
            assertEquals(800, read(card, 0));
            assertEquals(800, read(card, PAGE));
            shows(0, 9);
            shows(1, 9);
            iommu.invalidate(CARD, PAGE, PAGE);
            assertEquals(900, read(card, PAGE));
            iommu.invalidateAll(CARD);
            assertEquals(900, read(card, 0));
            IommufdException foreign =
                    assertThrows(IommufdException.class, () -> iommu.invalidate(0x99, 0, PAGE), "another's device");
            assertEquals(Errno.EIO, foreign.errno());
            assertEquals(
                    Errno.EINVAL,
                    assertThrows(IommufdException.class, () -> iommu.invalidate(CARD, 1, PAGE))
                            .errno());

            assertNull(events.read());
            for (int i = 0; i < 3; i++) {
                assertThrows(AccessFault.class, () -> read(card, 5 * PAGE + 8));
            }
            GuestEvents.Event event = next(events);
            assertEquals(new GuestEvents.Event(0, CARD, -1, 5 * PAGE + 8, AccessResult.NO_FAULT_QUEUE), event);
            GuestEvents.Event lost = next(events);
            assertNull(lost.why());
            assertEquals(2, lost.sequence());
            assertNull(events.read());
        }
    }

    @Test
    void eventsThatAreHeldAreClosedLater() {
        try (var iommufd = Iommufd.open();
                var card = iommufd.device(DeviceConfig.pri("card"));
                var space = iommufd.addressSpace();
                var parent = space.pageTable(card).nestParent().make();
                var iommu = parent.guestIommu(card)) {
            GuestEvents events = iommu.events(1);
            int held = iommufd.calls().dup(events.fd());
            assertEquals(
                    Errno.EBUSY,
                    assertThrows(IommufdException.class, events::close).errno());
            UserFaultQueue stranger = iommufd.faultQueue();
            assertEquals(events.fd(), stranger.fd(), "the number is used again");
            assertEquals(
                    Errno.EBUSY,
                    assertThrows(IommufdException.class, events::close).errno());
            assertEquals(
                    Errno.EBADF,
                    assertThrows(IommufdException.class, events::read).errno());
            assertEquals(0, iommufd.calls().close(held));
            events.close();
            GuestEvents next = iommu.events(1);
            assertEquals(held, next.fd());
            events.close();
            assertNull(next.read());
            next.close();
            var _ = stranger.consumer();
            stranger.close();
        }
    }

    private static GuestEvents.Event next(GuestEvents events) {
        return Objects.requireNonNull(events.read());
    }
}
