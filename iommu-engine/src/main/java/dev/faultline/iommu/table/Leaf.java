package dev.faultline.iommu.table;

/**
 * What a table says of one page: filled by {@link RadixTable#look}.
 *
 * <p>Threads: one at a time.
 */
public final class Leaf {
    long address;
    int sizeLg2;
    long physical;
    int rights;
    boolean ofRange;
    boolean dirty;

    /** Where the page begins. */
    public long address() {
        return address;
    }

    public long bytes() {
        return 1L << sizeLg2;
    }

    /** Its last address. */
    public long last() {
        return address + bytes() - 1;
    }

    /** What the page is mapped to. */
    public long physical() {
        return physical;
    }

    /** Whether it is part of a range, and not mapped by itself. */
    public boolean isOfRange() {
        return ofRange;
    }

    /** Whether it is marked as written to. */
    public boolean dirty() {
        return dirty;
    }

    /** As it was mapped with. */
    public int rights() {
        return rights;
    }

    /** Whether it says the same of a page as another does, which may be of another size. */
    public boolean covers(Leaf page) {
        long offset = page.address - address;
        return rights == page.rights
                && Long.compareUnsigned(page.address, address) >= 0
                && Long.compareUnsigned(page.last(), last()) <= 0
                && physical + offset == page.physical;
    }
}
