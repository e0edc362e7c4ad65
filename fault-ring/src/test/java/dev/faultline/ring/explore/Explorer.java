package dev.faultline.ring.explore;

import dev.faultline.ring.explore.Program.AwaitNonZero;
import dev.faultline.ring.explore.Program.AwaitOthers;
import dev.faultline.ring.explore.Program.Cas;
import dev.faultline.ring.explore.Program.Fence;
import dev.faultline.ring.explore.Program.Increment;
import dev.faultline.ring.explore.Program.Jump;
import dev.faultline.ring.explore.Program.JumpIf;
import dev.faultline.ring.explore.Program.JumpIfSame;
import dev.faultline.ring.explore.Program.Load;
import dev.faultline.ring.explore.Program.MayDie;
import dev.faultline.ring.explore.Program.Note;
import dev.faultline.ring.explore.Program.Order;
import dev.faultline.ring.explore.Program.Park;
import dev.faultline.ring.explore.Program.Step;
import dev.faultline.ring.explore.Program.Store;
import dev.faultline.ring.explore.Program.StoreAt;
import dev.faultline.ring.explore.Program.StoreNext;
import dev.faultline.ring.explore.Program.Unpark;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Runs a few programs in every interleaving, and looks at each state that can come about.
 *
 * <p>The machine: a store goes into its thread's buffer, first-in first-out, and reaches memory any time later; its own thread
 * sees it at once. So a store may pass the loads after it, as on x86, and as the JDK allows for all but volatile ones. A full
 * fence, a compare-and-set, an unpark and the end of a thread wait for the buffer to be empty; a volatile load waits for the
 * volatile stores in it. Loads are not reordered: every one in the protocols is acquire or volatile. What a machine with weaker
 * stores does is jcstress's to find.
 */
final class Explorer {
    private static final int REGISTERS = 3;
    private static final int MOST_STATES = 4_000_000;
    private static final int ENDED = -1;
    /** Of a thread's share of a state: pc, permit, registers, number of stores; then three for each store. */
    private static final int PC = 0;

    private static final int PERMIT = 1;
    private static final int FIRST_REGISTER = 2;
    private static final int STORES = FIRST_REGISTER + REGISTERS;

    /** What came out: how many states there are, and how a bad one is reached; null if there is none. */
    record Outcome(int states, @Nullable String bad) {}

    private static final class State {
        final int[] memory;
        final int[][] threads;

        State(int[] memory, int[][] threads) {
            this.memory = memory;
            this.threads = threads;
        }

        @Override
        public boolean equals(@Nullable Object other) {
            return other instanceof State that
                    && Arrays.equals(memory, that.memory)
                    && Arrays.deepEquals(threads, that.threads);
        }

        @Override
        public int hashCode() {
            return 31 * Arrays.hashCode(memory) + Arrays.deepHashCode(threads);
        }

        State copy() {
            int[][] copies = new int[threads.length][];
            for (int t = 0; t < threads.length; t++) {
                copies[t] = threads[t].clone();
            }
            return new State(memory.clone(), copies);
        }
    }

    private record Origin(@Nullable State from, String action) {}

    private final Program[] programs;
    private final int words;
    private final Function<int[], @Nullable String> atTheEnd;
    private final Map<State, Origin> seen = new HashMap<>();
    private final Deque<State> left = new ArrayDeque<>();
    private @Nullable String bad;

    private Explorer(int words, Function<int[], @Nullable String> atTheEnd, Program... programs) {
        this.words = words;
        this.atTheEnd = atTheEnd;
        this.programs = programs;
    }

    /**
     * Explores.
     *
     * @param words how many shared words there are, all 0 at first
     * @param atTheEnd looks at the words when all threads have ended; says what is wrong, or null
     * @param programs one for each thread
     */
    static Outcome explore(int words, Function<int[], @Nullable String> atTheEnd, Program... programs) {
        return new Explorer(words, atTheEnd, programs).explore();
    }

