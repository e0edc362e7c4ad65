import com.palantir.javaformat.java.Formatter;
import com.palantir.javaformat.java.FormatterException;
import com.palantir.javaformat.java.JavaFormatterOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * Formats the Java sources, or says which are not formatted.
 *
 * <p>The formatter parses with the compiler of the JDK it runs on. A Maven plugin would run it on Maven's own JDK, which
 * may be older than the language of the sources; so the build runs this file on the JDK it compiles with.
 */
final class Format {
    private static final int BAD = 1;
    private static final int USAGE = 2;

    private Format() {}

    public static void main(String[] args) throws IOException {
        if (args.length != 2 || !List.of("check", "apply").contains(args[0])) {
            System.err.println("usage: Format check|apply DIRECTORY");
            System.exit(USAGE);
        }
        boolean apply = args[0].equals("apply");
        Path root = Path.of(args[1]);
        Formatter formatter = Formatter.createFormatter(JavaFormatterOptions.builder()
                .style(JavaFormatterOptions.Style.PALANTIR)
                .build());

        List<String> bad = new ArrayList<>();
        for (Path source : sources(root)) {
            String text = Files.readString(source);
            String formatted;
            try {
                formatted = formatter.formatSourceAndFixImports(text);
            } catch (FormatterException e) {
                bad.add(root.relativize(source) + ": cannot be parsed: " + e.getMessage());
                continue;
            }
            if (formatted.equals(text)) {
                continue;
            }
            if (apply) {
                Files.writeString(source, formatted);
                System.err.println("formatted " + root.relativize(source));
            } else {
                bad.add(root.relativize(source) + ": not formatted");
            }
        }
        if (!bad.isEmpty()) {
            bad.forEach(System.err::println);
            System.err.println("To format: mvn -q -N verify -Dformat=apply");
            System.exit(BAD);
        }
    }

    private static List<Path> sources(Path root) throws IOException {
        try (Stream<Path> files = Files.walk(root)) {
            return files.filter(file -> file.toString().endsWith(".java"))
                    .filter(file -> !root.relativize(file).toString().matches("(.*/)?(target|\\..*)/.*"))
                    .sorted()
                    .toList();
        }
    }
}
