package dev.faultline.ring;

import dev.faultline.ring.internal.EntryReader;
import dev.faultline.ring.internal.EntryWriter;
import dev.faultline.ring.internal.Stamps;
import dev.faultline.ring.internal.Wakeup;
import java.lang.foreign.MemorySegment;
import java.util.function.BooleanSupplier;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Arbiter;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.III_Result;
import org.openjdk.jcstress.infra.results.II_Result;
import org.openjdk.jcstress.infra.results.L_Result;

/**
 * The gate of a lane: one inside at a time, and no task is lost.
 *
 * <p>Would catch: an enter or a visit that is no compare-and-set (two inside); a leave that does not look for tasks after the
 * gate is open, or opens it with a store that may pass that look (a task lost); plain memory of one visit not seen by the next;
 * a signal that looks for the sleeper before its news can be seen.
 */
public final class GateOrder {
    private GateOrder() {}

    /** What the threads inside write, plainly: the gate has to order it. */
    private static final class Inside {
        private int here;
        private int visits;

        /** How many are inside, this one among them. */
        int visit() {
            int n = ++here;
            visits++;
            here--;
            return n;
        }
    }

    /** Two threads enter. */
    @JCStressTest
    @Outcome(id = "1, 1, 2", expect = Expect.ACCEPTABLE, desc = "one enters -> leaves -> the other enters")
    @Outcome(id = "1, 0, 1", expect = Expect.ACCEPTABLE, desc = "first enters -> second is refused -> first leaves")
    @Outcome(id = "0, 1, 1", expect = Expect.ACCEPTABLE, desc = "second enters -> first is refused -> second leaves")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Both inside, or neither, or what one did is not seen by the next.")
    @State
    public static class Enter {
        private final LaneGate gate = new LaneGate(0, true);
        private final Inside inside = new Inside();

        /** Made by jcstress, once for each run of the two actors. */
        public Enter() {}

        private int enter() {
            if (!gate.enter()) {
                return 0;
            }
            int n = inside.visit();
            gate.leave();
            return n;
        }

        /**
         * Enters if it can.
         *
         * @param r how many were inside, 0 if refused
         */
        @Actor
        public void first(III_Result r) {
            r.r1 = enter();
        }

        /**
         * Enters if it can.
         *
         * @param r how many were inside, 0 if refused
         */
        @Actor
        public void second(III_Result r) {
            r.r2 = enter();
        }

        /**
         * Counts.
         *
         * @param r how often somebody was inside
         */
        @Arbiter
        public void after(III_Result r) {
            r.r3 = inside.visits;
        }
    }

    /** A task is queued while a thread enters and leaves. */
    @JCStressTest
    @Outcome(id = "0, 2", expect = Expect.ACCEPTABLE, desc = "inside -> request -> leave: run by the one who leaves")
    @Outcome(
            id = "1, 2",
            expect = Expect.ACCEPTABLE,
            desc = "request before enter or after leave: run by a visit of its own")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Not run, or run while another was inside.")
    @State
    public static class RequestAgainstLeave {
        private final LaneGate gate = new LaneGate(0, true);
        private final Inside inside = new Inside();
        private Thread ranBy = Thread.currentThread();
        private int worst;

        /** Made by jcstress, once for each run of the two actors. */
        public RequestAgainstLeave() {}

        private void task() {
            worst = Math.max(worst, inside.visit());
            ranBy = Thread.currentThread();
        }

        /** Enters, which only a visit can delay, and leaves. */
        @Actor
        public void enters() {
            if (gate.enter()) {
                worst = Math.max(worst, inside.visit());
                gate.leave();
            }
        }

        /**
         * Has a task run.
         *
         * @param r 1 if it was run here and now
         */
        @Actor
        public void requests(II_Result r) {
            int[] ranHere = new int[1];
            Thread me = Thread.currentThread();
            gate.request(() -> {
                task();
                if (ranBy == me) {
                    ranHere[0] = 1;
                }
            });
            r.r1 = ranHere[0];
        }

        /**
         * Counts.
         *
         * @param r how often somebody was inside, or what went wrong
         */
        @Arbiter
        public void after(II_Result r) {
            r.r2 = worst > 1 ? -worst : inside.visits;
        }
    }

    /** Two threads queue a task each, and nobody has entered. */
    @JCStressTest
    @Outcome(
            id = "1, 2",
            expect = Expect.ACCEPTABLE,
            desc = "one visits -> the other visits, or has its task run by the one")
    @Outcome(expect = Expect.FORBIDDEN, desc = "A task not run, or two at once.")
    @State
    public static class RequestTwice {
        private final LaneGate gate = new LaneGate(0, true);
        private final Inside inside = new Inside();
        private int worst;

        /** Made by jcstress, once for each run of the two actors. */
        public RequestTwice() {}

        private void task() {
            worst = Math.max(worst, inside.visit());
        }

        /** Has a task run. */
        @Actor
        public void first() {
            gate.request(this::task);
        }

