package dev.faultline.iommu.iommufd;

import static dev.faultline.ffm.Errno.EBUSY;
import static dev.faultline.ffm.Errno.EINVAL;
import static dev.faultline.ffm.Errno.ENODEV;
import static dev.faultline.ffm.Errno.ENOENT;
import static dev.faultline.ffm.Errno.ENOMEM;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.RequesterId;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/**
 * Attaching, replacing and detaching devices and PASIDs. Section D. Each device here is alone in its isolation group; what groups of several
 * do (80, 81, 146) and resets (79) are in {@link GroupScenariosTest}.
 */
class AttachScenariosTest {
    private final FaultProgram faults = new FaultProgram();
    private final Program program = faults.program;
    private final Program.Device device = faults.first;
    private final int taking = program.table(Program.PASID, device, faults.ioas);

    @AfterEach
    void close() {
        faults.close();
    }

    @Test
    void scenarios61And62WhatIsAttachedIsHeld() {
        int first = faults.quiet();
        int second = faults.quiet();
        assertEquals(0, program.replace(device, first));
        assertEquals(-EBUSY, program.destroy(first));
        assertEquals(0, program.replace(device, second));
        assertEquals(0, program.destroy(first));
    }

    @Test
    void scenario63AnAutomaticTableGoesWithItsLastDevice() {
        int automatic = device.table();
        assertEquals(0, program.replace(device, program.ioas()));
        assertEquals(-ENOENT, program.replace(device, automatic));
    }

    @Test
    void anAutomaticTableIsShared() {
        Program.Device second = program.device(faults.ioas, 0);
        assertEquals(device.table(), second.table());
        assertEquals(0, program.destroy(device.mock()));
        assertEquals(-EBUSY, program.destroy(second.table()));
        assertEquals(0, program.destroy(second.mock()));
        assertEquals(-ENOENT, program.destroy(second.table()));
    }

    @Test
    void scenario64WhatIsNotAttachedIsNotReplaced() {
        assertEquals(0, faults.detachPasid(device, 0));
        assertEquals(-EINVAL, program.replace(device, taking));
    }

    @Test
    void scenario65OnceIsEnough() {
        assertEquals(-EBUSY, faults.attachPasid(device, 0, device.table()));
        assertEquals(-EBUSY, faults.attachPasid(device, 0, taking));
    }

    @Test
    void scenario66ReplacedByItself() {
        int table = faults.attachFaulting();
        faults.last(device, 0, 1, 0x1000);
        assertEquals(0, program.replace(device, table));
        assertEquals(List.of(), faults.told());
        assertEquals(1, faults.messages(faults.fd, 4).size());
        assertEquals(8, faults.write(faults.fd, 1, 0));
    }

    @Test
    void scenario67PasidsWantTheWholeToTakePasids() {
        assertEquals(0, program.replace(device, program.table(0, device, faults.ioas)));
        assertEquals(-EINVAL, faults.attachPasid(device, 100, taking));
    }

    @Test
    void scenarios68To72PasidsWantTablesThatTakePasids() {
        assertEquals(0, program.replace(device, taking));
        int plain = program.table(0, device, faults.ioas);
        assertEquals(-EINVAL, faults.attachPasid(device, 100, plain));
        assertEquals(-EINVAL, faults.attachPasid(device, 100, faults.ioas), "an automatic one takes none");
        assertEquals(0, faults.checkPasid(device, 100, 0));
        int nested = faults.quiet();
        assertEquals(0, faults.attachPasid(device, 100, nested));
        assertEquals(-EINVAL, program.replace(device, plain));
        assertEquals(-EBUSY, faults.attachPasid(device, 100, taking));
        assertEquals(-EINVAL, faults.replacePasid(device, 200, taking));
        assertEquals(-EINVAL, faults.replacePasid(device, 100, faults.ioas));
        assertEquals(0, faults.checkPasid(device, 100, nested));
        assertEquals(0, faults.replacePasid(device, 100, taking));
        assertEquals(0, program.destroy(nested));
        assertEquals(0, faults.detachPasid(device, 100));
        assertEquals(0, program.replace(device, plain));
    }

    @Test
    void scenario73AReplaceThatFailsChangesNothing() {
        int faulting = faults.faulting(faults.queue);
        assertEquals(0, program.replace(device, taking));
        assertEquals(0, faults.attachPasid(device, 1024, faulting));
        faults.last(device, 1024, 1, 0x1000);
        assertEquals(-ENOMEM, faults.replacePasid(device, 1024, taking));
        assertEquals(0, faults.checkPasid(device, 1024, faulting));
        faults.last(device, 1024, 2, 0x2000);
        assertEquals(
                "[3 1024/1 cookie 1, 3 1024/2 cookie 2]",
                faults.messages(faults.fd, 4).toString());
        assertEquals(16, faults.write(faults.fd, 1, 0, 2, 0));
        assertEquals(FaultProgram.all("0 1024/1 0", "0 1024/2 0"), faults.told());
    }

    @Test
    void scenario74DetachingWhatIsNotAttached() {
        assertEquals(0, faults.detachPasid(device, 100));
        assertEquals(0, faults.detachPasid(device, 100));
    }

