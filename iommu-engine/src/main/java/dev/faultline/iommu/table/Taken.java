package dev.faultline.iommu.table;

import java.util.Arrays;

/**
 * What a change took out of a table, and whoever made it has to give back: first invalidate and wait until no device uses it,
 * then free. Grows as it must; may be used again after {@link #clear}.
 *
 * <p>Threads: one at a time.
 */
public final class Taken {
    private long[] address = new long[16];
    private long[] page = new long[16];
    private byte[] sizeLg2 = new byte[16];
    private boolean[] owned = new boolean[16];
    private boolean[] dirty = new boolean[16];
    private int pages;
    private long[] table = new long[4];
    private int tables;
    private RadixTable.Outcome outcome = RadixTable.Outcome.DONE;

    /** How the last mapping of a range ended. */
    public RadixTable.Outcome outcome() {
        return outcome;
    }

    void outcome(RadixTable.Outcome how) {
        outcome = how;
    }

    /** Of how many pages translations went away or were narrowed. */
    public int pages() {
        return pages;
    }

    /** Where a page was mapped. */
    public long address(int i) {
        return address[i];
    }

    /** Its physical address. */
    public long page(int i) {
        return page[i];
    }

    public int sizeLg2(int i) {
        return sizeLg2[i];
    }

    /** Whether its memory belonged to the table's owner. */
    public boolean owned(int i) {
        return owned[i];
    }

    /** Whether it may have been written to through the table. */
    public boolean dirty(int i) {
        return dirty[i];
    }

    public int tables() {
        return tables;
    }

    public boolean isEmpty() {
        return pages == 0 && tables == 0;
    }

    public void clear() {
        pages = 0;
        tables = 0;
    }

    void page(long at, long physical, int size, boolean own, boolean written) {
        if (pages == address.length) {
            int more = 2 * pages;
            address = Arrays.copyOf(address, more);
            page = Arrays.copyOf(page, more);
            sizeLg2 = Arrays.copyOf(sizeLg2, more);
            owned = Arrays.copyOf(owned, more);
            dirty = Arrays.copyOf(dirty, more);
        }
        address[pages] = at;
        page[pages] = physical;
        sizeLg2[pages] = (byte) size;
        owned[pages] = own;
        dirty[pages++] = written;
    }

    void table(long physical) {
        if (tables == table.length) {
            table = Arrays.copyOf(table, 2 * tables);
        }
        table[tables++] = physical;
    }

    /** A table that was taken out. */
    public long table(int i) {
        return table[i];
    }
}
