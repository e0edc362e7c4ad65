package dev.faultline.iommu;

/**
 * Memory mapped at addresses of an {@link Areas}, as one piece from when it is mapped to when it is unmapped.
 *
 * <p>Threads: any. What is shown here never changes; the rest belongs to its {@link Areas}.
 */
public final class Area {
    private final long first;
    private final long last;
    private final int access;
    private final Backing backing;
    private final long offset;

    // Guarded by the lock of its Areas; shown and held by who shows or hides it, which is one thread at a time.
    /** Not while it is being made or taken away: published last of what it is, and taken back first. */
    boolean settled;
    /** Shown by all tables, of which there is one at least. */
    boolean shown;
    /** Its pages are held, which those of revoked memory are not. */
    boolean held;
    /** Pins of users that are told to let go. */
    int pins;
    /** Pins of objects that let go when they are destroyed. */
    int locks;
    /** It is about to go: no new pin, no reading and writing. */
    boolean leaving;

    Area(long first, long last, int access, Backing backing, long offset) {
        this.first = first;
        this.last = last;
        this.access = access;
        this.backing = backing;
        this.offset = offset;
    }

    /**
     * Where it begins.
     *
     * @return its first address
     */
    public long first() {
        return first;
    }

    /**
     * Where it ends.
     *
     * @return its last address, unsigned
     */
    public long last() {
        return last;
    }

    /**
     * How long it is.
     *
     * @return bytes
     */
    public long bytes() {
        return last - first + 1;
    }

    /**
     * What devices may do.
     *
     * @return {@link dev.faultline.ffm.PageFaultLayout#PERM_READ} and so on
     */
    public int access() {
        return access;
    }

    /**
     * What memory it is.
     *
     * @return the memory, which copies of this area share
     */
    public Backing backing() {
        return backing;
    }

    /**
     * Where in its memory an address lies.
     *
     * @param address one of its addresses
     * @return bytes from where the memory begins
     */
    public long offsetOf(long address) {
        return offset + (address - first);
    }

    long firstPage() {
        return offset / Areas.PAGE_BYTES;
    }

    long lastPage() {
        return offsetOf(last) / Areas.PAGE_BYTES;
    }

    @Override
    public String toString() {
        return "0x" + Long.toHexString(first) + " to 0x" + Long.toHexString(last);
    }
}
