package dev.faultline.examples.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.faultline.examples.BadInput;
import dev.faultline.iommu.Explanation;
import dev.faultline.iommu.TableFormat;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code faultline explain}: a page-table walk told step by step, on a small scene. */
@Command(
        name = "explain",
        mixinStandardHelpOptions = true,
        version = "faultline " + Faultline.VERSION,
        sortOptions = false,
        usageHelpAutoWidth = true,
        description = {
            "Tells the walk of an address step by step: each entry that is read, by which stage, and what it says. In"
                + " the scene 0x1000 can be read and written and a device has written there, 0x2000 can be read, and"
                + " at 0x200000 there is a page of 2 MiB.",
            ""
        },
        footer = {
            "",
            "Examples:",
            "  faultline explain 0x1234",
            "  faultline explain --format arm --nested 0x201234 --json"
        })
final class ExplainCommand implements Callable<Integer> {
    private static final String NAME = "explain";
    private static final String FORMATS = "x86, vtd-second, arm, arm-second";

    /** Present, writable, for all; in a large page PS too. */
    private static final long X86_ALL = 0b111;

    private static final long X86_READ_ONLY = 0b101;
    private static final long X86_LARGE = X86_ALL | 1 << 7;

    /** A table or a page; AP[1]; write-back; with DBM writable and clean. */
    private static final long ARM_TABLE = 0b11;

    private static final long ARM_READ_ONLY = 0b11 | 1 << 2 | 1 << 6 | 1 << 7;
    private static final long ARM_ALL = ARM_READ_ONLY | 1L << 51;
    private static final long ARM_LARGE = ARM_ALL & ~0b10L;

    @Mixin
    private Output output;

    @Parameters(
            index = "0",
            arity = "0..1",
            paramLabel = "ADDRESS",
            defaultValue = "0x1234",
            description = "Which address: 0x and hexadecimal digits, or decimal ones. (0x1234)")
    private String address;

    @Option(
            names = "--format",
            paramLabel = "FORMAT",
            defaultValue = "x86",
            description = "Of the tables, or of the first stage with --nested: " + FORMATS + ". (x86)")
    private String format;

    @Option(
            names = "--nested",
            description = "Two stages: a guest's tables, and a second stage that says where the guest's memory is.")
    private boolean nested;

    ExplainCommand() {}

    @Override
    public Integer call() {
        try {
            Explanation told = explanation(number(address));
            output.result(NAME, null, true, false, node -> write(told, node), table -> {
                table.title("0x" + Long.toHexString(told.address()) + " in " + told.title());
                for (Explanation.Step step : told.steps()) {
                    table.row(
                            (nested ? "stage " + step.stage() + " " : "") + "level " + step.level(),
                            "%stable 0x%x[%d] = 0x%x%s: %s",
                            nested && step.stage() == 2 ? "0x" + Long.toHexString(step.input()) + ": " : "",
                            step.table(),
                            step.index(),
                            step.entry(),
                            step.flags().isEmpty() ? "" : " (" + step.flags() + ")",
                            step.says());
                }
                table.verdict(
                        told.translated(),
                        told.translated()
                                ? String.format(
                                        Locale.ROOT,
                                        "physical address 0x%x, page of %s, allowed: %s",
                                        told.physical(),
                                        Table.bytes(told.bytes()),
                                        told.rights())
                                : "ends nowhere: " + told.end());
            });
            return ExitStatus.GOOD;
        } catch (RuntimeException | BadInput e) {
            return output.failure(NAME, e);
        }
    }

    private Explanation explanation(long at) throws BadInput {
        return switch (format.toLowerCase(Locale.ROOT)) {
            case "x86" ->
                nested
                        ? ExplainedScene.nested(
                                TableFormat.X86_4_LEVEL,
                                TableFormat.VTD_SECOND_4_LEVEL,
                                X86_ALL,
                                X86_ALL,
                                X86_READ_ONLY,
                                X86_LARGE,
                                at)
                        : ExplainedScene.single(TableFormat.X86_4_LEVEL, at);
            case "arm" ->
                nested
                        ? ExplainedScene.nested(
                                TableFormat.ARM_4K_STAGE_1,
                                TableFormat.ARM_4K_STAGE_2,
                                ARM_TABLE,
                                ARM_ALL,
                                ARM_READ_ONLY,
                                ARM_LARGE,
                                at)
                        : ExplainedScene.single(TableFormat.ARM_4K_STAGE_1, at);
            case "vtd-second" -> ExplainedScene.single(onlyOneStage(TableFormat.VTD_SECOND_4_LEVEL), at);
            case "arm-second" -> ExplainedScene.single(onlyOneStage(TableFormat.ARM_4K_STAGE_2), at);
            default -> throw new BadInput("--format", format, "unknown", FORMATS);
        };
    }

    private TableFormat onlyOneStage(TableFormat second) throws BadInput {
        if (nested) {
            throw new BadInput("--format", format, "is no first stage", "x86 or arm with --nested");
        }
        return second;
    }

    private static long number(String text) throws BadInput {
        String lower = text.toLowerCase(Locale.ROOT).replace("_", "");
        try {
            return lower.startsWith("0x")
                    ? Long.parseUnsignedLong(lower.substring(2), 16)
                    : Long.parseUnsignedLong(lower);
        } catch (NumberFormatException e) {
            throw new BadInput(
                    "ADDRESS", text, "is no address", "0x and hexadecimal digits, or decimal ones, of 64 bits");
        }
    }

    private static void write(Explanation told, ObjectNode node) {
        node.put("address", hex(told.address())).put("tables", told.title());
        ArrayNode steps = node.putArray("steps");
        for (Explanation.Step step : told.steps()) {
            steps.addObject()
                    .put("stage", step.stage())
                    .put("level", step.level())
                    .put("input", hex(step.input()))
                    .put("table", hex(step.table()))
                    .put("index", step.index())
                    .put("entry_address", hex(step.entryAddress()))
                    .put("entry", hex(step.entry()))
                    .put("flags", step.flags())
                    .put("says", step.says());
        }
        node.put("translated", told.translated())
                .put("physical", told.translated() ? hex(told.physical()) : null)
                .put("bytes", told.bytes())
                .put("rights", told.rights())
                .put("end", told.end());
    }

    private static String hex(long value) {
        return "0x" + Long.toHexString(value);
    }
}
