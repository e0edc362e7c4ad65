package dev.faultline.ring.explore;

import dev.faultline.ring.explore.Program.AwaitNonZero;
import dev.faultline.ring.explore.Program.Cas;
import dev.faultline.ring.explore.Program.Fence;
import dev.faultline.ring.explore.Program.Increment;
import dev.faultline.ring.explore.Program.Jump;
import dev.faultline.ring.explore.Program.JumpIf;
import dev.faultline.ring.explore.Program.JumpIfSame;
import dev.faultline.ring.explore.Program.Load;
import dev.faultline.ring.explore.Program.Note;
import dev.faultline.ring.explore.Program.Order;
import dev.faultline.ring.explore.Program.Store;
import dev.faultline.ring.explore.Program.StoreAt;
import dev.faultline.ring.explore.Program.StoreNext;
import java.util.Set;

/**
 * {@code LaneGate} and the JCTools queue of its tasks, method by method; with flaws, to see that they are found.
 *
 * <p>Thread 0 is the only one that sleeps; {@code INSIDE} holds a thread's number plus one, or {@link #VISITOR}.
 */
final class GateModel {
    /** What could be wrong. */
    enum Flaw {
        ENTERS_WITHOUT_COMPARE_AND_SET,
        LEAVES_WITHOUT_LOOKING_FOR_TASKS,
        OPENS_BY_RELEASE,
        SIGNALS_WITHOUT_FENCE,
        REQUESTS_WITHOUT_SIGNAL,
        REQUESTS_WITHOUT_VISIT,
        FOLLOWS_THE_DEAD_WITHOUT_COMPARE_AND_SET
    }

    static final int VISITOR = 9;

    private static final int R0 = 0;
    private static final int R1 = 1;

    // Words.
    static final int INSIDE = 0;
    static final int WAKEUP = 1;
    static final int PRODUCED = 2;
    static final int CONSUMED = 3;
    static final int ASLEEP = 4;
    static final int SLEEPER = 5;
    /** What the thread inside waits for besides tasks. */
    static final int NEWS = 6;
    /** Set by a task that has run. */
    static final int RAN = 7;
    /** Nobody reads these: how many are inside, and how many tasks have been run. */
    static final int HERE = 8;

    static final int RUNS = 9;
    /** By thread: whether it has died. */
    static final int DEAD = 10;

    private static final int MOST_THREADS = 4;
    private static final int ELEMENTS = DEAD + MOST_THREADS;
    private static final int MOST_TASKS = 3;
    static final int WORDS = ELEMENTS + MOST_TASKS;

    private final Set<Flaw> flaws;
    private final int threads;
    private final int tasks;
    final SleepModel wakeup;

    GateModel(int threads, int tasks, Set<Flaw> flaws) {
        this.threads = threads;
        this.tasks = tasks;
        this.flaws = flaws;
        this.wakeup = new SleepModel(ASLEEP, SLEEPER, Set.of());
    }

    private boolean has(Flaw flaw) {
        return flaws.contains(flaw);
    }

    private static void comeIn(Program p) {
        p.add(new Note(HERE, 1, 1, "threads inside"));
    }

    private static void goOut(Program p, Order order) {
        p.add(new Store(INSIDE, 0, order)).add(new Note(HERE, -1, 1, "threads inside"));
    }

    /** Goes on behind if it could enter, to a label if it was refused. */
    void enter(Program p, int me, String refused) {
        String again = p.fresh("enter");
        String entered = p.fresh("entered");
        p.label(again);
        if (has(Flaw.ENTERS_WITHOUT_COMPARE_AND_SET)) {
            p.add(new Load(R0, INSIDE, Order.VOLATILE)).jumpUnlessZero(R0, refused);
            p.add(new Store(INSIDE, me + 1, Order.VOLATILE));
            p.add(new Jump(entered));
        } else {
            p.add(new Cas(R0, INSIDE, 0, me + 1)).jumpIfZero(R0, entered);
        }
        p.add(new JumpIf(R0, VISITOR, true, again));
        followTheDead(p, me, 0, again, refused);
        p.label(entered);
        comeIn(p);
        // Only thread 0 is ever asleep; who wakes another finds nobody, as its wake-up says.
        p.add(new Store(WAKEUP, me == 0 ? 1 : 0, Order.VOLATILE));
    }

