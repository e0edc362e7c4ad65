package dev.faultline.examples.cli;

import com.google.errorprone.annotations.FormatMethod;
import com.google.errorprone.annotations.FormatString;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import picocli.CommandLine.Help.Ansi;

/** Some lines for people: names on the left, what is to be said on the right. Threads: one. */
public final class Table {
    private static final int LEFT = 18;

    private final List<String> lines = new ArrayList<>();
    private final Ansi ansi;

    /**
     * An empty table.
     *
     * @param coloured whether it may use a terminal's colours
     */
    public Table(boolean coloured) {
        ansi = coloured ? Ansi.ON : Ansi.OFF;
    }

    /**
     * Adds a headline.
     *
     * @param text what it says
     */
    public void title(String text) {
        lines.add(ansi.string("@|bold " + text + "|@"));
    }

    /**
     * Adds a headline that says how it went.
     *
     * @param good green, or red
     * @param text what it says
     */
    public void verdict(boolean good, String text) {
        lines.add(ansi.string((good ? "@|bold,green " : "@|bold,red ") + text + "|@"));
    }

    /**
     * Adds a row.
     *
     * @param name the left side
     * @param format the right side, as {@link String#format} takes it
     * @param arguments for the format
     */
    @FormatMethod
    public void row(String name, @FormatString String format, Object... arguments) {
        lines.add("  " + name + " ".repeat(Math.max(1, LEFT - name.length()))
                + String.format(Locale.ROOT, format, arguments));
    }

    /**
     * A time as people say it.
     *
     * @param ns nanoseconds
     * @return three digits and a unit
     */
    public static String time(long ns) {
        if (ns < 1_000) {
            return ns + " ns";
        }
        if (ns < 1_000_000) {
            return digits(ns / 1e3) + " us";
        }
        return ns < 1_000_000_000 ? digits(ns / 1e6) + " ms" : digits(ns / 1e9) + " s";
    }

    /**
     * A number of bytes as people say it.
     *
     * @param bytes the number
     * @return three digits and a unit
     */
    public static String bytes(long bytes) {
        if (bytes < 1 << 10) {
            return bytes + " bytes";
        }
        if (bytes < 1 << 20) {
            return digits(bytes / 1024.0) + " KiB";
        }
        return bytes < 1 << 30 ? digits(bytes / 1048576.0) + " MiB" : digits(bytes / 1073741824.0) + " GiB";
    }

    /**
     * A count with its noun.
     *
     * @param n how many
     * @param noun of one
     * @return such as {@code 2 devices}
     */
    public static String count(long n, String noun) {
        return n + " " + noun + (n == 1 ? "" : "s");
    }

    private static String digits(double value) {
        return String.format(Locale.ROOT, value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value);
    }

    @Override
    public String toString() {
        return String.join(System.lineSeparator(), lines) + System.lineSeparator();
    }
}
