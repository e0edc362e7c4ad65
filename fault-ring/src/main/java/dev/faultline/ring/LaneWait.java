package dev.faultline.ring;

import dev.faultline.ring.internal.Wakeup;
import java.util.List;

/** Waiting on the producer's side, for one lane or several: every thread sleeps on one {@link Wakeup}, whatever its lanes. */
final class LaneWait {
    private static final int LOOKS_PER_CLOCK = 32;

    private LaneWait() {}

    static boolean await(List<? extends FaultProducer> producers, long limitNs) {
        Arguments.notNull("entered", producers, "a list of 1 producer or more");
        int n = producers.size();
        if (n == 0) {
            throw new IllegalArgumentException("entered=[]: allowed 1 producer or more");
        }
        Wakeup wakeup = null;
        Waiting waiting = Waiting.SPIN_THEN_PARK;
        for (int i = 0; i < n; i++) {
            Lane lane = lane(producers.get(i));
            wakeup = lane.wakeup("await");
            if (!lane.waiting().sleeps()) {
                // Its consumer signals nobody, so this thread must not sleep.
                waiting = lane.waiting();
            }
            lane.flush();
        }
        long start = System.nanoTime();
        for (int looks = 0; ; looks = waiting.idle(looks)) {
            if (anyReady(producers, n)) {
                return true;
            }
            if (looks != Waiting.SLEEP && looks % LOOKS_PER_CLOCK != LOOKS_PER_CLOCK - 1) {
                continue;
            }
            long left = limitNs - (System.nanoTime() - start);
            long untilExpiry = Long.MAX_VALUE;
            for (int i = 0; i < n; i++) {
                untilExpiry = Math.min(untilExpiry, lane(producers.get(i)).untilExpiry());
            }
            if (untilExpiry <= 0) {
                return true;
            }
            if (left <= 0) {
                return false;
            }
            if (looks == Waiting.SLEEP && wakeup != null) {
                wakeup.announce();
                if (anyReady(producers, n)) {
                    wakeup.cancel();
                    return true;
                }
                wakeup.sleep(Math.min(left, untilExpiry));
                looks = 0;
            }
        }
    }

    private static boolean anyReady(List<? extends FaultProducer> producers, int n) {
        for (int i = 0; i < n; i++) {
            if (lane(producers.get(i)).isReady()) {
                return true;
            }
        }
        return false;
    }

    private static Lane lane(FaultProducer producer) {
        if (producer instanceof Lane lane) {
            return lane;
        }
        throw new IllegalArgumentException("producer=" + producer + ": allowed are those a FaultQueue has made");
    }
}
