package dev.faultline.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.IoUring;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ring.DescriptorConsumer;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

class ProgramsTest {
    private static final Pattern SHOWN =
            Pattern.compile("<!-- example:(\\w+) -->\\s*```java\\n(.*?)```", Pattern.DOTALL);

    @Test
    void theTenLinesDoWhatTheReadmeSays() {
        String said = output(() -> TenLines.main(new String[0]));
        assertTrue(said.startsWith("raised 1 = answered 1 + auto-answered 0 + dropped 0 + outstanding 0"), said);
    }

    @Test
    void theNestedLinesMendAGuestsTables() {
        assertEquals("hello" + System.lineSeparator(), output(() -> NestedLines.main(new String[0])));
    }

    @Test
    void theReadmeShowsProgramsAsTheyAre() throws Exception {
        Matcher shown = SHOWN.matcher(Files.readString(Path.of("../README.md")));
        Set<String> names = new HashSet<>();
        while (shown.find()) {
            names.add(shown.group(1));
            String source =
                    Files.readString(Path.of("src/main/java/dev/faultline/examples/" + shown.group(1) + ".java"));
            String wanted = oneSpaced(shown.group(2));
            assertTrue(oneSpaced(source).contains(wanted), wanted);
        }
        assertEquals(Set.of("TenLines", "NestedLines", "Handlers"), names);
    }

    @Test
    void everyWayToHandleBringsEveryPage() {
        String wanted = "raised 64 = answered 64 + auto-answered 0 + dropped 0 + outstanding 0";
        String[] said = output(() -> Handlers.main(new String[0])).split("\n", -1);
        assertEquals(4, said.length);
        for (int i = 0; i < 3; i++) {
            assertTrue(
                    said[i].startsWith(List.of("later: ", "batch: ", "take: ").get(i) + wanted), said[i]);
        }
    }

    private static String oneSpaced(String text) {
        return text.replaceAll("\\s+", " ").strip();
    }

    @Test
    void anotherDeviceModelGetsItsPagesAndItsRefusals() {
        // 1000 buffers over 64 pages: the last page is asked for, and refused, 15 times.
        assertEquals(
                "filled 985, refused 15; raised 78 = answered 78 + auto-answered 0 + dropped 0 + outstanding 0",
                OwnDevice.fill(1_000).replaceFirst(" \\(requests.*", ""));
        assertTrue(output(() -> OwnDevice.main(new String[0])).startsWith("filled 985"));
    }

    @Test
    void oneHandlerServesTheEmulatorAndASocketPair() {
        assertEquals(
                "emulator: 100 pages; raised 100 = answered 100 + auto-answered 0 + dropped 0 + outstanding 0",
                SocketPairSource.emulator(100).replaceFirst(" \\(requests.*", ""));
        Assumptions.assumeTrue(
                LinuxCalls.missing().isEmpty(), () -> LinuxCalls.missing().orElse(""));
        String all = "100 pages; raised 100 = answered 100 + auto-answered 0 + dropped 0 + outstanding 0";
        assertEquals(
                all,
                SocketPairSource.socketPair(100, end -> DescriptorConsumer.open(end, 16, 1))
                        .replaceFirst(" \\(requests.*", ""));
        Assumptions.assumeTrue(
                IoUring.missing().isEmpty(), () -> IoUring.missing().orElse(""));
        assertEquals(
                all,
                SocketPairSource.socketPair(100, end -> DescriptorConsumer.openUring(end, 16, 1))
                        .replaceFirst(" \\(requests.*", ""));
    }

    private static String output(Runnable program) {
        PrintStream before = System.out;
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (PrintStream caught = new PrintStream(out, true, StandardCharsets.UTF_8)) {
            System.setOut(caught);
            program.run();
        } finally {
            System.setOut(before);
        }
        return out.toString(StandardCharsets.UTF_8);
    }
}
