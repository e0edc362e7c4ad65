package dev.faultline.examples.cli;

import dev.faultline.examples.BadInput;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.MissingParameterException;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.TypeConversionException;
import picocli.CommandLine.UnmatchedArgumentException;

/** The command {@code faultline}: its subcommands are the programs. */
@Command(
        name = "faultline",
        description = "I/O page faults in Java: programs that raise, serve and measure them.",
        mixinStandardHelpOptions = true,
        version = "faultline " + Faultline.VERSION,
        synopsisSubcommandLabel = "COMMAND",
        subcommands = {ReplayCommand.class, ConformCommand.class, DoctorCommand.class, ExplainCommand.class},
        footer = {
            "  lab     Measures the fault queue and the engine's loop against other queues.",
            "",
            "Exit status: 0 done and good, 1 done and bad, 2 bad input, 3 the machine lacks something, 70 a bug of"
                    + " faultline, 130 or 143 interrupted."
        })
public final class Faultline {
    /** The version of this build. */
    public static final String VERSION = "0.1.0";

    private Faultline() {}

    /**
     * Runs the command and ends the process with its status.
     *
     * @param args the words after {@code faultline}
     */
    public static void main(String[] args) {
        System.exit(run(args));
    }

    /**
     * Runs the command in this process.
     *
     * @param args the words after {@code faultline}
     * @return the exit status
     */
    public static int run(String... args) {
        return run(new CommandLine(new Faultline()), args);
    }

    /**
     * Runs the command in this process, with one more program: for modules that this one does not know.
     *
     * @param program a command of picocli's
     * @param args the words after {@code faultline}
     * @return the exit status
     */
    public static int runWith(Object program, String... args) {
        return run(new CommandLine(new Faultline()).addSubcommand(program), args);
    }

    private static int run(CommandLine line, String... args) {
        line.setCaseInsensitiveEnumValuesAllowed(true);
        line.setParameterExceptionHandler(
                (e, words) -> Output.guessed(words).failure(nameOf(e.getCommandLine()), badInput(e)));
        line.setExecutionExceptionHandler(
                (e, command, parsed) -> Output.guessed(words(parsed)).failure(nameOf(command), e));
        if (args.length == 0) {
            line.usage(System.err);
            return ExitStatus.BAD_INPUT;
        }
        return line.execute(args);
    }

    private static String[] words(ParseResult parsed) {
        return parsed.originalArgs().toArray(String[]::new);
    }

    private static String nameOf(CommandLine line) {
        return line.getParent() == null ? "" : line.getCommandName();
    }

    private static BadInput badInput(ParameterException e) {
        String see = "see faultline " + (nameOf(e.getCommandLine()) + " --help").strip();
        return switch (e) {
            case UnmatchedArgumentException u -> {
                String word = u.getUnmatched().isEmpty() ? "" : u.getUnmatched().getFirst();
                yield new BadInput(
                        word.startsWith("-") ? word : "COMMAND", word.startsWith("-") ? "" : word, "unknown", see);
            }
            case MissingParameterException m
            when !m.getMissing().isEmpty() -> new BadInput(nameOf(m.getMissing().getFirst()), "", "has no value", see);
            default -> {
                ArgSpec spec = e.getArgSpec();
                String value = e.getValue() == null ? "" : e.getValue();
                String why = e.getMessage() == null ? "cannot be used" : firstLine(e.getMessage());
                yield spec == null
                        ? new BadInput("COMMAND", value, why, see)
                        : new BadInput(nameOf(spec), value, "cannot be used", allowed(spec, e.getCause(), see));
            }
        };
    }

    private static String allowed(ArgSpec spec, @Nullable Throwable cause, String see) {
        if (spec.type() == int.class || spec.type() == Integer.class || spec.type() == long.class) {
            return "a whole number";
        }
        if (cause instanceof TypeConversionException && cause.getMessage() != null) {
            return cause.getMessage();
        }
        return see;
    }

    private static String nameOf(ArgSpec spec) {
        return spec instanceof OptionSpec option ? option.longestName() : spec.paramLabel();
    }

    private static String firstLine(String text) {
        return text.lines().findFirst().orElse(text);
    }
}
