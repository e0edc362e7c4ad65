package dev.faultline.bench.contender;

import java.util.List;

/**
 * One who is measured, in a process of its own.
 *
 * @param kind what it is
 * @param window round trips it keeps under way, a power of two
 */
public record Contender(Kind kind, int window) {

    /** The yardstick. */
    public static final Contender PINGPONG = Kind.PINGPONG.at(1);

    private static final String WINDOW_MARK = ".w";

    /** Checks the window. */
    public Contender {
        if (window <= 0 || Integer.bitCount(window) != 1) {
            throw new IllegalArgumentException("window=" + window + ": allowed a power of two");
        }
        if (window != 1 && kind.isOneAtATime()) {
            throw new IllegalArgumentException("window=" + window + ": allowed 1 with kind=" + kind.key());
        }
    }

    /**
     * Its name in results and on the command line of its process.
     *
     * @return words joined by dots, such as {@code queue.w64}
     */
    public String key() {
        return kind == Kind.PINGPONG ? kind.key() : kind.key() + WINDOW_MARK + window;
    }

    /**
     * What it is, for people.
     *
     * @return a phrase
     */
    public String what() {
        return kind.what();
    }

    /**
     * Round trips timed at a time.
     *
     * @return 1 or more
     */
    public int pieceRoundTrips() {
        return kind.pieceRoundTrips(window);
    }

    /**
     * What its process needs beside the flags all have.
     *
     * @return flags of {@code java}
     */
    public List<String> jvmFlags() {
        return kind.jvmFlags();
    }

    /**
     * Makes it, ready for its first slice.
     *
     * @return a new contest
     */
    public Contest open() {
        return kind.open(window);
    }

    /**
     * Finds one by its name.
     *
     * @param key as {@link #key} gave it
     * @return the contender
     * @throws IllegalArgumentException if there is none
     */
    public static Contender of(String key) {
        if (key.equals(PINGPONG.key())) {
            return PINGPONG;
        }
        int mark = key.lastIndexOf(WINDOW_MARK);
        String window = mark < 0 ? "" : key.substring(mark + WINDOW_MARK.length());
        for (Kind kind : Kind.values()) {
            if (mark >= 0 && window.matches("[1-9][0-9]{0,6}") && kind.key().equals(key.substring(0, mark))) {
                return kind.at(Integer.parseInt(window));
            }
        }
        throw new IllegalArgumentException(
                "contender=" + key + ": allowed " + PINGPONG.key() + ", or KIND" + WINDOW_MARK + "WINDOW");
    }

    @Override
    public String toString() {
        return key();
    }
}
