package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import dev.faultline.ring.contract.EngineContract;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/** A queue whose producer is a device: an access is a group of one page, and its end is the answer. */
class DeviceEngineContractTest extends EngineContract {
    /** A lane without open groups is polled once in 16 steps. */
    private static final int STEPS = 17;

    @Override
    protected Engine engine(QueueConfig config, int allocation) {
        return new Faulting(config, allocation);
    }

    private static final class Faulting implements Engine {
        private final List<String> answers = new ArrayList<>();
        private final MemorySegment buffer = MemorySegment.ofArray(new byte[1]);
        private final Iommu iommu = Iommu.open(IommuConfig.small());
        private final FaultQueue queue;
        private final FaultConsumer consumer;
        private final AddressSpace space;
        private final Device device;
        private final Attachment attachment;

        Faulting(QueueConfig config, int allocation) {
            queue = FaultQueue.open(config);
            consumer = queue.consumer();
            space = iommu.addressSpace(TableFormat.X86_4_LEVEL, queue);
            device = iommu.device(
                    DeviceConfig.pri("device").withAllocation(allocation).withWindow(allocation));
            attachment = device.attach(space);
            assertTrue(device.enter());
        }

        @Override
        public FaultConsumer consumer() {
            return consumer;
        }

        @Override
        public int mostRequests() {
            return 1;
        }

        @Override
        public Result tryRaise(int tag, int size) {
            long address = (long) tag << Frames.SHIFT;
            Result started = device.start(Access.READ, address, buffer, 0, 1, FaultProducer.NO_PASID, tag);
            if (started != Result.OK) {
                return started;
            }
            device.step();
            boolean[] refused = {false};
            device.poll((ended, result) -> {
                refused[0] |= ended == tag && result == AccessResult.CLOSED;
                if (ended != tag) {
                    ended(ended, result);
                }
            });
            if (refused[0]) {
                return Result.CLOSED;
            }
            // What the consumer would do: the page was asked for, so an answer of SUCCESS finds it.
            assertTrue(space.zero(address));
            return Result.OK;
        }

        private void ended(long tag, AccessResult result) {
            answers.add(tag + " " + (result == AccessResult.OK ? Answer.SUCCESS : Answer.INVALID));
            assertTrue(space.unmap(tag << Frames.SHIFT, Frames.BYTES));
        }

        @Override
        public void step() {
            for (int i = 0; i < STEPS; i++) {
                device.step();
            }
            device.poll(this::ended);
        }

        @Override
        public List<String> answers() {
            return answers;
        }

        @Override
        public void detach() {
            attachment.detach();
        }

        @Override
        public void end() {
            queue.close();
        }

        @Override
        public void close() {
            // The device first: what is open is answered as it leaves, and all frames have to be back.
            iommu.close();
            queue.close();
            assertEquals(0, queue.heldBytes());
        }
    }
}
