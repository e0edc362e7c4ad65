package dev.faultline.ffm;

/**
 * Where each field of an answer is: {@code struct iommu_hwpt_page_response} of Linux, as {@code write} on a fault queue's
 * descriptor takes it.
 *
 * <pre>{@code
 *  0        4        8
 *  +--------+--------+
 *  | cookie |  code  |
 *  +--------+--------+
 * }</pre>
 *
 * <p>Threads: stateless. Units: bytes; little-endian, aligned to 4. Source: {@code include/uapi/linux/iommufd.h}, Linux 7.2.
 */
public final class PageResponseLayout {
    /** Size of an answer. */
    public static final int SIZE = 8;

    /** {@code u32 cookie}: the group that is answered. */
    public static final int COOKIE_OFFSET = 0;

    /** {@code u32 code}: {@link #CODE_SUCCESS} or {@link #CODE_INVALID}. */
    public static final int CODE_OFFSET = 4;

    /** The pages are there: the device tries again. */
    public static final int CODE_SUCCESS = 0;

    /** The pages cannot be had: the device gives the access up. */
    public static final int CODE_INVALID = 1;

    private PageResponseLayout() {}
}
