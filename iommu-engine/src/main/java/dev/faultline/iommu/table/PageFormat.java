package dev.faultline.iommu.table;

import com.google.errorprone.annotations.Immutable;

/**
 * The facts of one page-table format: pure bit work on 64-bit entries, no memory. Levels count from 0, where the smallest
 * pages are.
 */
@Immutable
public interface PageFormat {
    /** How people call it. */
    String title();

    int levels();

    /** Whether an input address can be translated at all. */
    boolean canonical(long address);

    /** What {@link #canonical} asks for, in words. */
    String canonicalRule();

    /** log2 of the bytes that one entry of a level covers. */
    int shift(int level);

    /** Which entry of a level's table an address uses. */
    int index(long address, int level);

    boolean present(long entry);

    boolean leaf(long entry, int level);

    boolean reservedBitsSet(long entry, int level);

    /** The table, or the start of the page, that an entry points at. */
    long address(long entry, int level);

    /** What an entry grants, as {@link Translation} writes it. */
    int rights(long entry);

    /** An entry for a page of 4 KiB, with rights for requests without privilege. */
    long leafEntry(long address, int rights);

    /** An entry for a table; it grants everything, the leaf decides. */
    long tableEntry(long address);

    long accessedBit();

    long dirtyBit();

    /** The names of the bits that are set, for people. */
    String flags(long entry, int level);
}
