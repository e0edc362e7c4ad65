package dev.faultline.iommu;

import dev.faultline.iommu.table.PageFormat;
import dev.faultline.iommu.table.X86FourLevel;

/** The page-table formats an {@link AddressSpace} can be made of. */
public enum TableFormat {
    /** x86-64 with four levels, the first stage of Intel VT-d: 48 bits of sign-extended input, pages of 4 KiB. */
    X86_4_LEVEL(new X86FourLevel());

    private final PageFormat facts;

    TableFormat(PageFormat facts) {
        this.facts = facts;
    }

    PageFormat facts() {
        return facts;
    }
}
