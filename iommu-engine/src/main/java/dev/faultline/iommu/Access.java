package dev.faultline.iommu;

import static dev.faultline.ffm.PageFaultLayout.PERM_EXEC;
import static dev.faultline.ffm.PageFaultLayout.PERM_READ;
import static dev.faultline.ffm.PageFaultLayout.PERM_WRITE;

/** What a device does at an address. */
public enum Access {
    /** From the page into the buffer. */
    READ(PERM_READ),
    /** From the buffer into the page. */
    WRITE(PERM_WRITE),
    /** From the page into the buffer, to be executed: needs the right to read and the right to execute. Without a PASID it is a read. */
    EXECUTE(PERM_READ | PERM_EXEC);

    private final int rights;

    Access(int rights) {
        this.rights = rights;
    }

    /** The rights it needs: what a page request asks for. */
    int rights() {
        return rights;
    }
}
