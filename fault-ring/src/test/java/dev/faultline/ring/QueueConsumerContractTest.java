package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;

class QueueConsumerContractTest extends ConsumerContract {
    @Override
    Source source(int entries, int largestGroup) {
        return new QueueSource(entries, largestGroup);
    }

    private static final class QueueSource implements Source {
        private final List<String> answers = new ArrayList<>();
        private final FaultQueue queue;
        private final FaultProducer producer;
        private final FaultConsumer consumer;

        QueueSource(int entries, int largestGroup) {
            queue = FaultQueue.open(QueueConfig.of(entries).withLargestGroup(largestGroup));
            producer = queue.producer(16, (tag, code) -> answers.add(tag + " " + code));
            consumer = queue.consumer();
            assertTrue(producer.enter());
        }

        @Override
        public FaultConsumer consumer() {
            return consumer;
        }

        @Override
        public void raise(int tag, int size) {
            for (int i = 0; i < size; i++) {
                assertEquals(Result.OK, producer.raise(tag, 7, 5, tag, ((long) tag << 12) + i, 1, i == size - 1));
            }
            producer.flush();
        }

        @Override
        public void step() {
            producer.poll();
        }

        @Override
        public List<String> answers() {
            return answers;
        }

        @Override
        public void end() {
            queue.close();
        }

        @Override
        public void close() {
            queue.close();
            producer.leave();
            assertEquals(0, queue.heldBytes());
        }
    }
}
