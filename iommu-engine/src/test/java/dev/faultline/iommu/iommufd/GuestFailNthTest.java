package dev.faultline.iommu.iommufd;

import static dev.faultline.iommu.iommufd.Program.ARENA;
import static dev.faultline.iommu.iommufd.Program.EVENT_TYPE;
import static dev.faultline.iommu.iommufd.Program.NEST_PARENT;
import static dev.faultline.iommu.iommufd.Program.VIOMMU_TYPE;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.faultline.ffm.Errno;
import java.util.function.IntSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Scenario 228 for guests' objects: whatever is not to be had, the command is refused, and nothing is left of it. */
class GuestFailNthTest {
    private static final long IOVA = 0x100_0000;

    private final Program p = new Program();
    private final int ioas = p.ioas();
    private final Program.Device d1 = p.device(ioas, 0);
    private final int parent = p.table(NEST_PARENT, d1, ioas);
    private final int viommu = p.viommu(d1, parent);

    @AfterEach
    void close() {
        p.close();
    }

    /** Refuses the first, the second and so on of what a command takes; says how many that were. */
    private int failEach(IntSupplier command, int idAt) {
        int free = p.ioas();
        assertEquals(0, p.destroy(free));
        for (int nth = 0; ; nth++) {
            int[] left = {nth};
            p.calls.allocations().gate(what -> {
                if (left[0]-- == 0) {
                    throw new ErrnoException(Errno.ENOMEM);
                }
            });
            int result = command.getAsInt();
            p.calls.allocations().gate(what -> {});
            if (result == 0) {
                assertEquals(free, p.word(idAt), "no id was lost");
                return nth;
            }
            assertEquals(-Errno.ENOMEM, result);
        }
    }

    @Test
    void scenario228AViommu() {
        assertEquals(1, failEach(() -> p.allocViommu(0, VIOMMU_TYPE, d1.id(), parent), 5));
        assertEquals(0, p.destroy(p.word(5)));
        assertEquals(0, p.destroy(viommu));
        assertEquals(0, p.destroy(parent), "nothing holds the parent");
    }

    @Test
    void scenario228AVdevice() {
        assertEquals(1, failEach(() -> p.allocVdevice(viommu, d1.id(), 0x99), 3));
        assertEquals(0, p.destroy(p.word(3)));
        assertEquals(0, p.destroy(viommu));
    }

    @Test
    void scenario228AnEventQueue() {
        assertEquals(2, failEach(() -> p.allocEvents(0, viommu, EVENT_TYPE, 4, 0), 5));
        int fd = p.word(6);
        assertEquals(p.fd + 1, fd, "no descriptor was lost");
        int queue = p.word(5);
        assertEquals(0, p.calls.close(fd));
        assertEquals(0, p.destroy(queue));
        assertEquals(0, p.destroy(viommu));
    }

    @Test
    void scenario228AHwQueue() {
        assertEquals(0, p.map(ioas, ARENA, IOVA, 4096));
        assertEquals(2, failEach(() -> p.allocHwQueue(viommu, VIOMMU_TYPE, 0, IOVA, 4096), 5));
        int queue = p.word(5);
        assertEquals(-Errno.EBUSY, p.unmap(ioas, IOVA, 4096));
        assertEquals(0, p.destroy(queue));
        assertEquals(0, p.unmap(ioas, IOVA, 4096));
        assertEquals(0, p.destroy(viommu));
    }

    @Test
    void scenario228AnEvent() {
        int nested = p.nested(0, d1, viommu, 0);
        var _ = p.vdevice(viommu, d1, 0x99);
        assertEquals(0, p.replace(d1, nested));
        int fd = p.events(viommu, 4)[1];
        p.calls.allocations().gate(what -> {
            throw new ErrnoException(Errno.ENOMEM);
        });
        assertEquals(-Errno.ENOMEM, p.event(d1));
        p.calls.allocations().gate(what -> {});
        assertEquals(8, p.calls.read(fd, ARENA, 64), "it counts as lost");
        assertEquals(1, p.read(0));
        assertEquals(0, p.event(d1));
        assertEquals(12, p.calls.read(fd, ARENA, 64));
        assertEquals(1, p.read(1));
    }
}
