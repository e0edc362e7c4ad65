package dev.faultline.ffm;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/** Descriptors of this process and mappings of files without a name on disk, counted before a test and after it. */
final class Leaks {
    private final long descriptors;
    private final long mappings;

    private Leaks(long descriptors, long mappings) {
        this.descriptors = descriptors;
        this.mappings = mappings;
    }

    static Leaks count() throws IOException {
        try (Stream<Path> fds = Files.list(Path.of("/proc/self/fd"));
                Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
            return new Leaks(
                    fds.count(),
                    maps.filter(line -> line.contains("anon_inode:") || line.contains("memfd:"))
                            .count());
        }
    }

    void assertNone() throws IOException {
        Leaks now = count();
        assertEquals(descriptors, now.descriptors, "descriptors");
        assertEquals(mappings, now.mappings, "mappings");
    }

    /** Mappings of io_urings and files in memory. */
    long mappings() {
        return mappings;
    }
}
