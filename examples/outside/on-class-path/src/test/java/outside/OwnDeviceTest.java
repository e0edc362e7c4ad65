package outside;

import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import dev.faultline.ring.contract.EngineContract;
import java.util.ArrayList;
import java.util.List;

/** A stranger's device model, held to what a queue with an engine promises. */
class OwnDeviceTest extends EngineContract {
    @Override
    protected Engine engine(QueueConfig config, int allocation) {
        return new OwnDevice(config, allocation);
    }

    private static final class OwnDevice implements Engine {
        private final List<String> answers = new ArrayList<>();
        private final FaultQueue queue;
        private final FaultProducer producer;
        private final FaultConsumer consumer;

        OwnDevice(QueueConfig config, int allocation) {
            queue = FaultQueue.open(config);
            producer = queue.producer(allocation, (tag, code) -> answers.add(tag + " " + code));
            consumer = queue.consumer();
            if (!producer.enter()) {
                throw new AssertionError("somebody else has entered");
            }
        }

        @Override
        public FaultConsumer consumer() {
            return consumer;
        }

        @Override
        public Result tryRaise(int tag, int size) {
            Result result = Result.OK;
            for (int i = 0; i < size && result == Result.OK; i++) {
                result = producer.raise(tag, 1, FaultProducer.NO_PASID, tag, ((long) tag << 12) + i, 1, i == size - 1);
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
        }
    }
}
