package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.faultline.ffm.Errno;
import dev.faultline.ffm.PageFaultLayout;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Holds conversations recorded from Linux 7.2.12 with a {@link FaultFile}, call by call, and compares every number and byte.
 *
 * <p>The set-up calls are not emulated: the ids they returned say which device raises on which queue.
 */
class KernelReplayTest {
    private static final int ALLOCATION = 1024;
    private static final long SECOND = 1_000_000_000L;

    @ParameterizedTest
    @CsvSource({"read, 62, 0", "write, 54, 0", "cookies, 32, 1", "poll, 13, 2"})
    void theFileDoesAsTheKernelDid(String name, int compared, int performed) {
        List<JsonNode> lines = lines(name);
        Replay replay = new Replay(lines.getFirst());
        try {
            for (JsonNode line : lines.subList(1, lines.size())) {
                replay.line(line);
            }
        } finally {
            replay.end();
        }
        assertEquals(compared, replay.compared, "lines compared");
        assertEquals(performed, replay.performed, "lines performed only");
    }

    private static List<JsonNode> lines(String name) {
        ObjectMapper mapper = new ObjectMapper();
        List<JsonNode> lines = new ArrayList<>();
        try (InputStream in = Objects.requireNonNull(
                KernelReplayTest.class.getResourceAsStream("/kernel-7.2.12/" + name + ".jsonl"))) {
            for (String line : new String(in.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .toList()) {
                lines.add(mapper.readTree(line));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return lines;
    }

    /** A fault queue of the recording. */
    private static final class Queue {
        final FaultQueue queue = FaultQueue.open(
                QueueConfig.of(ALLOCATION).withLargestGroup(8).withDeadlineNs(0).withLanes(4));
        final FaultFile file = queue.file();
    }

    /** A device of the recording. */
    private record Device(int id, String name, FaultProducer producer) {}

    /** What a device was told of a group, as the recording has it. */
    private record Told(String device, int flags, int pasid, int group, int code) {}

    private static final class Replay {
        int compared;
        int performed;

        private final long arenaAt;
        private final MemorySegment arena;
        private final long readOnlyAt;
        private final MemorySegment readOnly = MemorySegment.ofArray(new byte[4096]);
        private final UserMemory memory = new UserMemory();
        private final Random random = new Random(7);

        private final Map<Integer, Queue> queues = new LinkedHashMap<>();
        private final Map<String, Queue> descriptors = new HashMap<>();
        private final List<Integer> deviceIds = new ArrayList<>();
        private final Map<Integer, Integer> deviceByMock = new HashMap<>();
        private final Map<Integer, Device> devices = new HashMap<>();

        /** By tag: what the device will be told, the code aside. */
        private final List<Told> raised = new ArrayList<>();

        private final List<Told> told = new ArrayList<>();

        Replay(JsonNode header) {
            JsonNode map = header.get("memory");
            arenaAt = address(map.get("arena"));
            arena = MemorySegment.ofArray(new byte[map.get("arena_len").intValue()]);
            readOnlyAt = address(map.get("read_only_page"));
            memory.map(arenaAt, arena, true);
            memory.map(readOnlyAt, readOnly, false);
        }

        void line(JsonNode line) {
            boolean exact = !line.has("exact") || line.get("exact").booleanValue();
            switch (text(line, "op")) {
                case "open", "fcntl" -> assertTrue(line.get("ret").intValue() >= 0, line::toString);
                case "ioctl" -> ioctl(line);
                case "read" -> {
                    if (exact) {
                        read(line);
                    } else if (line.has("first_cookie")) {
                        readMany(line);
                    } else {
                        readThenFault(line);
                    }
                }
                case "pread" -> read(line);
                case "write", "pwrite" -> write(line);
                case "poll" -> {
                    if (exact) {
                        poll(line);
                    } else {
                        pollUntilFault(line);
                    }
                }
                case "device_responses" -> responses(line);
                case "elapsed", "epoll_wait" -> assertTrue(!exact, line::toString);
                default -> fail("op unknown: " + line);
            }
        }

        private void ioctl(JsonNode line) {
            JsonNode in = line.get("in");
            JsonNode out = line.get("out");
            assertEquals(0, line.get("ret").intValue(), line::toString);
            switch (text(line, "name")) {
                case "IOMMU_IOAS_ALLOC", "IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE" -> {}
                case "IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS" -> {
                    deviceIds.add(number(out, "out_idev_id"));
                    deviceByMock.put(number(out, "out_stdev_id"), number(out, "out_idev_id"));
                }
                case "IOMMU_FAULT_QUEUE_ALLOC" -> {
                    Queue queue = new Queue();
                    queues.put(number(out, "out_fault_id"), queue);
                    descriptors.put(queues.size() == 1 ? "fault" : "fault" + queues.size(), queue);
                }
                case "IOMMU_HWPT_ALLOC" -> {
                    int queue = number(in, "fault_id");
                    if (queue != 0) {
                        attach(number(in, "dev_id"), queue);
                    }
                }
                case "IOMMU_TEST_OP_TRIGGER_IOPF" -> {
                    Device device = device(number(in, "dev_id"));
                    assertEquals(
                            Result.OK,
                            raise(
                                    device,
                                    number(in, "pasid"),
                                    number(in, "grpid"),
                                    in.get("addr").longValue(),
                                    number(in, "perm"),
                                    (number(in, "__reserved") & 1) == 0),
                            line::toString);
                    compared++;
                }
                case "IOMMU_DESTROY" -> {
                    Device device = device(Objects.requireNonNull(deviceByMock.get(number(in, "id"))));
                    device.producer.revoke(tag -> true, AutoAnswer.DETACH);
                }
                default -> fail("ioctl unknown: " + line);
            }
        }

        private void attach(int id, int queueId) {
            Queue queue = Objects.requireNonNull(queues.get(queueId));
            FaultProducer producer = queue.queue.producer(ALLOCATION, (tag, code) -> {
                Told group = raised.get((int) tag);
                told.add(new Told(group.device, group.flags, group.pasid, group.group, code == Answer.SUCCESS ? 0 : 1));
            });
            assertTrue(producer.enter());
            devices.put(id, new Device(id, "iommufd_mock" + deviceIds.indexOf(id), producer));
        }

        private Device device(int id) {
            return Objects.requireNonNull(devices.get(id));
        }

        private Result raise(Device device, int pasid, int group, long address, int access, boolean last) {
            int flags =
                    (pasid == 0 ? 0 : PageFaultLayout.FLAG_PASID_VALID) | (last ? PageFaultLayout.FLAG_LAST_PAGE : 0);
            raised.add(new Told(device.name, flags, pasid, group, -1));
            int ringPasid = pasid == 0 ? FaultProducer.NO_PASID : pasid;
            Result result =
                    device.producer.raise(raised.size() - 1, device.id, ringPasid, group, address, access, last);
            device.producer.poll();
            return result;
        }

        /** Lets the devices hear what was answered, as the kernel does inside the write. */
        private void step() {
            devices.values().forEach(device -> device.producer.poll());
        }

        private FaultFile file(JsonNode line) {
            return Objects.requireNonNull(descriptors.get(text(line, "fd"))).file;
        }

        private void read(JsonNode line) {
            byte[] expected = line.has("bytes") ? HexFormat.of().parseHex(text(line, "bytes")) : new byte[0];
            assertEquals(line.get("touched").intValue(), expected.length, line::toString);
            long at = address(line.get("buf"));
            // What is not touched has to stay as it is; what is has to change in every byte.
            byte[] before = new byte[(int) arena.byteSize()];
            random.nextBytes(before);
            for (int i = 0; i < expected.length; i++) {
                before[(int) (at - arenaAt) + i] = (byte) ~expected[i];
            }
            MemorySegment.copy(before, 0, arena, ValueLayout.JAVA_BYTE, 0, before.length);
            readOnly.fill((byte) 0x5a);
            long count = line.get("count").bigIntegerValue().longValue();
            long result = line.has("offset")
                    ? file(line).pread(memory, at, count, line.get("offset").longValue())
                    : file(line).read(memory, at, count);
            compare(line, result);
            byte[] after = before.clone();
            if (expected.length > 0) {
                System.arraycopy(expected, 0, after, (int) (at - arenaAt), expected.length);
            }
            assertEquals(-1, MemorySegment.ofArray(after).mismatch(arena), line::toString);
            for (long i = 0; i < readOnly.byteSize(); i++) {
                assertEquals(0x5a, readOnly.get(ValueLayout.JAVA_BYTE, i));
            }
            compared++;
            step();
        }

        private void write(JsonNode line) {
            byte[] bytes = line.has("bytes") ? HexFormat.of().parseHex(text(line, "bytes")) : new byte[0];
            long at = address(line.get("buf"));
            if (bytes.length > 0) {
                MemorySegment.copy(bytes, 0, arena, ValueLayout.JAVA_BYTE, at - arenaAt, bytes.length);
            }
            long count = line.get("count").bigIntegerValue().longValue();
            long result = line.has("offset")
                    ? file(line).pwrite(memory, at, count, line.get("offset").longValue())
                    : file(line).write(memory, at, count);
            compare(line, result);
            compared++;
            step();
        }

        private static void compare(JsonNode line, long result) {
            assertEquals(line.get("ret").longValue(), result < 0 ? -1 : result, line::toString);
            assertEquals(text(line, "errno"), result < 0 ? Errno.name((int) -result) : "0", line::toString);
        }

        private void poll(JsonNode line) {
            long limitNs = line.get("timeout").longValue() * 1_000_000;
            long start = System.nanoTime();
            int revents = file(line).poll(number(line, "events"), limitNs);
            assertEquals(number(line, "revents"), revents, line::toString);
            compare(line, revents < 0 ? revents : revents == 0 ? 0 : 1);
            if (revents == 0) {
                assertTrue(System.nanoTime() - start >= limitNs, line::toString);
            }
            compared++;
        }

        private void responses(JsonNode line) {
            List<Told> expected = new ArrayList<>();
            for (JsonNode response : line.get("list")) {
                expected.add(new Told(
                        text(response, "dev"),
                        number(response, "flags"),
                        number(response, "pasid"),
                        number(response, "grpid"),
                        number(response, "code")));
            }
            // The recording lists what came since the last such line.
            assertEquals(expected, told, line::toString);
            told.clear();
            compared++;
        }

        // ---- lines that are not for comparing, and on which later ones build

        /** The fault that the recording's other thread made. */
        private Thread faultLater(Runnable before) {
            Device device = device(deviceIds.getFirst());
            device.producer.leave();
            return Thread.ofPlatform().start(() -> {
                before.run();
                assertTrue(device.producer.enter());
                assertEquals(Result.OK, raise(device, 1, 5, 0x5000, 3, true));
                device.producer.leave();
            });
        }

        private void join(Thread thread) {
            try {
                assertTrue(thread.join(Duration.ofSeconds(10)));
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
            assertTrue(device(deviceIds.getFirst()).producer.enter());
        }

        private void pollUntilFault(JsonNode line) {
            Thread thread = faultLater(() -> LockSupport.parkNanos(30_000_000));
            assertEquals(number(line, "revents"), file(line).poll(FaultFile.POLLIN, 10 * SECOND), line::toString);
            join(thread);
            performed++;
        }

        private void readThenFault(JsonNode line) {
            assertEquals(line.get("ret").longValue(), file(line).read(memory, arenaAt, 40), "the read does not wait");
            join(faultLater(() -> {}));
            performed++;
        }

        private void readMany(JsonNode line) {
            int count = number(line, "count");
            for (int i = 0; i < count / PageFaultLayout.SIZE; i++) {
                assertEquals(Result.OK, raise(device(deviceIds.getFirst()), 1, 100 + i, (long) i << 12, 3, true));
            }
            assertEquals(line.get("ret").longValue(), file(line).read(memory, arenaAt, count));
            int cookie = number(line, "first_cookie");
            for (long at = PageFaultLayout.COOKIE_OFFSET; at < count; at += PageFaultLayout.SIZE) {
                assertEquals(cookie++, arena.get(ValueLayout.JAVA_INT_UNALIGNED, at));
            }
            assertEquals(number(line, "last_cookie"), cookie - 1);
            performed++;
        }

        void end() {
            for (Queue queue : queues.values()) {
                queue.queue.close();
                Accounting a = queue.queue.accounting();
                assertTrue(a.balanced(), a::toString);
                assertEquals(0, a.outstanding(), a::toString);
                assertEquals(0, queue.queue.heldBytes());
            }
        }

        private static long address(JsonNode hex) {
            return Long.parseUnsignedLong(hex.textValue().substring(2), 16);
        }

        private static String text(JsonNode line, String field) {
            return Objects.requireNonNull(line.get(field), field).textValue();
        }

        private static int number(JsonNode line, String field) {
            return Objects.requireNonNull(line.get(field), field).intValue();
        }
    }
}
