package dev.faultline.examples.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.faultline.examples.cli.FaultlineProcess.Ended;
import dev.faultline.examples.cli.Finding.State;
import dev.faultline.ffm.IoUring;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The doctor as a user meets it, on this machine and on ones that lack something. */
class DoctorProcessTest {
    private static final ObjectMapper JSON = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    private static final String NATIVE = "--enable-native-access=ALL-UNNAMED";
    private static final List<String> ITEMS = List.of(
            "JDK",
            "word size",
            "replay",
            "cores",
            "processor time",
            "clock",
            "Linux calls",
            "affinity",
            "io_uring",
            "local sockets",
            "eventfd, epoll",
            "memfd",
            "userfaultfd",
            "/dev/iommu",
            "open files",
            "locked memory",
            "C compiler");

    @TempDir
    Path folder;

    private static Map<String, JsonNode> items(Ended e) throws Exception {
        Map<String, JsonNode> items = new TreeMap<>();
        for (JsonNode item : JSON.readTree(e.out()).get("items")) {
            items.put(item.get("item").asText(), item);
        }
        return items;
    }

    private static String said(Map<String, JsonNode> items, String item) {
        JsonNode node = JSON.valueToTree(items.get(item));
        return node.get("state").asText() + ": " + node.get("why").asText() + " -> "
                + node.get("remedy").asText();
    }

    @Test
    void everythingIsTriedAndSaid() throws Exception {
        Ended e = FaultlineProcess.run(folder, "doctor", "--json");
        assertEquals(0, e.status(), e.err());
        assertEquals("", e.err());
        JsonNode node = JSON.readTree(e.out());
        assertTrue(node.get("ok").asBoolean());
        assertEquals("doctor", node.get("command").asText());
        assertTrue(node.get("seed").isNull());
        assertTrue(node.get("machine").has("kernel"));
        List<String> names = new ArrayList<>();
        for (JsonNode item : node.get("items")) {
            names.add(item.get("item").asText());
            String state = item.get("state").asText();
            assertTrue(List.of("yes", "no", "limited").contains(state), item::toString);
            assertFalse(item.get("why").asText().isEmpty(), item::toString);
            assertEquals(state.equals("yes"), item.get("remedy").isNull(), item::toString);
            assertEquals(
                    List.of("JDK", "word size", "replay")
                            .contains(item.get("item").asText()),
                    item.get("needed").asBoolean());
        }
        assertEquals(ITEMS, names);
        Map<String, JsonNode> items = items(e);
        assertTrue(said(items, "replay").startsWith("yes: "), said(items, "replay"));
        assertEquals(
                IoUring.missing().isPresent(), said(items, "io_uring").startsWith("no: "), said(items, "io_uring"));
    }

    @Test
    void theTableHasTheSame() throws Exception {
        Ended e = FaultlineProcess.run(folder, "doctor");
        assertEquals(0, e.status(), e.err());
        assertEquals("", e.err());
        for (String item : ITEMS) {
            assertTrue(e.out().contains("  " + item + " "), e.out());
        }
        assertTrue(e.out().endsWith("the main job can run\n"), e.out());
        Ended quiet = FaultlineProcess.run(folder, "doctor", "--quiet");
        assertEquals(0, quiet.status());
        assertEquals("", quiet.out() + quiet.err());
    }

    @Test
    void whatIsRefusedIsNamedWithAReasonAndARemedy() throws Exception {
        String refused = "io_uring_setup=EPERM,eventfd=ENOSYS,memfd_create=EMFILE,userfaultfd=EPERM";
        Ended e = FaultlineProcess.run(
                folder, List.of(NATIVE, "-Ddev.faultline.refuse=" + refused), "", "doctor", "--json");
        assertEquals(0, e.status(), "the main job needs none of it");
        Map<String, JsonNode> items = items(e);
        assertTrue(said(items, "io_uring").startsWith("no: io_uring_setup: EPERM: "), said(items, "io_uring"));
        assertEquals(
                "no: eventfd: ENOSYS -> a kernel that has it, or a sandbox that lets it through",
                said(items, "eventfd, epoll"));
        assertEquals("no: memfd_create: EMFILE -> ulimit -n", said(items, "memfd"));
        assertTrue(said(items, "userfaultfd").contains("vm.unprivileged_userfaultfd=1"), said(items, "userfaultfd"));
        Ended none = FaultlineProcess.run(
                folder,
                List.of(NATIVE, "-Ddev.faultline.refuse=io_uring_setup=ENOSYS,epoll_create1=EPERM"),
                "",
                "doctor",
                "--json");
        assertTrue(said(items(none), "io_uring").contains("-> Linux 5.11 or newer"), said(items(none), "io_uring"));
        assertTrue(said(items(none), "eventfd, epoll").startsWith("no: epoll_create1: EPERM -> "));
    }