    private Outcome explore() {
        int[][] threads = new int[programs.length][STORES + 1];
        State first = new State(new int[words], threads);
        for (int t = 0; t < programs.length; t++) {
            if (runLocal(first, t) != null) {
                throw new IllegalStateException("a program begins with a note that is out of bounds");
            }
        }
        seen.put(first, new Origin(null, ""));
        left.add(first);
        State state;
        while (bad == null && (state = left.poll()) != null) {
            boolean moved = false;
            for (int t = 0; t < programs.length; t++) {
                moved |= flush(state, t);
                moved |= step(state, t);
            }
            if (!moved) {
                end(state);
            }
        }
        return new Outcome(seen.size(), bad);
    }

    /** Nothing can move: that is good if all have ended. */
    private void end(State state) {
        StringBuilder wrong = new StringBuilder();
        for (int t = 0; t < programs.length; t++) {
            if (state.threads[t][PC] != ENDED) {
                wrong.append(programs[t].name).append(" waits for ever; ");
            }
        }
        if (wrong.isEmpty()) {
            String found = atTheEnd.apply(state.memory);
            if (found == null) {
                return;
            }
            wrong.append(found);
        }
        tell(state, wrong.toString());
    }

    private void tell(State state, String what) {
        List<String> way = new ArrayList<>();
        for (State at = state; at != null; ) {
            Origin origin = seen.get(at);
            if (origin == null) {
                break;
            }
            way.add(origin.action);
            at = origin.from;
        }
        Collections.reverse(way);
        bad = what + String.join("\n  ", way);
    }

    /** The oldest store of a thread reaches memory. */
    private boolean flush(State state, int t) {
        int[] thread = state.threads[t];
        int n = thread[STORES];
        if (n == 0) {
            return false;
        }
        State next = state.copy();
        next.memory[thread[STORES + 1]] = thread[STORES + 2];
        int[] shorter = Arrays.copyOf(thread, thread.length - 3);
        System.arraycopy(thread, STORES + 4, shorter, STORES + 1, 3 * (n - 1));
        shorter[STORES] = n - 1;
        next.threads[t] = shorter;
        reach(state, next, programs[t].name + "'s store to " + thread[STORES + 1] + " is seen");
        return true;
    }

    private void reach(State from, State next, String action) {
        if (seen.putIfAbsent(next, new Origin(from, action)) == null) {
            if (seen.size() > MOST_STATES) {
                throw new IllegalStateException("more than " + MOST_STATES + " states: make the programs smaller");
            }
            left.add(next);
        }
    }

    private boolean step(State state, int t) {
        int pc = state.threads[t][PC];
        if (pc == ENDED) {
            return false;
        }
        Step step = programs[t].steps.get(pc);
        if (!isPossible(state, t, step)) {
            return false;
        }
        if (step instanceof MayDie death) {
            State dead = state.copy();
            dead.threads[t][PC] = ENDED;
            dead.memory[death.deadWord()] = 1;
            dead.memory[death.countWord()]--;
            reach(state, dead, programs[t].name + " dies");
        }
        State next = state.copy();
        next.threads[t][PC]++;
        act(next, t, step);
        String wrong = runLocal(next, t);
        reach(state, next, programs[t].name + " " + step);
        if (wrong != null && bad == null) {
            tell(next, wrong);
        }
        return true;
    }

    private boolean isPossible(State state, int t, Step step) {
        int[] thread = state.threads[t];
        return switch (step) {
            case Load load -> load.order() == Order.ORDERED || !hasVolatileStore(thread);
            case Cas _, Increment _, Fence _, Unpark _, MayDie _ -> thread[STORES] == 0;
            case Park _ -> thread[PERMIT] != 0;
            case AwaitNonZero await ->
                read(state, thread, await.firstWord() + thread[FIRST_REGISTER + await.register()]) != 0;
            case AwaitOthers _ -> {
                boolean all = true;
                for (int other = 0; other < programs.length; other++) {
                    int[] its = state.threads[other];
                    all &= other == t || (its[PC] == ENDED && its[STORES] == 0);
                }
                yield all;
            }
            default -> true;
        };
    }

