package dev.faultline.iommu.iommufd;

import dev.faultline.iommu.iommufd.smmuv3.Smmuv3;
import dev.faultline.iommu.iommufd.smmuv3.Trace;

/** By the first stage of an SMMUv3. */
class Smmuv3DirtyTest extends EngineDirty {
    Smmuv3DirtyTest() throws ErrnoException {
        super(EngineDriver.open(CONFIG, driver -> new Smmuv3(driver, new Trace() {})));
    }
}
