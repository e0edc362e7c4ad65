package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.faultline.ring.contract.ConsumerContract;
import java.util.List;

/** The consumer of a descriptor, over a socket. */
class DescriptorConsumerContractTest extends ConsumerContract {
    @Override
    protected Source source(int entries, int largestGroup) {
        return new SocketSource(entries, largestGroup);
    }

    /** Opens the consumer, by system calls here. */
    DescriptorConsumer open(int fd, int entries, int largestGroup) {
        return DescriptorConsumer.open(fd, entries, largestGroup);
    }

    private final class SocketSource implements Source {
        private final Held before = Held.now();
        private final SocketPeer peer = new SocketPeer();
        private final DescriptorConsumer consumer;

        SocketSource(int entries, int largestGroup) {
            consumer = open(peer.descriptor(), entries, largestGroup);
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
