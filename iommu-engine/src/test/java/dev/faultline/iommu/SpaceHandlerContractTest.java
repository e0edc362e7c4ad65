package dev.faultline.iommu;

import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultHandler;
import dev.faultline.ring.contract.HandlerContract;
import org.junit.jupiter.api.AfterEach;

/** A handler that maps zeroes into an address space. */
class SpaceHandlerContractTest extends HandlerContract {
    private final Iommu iommu = Iommu.open(IommuConfig.small());
    private final AddressSpace space = iommu.addressSpace(TableFormat.X86_4_LEVEL, null);

    @AfterEach
    void everyFrameIsBack() {
        iommu.close();
    }

    @Override
    protected FaultHandler handler(FaultConsumer mine) {
        return group -> {
            for (int i = 0; i < group.size(); i++) {
                space.zero(group.address(i));
            }
            return Answer.SUCCESS;
        };
    }
}
