package dev.faultline.bench.contender;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ring.FaultQueue;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLongArray;

/** Several producers of one fault queue, each on a thread and a lane of its own with a window of its own, and one consumer. */
final class LanesContest implements Contest {

    /** Round trips after which a helper says how far it is. */
    private static final int HELPER_ROUND_TRIPS = 64;

    private static final int LINE_LONGS = CacheLine.BYTES / Long.BYTES;

    private final FaultQueue queue;
    private final List<CarriedFaults> lanes = new ArrayList<>();

    /** How many round trips each helper has made, far enough apart. */
    private final AtomicLongArray helped;

    /**
     * A contest that has not begun.
     *
     * @param lanes producers
     * @param window requests under way on each lane
     */
    LanesContest(int lanes, int window) {
        queue = FaultQueue.open(FaultQueueCarrier.config(window, lanes));
        Responder responder = QueueResponder.of(queue);
        for (int i = 0; i < lanes; i++) {
            this.lanes.add(new CarriedFaults(
                    window,
                    outstanding -> new Carrier(new FaultQueueCarrier.Lane(outstanding, queue, window), responder)));
        }
        helped = new AtomicLongArray((lanes + 1) * LINE_LONGS);
    }

    private static int index(int helper) {
        return (helper + 1) * LINE_LONGS;
    }

    private long helped() {
        long sum = 0;
        for (int helper = 0; helper < helpers(); helper++) {
            sum += helped.getOpaque(index(helper));
        }
        return sum;
    }

    @Override
    public int helpers() {
        return lanes.size() - 1;
    }

    @Override
    public void begin() {
        lanes.getFirst().begin();
    }

    /** Its own round trips, and those the helpers have made meanwhile. */
    @Override
    public int request(int roundTrips) {
        long before = helped();
        int own = lanes.getFirst().request(roundTrips);
        return own + (int) (helped() - before);
    }

    @Override
    public void end() {
        lanes.getFirst().end();
    }

    @Override
    public void help(int helper, StopFlag stop) {
        CarriedFaults lane = lanes.get(helper + 1);
        lane.begin();
        while (!stop.isRaised()) {
            int made = lane.request(HELPER_ROUND_TRIPS);
            helped.setOpaque(index(helper), helped.getPlain(index(helper)) + made);
        }
        lane.end();
    }

    @Override
    public void respond(StopFlag stop) {
        lanes.getFirst().respond(stop);
    }

    @Override
    public void endResponding() {
        lanes.getFirst().endResponding();
    }

    @Override
    public void close() {
        queue.close();
    }
}
