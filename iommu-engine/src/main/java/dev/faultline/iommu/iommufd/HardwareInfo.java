package dev.faultline.iommu.iommufd;

import java.util.Arrays;

/**
 * What a driver tells a program of its hardware.
 *
 * <p>Immutable.
 *
 * <p>Threads: any. Units: bytes, in the machine's order. Errors: none. Source: {@code struct iommu_hw_info} of {@code
 * include/uapi/linux/iommufd.h}, Linux 7.2.
 */
public final class HardwareInfo {
    /** The driver's own type, if the program does not name one. */
    public static final int DEFAULT = 0;

    /** Nothing is told. */
    public static final HardwareInfo NONE = new HardwareInfo(DEFAULT);

    private final int type;
    private final byte[] data;

    /**
     * Tells.
     *
     * @param type of the data; 0 only if there is none
     * @param data in the layout of the type
     */
    public HardwareInfo(int type, byte... data) {
        this.type = type;
        this.data = data.clone();
    }

    int type() {
        return type;
    }

    /** As many bytes of it, then zeros. */
    byte[] data(int bytes) {
        return Arrays.copyOf(data, bytes);
    }

    int length() {
        return data.length;
    }
}
