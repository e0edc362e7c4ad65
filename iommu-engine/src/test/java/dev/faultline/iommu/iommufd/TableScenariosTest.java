package dev.faultline.iommu.iommufd;

import static dev.faultline.ffm.Errno.EBUSY;
import static dev.faultline.ffm.Errno.EFAULT;
import static dev.faultline.ffm.Errno.EINVAL;
import static dev.faultline.ffm.Errno.ENOENT;
import static dev.faultline.ffm.Errno.EOPNOTSUPP;
import static dev.faultline.iommu.iommufd.Program.FAULT_ID_VALID;
import static dev.faultline.iommu.iommufd.Program.NEST_PARENT;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Making page tables. Section C. */
class TableScenariosTest {
    private static final int HWPT_ALLOC = 0x3b89;

    private final Program program = new Program();
    private final int ioas = program.ioas();
    private final Program.Device device = program.device(ioas, Program.DEVICE_PASID);
    private final int parent = program.table(NEST_PARENT, device, ioas);

    @AfterEach
    void close() {
        program.close();
    }

    private int alloc(int flags, int pt, int type, int length, long data, int fault) {
        return program.ioctl(
                HWPT_ALLOC, 0, flags, device.id(), pt, 0, 0, type, length, (int) data, (int) (data >>> 32), fault, 0);
    }

    /** The id that would be given next. */
    private int nextId() {
        int id = program.ioas();
        assertEquals(0, program.destroy(id));
        return id;
    }

    @Test
    void scenario43TheDeviceIsNoDevice() {
        assertEquals(-ENOENT, program.allocTable(0, ioas, ioas, 0, false));
    }

    @Test
    void scenarios44And45TheTableIsNone() {
        assertEquals(-EINVAL, alloc(0, device.id(), 0, 0, 0, 0));
        assertEquals(-EINVAL, alloc(0, 4711, 0, 0, 0, 0), "not ENOENT");
    }

    @Test
    void scenario46AParentTakesNoFaults() {
        int fault = program.faults()[0];
        assertEquals(-EOPNOTSUPP, alloc(NEST_PARENT | FAULT_ID_VALID, ioas, 0, 0, 0, fault));
    }

    @Test
    void scenario47FlagsThatAreNotKnown() {
        for (int bit = 4; bit < 32; bit++) {
            assertEquals(-EOPNOTSUPP, alloc(1 << bit, ioas, 0, 0, 0, 0), "bit " + bit);
        }
    }

    @Test
    void scenario48TypeAndLengthGoTogether() {
        assertEquals(-EINVAL, alloc(0, ioas, 0, 8, Program.ARENA, 0));
        assertEquals(-EINVAL, alloc(0, ioas, 1, 0, Program.ARENA, 0));
    }

    @Test
    void scenario49TheDataOfANestedTable() {
        assertEquals(-EOPNOTSUPP, alloc(0, parent, 1, 24, Program.ARENA, 0));
        assertEquals(-EINVAL, alloc(0, parent, Program.DATA_TYPE, 3, Program.ARENA, 0));
        assertEquals(-EFAULT, alloc(0, parent, Program.DATA_TYPE, 8, 0, 0));
        assertEquals(-EINVAL, alloc(0, parent, Program.DATA_TYPE, 9, Program.ARENA, 0));
        for (int length = 4; length <= 8; length++) {
            assertEquals(0, alloc(0, parent, Program.DATA_TYPE, length, Program.ARENA, 0), "length " + length);
        }
    }

    @Test
    void scenario50ANestedTableIsNoParent() {
        assertEquals(-EOPNOTSUPP, program.allocTable(NEST_PARENT, device.id(), parent, 0, true));
    }

    @Test
    void scenarios51And52WhatNothingCanBeNestedIn() {
        int plain = program.table(0, device, ioas);
        assertEquals(-EINVAL, program.allocTable(0, device.id(), plain, 0, true));
        int nested = program.nested(0, device, parent, 0);
        assertEquals(-EINVAL, program.allocTable(0, device.id(), nested, 0, true));
        assertEquals(-EINVAL, program.allocTable(0, device.id(), device.table(), 0, true), "nor an automatic one");
    }

    @Test
    void scenario53WhatIsNestedHoldsItsParent() {
        int first = program.nested(0, device, parent, 0);
        int second = program.nested(0, device, parent, 0);
        assertEquals(-EBUSY, program.destroy(parent));
        assertEquals(0, program.destroy(first));
        assertEquals(-EBUSY, program.destroy(parent));
        assertEquals(0, program.destroy(second));
        assertEquals(0, program.destroy(parent));
    }

    @Test
    void scenario54AQueueThatIsNone() {
        int next = nextId();
        assertEquals(-ENOENT, program.allocTable(FAULT_ID_VALID, device.id(), parent, -1, true));
        assertEquals(-ENOENT, program.allocTable(FAULT_ID_VALID, device.id(), ioas, ioas, false));
        assertEquals(next, nextId(), "no table is left");
        assertEquals(0, program.destroy(parent), "and nothing holds the parent");
    }

    @Test
    void scenarios55To57WhichTablesTakeFaults() {
        int fault = program.faults()[0];
        int nested = program.nested(FAULT_ID_VALID, device, parent, fault);
        int ignored = program.nested(0, device, parent, 0x7777);
        int paging = program.table(FAULT_ID_VALID, device.id(), ioas, fault);
        assertEquals(0, program.destroy(nested));
        assertEquals(0, program.destroy(ignored));
        assertEquals(-EBUSY, program.destroy(fault));
        assertEquals(0, program.destroy(paging));
    }

    @Test
    void scenario58LengthsOfHardwareInfo() {
        long at = Program.ARENA;
        for (int length : new int[] {0, 8, 24, 4}) {
            var _ = program.arena.asSlice(0, 64).fill((byte) 0xaa);
            assertEquals(0, program.ioctl(0x3b8a, 0, 0, device.id(), length, (int) at, (int) (at >>> 32), 0, 0, 0, 0));
            assertEquals(8, program.word(3), "what the driver has");
            for (int i = 0; i < 64; i++) {
                byte inside = (byte) (i >= 4 && i < 8 ? 0xdeadbeef >>> (8 * (i - 4)) : 0);
                byte expected = i < length ? inside : (byte) 0xaa;
                assertEquals(expected, program.arena.get(ValueLayout.JAVA_BYTE, i), length + " " + i);
            }
        }
    }

    @Test
    void scenario59ATypeOfHardwareInfoThatIsNotKnown() {
        assertEquals(-EOPNOTSUPP, program.ioctl(0x3b8a, 0, 1, device.id(), 0, 0, 0, 0x1234, 0, 0, 0));
    }

    @Test
    void scenario60WidthOfPasids() {
        assertEquals(0, program.ioctl(0x3b8a, 0, 0, device.id(), 0, 0, 0, 0, 0, 0, 0));
        assertEquals(20, program.word(7) & 0xff);
        Program.Device without = program.device(ioas, 0);
        assertEquals(0, program.ioctl(0x3b8a, 0, 0, without.id(), 0, 0, 0, 0, 0, 0, 0));
        assertEquals(0, program.word(7) & 0xff);
    }
}
