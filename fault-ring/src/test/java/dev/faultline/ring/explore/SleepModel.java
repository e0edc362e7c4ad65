package dev.faultline.ring.explore;

import dev.faultline.ring.explore.Program.Fence;
import dev.faultline.ring.explore.Program.Load;
import dev.faultline.ring.explore.Program.Order;
import dev.faultline.ring.explore.Program.Park;
import dev.faultline.ring.explore.Program.Store;
import dev.faultline.ring.explore.Program.Unpark;
import java.util.Set;

/** {@link dev.faultline.ring.internal.Wakeup}, method by method; with flaws, to see that they are found. */
record SleepModel(int asleep, int sleeper, Set<Flaw> flaws) {
    /** What could be wrong. */
    enum Flaw {
        SLEEPER_WITHOUT_FENCE,
        SLEEPER_LOOKS_ONCE,
        ANNOUNCES_AFTER_THE_LOOK,
        WAKER_WITHOUT_FENCE,
        WAKER_CLEARS_AFTER_UNPARK
    }

    private static final int R = 0;

    private boolean has(Flaw flaw) {
        return flaws.contains(flaw);
    }

    void announce(Program p) {
        p.add(new Store(sleeper, 1, Order.VOLATILE));
        p.add(new Store(asleep, 1, Order.VOLATILE));
        if (!has(Flaw.SLEEPER_WITHOUT_FENCE)) {
            p.add(new Fence());
        }
    }

    void cancel(Program p) {
        p.add(new Store(asleep, 0, Order.VOLATILE));
    }

    void sleep(Program p) {
        String awake = p.fresh("awake");
        p.add(new Load(R, asleep, Order.VOLATILE)).jumpIfZero(R, awake);
        p.add(new Park());
        p.label(awake).add(new Store(asleep, 0, Order.VOLATILE));
    }

    void signal(Program p, int thread) {
        if (!has(Flaw.WAKER_WITHOUT_FENCE)) {
            p.add(new Fence());
        }
        signalFenced(p, thread);
    }

    void signalFenced(Program p, int thread) {
        String end = p.fresh("signalled");
        p.add(new Load(R, asleep, Order.VOLATILE)).jumpIfZero(R, end);
        if (!has(Flaw.WAKER_CLEARS_AFTER_UNPARK)) {
            p.add(new Store(asleep, 0, Order.VOLATILE));
        }
        String nobody = p.fresh("nobody");
        p.add(new Load(R, sleeper, Order.VOLATILE)).jumpIfZero(R, nobody);
        p.add(new Unpark(thread));
        p.label(nobody);
        if (has(Flaw.WAKER_CLEARS_AFTER_UNPARK)) {
            p.add(new Store(asleep, 0, Order.VOLATILE));
        }
        p.label(end);
    }
}
