package dev.faultline.ring.explore;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What one thread does: a list of steps over shared words and registers of its own. Built by the methods, in order. */
final class Program {
    /** In what order an access is seen, in the JDK's words. */
    enum Order {
        /** Plain or acquire, plain or release: a store may be seen after later loads of other words. */
        ORDERED,
        /** Volatile: as above, but not after a later volatile load. */
        VOLATILE
    }

    /** A step. Those that touch no shared word are done together with the one before. */
    sealed interface Step {
        default boolean isLocal() {
            return false;
        }
    }

    record Load(int register, int word, Order order) implements Step {}

    record Store(int word, int value, Order order) implements Step {}

    /** Register takes what was there before; the word changes if that was {@code expected}. */
    record Cas(int register, int word, int expected, int update) implements Step {}

    /** Register takes what was there before; one is added. */
    record Increment(int register, int word) implements Step {}

    record Fence() implements Step {}

    /** Blocks until there is a permit, and takes it. */
    record Park() implements Step {}

    /** Takes the lock of the thread that sleeps, and so is a fence too. */
    record Unpark(int thread) implements Step {}

    /** Blocks while the word that is a register's value after another is 0: a loop that looks again. */
    record AwaitNonZero(int firstWord, int register) implements Step {}

    /** Stores a register's value and one. */
    record StoreNext(int register, int word, Order order) implements Step {}

    /** Stores into the word that is a register's value after another. */
    record StoreAt(int firstWord, int register, int value, Order order) implements Step {}

    record JumpIf(int register, int value, boolean equal, String label) implements Step {
        @Override
        public boolean isLocal() {
            return true;
        }
    }

    /** Jumps if two registers are equal. */
    record JumpIfSame(int register, int other, String label) implements Step {
        @Override
        public boolean isLocal() {
            return true;
        }
    }

    record Jump(String label) implements Step {
        @Override
        public boolean isLocal() {
            return true;
        }
    }

    /** Ends here, or goes on: both are tried. What it has stored is seen by whoever sees it dead; it is counted no more. */
    record MayDie(int deadWord, int countWord) implements Step {}

    /** Blocks until all other threads have ended. */
    record AwaitOthers() implements Step {}

    /** Adds to a word that no thread reads, at once; it must stay within 0 and a limit. */
    record Note(int word, int delta, int most, String what) implements Step {
        @Override
        public boolean isLocal() {
            return true;
        }
    }

    final String name;
    final List<Step> steps = new ArrayList<>();
    private final Map<String, Integer> labels = new HashMap<>();
    private int calls;

    Program(String name) {
        this.name = name;
    }

    int target(String label) {
        Integer at = labels.get(label);
        if (at == null) {
            throw new IllegalStateException("label=" + label + " of " + name + " is nowhere");
        }
        return at;
    }

    /** A name for a label that no other call has. */
    String fresh(String label) {
        return label + "#" + ++calls;
    }

    Program label(String label) {
        if (labels.put(label, steps.size()) != null) {
            throw new IllegalStateException("label=" + label + " of " + name + " is there twice");
        }
        return this;
    }

    Program add(Step step) {
        steps.add(step);
        return this;
    }

    Program jumpIfZero(int register, String label) {
        return add(new JumpIf(register, 0, true, label));
    }

    Program jumpUnlessZero(int register, String label) {
        return add(new JumpIf(register, 0, false, label));
    }
}
