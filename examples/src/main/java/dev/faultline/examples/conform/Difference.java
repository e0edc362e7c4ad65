package dev.faultline.examples.conform;

/**
 * Something that was not as recorded. Immutable.
 *
 * @param group the recording's group
 * @param step the step in it
 * @param name the case that the call is the point of, empty if of none
 * @param call what was called
 * @param what the number or bytes that differ
 * @param expected as recorded
 * @param actual as it was
 */
public record Difference(
        String group, long step, String name, String call, String what, String expected, String actual) {
    @Override
    public String toString() {
        return group + " step " + step + (name.isEmpty() ? "" : " (" + name + ")") + ", " + call + ": " + what
                + ": expected " + expected + ", actual " + actual;
    }
}
