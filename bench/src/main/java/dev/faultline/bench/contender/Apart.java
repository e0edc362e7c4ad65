package dev.faultline.bench.contender;

/**
 * Keeps fields that one thread writes all the time off the lines of whatever lies before them in memory.
 *
 * <p>A class extends this and has the fields; a last one extends that and has {@code after} fields alike, which keep off what lies behind. Without
 * it two threads that have nothing to tell each other pass a line to and fro, in one process and not in the next.
 */
@SuppressWarnings("unused") // they are there to take room
abstract class Apart {
    /** Fills the gap behind an object's header, or a field that is to be kept apart would be put there. */
    int before;

    long before0, before1, before2, before3, before4, before5, before6, before7;
    long before8, before9, before10, before11, before12, before13, before14, before15;
}
