package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.faultline.ffm.IoUring;
import dev.faultline.ring.contract.ConsumerContract;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;

/** The consumer of a descriptor on io_uring, over a socket. */
class UringConsumerContractTest extends ConsumerContract {
    @BeforeEach
    void thisMachineHasIt() {
        Assumptions.assumeTrue(IoUring.missing().isEmpty(), () -> String.valueOf(IoUring.missing()));
    }

    @Override
    protected Source source(int entries, int largestGroup) {
        return new SocketSource(entries, largestGroup);
    }

    private static final class SocketSource implements Source {
        private final Held before = Held.now();
        private final SocketPeer peer = new SocketPeer();
        private final DescriptorConsumer consumer;

        SocketSource(int entries, int largestGroup) {
            consumer = DescriptorConsumer.openUring(peer.descriptor(), entries, largestGroup);
        }

        @Override
        public FaultConsumer consumer() {
            return consumer;
        }

        @Override
        public void raise(int tag, int size) {
            peer.raise(tag, size);
        }

        @Override
        public void step() {
            peer.takeAnswers();
        }

        @Override
        public List<String> answers() {
            return peer.answers;
        }

        @Override
        public void end() {
            peer.hangUp();
        }

        @Override
        public void close() {
            consumer.close();
            peer.close();
            assertEquals(before, Held.now());
        }
    }
}
