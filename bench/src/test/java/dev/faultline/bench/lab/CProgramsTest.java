package dev.faultline.bench.lab;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.bench.contender.Contender;
import dev.faultline.bench.contender.Kind;
import dev.faultline.bench.contender.Slice;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class CProgramsTest {

    private static final List<Integer> ANY_CPUS = List.of(-1, -1);

    @TempDir
    private Path directory;

    private static void assumeCompiler() throws InterruptedException {
        try (CPrograms programs = new CPrograms()) {
            Path program = programs.of("ring.c");
            assertTrue(Files.isExecutable(program));
        } catch (CPrograms.Absent e) {
            Assumptions.abort(e.getMessage());
        }
    }

    private static void completesRoundTrips(Contender contender)
            throws CPrograms.Absent, ContenderProcess.Failed, InterruptedException {
        try (CPrograms programs = new CPrograms();
                ContenderProcess process = ContenderProcess.start(contender, ANY_CPUS, programs)) {
            process.awaitReady();
            for (int i = 0; i < 3; i++) {
                Slice slice = process.run(20);
                assertTrue(slice.roundTrips() > 0, slice.line());
                assertTrue(slice.timedNs() > 0, slice.line());
                assertTrue(slice.allRoundTrips() > slice.roundTrips(), slice.line());
                assertEquals(0, slice.allocatedBytes());
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 8, 256})
    void theRingCompletesRoundTrips(int window) throws CPrograms.Absent, ContenderProcess.Failed, InterruptedException {
        assumeCompiler();
        completesRoundTrips(Kind.C_RING.at(window));
    }

    @Test
    void theFutexCompletesRoundTrips() throws CPrograms.Absent, ContenderProcess.Failed, InterruptedException {
        assumeCompiler();
        completesRoundTrips(Kind.C_FUTEX.at(1));
    }

    @ParameterizedTest
    @EnumSource(names = {"C_URING_SOCKET", "C_URING_BATCH", "C_URING_NOP32"})
    void ioUringCompletesRoundTrips(Kind kind) throws CPrograms.Absent, ContenderProcess.Failed, InterruptedException {
        assumeCompiler();
        Assumptions.assumeTrue(kind.missing().isEmpty(), () -> kind.missing().orElse(""));
        completesRoundTrips(kind.at(1));
        if (kind != Kind.C_URING_NOP32) {
            completesRoundTrips(kind.at(64));
            completesRoundTrips(kind.at(256));
        }
    }

    @Test
    void aWindowBeyondTheRingIsRefused() throws CPrograms.Absent, ContenderProcess.Failed, InterruptedException {
        assumeCompiler();
        try (CPrograms programs = new CPrograms();
                ContenderProcess process = ContenderProcess.start(Kind.C_RING.at(1 << 16), ANY_CPUS, programs)) {
            String said = assertThrows(ContenderProcess.Failed.class, process::awaitReady)
                    .toString();
            assertTrue(said.contains("allowed WINDOW"), said);
        }
    }

    @Test
    void withoutACompilerTheReasonIsSaid() {
        try (CPrograms programs = new CPrograms(List.of("no-such-compiler", "nor-this"))) {
            String said = assertThrows(CPrograms.Absent.class, () -> {
                        Path _ = programs.of("ring.c");
                    })
                    .toString();
            assertTrue(said.contains("no C compiler on the PATH: looked for no-such-compiler, nor-this"), said);
        }
    }

    @Test
    void aCompilerThatFailsIsQuoted() throws IOException {
        Path compiler = Files.createFile(
                directory.resolve("cc"),
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwxr-xr-x")));
        Files.writeString(compiler, "#!/bin/sh\necho no headers here\nexit 4\n");
        try (CPrograms programs = new CPrograms(List.of("no-such-compiler", compiler.toString()))) {
            String said = assertThrows(CPrograms.Absent.class, () -> {
                        Path _ = programs.of("futex.c");
                    })
                    .toString();
            assertTrue(said.contains("ended with status=4: no headers here"), said);
        }
    }

    @Test
    void nothingIsLeftBehind() throws CPrograms.Absent, InterruptedException {
        assumeCompiler();
        Path program;
        try (CPrograms programs = new CPrograms()) {
            program = programs.of("futex.c");
            assertEquals(program, programs.of("futex.c"), "compiled once");
        }
        assertFalse(Files.exists(program.resolveSibling("slice.h")));
        assertFalse(Files.exists(program));
    }
}
