package dev.faultline.examples.replay;

import dev.faultline.examples.BadInput;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** Traces to replay in tests, and running them. */
final class Traces {
    private static final long LIMIT_MS = 60_000;

    private Traces() {}

    static TraceInput of(Path folder, String text) throws BadInput, IOException {
        return TraceInput.file(Files.writeString(folder.resolve("trace"), text));
    }

    static ReplayReport bundled(ReplayConfig config) throws Exception {
        try (TraceInput input = TraceInput.bundled()) {
            return run(config, input, null);
        }
    }

    static ReplayReport run(ReplayConfig config, TraceInput input, @Nullable FaultRecorder recorder) throws Exception {
        try (Replay replay = Replay.of(config.checked(), input, recorder)) {
            return run(replay);
        }
    }

    static ReplayReport run(Replay replay) throws Exception {
        replay.start();
        if (!replay.await(LIMIT_MS)) {
            throw new AssertionError("still running: " + replay.progress());
        }
        Throwable failure = replay.failure();
        if (failure instanceof Exception e) {
            throw e;
        }
        if (failure != null) {
            throw new AssertionError(failure);
        }
        return replay.report();
    }

    static ReplayConfig limited(long accesses) {
        return with(1, 1, 0, 1, 1, accesses);
    }

    static ReplayConfig with(int devices, int threads, int frames, int window, int group, long limit) {
        ReplayConfig usual = ReplayConfig.usual();
        return new ReplayConfig(
                devices,
                threads,
                frames,
                usual.tableFrames(),
                window,
                group,
                usual.waiting(),
                usual.deadlineNs(),
                limit,
                usual.seed());
    }

    static ReplayConfig withDeadlineNs(ReplayConfig c, long ns) {
        return new ReplayConfig(
                c.devices(),
                c.deviceThreads(),
                c.frames(),
                c.tableFrames(),
                c.window(),
                c.group(),
                c.waiting(),
                ns,
                c.limit(),
                c.seed());
    }
}
