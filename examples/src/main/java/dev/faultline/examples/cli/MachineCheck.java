package dev.faultline.examples.cli;

import dev.faultline.examples.BadInput;
import dev.faultline.examples.replay.Replay;
import dev.faultline.examples.replay.ReplayConfig;
import dev.faultline.examples.replay.TraceInput;
import java.io.IOException;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/** What the programs of this project use of a machine, each tried. Threads: one. */
final class MachineCheck {
    private static final int JDK = 25;
    private static final long REPLAYED = 1_000;
    private static final long REPLAY_LIMIT_MS = 30_000;
    private static final String MORE_MEMORY = "give the Java runtime more memory, -Xmx256m, and the machine 256 MiB";
    private static final String ANEW = "build anew: rm -rf */target, then ./faultline";
    private static final long COMPILER_LIMIT_S = 20;
    private static final List<String> COMPILERS = List.of("gcc", "cc", "clang");
    private static final List<String> FAST_CLOCKS =
            List.of("tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter");

    private MachineCheck() {}

    /** Tries everything. */
    static List<Finding> all() throws InterruptedException {
        List<Finding> findings = new ArrayList<>();
        findings.add(jdk().forMainJob());
        findings.add(words().forMainJob());
        findings.add(replay().forMainJob());
        findings.add(cores());
        findings.add(processorTime(Path.of("/sys/fs/cgroup/cpu.max")));
        findings.add(clock(Path.of("/sys/devices/system/clocksource/clocksource0/current_clocksource")));
        findings.addAll(LinuxCheck.all());
        findings.add(openFiles(Path.of("/proc/self/limits")));
        findings.add(lockedMemory(Path.of("/proc/self/limits")));
        findings.add(compiler());
        return findings;
    }

    private static Finding jdk() {
        String found = System.getProperty("java.vendor") + " " + Runtime.version();
        int feature = Runtime.version().feature();
        return feature == JDK
                ? Finding.yes("JDK", found)
                : Finding.limited("JDK", found + ": not tested", "set JAVA_HOME to a JDK " + JDK);
    }

    private static Finding words() {
        String bits = System.getProperty("sun.arch.data.model", "?");
        String found = bits + " bits, " + ByteOrder.nativeOrder().toString().toLowerCase(Locale.ROOT) + ", "
                + System.getProperty("os.arch");
        return bits.equals("64") && ByteOrder.nativeOrder() == ByteOrder.LITTLE_ENDIAN
                ? Finding.yes("word size", found)
                : Finding.no("word size", found, "a little-endian machine and Java runtime of 64 bits");
    }

    /** The main job itself, in small. */
    private static Finding replay() throws InterruptedException {
        ReplayConfig usual = ReplayConfig.usual();
        ReplayConfig config = new ReplayConfig(
                usual.devices(),
                usual.deviceThreads(),
                usual.frames(),
                usual.tableFrames(),
                usual.window(),
                usual.group(),
                usual.waiting(),
                usual.deadlineNs(),
                REPLAYED,
                usual.seed());
        try (TraceInput input = TraceInput.bundled();
                Replay replay = Replay.of(config.checked(), input, null)) {
            replay.start();
            if (!replay.await(REPLAY_LIMIT_MS)) {
                return Finding.no("replay", "not done after " + REPLAY_LIMIT_MS / 1000 + " s", "free the processors");
            }
            Throwable failure = replay.failure();
            String problem = failure == null ? replay.report().problem() : failure.toString();
            return problem == null
                    ? Finding.yes(
                            "replay",
                            replay.report().accesses() + " accesses, "
                                    + replay.report().accounting().raised() + " faults, every byte right")
                    : Finding.no("replay", problem, failure instanceof OutOfMemoryError ? MORE_MEMORY : ANEW);
        } catch (OutOfMemoryError e) {
            return Finding.no("replay", e.toString(), MORE_MEMORY);
        } catch (BadInput | IOException | RuntimeException e) {
            return Finding.no("replay", e.toString(), ANEW);
        }
    }

    private static Finding cores() {
        int cores = Runtime.getRuntime().availableProcessors();
        return cores > 1
                ? Finding.yes("cores", cores + ": a device and its handler can run at the same time")
                : Finding.limited(
                        "cores",
                        "1: a device and its handler take turns, each fault costs a switch of threads",
                        "give this process a second processor; never wait by spinning on one");
    }

