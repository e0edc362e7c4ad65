package dev.faultline.iommu;

/**
 * What the IOMMU answers to a translation request.
 *
 * @param status whether it is an answer at all
 * @param entry if successful, the data: address 63:12, {@link #S}, {@link #PRIVILEGED}, {@link #EXECUTE}, {@link #WRITE}, {@link #READ}; neither
 *     read nor write means that there is no permission, which must not be cached
 */
public record TranslationCompletion(Status status, long entry) {
    /** Successful: the range is larger than 4 KiB, its size is in the address. */
    public static final long S = 1 << 11;
    /** Successful: the rights are those of privileged requests. */
    public static final long PRIVILEGED = 1 << 4;
    /** Successful: may be executed. Only where that was asked for and it may be read. */
    public static final long EXECUTE = 1 << 3;
    /** Successful: may be written. */
    public static final long WRITE = 1 << 1;
    /** Successful: may be read. */
    public static final long READ = 1;

    /** Whether it is an answer at all. */
    public enum Status {
        /** It is. */
        SUCCESSFUL,
        /** The function may not use ATS. */
        UNSUPPORTED_REQUEST,
        /** The IOMMU met a configuration or memory error: the access fails. */
        COMPLETER_ABORT
    }
}
