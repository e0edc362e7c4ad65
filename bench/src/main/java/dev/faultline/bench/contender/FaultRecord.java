package dev.faultline.bench.contender;

/** What a request and an answer say, whoever carries them. */
final class FaultRecord {

    /** Flags of a request: its PASID is valid, and it is the last of its group. */
    static final int FLAGS = 3;

    /** Length hint of a request in bytes: none. */
    static final int LENGTH = 0;

    /** An answer's code: go on. */
    static final int SUCCESS = 0;

    private static final int INVALID = 1;

    private FaultRecord() {}

    /**
     * What the responder decides, from what it read.
     *
     * @param access what the request asked for
     * @return the code of the answer
     */
    static int answerTo(int access) {
        return access != 0 ? SUCCESS : INVALID;
    }
}
