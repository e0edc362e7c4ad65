package dev.faultline.iommu;

import dev.faultline.iommu.table.WalkTrail;
import java.util.ArrayList;
import java.util.List;

/**
 * What the page tables say about an address, step by step. {@link #toString} tells it in words.
 *
 * <p>Threads: any; immutable. It was made without setting marks, and while others may have mapped and unmapped.
 *
 * @param address what was asked for
 * @param title what was walked: a format, or two
 * @param steps the entries that were read, in order
 * @param physical where the address ends; -1 if nowhere
 * @param end why it ends nowhere; empty if it ends somewhere
 * @param rights what may be done there, in words; empty if it ends nowhere
 * @param bytes how large the page is: the smaller of the two stages'; 0 if it ends nowhere
 */
public record Explanation(
        long address, String title, List<Step> steps, long physical, String end, String rights, long bytes) {
    /**
     * One entry that was read.
     *
     * @param stage 1 or 2
     * @param level 0 where the smallest pages are
     * @param input what this stage translates: the address, or that of an entry of the first stage, or what the first stage made of
     *     the address
     * @param table the table's address: physical, but for a first stage over a second that stage's input
     * @param index of the entry in the table
     * @param entryAddress physical
     * @param entry the word, 0 if it could not be read
     * @param flags the names of its bits
     * @param says what it means
     */
    public record Step(
            int stage,
            int level,
            long input,
            long table,
            int index,
            long entryAddress,
            long entry,
            String flags,
            String says) {}

    /** Copies the list. */
    public Explanation {
        steps = List.copyOf(steps);
    }

    static Explanation of(WalkTrail trail) {
        List<Step> steps = new ArrayList<>();
        for (WalkTrail.Step step : trail.steps()) {
            steps.add(new Step(
                    step.stage(),
                    step.level(),
                    step.input(),
                    step.table(),
                    step.index(),
                    step.entryAddress(),
                    step.entry(),
                    step.flags(),
                    step.says()));
        }
        boolean found = trail.physical() >= 0;
        return new Explanation(
                trail.address(),
                trail.title(),
                steps,
                trail.physical(),
                trail.end(),
                found ? WalkTrail.rightsText(trail.rights()) : "",
                found ? 1L << trail.sizeLg2() : 0);
    }

    /**
     * Whether the address ends somewhere.
     *
     * @return false if {@link #end} says why not
     */
    public boolean translated() {
        return physical >= 0;
    }

    @Override
    public String toString() {
        StringBuilder out = new StringBuilder(hex(address)).append(" in ").append(title);
        boolean two = steps.stream().anyMatch(step -> step.stage() == 1)
                && steps.stream().anyMatch(step -> step.stage() == 2);
        for (Step step : steps) {
            out.append('\n').append("  ".repeat(two ? step.stage() : 1));
            if (two) {
                out.append("stage ").append(step.stage()).append(' ');
            }
            out.append("level ").append(step.level());
            if (two && step.input() != address) {
                out.append(" of ").append(hex(step.input()));
            }
            out.append(": table ")
                    .append(hex(step.table()))
                    .append('[')
                    .append(step.index())
                    .append("] = ")
                    .append(hex(step.entry()));
            if (!step.flags().isEmpty()) {
                out.append(" (").append(step.flags()).append(')');
            }
            out.append(": ").append(step.says());
        }
        if (translated()) {
            out.append("\n  physical address ")
                    .append(hex(physical))
                    .append(", page of ")
                    .append(WalkTrail.size(Long.numberOfTrailingZeros(bytes)))
                    .append(", allowed: ")
                    .append(rights);
        } else {
            out.append("\n  ends nowhere: ").append(end);
        }
        return out.toString();
    }

    private static String hex(long value) {
        return "0x" + Long.toHexString(value);
    }
}
