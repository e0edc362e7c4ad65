package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/**
 * Who handles a page request, and which make a group. Section F, on an IOMMU whose guests own the PASID tables, as the mock's do. Of the
 * scenarios with a choice the kernel's side is here.
 */
class GroupingScenariosTest {
    private final FaultProgram faults = new FaultProgram();
    private final Program program = faults.program;
    private final Program.Device device = faults.first;

    @AfterEach
    void close() {
        faults.close();
    }

    private String read(int records) {
        return faults.messages(faults.fd, records).toString();
    }

    @Test
    void scenarios91And92NobodyHandlesIt() {
        faults.last(device, 0, 1, 0x1000);
        assertEquals(FaultProgram.all("0 0/1 1"), faults.told());
        assertEquals(0, faults.detachPasid(device, 0));
        faults.last(device, 0, 2, 0x1000);
        assertEquals(FaultProgram.all("0 0/2 1"), faults.told());
        assertEquals("[]", read(4));
    }

    @Test
    void scenario93AMessage() {
        faults.attachFaulting();
        faults.last(device, 0, 2, 0xdead_b000L);
        FaultProgram.Message message = faults.messages(faults.fd, 1).getFirst();
        assertEquals(new FaultProgram.Message(2, device.id(), 0, 2, 3, 0, 0xdead_b000L, 0, 1), message);
    }

    @Test
    void scenario94TheNestedTableHandlesPasids() {
        faults.attachFaulting();
        faults.last(device, 5, 1, 0x1000);
        assertEquals("[3 5/1 cookie 1]", read(4));
    }

    @Test
    void scenario95APagingTableDoesNot() {
        int paging = program.table(Program.FAULT_ID_VALID, device.id(), faults.ioas, faults.queue[0]);
        assertEquals(0, program.replace(device, paging));
        faults.last(device, 5, 1, 0x1000);
        assertEquals(FaultProgram.all("0 5/1 1"), faults.told());
        faults.last(device, 0, 2, 0x1000);
        assertEquals("[2 0/2 cookie 1]", read(4));
    }

    @Test
    void scenario97APasidOfItsOwnHidesTheNestedTable() {
        faults.attachFaulting();
        assertEquals(0, faults.attachPasid(device, 5, faults.quiet()));
        faults.last(device, 5, 1, 0x1000);
        assertEquals(FaultProgram.all("0 5/1 1"), faults.told());
    }

    @Test
    void scenario98EachToItsQueue() {
        faults.attachFaulting();
        int[] second = program.faults();
        assertEquals(0, faults.attachPasid(device, 5, faults.faulting(second)));
        faults.last(device, 0, 1, 0x1000);
        faults.last(device, 5, 1, 0x2000);
        assertEquals("[2 0/1 cookie 1]", read(4));
        assertEquals("[3 5/1 cookie 1]", faults.messages(second[1], 4).toString());
    }

    @Test
    void scenario99AGroupOfThree() {
        faults.attachFaulting();
        faults.partial(device, 0, 7, 0xa000);
        faults.partial(device, 0, 7, 0xb000);
        assertEquals("[]", read(4));
        faults.last(device, 0, 7, 0xc000);
        List<FaultProgram.Message> group = faults.messages(faults.fd, 4);
        assertEquals("[0 0/7 cookie 1, 0 0/7 cookie 1, 2 0/7 cookie 1]", group.toString());
        assertEquals(
                List.of(0xa000L, 0xb000L, 0xc000L),
                group.stream().map(FaultProgram.Message::address).toList());
    }

    @Test
    void scenario100InTheOrderOfTheirLast() {
        faults.attachFaulting();
        faults.partial(device, 0, 1, 0xa000);
        faults.partial(device, 0, 2, 0xb000);
        faults.last(device, 0, 2, 0xc000);
        faults.last(device, 0, 1, 0xd000);
        assertEquals("[0 0/2 cookie 1, 2 0/2 cookie 1, 0 0/1 cookie 2, 2 0/1 cookie 2]", read(8));
    }

    @Test
    void scenario101EachDeviceHasItsOwn() {
        faults.attachFaulting();
        Program.Device second = program.device(faults.ioas, 0);
        assertEquals(0, program.replace(second, faults.faulting(faults.queue)));
        faults.partial(device, 0, 3, 0x1000);
        faults.partial(second, 0, 3, 0x2000);
        faults.last(device, 0, 3, 0x3000);
        faults.last(second, 0, 3, 0x4000);
        List<FaultProgram.Message> all = faults.messages(faults.fd, 8);
        assertEquals(
                List.of(device.id(), device.id(), second.id(), second.id()),
                all.stream().map(FaultProgram.Message::device).toList());
        assertEquals(
                List.of(0x1000L, 0x3000L, 0x2000L, 0x4000L),
                all.stream().map(FaultProgram.Message::address).toList());
    }

    @Test
    void scenario102PasidsAreNotCompared() {
        int taking = program.table(Program.PASID, device, faults.ioas);
        assertEquals(0, program.replace(device, taking));
        int[] second = program.faults();
        assertEquals(0, faults.attachPasid(device, 10, faults.faulting(faults.queue)));
        assertEquals(0, faults.attachPasid(device, 11, faults.faulting(second)));
        faults.partial(device, 10, 5, 0xa000);
        faults.last(device, 11, 5, 0xb000);
        assertEquals("[]", read(4));
        assertEquals(
                "[1 10/5 cookie 1, 3 11/5 cookie 1]",
                faults.messages(second[1], 4).toString());
        assertEquals(8, faults.write(second[1], 1, 0));
        assertEquals(FaultProgram.all("0 11/5 0"), faults.told());
    }

    @Test
    void scenario103APartialRequestGoesWithTheAttachment() {
        int table = faults.attachFaulting();
        faults.partial(device, 0, 1, 0xa000);
        assertEquals(0, faults.detachPasid(device, 0));
        assertEquals(0, faults.attachPasid(device, 0, table));
        faults.last(device, 0, 1, 0xb000);
        assertEquals("[2 0/1 cookie 1]", read(4));
        assertEquals(List.of(), faults.told());
    }

    @Test
    void scenario104APartialRequestSurvivesBetweenTablesThatTakeFaults() {
        faults.attachFaulting();
        int[] second = program.faults();
        faults.partial(device, 0, 1, 0xa000);
        assertEquals(0, program.replace(device, faults.faulting(second)));
        faults.last(device, 0, 1, 0xb000);
        assertEquals(2, faults.messages(second[1], 4).size());
    }

    @Test
    void scenario107NotTheLastAndNobodyHandlesIt() {
        faults.partial(device, 0, 1, 0xa000);
        assertEquals(FaultProgram.all("0 0/1+ 1"), faults.told());
    }

    @Test
    void scenario108ManyGroupsUnread() {
        faults.attachFaulting();
        for (int i = 0; i < 512; i++) {
            faults.last(device, 0, i, 0x1000L * i);
        }
        List<FaultProgram.Message> all = faults.messages(faults.fd, 512);
        assertEquals(512, all.size());
        for (int i = 0; i < 512; i++) {
            assertEquals(i, all.get(i).group());
            assertEquals(i + 1, all.get(i).cookie());
        }
    }
}