    private static boolean hasVolatileStore(int[] thread) {
        for (int i = 0; i < thread[STORES]; i++) {
            if (thread[STORES + 3 + 3 * i] == Order.VOLATILE.ordinal()) {
                return true;
            }
        }
        return false;
    }

    /** What a thread sees in a word: its own newest store, or memory. */
    private static int read(State state, int[] thread, int word) {
        for (int i = thread[STORES] - 1; i >= 0; i--) {
            if (thread[STORES + 1 + 3 * i] == word) {
                return thread[STORES + 2 + 3 * i];
            }
        }
        return state.memory[word];
    }

    private void act(State next, int t, Step step) {
        int[] thread = next.threads[t];
        switch (step) {
            case Load load -> thread[FIRST_REGISTER + load.register()] = read(next, thread, load.word());
            case Store store -> next.threads[t] = buffered(thread, store.word(), store.value(), store.order());
            case StoreAt store ->
                next.threads[t] = buffered(
                        thread,
                        store.firstWord() + thread[FIRST_REGISTER + store.register()],
                        store.value(),
                        store.order());
            case StoreNext store ->
                next.threads[t] =
                        buffered(thread, store.word(), thread[FIRST_REGISTER + store.register()] + 1, store.order());
            case Cas cas -> {
                int was = next.memory[cas.word()];
                thread[FIRST_REGISTER + cas.register()] = was;
                if (was == cas.expected()) {
                    next.memory[cas.word()] = cas.update();
                }
            }
            case Increment increment -> thread[FIRST_REGISTER + increment.register()] = next.memory[increment.word()]++;
            case Park _ -> thread[PERMIT] = 0;
            case Unpark unpark -> next.threads[unpark.thread()][PERMIT] = 1;
            default -> {
                // Those that only wait.
            }
        }
    }

    private static int[] buffered(int[] thread, int word, int value, Order order) {
        int[] longer = Arrays.copyOf(thread, thread.length + 3);
        int at = STORES + 1 + 3 * thread[STORES];
        longer[at] = word;
        longer[at + 1] = value;
        longer[at + 2] = order.ordinal();
        longer[STORES]++;
        return longer;
    }

    /** Goes on to the next step that others could see; says what is wrong, or null. */
    private @Nullable String runLocal(State state, int t) {
        int[] thread = state.threads[t];
        Program program = programs[t];
        String wrong = null;
        while (thread[PC] < program.steps.size()) {
            Step step = program.steps.get(thread[PC]);
            if (!step.isLocal()) {
                return wrong;
            }
            thread[PC]++;
            switch (step) {
                case JumpIf jump -> {
                    if ((thread[FIRST_REGISTER + jump.register()] == jump.value()) == jump.equal()) {
                        thread[PC] = program.target(jump.label());
                    }
                }
                case JumpIfSame jump -> {
                    if (thread[FIRST_REGISTER + jump.register()] == thread[FIRST_REGISTER + jump.other()]) {
                        thread[PC] = program.target(jump.label());
                    }
                }
                case Jump jump -> thread[PC] = program.target(jump.label());
                case Note note -> {
                    int now = state.memory[note.word()] += note.delta();
                    if (now < 0 || now > note.most()) {
                        wrong = note.what() + "=" + now + ": allowed 0 to " + note.most();
                    }
                }
                default -> throw new IllegalStateException("local step " + step);
            }
        }
        thread[PC] = ENDED;
        // What it still knows makes no other state.
        Arrays.fill(thread, FIRST_REGISTER, FIRST_REGISTER + REGISTERS, 0);
        return wrong;
    }
}
