package dev.faultline.iommu;

/** How a PCIe function is called on the wire: 16 bits, bus 15:8, device 7:3, function 2:0. */
public final class RequesterId {
    /** The largest. */
    public static final int LARGEST = 0xffff;

    private RequesterId() {}

    /**
     * From its parts.
     *
     * @param bus 0 to 255
     * @param device 0 to 31
     * @param function 0 to 7
     * @return 16 bits
     */
    public static int of(int bus, int device, int function) {
        Limits.inRange("bus", bus, 0, 255);
        Limits.inRange("device", device, 0, 31);
        Limits.inRange("function", function, 0, 7);
        return bus << 8 | device << 3 | function;
    }

    /**
     * For people.
     *
     * @param requester 0 to {@link #LARGEST}
     * @return as lspci writes it: {@code 00:1f.2}
     */
    public static String text(int requester) {
        Limits.inRange("requester", requester, 0, LARGEST);
        return "%02x:%02x.%x".formatted(requester >>> 8, requester >>> 3 & 0x1f, requester & 7);
    }
}
