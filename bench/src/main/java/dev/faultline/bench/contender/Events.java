package dev.faultline.bench.contender;

/**
 * Faults and replies as objects on the heap, made once and used again, for the rivals that carry references.
 *
 * <p>They lie close together. A line for each was measured too: a little faster at window 1, slower by half at window 8, and at no window did it
 * change who is the best rival.
 */
final class Events {

    private Events() {}

    /** A fault. */
    static final class Fault {
        int flags;
        int device;
        int pasid;
        int group;
        int access;
        int length;
        int tag;
        long address;
    }

    /** A reply. */
    static final class Reply {
        int tag;
        int code;
    }
}
