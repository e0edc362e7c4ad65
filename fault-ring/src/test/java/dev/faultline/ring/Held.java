package dev.faultline.ring;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/**
 * What this process holds of the kinds that the tests open, to see that nothing is left: the class path may open files at any
 * time, so these are not counted.
 */
record Held(long sockets, long eventfds, long epolls, long rings, long ringMappings) {
    static Held now() {
        return new Held(
                descriptors("socket:"),
                descriptors("anon_inode:[eventfd]"),
                descriptors("anon_inode:[eventpoll]"),
                descriptors("anon_inode:[io_uring]"),
                ringMappingsNow());
    }

    private static long descriptors(String kind) {
        try (Stream<Path> fds = Files.list(Path.of("/proc/self/fd"))) {
            return fds.filter(fd -> isOf(kind, fd)).count();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static boolean isOf(String kind, Path fd) {
        try {
            return Files.readSymbolicLink(fd).toString().startsWith(kind);
        } catch (IOException e) {
            return false;
        }
    }

    private static long ringMappingsNow() {
        try (Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
            return maps.filter(line -> line.contains("io_uring")).count();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
