package dev.faultline.examples.cli;

import java.time.Duration;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** A length of time as one writes it: {@code 10s}, {@code 500ms}, {@code 250us}, {@code 100ns}, {@code 2m}. */
public final class DurationOption implements ITypeConverter<Duration> {
    /** What may be written. */
    public static final String ALLOWED = "a whole number with ns, us, ms, s or m, such as 500ms or 10s";

    private static final Pattern FORM = Pattern.compile("(\\d{1,15})(ns|us|ms|s|m)");

    /** For picocli. */
    public DurationOption() {}

    @Override
    public Duration convert(String value) {
        Matcher m = FORM.matcher(value);
        if (!m.matches()) {
            throw new TypeConversionException(ALLOWED);
        }
        long count = Long.parseLong(m.group(1));
        return switch (m.group(2)) {
            case "ns" -> Duration.ofNanos(count);
            case "us" -> Duration.ofNanos(Math.multiplyExact(count, 1_000L));
            case "ms" -> Duration.ofMillis(count);
            case "s" -> Duration.ofSeconds(count);
            default -> Duration.ofMinutes(count);
        };
    }

    /**
     * The same way back.
     *
     * @param ns nanoseconds
     * @return the largest unit that says it in whole numbers
     */
    public static String format(long ns) {
        if (ns % 1_000_000_000L == 0) {
            return ns / 1_000_000_000L + "s";
        }
        if (ns % 1_000_000L == 0) {
            return ns / 1_000_000L + "ms";
        }
        return ns % 1_000L == 0 ? ns / 1_000L + "us" : ns + "ns";
    }
}
