package dev.faultline.iommu.iommufd;

/** By the second stage of VT-d. */
class VtdDirtyTest extends EngineDirty {
    VtdDirtyTest() throws ErrnoException {
        super(EngineDriver.open(CONFIG));
    }
}
