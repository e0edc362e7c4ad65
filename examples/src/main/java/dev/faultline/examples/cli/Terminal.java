package dev.faultline.examples.cli;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;

/** Whether somebody watches, and one line that keeps changing for them. Threads: one. */
public final class Terminal {
    private static final String BACK_AND_CLEAR = "\r\u001b[K";

    private final PrintStream out;
    private final boolean live;
    private boolean shown;

    private Terminal(PrintStream out, boolean live) {
        this.out = out;
        this.live = live;
    }

    /**
     * A progress line on standard error.
     *
     * @param wanted false for none at all
     * @return shows nothing where standard error is no terminal
     */
    public static Terminal progress(boolean wanted) {
        return new Terminal(System.err, wanted && isTerminal(2));
    }

    /**
     * Whether text on standard output may be coloured.
     *
     * @return true on a terminal, unless {@code NO_COLOR} is set
     */
    public static boolean colours() {
        String no = System.getenv("NO_COLOR");
        return isTerminal(1) && (no == null || no.isEmpty());
    }

    /**
     * Whether {@link #show} shows.
     *
     * @return true on a terminal
     */
    public boolean isLive() {
        return live;
    }

    /**
     * Replaces the line.
     *
     * @param line the new one
     */
    public void show(String line) {
        if (live) {
            out.print(BACK_AND_CLEAR + line);
            out.flush();
            shown = true;
        }
    }

    /** Takes the line away. */
    public void clear() {
        if (shown) {
            out.print(BACK_AND_CLEAR);
            out.flush();
            shown = false;
        }
    }

    private static boolean isTerminal(int descriptor) {
        try {
            String name = Files.readSymbolicLink(Path.of("/proc/self/fd/" + descriptor))
                    .toString();
            return name.startsWith("/dev/pts/") || name.startsWith("/dev/tty") || name.equals("/dev/console");
        } catch (IOException e) {
            return false;
        }
    }
}
