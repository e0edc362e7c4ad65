package dev.faultline.examples.cli;

import picocli.CommandLine;
import picocli.CommandLine.Command;

/** The command {@code faultline}: its subcommands are the programs. */
@Command(
        name = "faultline",
        description = "I/O page faults in Java: programs that raise, serve and measure them.",
        mixinStandardHelpOptions = true,
        version = "faultline 0.1.0",
        synopsisSubcommandLabel = "COMMAND")
public final class Faultline {

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
    static int run(String... args) {
        return new CommandLine(new Faultline()).execute(args);
    }
}