    @Test
    void anOlderKernelIsLimited() throws Exception {
        assumeTrue(IoUring.missing().isEmpty(), () -> IoUring.missing().orElse(""));
        Ended e = FaultlineProcess.run(
                folder,
                List.of(
                        NATIVE,
                        "-Ddev.faultline.refuse=io_uring_setup.NO_SQARRAY=EINVAL,io_uring_setup.DEFER_TASKRUN=EINVAL"),
                "",
                "doctor",
                "--json");
        assertEquals(0, e.status());
        String said = said(items(e), "io_uring");
        assertTrue(said.startsWith("limited: ") && said.contains("Linux older than 6.1"), said);
    }

    @Test
    void withoutNativeAccessTheMainJobRunsAndTheRestIsNotTried() throws Exception {
        Ended e = FaultlineProcess.run(folder, List.of("--illegal-native-access=deny"), "", "doctor", "--json");
        assertEquals(0, e.status(), e.err());
        Map<String, JsonNode> items = items(e);
        assertTrue(
                said(items, "Linux calls").startsWith("no: native access is off: start java with"),
                said(items, "Linux calls"));
        assertFalse(items.containsKey("io_uring"));
        assertTrue(said(items, "replay").startsWith("yes: "));
    }

    @Test
    void aMainJobThatCannotRunIsStatusThree() throws Exception {
        Path broken = Files.createDirectories(folder.resolve("classes/dev/faultline/examples/replay"));
        Files.writeString(broken.resolve("sqlite3.trace.gz"), " L 1000,8\n L nonsense\n");
        String before = folder.resolve("classes") + ":";
        Ended e = FaultlineProcess.run(folder, List.of(NATIVE), before, "doctor", "--json");
        assertEquals(3, e.status(), e.out());
        assertTrue(e.err().startsWith("faultline doctor: replay: "), e.err());
        JsonNode node = JSON.readTree(e.out());
        assertFalse(node.get("ok").asBoolean());
        assertEquals("lacking", node.at("/error/kind").asText());
        assertEquals("replay", node.at("/error/field").asText());
        assertTrue(node.at("/error/allowed").asText().startsWith("build anew"), e.out());
        assertTrue(said(items(e), "replay").startsWith("no: "));
        Ended table = FaultlineProcess.run(folder, List.of(NATIVE), before, "doctor");
        assertEquals(3, table.status());
        assertTrue(table.out().endsWith("the main job cannot run\n"), table.out());
    }

    @Test
    void anUnknownOptionIsBadInput() throws Exception {
        Ended e = FaultlineProcess.run(folder, "doctor", "--fix", "--json");
        assertEquals(2, e.status());
        assertEquals("bad_input", JSON.readTree(e.out()).at("/error/kind").asText());
    }

    @Test
    void limitsAreReadFromWhereLinuxHasThem() throws Exception {
        Path file = folder.resolve("file");
        assertEquals(
                State.YES, MachineCheck.processorTime(folder.resolve("none")).state());
        Files.writeString(file, "max 100000\n");
        assertEquals("no quota", MachineCheck.processorTime(file).why());
        Files.writeString(file, "50000 100000\n");
        assertTrue(MachineCheck.processorTime(file).why().startsWith("a quota of 0.50 processors: "));
        assertEquals(State.LIMITED, MachineCheck.processorTime(file).state());
        Files.writeString(file, "hpet\n");
        assertEquals(State.LIMITED, MachineCheck.clock(file).state());
        Files.writeString(file, "kvm-clock\n");
        assertEquals(State.YES, MachineCheck.clock(file).state());
        assertEquals(State.LIMITED, MachineCheck.clock(folder.resolve("none")).state());
        Files.writeString(file, """
            Limit                     Soft Limit           Hard Limit           Units
            Max open files            256                  4096                 files
            Max locked memory         65536                65536                bytes
            """);
        assertEquals(
                "256: a served queue takes three for each consumer",
                MachineCheck.openFiles(file).why());
        assertEquals(State.LIMITED, MachineCheck.lockedMemory(file).state());
        Files.writeString(file, "Max locked memory         unlimited            unlimited            bytes\n");
        assertEquals("unlimited", MachineCheck.lockedMemory(file).why());
        assertEquals(State.LIMITED, MachineCheck.openFiles(file).state());
        assertEquals(State.NO, LinuxCheck.iommufd(folder.resolve("none")).state());
        assertEquals(State.YES, LinuxCheck.iommufd(file).state());
        assertEquals(State.LIMITED, LinuxCheck.iommufd(folder).state(), "a directory cannot be opened for writing");
    }
}