    @Test
    void scenario75TheLimitOfPasids() {
        assertEquals(0, program.replace(device, taking));
        assertEquals(-EINVAL, faults.attachPasid(device, 1 << 20, taking));
        assertEquals(-EINVAL, faults.attachPasid(device, -1, taking));
        assertEquals(0, faults.attachPasid(device, (1 << 20) - 1, taking));
        Program.Device without = program.device(faults.ioas, 0);
        assertEquals(0, program.replace(without, taking));
        assertEquals(-EINVAL, faults.attachPasid(without, 1, taking));
    }

    @Test
    void scenarios76And77AVirtualFunctionDoesNotShareItsPageRequests() throws ErrnoException {
        try (Program engine = new Program(EngineDriver.open(IommuConfig.small()))) {
            EngineDriver driver = (EngineDriver) engine.calls.context(engine.fd).driver();
            EngineDevice physical = driver.device(DeviceConfig.pri("physical").withRequester(RequesterId.of(3, 0, 0)));
            DeviceObject virtual =
                    physical.virtualFunction(DeviceConfig.pri("virtual")).bind(engine.calls, engine.fd);
            int ioas = engine.ioas();
            int[] queue = engine.faults();
            int quiet = engine.table(0, virtual.id(), ioas, 0);
            int faulting = engine.table(Program.FAULT_ID_VALID, virtual.id(), ioas, queue[0]);
            assertEquals(
                    EINVAL,
                    assertThrows(ErrnoException.class, () -> virtual.attach(0, faulting))
                            .errno());
            assertEquals(quiet, virtual.attach(0, quiet));
            assertEquals(
                    EINVAL,
                    assertThrows(ErrnoException.class, () -> virtual.replace(0, faulting))
                            .errno());
            assertEquals(-EBUSY, engine.destroy(quiet), "still attached");
            // A function that stalls has no page request interface to share: to the engine it is a device of its own.
            var _ = driver.device(DeviceConfig.plain("silent").withRequester(RequesterId.of(4, 0, 0)));
            DeviceObject stalling = driver.device(
                            DeviceConfig.stalling("stalling").withRequester(RequesterId.of(4, 0, 1)))
                    .bind(engine.calls, engine.fd);
            assertEquals(faulting, stalling.attach(0, faulting));
            for (DeviceObject each : List.of(virtual, stalling)) {
                each.unbind();
            }
        }
    }

    @Test
    void scenario78ADeviceThatAsksForNoPages() throws ErrnoException {
        try (Program engine = new Program(EngineDriver.open(IommuConfig.small()))) {
            EngineDriver driver = (EngineDriver) engine.calls.context(engine.fd).driver();
            DeviceObject plain = driver.device(DeviceConfig.plain("plain")).bind(engine.calls, engine.fd);
            int ioas = engine.ioas();
            int[] queue = engine.faults();
            int quiet = engine.table(0, plain.id(), ioas, 0);
            int faulting = engine.table(Program.FAULT_ID_VALID, plain.id(), ioas, queue[0]);
            assertEquals(quiet, plain.attach(0, quiet));
            ErrnoException refused = assertThrows(ErrnoException.class, () -> plain.replace(0, faulting));
            assertEquals(ENODEV, refused.errno());
            assertEquals(0, engine.destroy(faulting), "nothing holds it");
            assertEquals(-EBUSY, engine.destroy(quiet), "still attached");
            plain.unbind();
        }
    }

    @Test
    void whatIsNoTableIsNotAttached() {
        assertEquals(-EINVAL, program.replace(device, device.id()));
        assertEquals(-EINVAL, program.replace(device, faults.queue[0]));
        assertEquals(-ENOENT, program.replace(device, 4711));
    }

    @Test
    void tablesOfAnotherDriverAreRefused() throws ErrnoException {
        // Two drivers behind one context do not come up by the program's doing: a device brings its own.
        try (EngineDriver other = EngineDriver.open(IommuConfig.small())) {
            DeviceObject foreign = other.device(DeviceConfig.pri("foreign")).bind(faults.calls, program.fd);
            ErrnoException refused = assertThrows(ErrnoException.class, () -> foreign.attach(0, taking));
            assertEquals(EINVAL, refused.errno());
            assertEquals(-EINVAL, program.allocTable(0, foreign.id(), faults.parent, 0, true));
            foreign.unbind();
        }
    }

    @Test
    void aDeviceIsBoundOnce() throws ErrnoException {
        try (EngineDriver other = EngineDriver.open(IommuConfig.small())) {
            EngineDevice nic = other.device(DeviceConfig.pri("nic"));
            DeviceObject bound = nic.bind(faults.calls, program.fd);
            assertEquals(
                    EBUSY,
                    assertThrows(ErrnoException.class, () -> nic.bind(faults.calls, program.fd))
                            .errno());
            int second = faults.calls.open(SystemCalls.DEVICE, 2);
            assertEquals(
                    dev.faultline.ffm.Errno.EPERM,
                    assertThrows(ErrnoException.class, () -> nic.bind(faults.calls, second))
                            .errno());
            bound.unbind();
            nic.bind(faults.calls, second).unbind();
        }
    }
}
