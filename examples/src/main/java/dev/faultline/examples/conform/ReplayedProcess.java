package dev.faultline.examples.conform;

import dev.faultline.examples.BadInput;
import dev.faultline.ffm.Errno;
import dev.faultline.iommu.iommufd.SystemCalls;
import dev.faultline.iommu.iommufd.mock.MockDriver;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The recorded program, made again: its memory, its descriptors, its devices, and its calls one by one.
 *
 * <p>Threads: one; a call that was recorded while it waited has a second one make what it waits for. To be closed when the group
 * ends.
 */
final class ReplayedProcess implements AutoCloseable {
    private static final int POLLIN = 1;
    private static final int WAIT_LIMIT_MS = 10_000;
    private static final int DESCRIPTORS = 1024;

    private static final int F_GETFD = 1;
    private static final int F_SETFD = 2;
    private static final int F_GETFL = 3;
    private static final int F_SETFL = 4;
    private static final int F_DUPFD = 0;
    private static final int F_DUPFD_CLOEXEC = 1030;
    private static final int O_NONBLOCK = 0x800;
    private static final int MAP_SHARED = 1;
    private static final int PAGE = 4096;

    private static final Pattern LIMIT = Pattern.compile("RLIMIT_NOFILE is (\\d{1,6})");

    private final MockDriver mock = MockDriver.open();
    private final CallerMemory memory;
    private final SystemCalls calls;
    private final DescriptorNames names = new DescriptorNames();
    private final TestCommands test;
    private final RecordedMemory recordedMemory;
    private boolean limited;

    /** Where the last region was mapped. */
    private long mapped;

    ReplayedProcess(RecordedLine header, boolean directionsGiven) throws BadInput {
        memory = new CallerMemory(header);
        calls = SystemCalls.open(memory.user(), mock);
        test = new TestCommands(calls, memory, names);
        recordedMemory = new RecordedMemory(memory, directionsGiven);
    }

    @Override
    public void close() {
        calls.close();
        mock.close();
    }

    void perform(List<RecordedLine> lines, int index, Comparison comparison) throws BadInput {
        RecordedLine line = lines.get(index);
        String op = line.text("op");
        boolean unlimits = limited && !op.equals("note");
        switch (op) {
            case "open" -> open(line, comparison);
            case "close" -> {
                int fd = fd(line);
                comparison.result(calls.close(fd));
                names.closed(fd);
            }
            case "dup" -> named(line, comparison, calls.dup(fd(line)));
            case "ioctl" -> ioctl(lines, index, comparison);
            case "read", "pread" -> read(lines, index, comparison);
            case "write", "pwrite" -> write(line, comparison);
            case "readv", "preadv", "writev", "pwritev" -> vectored(line, comparison);
            case "poll" -> poll(line, comparison);
            case "fcntl" -> fcntl(line, comparison);
            case "lseek" ->
                comparison.result(calls.lseek(fd(line), line.number("offset", 0), (int) line.number("whence", 0)));
            case "fsync" -> comparison.result(calls.fsync(fd(line)));
            case "ftruncate" -> comparison.result(calls.ftruncate(fd(line), line.number("length", 0)));
            case "mmap" -> mmap(line, comparison);
            case "munmap" ->
                comparison.result(calls.munmap(line.number("address", mapped), line.number("length", PAGE)));
            case "memory" -> recordedMemory.line(lines, index, comparison);
            case "iotlb" -> valid(line, comparison, Commands.TEST_CHECK_IOTLB, "hwpt", TestCommands.IOTLB_VALID);
            case "dev_cache" ->
                valid(line, comparison, Commands.TEST_CHECK_DEV_CACHE, "dev", TestCommands.DEV_CACHE_VALID);
            case "device_responses" -> responses(line, comparison);
            case "note" -> note(line);
            default -> {
                if (line.counts()) {
                    comparison.same("op", "one that this program knows", op);
                }
            }
        }
        if (unlimits) {
            limited = false;
            calls.limitDescriptors(DESCRIPTORS);
        }
    }

