package outside;

import dev.faultline.iommu.AddressSpace;
import dev.faultline.iommu.Iommu;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.TableFormat;
import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultHandler;
import dev.faultline.ring.Result;
import dev.faultline.ring.contract.HandlerContract;
import org.junit.jupiter.api.AfterEach;

/** A stranger's handler: zeroes on demand, every other group LATER. */
class OwnHandlerTest extends HandlerContract {
    private final Iommu iommu = Iommu.open(IommuConfig.small());
    private final AddressSpace space = iommu.addressSpace(TableFormat.X86_4_LEVEL, null);
    private int calls;

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
            if (calls++ % 2 == 0) {
                return Answer.SUCCESS;
            }
            int cookie = group.cookie();
            Thread.ofVirtual().start(() -> {
                Result late = mine.answerLater(cookie, Answer.SUCCESS);
                if (late == Result.FULL) {
                    throw new AssertionError("an answer is never refused for want of room");
                }
            });
            return Answer.LATER;
        };
    }
}
