package dev.faultline.examples.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.faultline.examples.BadInput;
import dev.faultline.examples.conform.Difference;
import dev.faultline.examples.conform.Recording;
import dev.faultline.examples.conform.Replay;
import dev.faultline.examples.conform.ReplayedFile;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code faultline conform}: recorded kernel conversations against the emulated {@code /dev/iommu}. */
@Command(
        name = "conform",
        mixinStandardHelpOptions = true,
        version = "faultline " + Faultline.VERSION,
        sortOptions = false,
        usageHelpAutoWidth = true,
        description = {
            "Replays conversations recorded from a kernel against the emulated /dev/iommu, call by call, and compares"
                    + " every result, error and byte. It goes on after a difference. A line with \"exact\": false is"
                    + " performed where later lines need it, and not counted.",
            ""
        },
        footer = {
            "",
            "The last line says: N passed, M failed (calls). Exit status: 0 if M is 0, else 1; 2 for what is no"
                    + " recording.",
            "",
            "Examples:",
            "  faultline conform read.jsonl write.jsonl",
            "  faultline conform --first --json recordings/*.jsonl"
        })
final class ConformCommand implements Callable<Integer> {
    private static final String NAME = "conform";

    @Mixin
    private Output output;

    @Parameters(arity = "1..*", paramLabel = "FILE", description = "Recordings, JSON lines; - for standard input.")
    private List<String> files;

    @Option(names = "--first", description = "Stop at the first difference.")
    private boolean first;

    ConformCommand() {}

    @Override
    public Integer call() {
        try {
            List<Recording> recordings = new ArrayList<>();
            for (String file : files) {
                recordings.add(Recording.read(file));
            }
            Replay replay = new Replay(first);
            List<ReplayedFile> replayed = new ArrayList<>();
            for (Recording recording : recordings) {
                replayed.add(replay.replay(recording));
                if (first && replayed.getLast().failed() > 0) {
                    break;
                }
            }
            return say(replayed);
        } catch (RuntimeException | BadInput | IOException e) {
            return output.failure(NAME, e);
        }
    }

    private int say(List<ReplayedFile> replayed) {
        int passed = replayed.stream().mapToInt(ReplayedFile::passed).sum();
        int failed = replayed.stream().mapToInt(ReplayedFile::failed).sum();
        boolean good = failed == 0;
        output.result(
                NAME,
                null,
                good,
                false,
                node -> {
                    node.put("passed", passed).put("failed", failed);
                    ArrayNode list = node.putArray("files");
                    replayed.forEach(file -> write(file, list.addObject()));
                    if (!good) {
                        Difference difference = firstOf(replayed);
                        Output.error(
                                node,
                                "mismatch",
                                difference.toString(),
                                difference.what(),
                                difference.actual(),
                                difference.expected());
                    }
                },
                table -> {
                    for (ReplayedFile file : replayed) {
                        file.differences().forEach(d -> table.title(d.toString()));
                        table.title(file.name() + ": " + totals(file.passed(), file.failed())
                                + (file.notCounted() == 0 ? "" : ", " + file.notCounted() + " not counted"));
                    }
                    table.verdict(good, totals(passed, failed));
                });
        if (!good && output.isQuiet()) {
            replayed.forEach(file -> file.differences().forEach(System.err::println));
        }
        return good ? ExitStatus.GOOD : ExitStatus.BAD;
    }

    private static Difference firstOf(List<ReplayedFile> replayed) {
        return replayed.stream()
                .flatMap(file -> file.differences().stream())
                .findFirst()
                .orElseThrow();
    }

    private static String totals(int passed, int failed) {
        return passed + " passed, " + failed + " failed";
    }

    private static void write(ReplayedFile file, ObjectNode node) {
        node.put("file", file.name())
                .put("passed", file.passed())
                .put("failed", file.failed())
                .put("not_counted", file.notCounted());
        ArrayNode differences = node.putArray("differences");
        for (Difference d : file.differences()) {
            differences
                    .addObject()
                    .put("group", d.group())
                    .put("step", d.step())
                    .put("case", d.name())
                    .put("call", d.call())
                    .put("what", d.what())
                    .put("expected", d.expected())
                    .put("actual", d.actual());
        }
    }
}