    private int fd(RecordedLine line) throws BadInput {
        return names.number(line.json("fd").isIntegralNumber() ? Long.toString(line.number("fd")) : line.text("fd"));
    }

    private void note(RecordedLine line) throws BadInput {
        Matcher limit = LIMIT.matcher(line.text("text", ""));
        if (limit.find()) {
            calls.limitDescriptors(Integer.parseInt(limit.group(1)));
            limited = true;
        }
    }

    private void open(RecordedLine line, Comparison comparison) throws BadInput {
        int fd = calls.open(line.text("path"), (int) line.number("flags", 2));
        if (fd >= 0) {
            names.context(fd);
        }
        named(line, comparison, fd);
    }

    /** A call that returns a descriptor, which the recording may have given a name. */
    private void named(RecordedLine line, Comparison comparison, long result) throws BadInput {
        comparison.result(result);
        if (line.has("as") && line.number("ret", 0) >= 0) {
            names.open(line.text("as"), result);
        }
    }

    // ---- ioctl ----

    private void ioctl(List<RecordedLine> lines, int index, Comparison comparison) throws BadInput {
        RecordedLine line = lines.get(index);
        int fd = fd(line);
        int request = (int) line.number("request", Commands.number(line.text("name", "")));
        if (request == 0) {
            request = Commands.FIRST;
        }
        byte[] in = structure(line, request);
        boolean atTheEnd = !line.has("arg")
                && (declared(in) > in.length || line.text("case", "").contains("mapped_end"));
        long argument;
        int given = in.length;
        if (line.has("arg")) {
            argument = line.number("arg");
            given = memory.put(argument, in);
        } else {
            argument = atTheEnd ? memory.structureAtTheEnd(in) : memory.structure(in);
        }
        recordedMemory.before(lines, index, request, in);
        int result = calls.ioctl(fd, request, argument);
        comparison.result(result);
        if (Commands.bytes(request) > 0 && result != -Errno.ENOTTY && result != -Errno.EBADF) {
            names.context(fd);
        }
        byte[] out = memory.get(argument, given);
        if (line.text("out_hex", "").isEmpty()) {
            if (line.json("out").isTextual()) {
                comparison.bytes("struct, which should be unchanged,", Arrays.copyOf(in, given), out);
            }
        } else {
            byte[] expected = line.bytes("out_hex");
            comparison.bytes("struct", Arrays.copyOf(expected, Math.min(expected.length, given)), out);
        }
        if (!line.has("arg") && !atTheEnd) {
            comparison.same("bytes changed behind the struct", 0, memory.scribbled(in));
        }
        if (line.number("ret", result) >= 0) {
            returned(request, line, out);
        }
    }

    private static int declared(byte[] structure) {
        return structure.length < Integer.BYTES
                ? 0
                : ByteBuffer.wrap(structure).order(ByteOrder.LITTLE_ENDIAN).getInt(0);
    }

    /** The structure's bytes; of one that was not recorded only the size is known to be right. */
    private byte[] structure(RecordedLine line, int request) throws BadInput {
        if (line.has("in_hex")) {
            return line.bytes("in_hex");
        }
        if (line.has("in")) {
            throw line.bad("in_hex", "is missing", "the structure's bytes, beside in");
        }
        boolean ordinary = !line.has("arg") || memory.isReadOnly(line.number("arg"));
        long size = line.number("size", ordinary || line.has("name") ? Commands.bytes(request) : 0);
        if (size < 0 || size > 1 << 15) {
            throw line.bad("size", "is out of range: " + size, "0 to 32768");
        }
        byte[] bytes = new byte[(int) size];
        if (size >= Integer.BYTES) {
            ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putInt(0, (int) size);
        }
        return bytes;
    }

