package dev.faultline.bench.contender;

import java.util.function.Function;

/** The closed loop every carrier is measured with: a window of requests kept full, each answer matched to its request. */
final class CarriedFaults implements Contest {

    private static final long FIRST_ADDRESS = 0x7000_0000L;
    private static final int PAGE_SHIFT = 12;
    private static final int PAGES_MASK = 0xffff;
    private static final int GROUPS_MASK = 0x1ff;

    private final Outstanding outstanding;
    private final Carrier carrier;
    private int sent;
    private long readFields;

    /**
     * A loop over one carrier.
     *
     * @param window requests under way at once, a power of two
     * @param carrier makes the carrier; its answers go to the table it is given
     */
    CarriedFaults(int window, Function<Outstanding, Carrier> carrier) {
        this.outstanding = new Outstanding(window);
        this.carrier = carrier.apply(outstanding);
    }

    @Override
    public void begin() {
        carrier.begin();
    }

    @Override
    public int request(int roundTrips) {
        int before = outstanding.answeredSoFar();
        int completed = 0;
        while (completed < roundTrips) {
            while (outstanding.hasRoom()) {
                int number = sent++;
                long address = FIRST_ADDRESS + ((long) (number & PAGES_MASK) << PAGE_SHIFT);
                carrier.send(outstanding.open(address), number & GROUPS_MASK, address);
            }
            carrier.flush();
            carrier.receive();
            int now = outstanding.answeredSoFar() - before;
            if (now == completed) {
                Thread.onSpinWait();
            }
            completed = now;
        }
        return completed;
    }

    @Override
    public void end() {
        while (outstanding.underWay() > 0) {
            carrier.receive();
            Thread.onSpinWait();
        }
        carrier.end();
        if (carrier.readFields() == readFields) {
            throw new IllegalStateException("the responder read nothing in this slice");
        }
        readFields = carrier.readFields();
    }

    @Override
    public void respond(StopFlag stop) {
        carrier.beginServing();
        while (true) {
            if (carrier.serve() == 0) {
                if (stop.isRaised()) {
                    return;
                }
                Thread.onSpinWait();
            }
        }
    }

    @Override
    public void endResponding() {
        carrier.endServing();
    }

    @Override
    public void close() {
        carrier.close();
    }
}
