package dev.faultline.examples.conform;

import dev.faultline.examples.BadInput;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Replays a recording: every group in a process of its own, every call in order, going on after one that differs.
 *
 * <p>Threads: one. A line that is not for comparing is performed where what follows depends on it, and not counted.
 */
public final class Replay {
    private final boolean stopsAtFirst;

    /**
     * A way to replay.
     *
     * @param stopsAtFirst whether a difference ends a file
     */
    public Replay(boolean stopsAtFirst) {
        this.stopsAtFirst = stopsAtFirst;
    }

    /**
     * Replays.
     *
     * @param recording what to replay
     * @return what came out
     * @throws BadInput if a line lacks what its call needs
     */
    public ReplayedFile replay(Recording recording) throws BadInput {
        List<RecordedLine> lines = recording.lines();
        List<Difference> differences = new ArrayList<>();
        boolean directionsGiven = lines.stream().anyMatch(line -> line.has("dir"));
        int passed = 0;
        int failed = 0;
        int notCounted = 0;
        RecordedLine header = lines.getFirst();
        String group = "";
        ReplayedProcess process = null;
        try {
            for (int i = 0; i < lines.size() && !(stopsAtFirst && failed > 0); i++) {
                RecordedLine line = lines.get(i);
                if (line.isHeader()) {
                    header = line;
                    process = ended(process);
                    continue;
                }
                if (process == null || !line.group().equals(group)) {
                    process = ended(process);
                    process = new ReplayedProcess(header, directionsGiven);
                    group = line.group();
                }
                Comparison comparison = new Comparison(line);
                try {
                    process.perform(lines, i, comparison);
                } catch (RuntimeException e) {
                    // A defect of the emulation fails its call, and the others are replayed all the same.
                    comparison.same("the call", "a result", e);
                }
                if (!line.counts()) {
                    notCounted++;
                } else if (comparison.differences().isEmpty()) {
                    passed++;
                } else {
                    failed++;
                    differences.addAll(comparison.differences());
                }
            }
        } finally {
            process = ended(process);
        }
        return new ReplayedFile(recording.name(), passed, failed, notCounted, differences);
    }

    private static @Nullable ReplayedProcess ended(@Nullable ReplayedProcess process) {
        if (process != null) {
            process.close();
        }
        return null;
    }
}
