package dev.faultline.bench.contender;

/**
 * Carries a 40-byte fault to the responder and an 8-byte answer back: an object for each thread, so that nothing one of them writes lies
 * on a line of the other's.
 *
 * <p>Work, the same for all: the requester fills in device, PASID, group, access, address and tag; the responder reads each of them and
 * answers with the tag and a code; {@link Requester#receive} hands both to {@link Outstanding}.
 *
 * @param requester the requester's end
 * @param responder the responder's end
 * @param closing frees what both use
 */
record Carrier(Requester requester, Responder responder, Runnable closing) {

    /**
     * A carrier that has nothing to free.
     *
     * @param requester the requester's end
     * @param responder the responder's end
     */
    Carrier(Requester requester, Responder responder) {
        this(requester, responder, () -> {});
    }
}
