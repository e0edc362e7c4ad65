package dev.faultline.examples.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** {@code faultline doctor}: what this machine offers, and what to do about what it lacks. */
@Command(
        name = "doctor",
        mixinStandardHelpOptions = true,
        version = "faultline " + Faultline.VERSION,
        usageHelpAutoWidth = true,
        description = {
            "Says what this machine offers, why, and what to do about what it lacks. Each thing is tried, not looked"
                    + " up. What is said is yes, no or limited.",
            ""
        },
        footer = {"", "Exit status: 0 if the main job, replay, can run; else 3."})
final class DoctorCommand implements Callable<Integer> {
    private static final String NAME = "doctor";

    @Mixin
    private Output output;

    DoctorCommand() {}

    @Override
    public Integer call() {
        try {
            List<Finding> findings = MachineCheck.all();
            String lacking = findings.stream()
                    .filter(Finding::stopsMainJob)
                    .map(f -> f.item() + ": " + f.why())
                    .collect(Collectors.joining("; "));
            boolean good = lacking.isEmpty();
            output.result(
                    NAME,
                    null,
                    good,
                    false,
                    node -> {
                        ArrayNode items = node.putArray("items");
                        findings.forEach(f -> items.add(f.json()));
                        if (!good) {
                            Finding first = findings.stream()
                                    .filter(Finding::stopsMainJob)
                                    .findFirst()
                                    .orElseThrow();
                            Output.error(node, "lacking", lacking, first.item(), null, first.remedy());
                        }
                    },
                    table -> {
                        table.title("what this machine offers");
                        findings.forEach(f -> f.row(table));
                        table.verdict(good, good ? "the main job can run" : "the main job cannot run");
                    });
            if (!good) {
                System.err.println("faultline " + NAME + ": " + lacking);
            }
            return good ? ExitStatus.GOOD : ExitStatus.LACKING;
        } catch (RuntimeException | InterruptedException e) {
            return output.failure(NAME, e);
        }
    }
}
