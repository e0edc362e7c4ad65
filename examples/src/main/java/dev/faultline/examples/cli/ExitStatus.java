package dev.faultline.examples.cli;

/** What the process says when it ends; the same for every command. */
public final class ExitStatus {
    /** Done, and good. */
    public static final int GOOD = 0;

    /** Done, and bad: data that do not match, a gate that failed, faults that are not accounted for. */
    public static final int BAD = 1;

    /** What the user gave cannot be used. */
    public static final int BAD_INPUT = 2;

    /** The machine lacks something. */
    public static final int LACKING = 3;

    /** A bug of this program. */
    public static final int OUR_BUG = 70;

    /** Interrupted by Ctrl-C; with SIGTERM the process ends with 143. */
    public static final int INTERRUPTED = 130;

    private ExitStatus() {}
}
