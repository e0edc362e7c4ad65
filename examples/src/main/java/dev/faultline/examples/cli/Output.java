package dev.faultline.examples.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.faultline.examples.BadInput;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/**
 * How a command speaks, the same for all: with {@code --json} one object on standard output and every word for people on
 * standard error, else words on standard output.
 *
 * <p>Threads: one. To be mixed into a command with picocli's {@code Mixin}.
 */
public final class Output {
    private static final String SCHEMA = "faultline/1";
    private static final ObjectMapper JSON = new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);

    private final long startedNs = System.nanoTime();

    @Option(names = "--json", description = "Print one JSON object on standard output.")
    private boolean json;

    @Option(names = "--quiet", description = "Print nothing but what went wrong.")
    private boolean quiet;

    /** For picocli. */
    public Output() {}

    /** What the options would have been, for words that cannot be parsed. */
    static Output guessed(String... args) {
        List<String> words = Arrays.asList(args);
        Output output = new Output();
        output.json = words.contains("--json");
        output.quiet = words.contains("--quiet");
        return output;
    }

    /**
     * A line that shows how far the command is.
     *
     * @return shows nothing without a terminal, or with {@code --quiet}
     */
    public Terminal progress() {
        return Terminal.progress(!quiet);
    }

    /**
     * Whether only what went wrong is to be printed.
     *
     * @return true with {@code --quiet}
     */
    public boolean isQuiet() {
        return quiet;
    }

    /**
     * Says what came out: the object with {@code --json}, else the table.
     *
     * @param command the command's name
     * @param seed the seed, or null where there is none
     * @param ok whether it is good
     * @param interrupted whether it was ended early
     * @param body adds what the command has to say to the object
     * @param table the words for people
     */
    public void result(
            String command,
            @Nullable Long seed,
            boolean ok,
            boolean interrupted,
            Consumer<ObjectNode> body,
            Consumer<Table> table) {
        if (json) {
            ObjectNode node = envelope(command, seed, ok, interrupted);
            body.accept(node);
            print(node);
        } else if (!quiet) {
            Table words = new Table(Terminal.colours());
            table.accept(words);
            System.out.print(words);
            System.out.flush();
        }
    }

    /**
     * Says that the command could not be done.
     *
     * @param command the command's name, empty if it has none yet
     * @param failure what went wrong
     * @return the exit status
     */
    public int failure(String command, Exception failure) {
        Failure said = Failure.of(failure);
        System.err.println("faultline" + (command.isEmpty() ? "" : " " + command) + ": " + said.message);
        if (said.status == ExitStatus.OUR_BUG) {
            failure.printStackTrace();
        }
        System.err.flush();
        if (json) {
            ObjectNode node = envelope(command, null, false, false);
            error(node, said.kind, said.message, said.field, said.value, said.allowed);
            print(node);
        }
        return said.status;
    }

    /**
     * Adds what went wrong to an object.
     *
     * @param node gets {@code error}
     * @param kind a word for programs
     * @param message a line for people
     * @param field what is wrong, or null
     * @param value its value, or null
     * @param allowed what would be right, or null
     */
    public static void error(
            ObjectNode node,
            String kind,
            String message,
            @Nullable String field,
            @Nullable String value,
            @Nullable String allowed) {
        node.putObject("error")
                .put("kind", kind)
                .put("message", message)
                .put("field", field)
                .put("value", value)
                .put("allowed", allowed);
    }

    private ObjectNode envelope(String command, @Nullable Long seed, boolean ok, boolean interrupted) {
        ObjectNode node = JsonNodeFactory.instance
                .objectNode()
                .put("schema", SCHEMA)
                .put("command", command)
                .put("version", Faultline.VERSION)
                .put("ok", ok)
                .put("interrupted", interrupted)
                .put("seed", seed)
                .put("elapsed_s", Math.round((System.nanoTime() - startedNs) / 1e6) / 1e3);
        node.set("machine", MachineFacts.read().json());
        return node;
    }

    private static void print(ObjectNode node) {
        try {
            System.out.println(JSON.writeValueAsString(node));
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
        System.out.flush();
    }

    private record Failure(
            int status,
            String kind,
            String message,
            @Nullable String field,
            @Nullable String value,
            @Nullable String allowed) {
        static Failure of(Exception e) {
            return switch (e) {
                case BadInput bad ->
                    new Failure(
                            ExitStatus.BAD_INPUT,
                            "bad_input",
                            bad.getMessage(),
                            bad.field(),
                            bad.value(),
                            bad.allowed());
                case Lacking lacking ->
                    new Failure(
                            ExitStatus.LACKING,
                            "lacking",
                            lacking.getMessage(),
                            lacking.what(),
                            null,
                            lacking.remedy());
                default -> new Failure(ExitStatus.OUR_BUG, "bug", "a bug of faultline: " + e, null, null, null);
            };
        }
    }
}
