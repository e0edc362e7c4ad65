package dev.faultline.bench.contender;

/** A contest of the requester alone: what is called a round trip is a piece of work of its own. The responder has nothing to do. */
abstract class OneThread implements Contest {

    @Override
    public final void respond(StopFlag stop) {}

    @Override
    public void close() {}
}
