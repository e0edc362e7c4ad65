package dev.faultline.ffm;

/**
 * Keeps what a subclass declares off the cache lines of whatever the heap holds before it: for objects that one thread writes
 * all the time, while another uses their neighbours.
 *
 * <p>The virtual machine lays out the fields of a superclass before those of its subclasses. A class that also has to be kept
 * apart from what comes after it has a subclass of its own for that, see the ends of a ring.
 */
public abstract class PaddedBefore {
    /** Never used: without it a subclass's field would be put into the gap behind the object's header. */
    protected int before;

    /** Never used: {@link CacheLine#BYTES} bytes. */
    protected long before0, before1, before2, before3, before4, before5, before6, before7;

    /** Never used. */
    protected long before8, before9, before10, before11, before12, before13, before14, before15;

    /** An object with nothing of its own. */
    protected PaddedBefore() {}
}
