package dev.faultline.iommu.iommufd.smmuv3;

import dev.faultline.iommu.TableFormat;
import dev.faultline.iommu.iommufd.EngineDriver;
import dev.faultline.iommu.iommufd.EnginePaging;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A second stage that guests' page tables are nested in, and the number of its virtual machine: it tags what the TLBs know of all of them.
 *
 * <p>Threads: any.
 */
final class StreamParent extends EnginePaging {
    private final Smmuv3 smmu;
    private final int vmid;
    private final Set<StreamDomain> nested = ConcurrentHashMap.newKeySet();

    StreamParent(Smmuv3 smmu, EngineDriver driver, int vmid) {
        super(driver, TableFormat.ARM_4K_STAGE_2, null, false);
        this.smmu = smmu;
        this.vmid = vmid;
    }

    int vmid() {
        return vmid;
    }

    /** What is nested in it. */
    Set<StreamDomain> nested() {
        return nested;
    }

    @Override
    public void close() {
        super.close();
        smmu.closed(this);
    }
}
