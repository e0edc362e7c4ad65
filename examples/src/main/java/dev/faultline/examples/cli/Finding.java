package dev.faultline.examples.cli;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Locale;

/**
 * What was found out about one thing a machine may offer. Immutable.
 *
 * @param item the thing
 * @param state whether it is there
 * @param why how that showed
 * @param remedy what to do about it, empty where there is nothing to do
 * @param needed whether the main job cannot run without it
 */
record Finding(String item, State state, String why, String remedy, boolean needed) {
    /** Whether a thing is there. */
    enum State {
        /** It is there, and works. */
        YES,
        /** It is there, with less than it could be. */
        LIMITED,
        /** It is not there, or does not work. */
        NO;

        /** In lower case, as it is printed. */
        String word() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    static Finding yes(String item, String why) {
        return new Finding(item, State.YES, why, "", false);
    }

    static Finding limited(String item, String why, String remedy) {
        return new Finding(item, State.LIMITED, why, remedy, false);
    }

    static Finding no(String item, String why, String remedy) {
        return new Finding(item, State.NO, why, remedy, false);
    }

    /** The same of something the main job cannot do without. */
    Finding forMainJob() {
        return new Finding(item, state, why, remedy, true);
    }

    /** Whether the main job cannot run for it. */
    boolean stopsMainJob() {
        return needed && state == State.NO;
    }

    ObjectNode json() {
        return JsonNodeFactory.instance
                .objectNode()
                .put("item", item)
                .put("state", state.word())
                .put("why", why)
                .put("remedy", remedy.isEmpty() ? null : remedy)
                .put("needed", needed);
    }

    void row(Table table) {
        table.row(item, "%-8s %s", state.word(), why);
        if (!remedy.isEmpty()) {
            table.row("", "%-8s -> %s", "", remedy);
        }
    }
}