        /** Has a task run. */
        @Actor
        public void second() {
            gate.request(this::task);
        }

        /**
         * Counts.
         *
         * @param r how many were inside at once, how often somebody was
         */
        @Arbiter
        public void after(II_Result r) {
            r.r1 = worst;
            r.r2 = inside.visits;
        }
    }

    /** A task is queued while a visitor, which gives way to whoever is inside, comes and goes. */
    @JCStressTest
    @Outcome(
            id = "1, 2",
            expect = Expect.ACCEPTABLE,
            desc = "visit -> request, or request -> visit, or request during the visit")
    @Outcome(id = "1, 1", expect = Expect.ACCEPTABLE, desc = "the task is being run -> the visitor gives way")
    @Outcome(expect = Expect.FORBIDDEN, desc = "The task not run, or two inside at once.")
    @State
    public static class RequestAgainstVisit {
        private final LaneGate gate = new LaneGate(0, true);
        private final Inside inside = new Inside();
        private int worst;
        private int requested;

        /** Made by jcstress, once for each run of the two actors. */
        public RequestAgainstVisit() {}

        private void task() {
            worst = Math.max(worst, inside.visit());
        }

        /** Visits if nobody is there. */
        @Actor
        public void visits() {
            gate.visit(this::task);
        }

        /** Has a task run. */
        @Actor
        public void requests() {
            gate.request(() -> {
                task();
                requested++;
            });
        }

        /**
         * Counts.
         *
         * @param r how many were inside at once, how often somebody was; 0 if the task was not run once
         */
        @Arbiter
        public void after(II_Result r) {
            r.r1 = worst;
            r.r2 = requested == 1 ? inside.visits : 0;
        }
    }

    /** A thread enters and goes to sleep, while news is published for it. */
    private static final class Sleep {
        private final LaneGate gate = new LaneGate(0, true);
        private volatile boolean signalled;

        /** The way of a thread that waits for something; it sleeps until the other actor has done all it does. */
        String sleep(BooleanSupplier look) {
            if (!gate.enter()) {
                return "refused";
            }
            Wakeup wakeup = gate.wakeup();
            wakeup.announce();
            String outcome = "awake";
            if (!look.getAsBoolean()) {
                while (!signalled) {
                    Thread.onSpinWait();
                }
                outcome = wakeup.isAsleep() ? "asleep" : "woken";
            }
            wakeup.cancel();
            gate.leave();
            return outcome;
        }
    }

    /** An entry is published, and signalled through the gate. */
    @JCStressTest
    @Outcome(id = "awake", expect = Expect.ACCEPTABLE, desc = "publish -> look")
    @Outcome(id = "woken", expect = Expect.ACCEPTABLE, desc = "enter -> announce -> look -> publish -> signal")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Sleeps, and the signal saw nobody inside or nobody asleep.")
    @State
    public static class SignalAgainstSleep {
        private final Sleep sleep = new Sleep();
        private final EntryWriter writer;
        private final EntryReader reader;

        /** Made by jcstress, once for each run of the two actors. */
        public SignalAgainstSleep() {
            MemorySegment memory = MemorySegment.ofArray(new long[2 * Stamps.ENTRY_BYTES / Long.BYTES]);
            writer = EntryWriter.of(memory, 0, 2);
            reader = EntryReader.of(memory, 0, 2);
            writer.stage(1);
        }

        /**
         * Enters, announces, looks, and would sleep.
         *
         * @param r what became of it
         */
        @Actor
        public void sleeper(L_Result r) {
            r.r1 = sleep.sleep(() -> reader.next() != 0);
        }

        /** Publishes, and signals. */
        @Actor
        public void waker() {
            writer.publish();
            sleep.gate.signal();
            sleep.signalled = true;
        }
    }

    /** A task is queued for the thread inside. */
    @JCStressTest
    @Outcome(id = "awake", expect = Expect.ACCEPTABLE, desc = "request -> look")
    @Outcome(id = "woken", expect = Expect.ACCEPTABLE, desc = "enter -> announce -> look -> request")
    @Outcome(id = "visited", expect = Expect.ACCEPTABLE, desc = "request -> run -> enter")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Sleeps, and the task waits for it.")
    @State
    public static class RequestAgainstSleep {
        private final Sleep sleep = new Sleep();
        private boolean ran;

        /** Made by jcstress, once for each run of the two actors. */
        public RequestAgainstSleep() {}

        /**
         * Enters, announces, looks, and would sleep.
         *
         * @param r what became of it
         */
        @Actor
        public void sleeper(L_Result r) {
            boolean[] ranBefore = new boolean[1];
            String outcome = sleep.sleep(() -> {
                ranBefore[0] = ran;
                return ran || sleep.gate.hasTasks();
            });
            r.r1 = ranBefore[0] ? "visited" : outcome;
        }

        /** Has a task run. */
        @Actor
        public void requester() {
            sleep.gate.request(() -> ran = true);
            sleep.signalled = true;
        }
    }
}