    /** Notes what a command made that succeeded in the recording. */
    private void returned(int request, RecordedLine line, byte[] out) throws BadInput {
        ByteBuffer struct = ByteBuffer.wrap(Arrays.copyOf(out, Math.max(out.length, Commands.TEST_BYTES)))
                .order(ByteOrder.LITTLE_ENDIAN);
        switch (request) {
            case Commands.FAULT_QUEUE_ALLOC -> names.returned("fault", struct.getInt(12));
            case Commands.VEVENTQ_ALLOC -> names.returned("veventq", struct.getInt(24));
            case Commands.TEST -> {
                switch (struct.getInt(4)) {
                    case Commands.TEST_CREATE_ACCESS -> names.returned("access", struct.getInt(16));
                    case Commands.TEST_MOCK_DOMAIN, Commands.TEST_MOCK_DOMAIN_FLAGS -> test.device(struct.getInt(24));
                    case Commands.TEST_TRIGGER_IOPF, Commands.TEST_TRIGGER_VEVENT -> test.device(struct.getInt(16));
                    default -> {
                        if (line.has("as")) {
                            names.open(line.text("as"), line.number("ret", 0));
                        }
                    }
                }
            }
            default -> {}
        }
    }

    // ---- read and write ----

    private void read(List<RecordedLine> lines, int index, Comparison comparison) throws BadInput {
        RecordedLine line = lines.get(index);
        long count = line.number("count");
        if (!line.counts() && !line.has("buf")) {
            return; // many calls in one line
        }
        long buf = line.number("buf", memory.arena());
        byte[] before = memory.get(buf, Math.max(0, line.number("writable", memory.isReadOnly(buf) ? 0 : count)));
        memory.fill(buf, before.length, CallerMemory.PATTERN);
        int fd = fd(line);
        long result = line.text("op").equals("pread")
                ? calls.pread(fd, buf, count, line.number("offset", 0))
                : calls.read(fd, buf, count);
        byte[] after = memory.get(buf, before.length);
        comparison.result(result);
        int touched = after.length;
        while (touched > 0 && after[touched - 1] == CallerMemory.PATTERN) {
            touched--;
        }
        comparison.number("touched", touched);
        if (line.has("bytes")) {
            byte[] expected = line.bytes("bytes");
            comparison.bytes("bytes", expected, Arrays.copyOf(after, Math.min(expected.length, after.length)));
        }
        // What the call left alone is as it was before.
        memory.put(buf + touched, Arrays.copyOfRange(before, touched, before.length));
        boolean faultComesLater = !line.counts()
                && index + 1 < lines.size()
                && lines.get(index + 1).text("op", "").equals("elapsed");
        if (faultComesLater) {
            test.raise("fault");
        }
    }

    private void write(RecordedLine line, Comparison comparison) throws BadInput {
        long buf = line.number("buf", memory.arena());
        if (line.has("bytes")) {
            memory.put(buf, line.bytes("bytes"));
        }
        int fd = fd(line);
        long count = line.number("count");
        comparison.result(
                line.text("op").equals("pwrite")
                        ? calls.pwrite(fd, buf, count, line.number("offset", 0))
                        : calls.write(fd, buf, count));
    }

    private void vectored(RecordedLine line, Comparison comparison) throws BadInput {
        int fd = fd(line);
        long vector = line.number("vector");
        int segments = (int) line.number("segments");
        long offset = line.number("offset", 0);
        comparison.result(
                switch (line.text("op")) {
                    case "readv" -> calls.readv(fd, vector, segments);
                    case "preadv" -> calls.preadv(fd, vector, segments, offset);
                    case "writev" -> calls.writev(fd, vector, segments);
                    default -> calls.pwritev(fd, vector, segments, offset);
                });
    }

    // ---- the rest ----

