package dev.faultline.ffm;

import java.lang.foreign.MemorySegment;

/**
 * Where each field of a page-fault record is: {@code struct iommu_hwpt_pgfault} of Linux, as {@code read} on a fault
 * queue's descriptor returns it and as the completion ring carries it.
 *
 * <pre>{@code
 *  0        4        8        12       16       20       24                32       36       40
 *  +--------+--------+--------+--------+--------+--------+-----------------+--------+--------+
 *  | flags  | dev_id | pasid  | grpid  | perm   |   0    | addr            | length | cookie |
 *  +--------+--------+--------+--------+--------+--------+-----------------+--------+--------+
 * }</pre>
 *
 * <p>Threads: stateless. Units: offsets and sizes in bytes; little-endian, aligned to 8. Source: {@code
 * include/uapi/linux/iommufd.h}, Linux 7.2.
 */
public final class PageFaultLayout {
    /** Size of a record. */
    public static final int SIZE = 40;

    /** {@code u32 flags}: {@link #FLAG_PASID_VALID}, {@link #FLAG_LAST_PAGE}; readers ignore other bits. */
    public static final int FLAGS_OFFSET = 0;

    /** {@code u32 dev_id}: the device that asks. */
    public static final int DEVICE_OFFSET = 4;

    /** {@code u32 pasid}: meaningful with {@link #FLAG_PASID_VALID}. */
    public static final int PASID_OFFSET = 8;

    /** {@code u32 grpid}: the page-request group index, unique among a device's open groups. */
    public static final int GROUP_OFFSET = 12;

    /** {@code u32 perm}: what the access wants, {@link #PERM_READ} and so on. */
    public static final int PERM_OFFSET = 16;

    /** {@code u32}, always 0. */
    public static final int RESERVED_OFFSET = 20;

    /** {@code u64 addr}: the address that faulted. */
    public static final int ADDRESS_OFFSET = 24;

    /** {@code u32 length}: a hint in bytes, 0 when there is none. */
    public static final int LENGTH_OFFSET = 32;

    /** {@code u32 cookie}: names the group in its answer. */
    public static final int COOKIE_OFFSET = 36;

    /** The request carries a PASID. */
    public static final int FLAG_PASID_VALID = 1;

    /** The request is the last of its group. */
    public static final int FLAG_LAST_PAGE = 2;

    /** A read is wanted. */
    public static final int PERM_READ = 1;

    /** A write is wanted. */
    public static final int PERM_WRITE = 2;

    /** An instruction fetch is wanted. */
    public static final int PERM_EXEC = 4;

    /** The access is made in privileged mode. */
    public static final int PERM_PRIV = 8;

    private PageFaultLayout() {}

    /**
     * Copies a record as five 64-bit words, which is the cheapest way a bounds-checked segment offers.
     *
     * @param from source memory
     * @param fromOffset bytes, a multiple of 8
     * @param to target memory
     * @param toOffset bytes, a multiple of 8
     */
    public static void copy(MemorySegment from, long fromOffset, MemorySegment to, long toOffset) {
        long a = SharedWords.getLong(from, fromOffset);
        long b = SharedWords.getLong(from, fromOffset + 8);
        long c = SharedWords.getLong(from, fromOffset + 16);
        long d = SharedWords.getLong(from, fromOffset + 24);
        long e = SharedWords.getLong(from, fromOffset + 32);
        SharedWords.putLong(to, toOffset, a);
        SharedWords.putLong(to, toOffset + 8, b);
        SharedWords.putLong(to, toOffset + 16, c);
        SharedWords.putLong(to, toOffset + 24, d);
        SharedWords.putLong(to, toOffset + 32, e);
    }

    /**
     * Writes a record as five 64-bit words.
     *
     * @param to target memory
     * @param offset bytes, a multiple of 8
     * @param flags {@link #FLAG_PASID_VALID} and {@link #FLAG_LAST_PAGE}
     * @param device the device that asks
     * @param pasid its PASID, 0 without one
     * @param group page-request group index
     * @param perm what is wanted
     * @param address the address that faulted
     * @param length hint in bytes
     * @param cookie names the group
     */
    public static void write(
            MemorySegment to,
            long offset,
            int flags,
            int device,
            int pasid,
            int group,
            int perm,
            long address,
            int length,
            int cookie) {
        SharedWords.putLong(to, offset + FLAGS_OFFSET, pair(flags, device));
        SharedWords.putLong(to, offset + PASID_OFFSET, pair(pasid, group));
        SharedWords.putLong(to, offset + PERM_OFFSET, pair(perm, 0));
        SharedWords.putLong(to, offset + ADDRESS_OFFSET, address);
        SharedWords.putLong(to, offset + LENGTH_OFFSET, pair(length, cookie));
    }

    private static long pair(int low, int high) {
        return (low & 0xffff_ffffL) | ((long) high << 32);
    }
}
