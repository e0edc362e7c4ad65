package dev.faultline.stress;

import dev.faultline.ring.internal.EntryReader;
import dev.faultline.ring.internal.EntryWriter;
import dev.faultline.ring.internal.RingLayout;
import dev.faultline.ring.internal.Wakeup;
import java.lang.foreign.MemorySegment;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Arbiter;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.ZZZ_Result;
import org.openjdk.jcstress.infra.results.ZZ_Result;

/**
 * The sleep protocol: no wake-up falls between the last look and the sleep. Nobody really sleeps here: whoever would is found
 * by the announcement that nobody has taken away.
 *
 * <p>Would catch: either full fence of the protocol left out or made weaker, for both sides write one word and read the
 * other's; a ring that is cleared after its news was looked for.
 */
public final class SleepAndWake {
    private SleepAndWake() {}

    /** News in a ring, then a signal. */
    @JCStressTest
    @Outcome(id = "true, false", expect = Expect.ACCEPTABLE, desc = "publish -> look: stays awake")
    @Outcome(
            id = "false, false",
            expect = Expect.ACCEPTABLE,
            desc = "announce -> look -> publish -> signal: sleeps, is woken")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Sleeps, and the signal saw nobody asleep.")
    @State
    public static class Signal {
        private final Wakeup wakeup = new Wakeup();
        private final EntryWriter writer;
        private final EntryReader reader;

        /** Made by jcstress, once for each run of the two actors. */
        public Signal() {
            MemorySegment memory = MemorySegment.ofArray(new long[(int) (RingLayout.bytes(1) / Long.BYTES)]);
            writer = new EntryWriter(memory, 0, 1);
            reader = new EntryReader(memory, 0, 1);
            writer.claim();
        }

        /**
         * Announces, and looks again.
         *
         * @param r whether it found something
         */
        @Actor
        public void sleeper(ZZ_Result r) {
            wakeup.announce();
            r.r1 = reader.isReady();
            if (r.r1) {
                wakeup.cancel();
            }
        }

        /** Publishes, and signals. */
        @Actor
        public void waker() {
            writer.publish();
            wakeup.signal();
        }

        /**
         * Looks whether the sleeper was left alone.
         *
         * @param r whether it is still asleep
         */
        @Arbiter
        public void after(ZZ_Result r) {
            r.r2 = Asleep.isAsleep(wakeup);
        }
    }

    /** A ring of the wake-up's own bell. */
    @JCStressTest
    @Outcome(id = "true, false, false", expect = Expect.ACCEPTABLE, desc = "ring -> take: stays awake")
    @Outcome(
            id = "false, false, true",
            expect = Expect.ACCEPTABLE,
            desc = "announce -> take -> ring: sleeps, is woken, finds the ring")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Sleeps with nobody to wake it, or the ring is lost, or found twice.")
    @State
    public static class Ring {
        private final Wakeup wakeup = new Wakeup();

        /** Made by jcstress, once for each run of the two actors. */
        public Ring() {}

        /**
         * Announces, and looks for a ring.
         *
         * @param r whether there was one
         */
        @Actor
        public void sleeper(ZZZ_Result r) {
            wakeup.announce();
            r.r1 = wakeup.takeRing();
            if (r.r1) {
                wakeup.cancel();
            }
        }

        /** Rings. */
        @Actor
        public void ringer() {
            wakeup.ring();
        }

        /**
         * Looks whether the sleeper was left alone, and for the ring.
         *
         * @param r whether it is still asleep, whether there is a ring to take
         */
        @Arbiter
        public void after(ZZZ_Result r) {
            r.r2 = Asleep.isAsleep(wakeup);
            r.r3 = wakeup.takeRing();
        }
    }

    /** A second ring comes while the first is taken: its news is seen now, or it is there to be taken. */
    @JCStressTest
    @Outcome(id = "false, true", expect = Expect.ACCEPTABLE, desc = "take -> look -> news -> ring")
    @Outcome(id = "true, true", expect = Expect.ACCEPTABLE, desc = "news -> take and look -> ring")
    @Outcome(
            id = "true, false",
            expect = Expect.ACCEPTABLE,
            desc = "news -> ring -> take -> look: two rings taken as one")
    @Outcome(expect = Expect.FORBIDDEN, desc = "News not seen, and no ring left to say so.")
    @State
    public static class RingTwice {
        private final Wakeup wakeup = new Wakeup();
        private boolean news;

        /** Made by jcstress, once for each run of the two actors. */
        public RingTwice() {
            wakeup.ring();
        }

        /**
         * Takes the first ring, and looks.
         *
         * @param r whether the news was there
         */
        @Actor
        public void sleeper(ZZ_Result r) {
            r.r1 = wakeup.takeRing() && news;
        }

        /** Has news, and rings. */
        @Actor
        public void ringer() {
            news = true;
            wakeup.ring();
        }

        /**
         * Looks for a ring.
         *
         * @param r whether there is one
         */
        @Arbiter
        public void after(ZZ_Result r) {
            r.r2 = wakeup.takeRing();
        }
    }
}
