package dev.faultline.examples.conform;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Every conversation recorded from Linux 7.2.12 against the emulated {@code /dev/iommu}. */
class RecordingsTest {
    private static final List<Path> FOLDERS = List.of(
            Path.of("src/test/resources/kernel-7.2.12"),
            Path.of("../fault-ring/src/test/resources/kernel-7.2.12"),
            Path.of("src/test/resources/kernel-7.2.12-more"));

    private static List<Path> files() throws IOException {
        List<Path> all = new ArrayList<>();
        for (Path folder : FOLDERS) {
            try (Stream<Path> files = Files.list(folder)) {
                all.addAll(files.filter(file -> file.toString().contains(".jsonl"))
                        .sorted()
                        .toList());
            }
        }
        return all;
    }

    @TestFactory
    Stream<DynamicTest> theEmulatedDeviceDoesAsTheKernelDid() throws IOException {
        return files().stream()
                .map(file -> DynamicTest.dynamicTest(file.getFileName().toString(), () -> replay(file)));
    }

    private static void replay(Path file) throws Exception {
        ReplayedFile replayed = new Replay(false).replay(Recording.read(file.toString()));
        assertEquals(
                "",
                replayed.differences().stream().map(Difference::toString).collect(Collectors.joining("\n")),
                file::toString);
        assertTrue(replayed.passed() > 0);
    }

    @Test
    void everyLineThatCountsIsCompared() throws Exception {
        int passed = 0;
        int notCounted = 0;
        for (Path file : files()) {
            ReplayedFile replayed = new Replay(false).replay(Recording.read(file.toString()));
            passed += replayed.passed();
            notCounted += replayed.notCounted();
        }
        assertEquals(834 + 5_348 + 25_792, passed);
        assertEquals(28, notCounted);
    }
}
