package dev.faultline.stress;

import dev.faultline.ring.internal.EntryReader;
import dev.faultline.ring.internal.EntryWriter;
import dev.faultline.ring.internal.Stamps;
import dev.faultline.ring.internal.Wakeup;
import java.lang.foreign.MemorySegment;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Arbiter;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.ZZ_Result;

/**
 * The sleep protocol: no wake-up falls between the last look and the sleep. Nobody really sleeps here: whoever would is found
 * by the announcement that nobody has taken away.
 *
 * <p>Would catch: either full fence of the protocol left out or made weaker, for both sides write one word and read the
 * other's.
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
            MemorySegment memory = MemorySegment.ofArray(new long[2 * Stamps.ENTRY_BYTES / Long.BYTES]);
            writer = EntryWriter.of(memory, 0, 2);
            reader = EntryReader.of(memory, 0, 2);
            writer.stage(1);
        }

        /**
         * Announces, and looks again.
         *
         * @param r whether it found something
         */
        @Actor
        public void sleeper(ZZ_Result r) {
            wakeup.announce();
            r.r1 = reader.next() != 0;
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
            r.r2 = wakeup.isAsleep();
        }
    }
}
