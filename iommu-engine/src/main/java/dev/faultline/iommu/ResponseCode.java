package dev.faultline.iommu;

/**
 * What a page group response tells a function. Layers number the codes differently, so each numbering has a table of its own,
 * and a number outside of it is refused or, on the wire, is what PCIe says it is.
 */
public enum ResponseCode {
    /** The pages were made present: try again. */
    SUCCESS(0b0000),
    /** A page does not exist, or may not be used so: fail the access. Page requests go on. */
    INVALID(0b0001),
    /** The interface is out of order: no page request leaves it until it is enabled again, for the PF and all its VFs. */
    FAILURE(0b1111);

    private static final int WIRE_CODES = 16;

    private final int wire;

    ResponseCode(int wire) {
        this.wire = wire;
    }

    /**
     * The number in a PRG Response message and in a VT-d page group response descriptor.
     *
     * @return 4 bits
     */
    public int wire() {
        return wire;
    }

    /**
     * From the wire. Numbers that PCIe leaves unused mean failure.
     *
     * @param code 0 to 15
     * @return what the function must do
     * @throws IllegalArgumentException if {@code code} has more than 4 bits
     */
    public static ResponseCode ofWire(int code) {
        Limits.inRange("response code", code, 0, WIRE_CODES - 1);
        return switch (code) {
            case 0b0000 -> SUCCESS;
            case 0b0001 -> INVALID;
            default -> FAILURE;
        };
    }

    /**
     * From the field Resp of an SMMUv3's {@code CMD_PRI_RESP}.
     *
     * @param resp 0 failure, 1 invalid, 2 success
     * @return what the function must do
     * @throws IllegalArgumentException if it is another number, which makes the command an illegal one
     */
    public static ResponseCode ofSmmu(int resp) {
        return switch (resp) {
            case 0 -> FAILURE;
            case 1 -> INVALID;
            case 2 -> SUCCESS;
            default ->
                throw new IllegalArgumentException("resp=" + resp + ": allowed 0 (failure), 1 (invalid), 2 (success)");
        };
    }

    /**
     * From Linux's {@code enum iommu_page_response_code}.
     *
     * @param code 0 success, 1 invalid, 2 failure
     * @return what the function must do
     * @throws IllegalArgumentException if it is another number
     */
    public static ResponseCode ofLinux(int code) {
        return switch (code) {
            case 0 -> SUCCESS;
            case 1 -> INVALID;
            case 2 -> FAILURE;
            default ->
                throw new IllegalArgumentException(
                        "response code=" + code + ": allowed 0 (success), 1 (invalid), 2 (failure)");
        };
    }
}