    /** R0 holds who was found inside: if that thread is dead, changes it and goes to one label, else to the other. */
    private void followTheDead(Program p, int me, int update, String followed, String lives) {
        for (int other = 0; other < threads; other++) {
            if (other == me) {
                continue;
            }
            String not = p.fresh("not" + other);
            p.add(new JumpIf(R0, other + 1, false, not));
            p.add(new Load(R1, DEAD + other, Order.VOLATILE)).jumpIfZero(R1, lives);
            if (has(Flaw.FOLLOWS_THE_DEAD_WITHOUT_COMPARE_AND_SET)) {
                p.add(new Store(INSIDE, update, Order.VOLATILE)).add(new Jump(followed));
            } else {
                p.add(new Cas(R1, INSIDE, other + 1, update)).add(new JumpIf(R1, other + 1, true, followed));
            }
            p.add(new Jump(lives));
            p.label(not);
        }
        p.add(new Jump(lives));
    }

    void leave(Program p, int me) {
        p.add(new Store(WAKEUP, 0, Order.VOLATILE));
        goOut(p, has(Flaw.OPENS_BY_RELEASE) ? Order.ORDERED : Order.VOLATILE);
        if (!has(Flaw.LEAVES_WITHOUT_LOOKING_FOR_TASKS)) {
            visit(p, me);
        }
    }

    /** Goes to a label if there are none. */
    void hasTasks(Program p, String none) {
        p.add(new Load(R0, CONSUMED, Order.VOLATILE))
                .add(new Load(R1, PRODUCED, Order.VOLATILE))
                .add(new JumpIfSame(R0, R1, none));
    }

    void runTasks(Program p) {
        String again = p.fresh("run");
        String none = p.fresh("noTask");
        p.label(again);
        // Its own word, but for the gate.
        p.add(new Load(R0, CONSUMED, Order.ORDERED))
                .add(new Load(R1, PRODUCED, Order.VOLATILE))
                .add(new JumpIfSame(R0, R1, none));
        p.add(new AwaitNonZero(ELEMENTS, R0));
        p.add(new StoreNext(R0, CONSUMED, Order.ORDERED));
        p.add(new Store(RAN, 1, Order.VOLATILE)).add(new Note(RUNS, 1, tasks, "tasks run"));
        p.add(new Jump(again)).label(none);
    }

    void request(Program p, int me) {
        p.add(new Increment(R0, PRODUCED)).add(new StoreAt(ELEMENTS, R0, 1, Order.ORDERED));
        if (!has(Flaw.REQUESTS_WITHOUT_SIGNAL)) {
            signal(p);
        }
        if (!has(Flaw.REQUESTS_WITHOUT_VISIT)) {
            visit(p, me);
        }
    }

    /** A visit that has something to do, if nobody is there. */
    void visitOnce(Program p, int me) {
        String end = p.fresh("visitedOnce");
        open(p, me, end);
        runTasks(p);
        goOut(p, Order.VOLATILE);
        visit(p, me);
        p.label(end);
    }

    private void visit(Program p, int me) {
        String again = p.fresh("visit");
        String end = p.fresh("visited");
        p.label(again);
        hasTasks(p, end);
        open(p, me, end);
        runTasks(p);
        goOut(p, has(Flaw.OPENS_BY_RELEASE) ? Order.ORDERED : Order.VOLATILE);
        p.add(new Jump(again)).label(end);
    }

    private void open(Program p, int me, String refused) {
        String opened = p.fresh("opened");
        p.add(new Cas(R0, INSIDE, 0, VISITOR)).jumpIfZero(R0, opened);
        p.add(new JumpIf(R0, VISITOR, true, refused));
        followTheDead(p, me, VISITOR, opened, refused);
        p.label(opened);
        comeIn(p);
    }

    void signal(Program p) {
        String end = p.fresh("nobodyInside");
        if (!has(Flaw.SIGNALS_WITHOUT_FENCE)) {
            p.add(new Fence());
        }
        p.add(new Load(R0, WAKEUP, Order.VOLATILE)).jumpIfZero(R0, end);
        wakeup.signalFenced(p, 0);
        p.label(end);
    }
}
