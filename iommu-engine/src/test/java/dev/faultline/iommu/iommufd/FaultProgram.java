package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.faultline.iommu.iommufd.mock.MockDriver;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** A program with what most scenarios begin with: an address space, a nesting parent, a fault queue, and devices of the mock. */
final class FaultProgram implements AutoCloseable {
    static final int RECORD = 40;
    static final int SUCCESS = 0;
    static final int INVALID = 1;

    /** A fault record, and what it is without its device and address: "flags pasid/group cookie". */
    record Message(
            int flags, int device, int pasid, int group, int perm, int reserved, long address, int length, int cookie) {
        @Override
        public String toString() {
            return flags + " " + pasid + "/" + group + " cookie " + cookie;
        }
    }

    final MockDriver driver = MockDriver.open();
    final Program program = new Program(driver);
    final SystemCalls calls = program.calls;
    final int ioas = program.ioas();
    final Program.Device first = program.device(ioas, Program.DEVICE_PASID);
    final int parent = program.table(Program.NEST_PARENT | Program.PASID, first, ioas);
    final int[] queue = program.faults();
    final int fd = queue[1];

    /** A nested table whose faults go to a queue. */
    int faulting(int[] to) {
        return program.nested(Program.FAULT_ID_VALID | Program.PASID, first, parent, to[0]);
    }

    /** A nested table without queue. */
    int quiet() {
        return program.nested(Program.PASID, first, parent, 0);
    }

    /** Puts the first device on a nested table with the queue. */
    int attachFaulting() {
        int table = faulting(queue);
        assertEquals(0, program.replace(first, table));
        return table;
    }

    void partial(Program.Device device, int pasid, int group, long address) {
        assertEquals(0, request(device, pasid, group, address, 1));
    }

    void last(Program.Device device, int pasid, int group, long address) {
        assertEquals(0, request(device, pasid, group, address, 0));
    }

    private int request(Program.Device device, int pasid, int group, long address, int more) {
        int[] words = new int[18];
        words[1] = 15;
        words[3] = more;
        words[4] = device.id();
        words[5] = pasid;
        words[6] = group;
        words[7] = 3;
        words[8] = (int) address;
        words[9] = (int) (address >>> 32);
        return program.ioctl(0x3ba0, words);
    }

    int attachPasid(Program.Device device, int pasid, int table) {
        return program.test(18, device.mock(), pasid, table);
    }

    int replacePasid(Program.Device device, int pasid, int table) {
        return program.test(19, device.mock(), pasid, table);
    }

    int detachPasid(Program.Device device, int pasid) {
        return program.test(20, device.mock(), pasid);
    }

    /** 0 if a PASID is attached to a table, or to none with 0. */
    int checkPasid(Program.Device device, int pasid, int table) {
        return program.test(21, device.mock(), pasid, table);
    }

    long read(int from, long bytes) {
        return calls.read(from, Program.ARENA, bytes);
    }

    /** Reads up to so many records. */
    List<Message> messages(int from, int records) {
        long n = read(from, (long) records * RECORD);
        List<Message> all = new ArrayList<>();
        for (long at = 0; at < n; at += RECORD) {
            all.add(new Message(
                    word(at),
                    word(at + 4),
                    word(at + 8),
                    word(at + 12),
                    word(at + 16),
                    word(at + 20),
                    program.arena.get(ValueLayout.JAVA_LONG, at + 24),
                    word(at + 32),
                    word(at + 36)));
        }
        return all;
    }

    private int word(long at) {
        return program.arena.get(ValueLayout.JAVA_INT, at);
    }

    /** Writes responses: cookie, code, cookie, code. */
    long write(int to, int... cookiesAndCodes) {
        program.write(0, cookiesAndCodes);
        return calls.write(to, Program.ARENA, 4L * cookiesAndCodes.length);
    }

    /** What the devices were told since this was asked before: "device pasid/group code", with a + if the group went on. */
    List<String> told() {
        return driver.takeResponses().stream()
                .map(told -> told.device().replace("iommufd_mock", "") + " " + told.pasid() + "/" + told.group()
                        + ((told.flags() & 2) == 0 ? "+ " : " ") + told.code())
                .collect(Collectors.toCollection(ArrayList::new));
    }

    static List<String> all(String... told) {
        return Stream.of(told).toList();
    }

    /** Every answer is one the devices were told. */
    @Override
    public void close() {
        program.close();
    }
}
