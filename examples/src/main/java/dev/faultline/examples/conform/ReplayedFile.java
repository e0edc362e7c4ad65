package dev.faultline.examples.conform;

import java.util.List;

/**
 * How the replay of a recording went. Immutable.
 *
 * @param name the file
 * @param passed calls that did as recorded
 * @param failed calls that did not
 * @param notCounted lines that are not for comparing
 * @param differences what was not as recorded; one call may have several
 */
public record ReplayedFile(String name, int passed, int failed, int notCounted, List<Difference> differences) {
    /** Keeps a copy of the list. */
    public ReplayedFile {
        differences = List.copyOf(differences);
    }
}
