package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ring.contract.EngineContract;
import java.util.ArrayList;
import java.util.List;

/** A queue whose producer is stepped by hand. */
class QueueEngineContractTest extends EngineContract {
    @Override
    protected Engine engine(QueueConfig config, int allocation) {
        return new HandDriven(config, allocation);
    }

    private static final class HandDriven implements Engine {
        private final List<String> answers = new ArrayList<>();
        private final FaultQueue queue;
        private final FaultProducer producer;
        private final FaultConsumer consumer;

        HandDriven(QueueConfig config, int allocation) {
            queue = FaultQueue.open(config);
            producer = queue.producer(allocation, (tag, code) -> answers.add(tag + " " + code));
            consumer = queue.consumer();
            assertTrue(producer.enter());
        }

        @Override
        public FaultConsumer consumer() {
            return consumer;
        }

        @Override
        public Result tryRaise(int tag, int size) {
            Result result = Result.OK;
            for (int i = 0; i < size && result == Result.OK; i++) {
                result = producer.raise(tag, 7, 5, tag, ((long) tag << 12) + i, 1, i == size - 1);
            }
            producer.flush();
            return result;
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
        public void detach() {
            producer.close();
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
