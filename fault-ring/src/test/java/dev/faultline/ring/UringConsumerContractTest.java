package dev.faultline.ring;

import dev.faultline.ffm.IoUring;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;

/** The same on io_uring. */
class UringConsumerContractTest extends DescriptorConsumerContractTest {
    @BeforeEach
    void thisMachineHasIt() {
        Assumptions.assumeTrue(IoUring.missing().isEmpty(), () -> String.valueOf(IoUring.missing()));
    }

    @Override
    DescriptorConsumer open(int fd, int entries, int largestGroup) {
        return DescriptorConsumer.openUring(fd, entries, largestGroup);
    }
}