    /** Such as {@code 50000 100000}, microseconds of each so many, or {@code max 100000}. */
    static Finding processorTime(Path file) {
        String item = "processor time";
        String[] quota = read(file).orElse("max").strip().split(" ", -1);
        if (quota.length != 2 || quota[0].equals("max")) {
            return Finding.yes(item, "no quota");
        }
        double cores = Double.parseDouble(quota[0]) / Double.parseDouble(quota[1]);
        String found = String.format(Locale.ROOT, "a quota of %.2f processors", cores);
        return cores >= Runtime.getRuntime().availableProcessors()
                ? Finding.yes(item, found)
                : Finding.limited(
                        item,
                        found + ": threads that spin use it up, and all stand still until the next period",
                        "raise the quota (docker: --cpus), or wait by parking");
    }

    /** What {@code System.nanoTime} asks. */
    static Finding clock(Path file) {
        String source = read(file).orElse("").strip();
        if (source.isEmpty()) {
            return Finding.limited("clock", "not known: no " + file, "");
        }
        return FAST_CLOCKS.contains(source)
                ? Finding.yes("clock", source + ", read without a system call")
                : Finding.limited(
                        "clock",
                        source + ": each look costs a system call or more",
                        "boot with clocksource=tsc where the processor's counter is steady");
    }

    static Finding openFiles(Path limits) {
        String item = "open files";
        long soft = limit(limits, "Max open files");
        return soft < 0
                ? Finding.limited(item, "not known: no " + limits, "")
                : soft >= 1024
                        ? Finding.yes(item, amount(soft))
                        : Finding.limited(
                                item,
                                amount(soft) + ": a served queue takes three for each consumer",
                                "ulimit -n 1024");
    }

    static Finding lockedMemory(Path limits) {
        String item = "locked memory";
        long soft = limit(limits, "Max locked memory");
        return soft < 0
                ? Finding.limited(item, "not known: no " + limits, "")
                : soft >= 1 << 20
                        ? Finding.yes(item, soft == Long.MAX_VALUE ? "unlimited" : Table.bytes(soft))
                        : Finding.limited(
                                item,
                                Table.bytes(soft) + ": before Linux 5.12 io_uring's rings count as locked",
                                "ulimit -l 8192");
    }

    /** The soft limit of a line such as {@code Max open files  1024  4096  files}; -1 if it is not there. */
    private static long limit(Path limits, String name) {
        return read(limits)
                .orElse("")
                .lines()
                .filter(line -> line.startsWith(name))
                .map(line -> line.substring(name.length()).strip().split(" +", -1)[0])
                .mapToLong(soft -> soft.equals("unlimited") ? Long.MAX_VALUE : Long.parseLong(soft))
                .findFirst()
                .orElse(-1);
    }

    private static String amount(long limit) {
        return limit == Long.MAX_VALUE ? "unlimited" : Long.toString(limit);
    }

    private static Finding compiler() throws InterruptedException {
        String item = "C compiler";
        String remedy =
                "install one, for the rivals in C that the laboratory measures (Debian, Ubuntu: apt-get install gcc"
                        + " libc6-dev)";
        for (String compiler : COMPILERS) {
            try {
                Process process = new ProcessBuilder(compiler, "-pthread", "-x", "c", "-", "-o", "/dev/null")
                        .redirectErrorStream(true)
                        .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                        .start();
                try (var in = process.outputWriter()) {
                    in.write("#include <linux/futex.h>\n#include <stdatomic.h>\nint main(void) { return 0; }\n");
                }
                if (!process.waitFor(COMPILER_LIMIT_S, TimeUnit.SECONDS)) {
                    process.destroyForcibly();
                    return Finding.no(item, compiler + " is still compiling after " + COMPILER_LIMIT_S + " s", remedy);
                }
                return process.exitValue() == 0
                        ? Finding.yes(item, compiler)
                        : Finding.no(item, compiler + " cannot compile with the headers of Linux and C", remedy);
            } catch (IOException e) {
                // Not there: the next.
            }
        }
        return Finding.no(item, "none of " + String.join(", ", COMPILERS), remedy);
    }

    private static Optional<String> read(Path file) {
        try {
            return Optional.of(Files.readString(file));
        } catch (IOException e) {
            return Optional.empty();
        }
    }
}
