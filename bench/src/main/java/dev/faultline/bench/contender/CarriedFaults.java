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
    private final Requester requester;
    private final Responder responder;
    private final int held;
    private long readFields;

    /**
     * A loop over one carrier.
     *
     * @param window requests under way at once, a power of two
     * @param carrier makes the carrier; its answers go to the table it is given
     */
    CarriedFaults(int window, Function<Outstanding, Carrier> carrier) {
        this(window, 0, carrier);
    }

    /**
     * A loop over a carrier whose responder leaves the latest requests unanswered.
     *
     * @param window requests under way at once beside those, a power of two
     * @param held how many requests the responder holds, also between slices
     * @param carrier makes the carrier; its answers go to the table it is given
     */
    CarriedFaults(int window, int held, Function<Outstanding, Carrier> carrier) {
        this.held = held;
        this.outstanding = Outstanding.of(window + held);
        this.carrier = carrier.apply(outstanding);
        this.requester = this.carrier.requester();
        this.responder = this.carrier.responder();
    }

    @Override
    public void begin() {
        requester.begin();
    }

    @Override
    public void prepare() {
        responder.awaitIdle();
    }

    @Override
    public int request(int roundTrips) {
        Outstanding table = outstanding;
        Requester end = requester;
        int before = table.answeredSoFar();
        int completed = 0;
        while (completed < roundTrips) {
            while (table.hasRoom()) {
                int number = table.openedSoFar();
                long address = FIRST_ADDRESS + ((long) (number & PAGES_MASK) << PAGE_SHIFT);
                end.send(table.open(address), number & GROUPS_MASK, address);
            }
            end.flush();
            end.receive();
            int now = table.answeredSoFar() - before;
            if (now == completed) {
                Thread.onSpinWait();
            }
            completed = now;
        }
        return completed;
    }

    @Override
    public void end() {
        while (outstanding.underWay() > held) {
            requester.receive();
            Thread.onSpinWait();
        }
        requester.end();
        if (responder.readFields() == readFields) {
            throw new IllegalStateException("the responder read nothing in this slice");
        }
        readFields = responder.readFields();
    }

    @Override
    public void respond(StopFlag stop) {
        Responder end = responder;
        end.begin();
        while (true) {
            if (end.serve() == 0) {
                if (stop.isRaised()) {
                    return;
                }
                Thread.onSpinWait();
            }
        }
    }

    @Override
    public void wake() {
        responder.wake();
    }

    @Override
    public boolean responderSleeps() {
        return responder.sleeps();
    }

    @Override
    public void endResponding() {
        responder.end();
    }

    @Override
    public void close() {
        carrier.closing().run();
    }
}