    private void poll(RecordedLine line, Comparison comparison) throws BadInput {
        String name = line.text("fd");
        int events = (int) line.number("events", POLLIN);
        int fd = names.number(name);
        int revents;
        if (line.json("waited").asBoolean(false)) {
            try (TestCommands.Later _ = test.raiseLater(name)) {
                revents = calls.poll(fd, events, WAIT_LIMIT_MS);
            }
        } else {
            revents = calls.poll(fd, events, (int) line.number("timeout", 0));
        }
        comparison.result(revents > 0 ? 1 : revents);
        comparison.number("revents", Math.max(0, revents));
    }

    private void fcntl(RecordedLine line, Comparison comparison) throws BadInput {
        String word =
                line.json("cmd").isIntegralNumber() ? Long.toString(line.number("cmd")) : line.text("cmd", "F_SETFL");
        int command = switch (word) {
            case "F_DUPFD" -> F_DUPFD;
            case "F_GETFD" -> F_GETFD;
            case "F_SETFD" -> F_SETFD;
            case "F_GETFL" -> F_GETFL;
            case "F_SETFL" -> F_SETFL;
            case "F_DUPFD_CLOEXEC" -> F_DUPFD_CLOEXEC;
            default -> (int) line.number("cmd");
        };
        long argument;
        if (!line.has("arg")) {
            argument = line.has("cmd") ? 0 : O_NONBLOCK;
        } else if (line.json("arg").isTextual() && line.text("arg").startsWith("O_")) {
            argument = 0;
            for (String flag : line.text("arg").toUpperCase(Locale.ROOT).split("\\|", -1)) {
                argument |= flag.strip().equals("O_NONBLOCK") ? O_NONBLOCK : 0;
            }
        } else if (line.json("arg").isTextual() && line.text("arg").equals("FD_CLOEXEC")) {
            argument = 1;
        } else {
            argument = line.number("arg");
        }
        named(line, comparison, calls.fcntl(fd(line), command, argument));
    }

    /** Where a region comes to lie is not compared: of a call that succeeds only that it does. */
    private void mmap(RecordedLine line, Comparison comparison) throws BadInput {
        long result = calls.mmap(
                fd(line), line.number("offset", 0), line.number("length", PAGE), (int) line.number("prot", 1), (int)
                        line.number("flags", MAP_SHARED));
        comparison.result(result > 0 ? line.number("ret", 0) : result);
        if (result > 0) {
            mapped = result;
            if (line.has("bytes")) {
                byte[] expected = line.bytes("bytes");
                byte[] there = new byte[expected.length];
                var _ = memory.user().copyIn(mapped, MemorySegment.ofArray(there));
                comparison.bytes("bytes", expected, there);
            }
        }
    }

    private void valid(RecordedLine line, Comparison comparison, int operation, String of, int value) throws BadInput {
        int id = (int) line.number(of);
        int entries = line.json("valid").size();
        for (int i = 0; i < entries; i++) {
            comparison.same(
                    "valid[" + i + "]", line.json("valid").get(i).asText(), test.isValid(operation, id, i, value));
        }
    }

    private void responses(RecordedLine line, Comparison comparison) throws BadInput {
        StringBuilder expected = new StringBuilder();
        for (RecordedLine told : line.objects("list")) {
            said(
                    expected,
                    told.text("dev"),
                    told.number("flags"),
                    told.number("pasid"),
                    told.number("grpid"),
                    told.number("code"));
        }
        StringBuilder actual = new StringBuilder();
        for (MockDriver.Response told : mock.takeResponses()) {
            said(
                    actual,
                    told.device(),
                    told.flags(),
                    Integer.toUnsignedLong(told.pasid()),
                    Integer.toUnsignedLong(told.group()),
                    told.code());
        }
        comparison.same("list", expected.toString(), actual.toString());
    }

    private static void said(StringBuilder all, String device, long flags, long pasid, long group, long code) {
        all.append(all.isEmpty() ? "" : ", ")
                .append(device)
                .append(" flags ")
                .append(flags)
                .append(" pasid ")
                .append(pasid)
                .append(" group ")
                .append(group)
                .append(" code ")
                .append(code);
    }
}
