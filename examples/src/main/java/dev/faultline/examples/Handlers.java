package dev.faultline.examples;

import static dev.faultline.iommu.TableFormat.X86_4_LEVEL;
import static dev.faultline.ring.Answer.LATER;
import static dev.faultline.ring.Answer.SUCCESS;
import static dev.faultline.ring.Result.CLOSED;
import static dev.faultline.ring.Result.OK;

import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.Iommu;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.FaultWorker;
import dev.faultline.ring.PageMapper;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** One device and one kind of fault, handled in the ways there are besides that of {@link TenLines}. */
public final class Handlers {
    private static final int READS = 16;
    private static final int BYTES = 64 * 4096;
    private static final long SECOND = 1_000_000_000L;

    private Handlers() {}

    /** A way to handle faults. */
    private interface Way {
        void begin(FaultConsumer consumer, PageMapper space);
    }

    /**
     * Prints what became of the faults, way by way.
     *
     * @param args none
     */
    public static void main(String[] args) {
        try (ExecutorService loader = Executors.newVirtualThreadPerTaskExecutor()) {
            write("later", (consumer, space) -> later(consumer, space, loader));
        }
        write("batch", Handlers::batch);
        write("take", Handlers::take);
    }

    /** A device writes 64 pages that nobody has mapped. The queue's close stops whoever handles its faults. */
    private static void write(String name, Way way) {
        try (Iommu iommu = Iommu.open(IommuConfig.small());
                FaultQueue queue = FaultQueue.open(QueueConfig.of(READS));
                var space = iommu.addressSpace(X86_4_LEVEL, queue);
                Device nic = iommu.device(DeviceConfig.pri("nic"))) {
            way.begin(queue.consumer(), space);
            nic.attach(space);
            nic.write(0x7000_0000L, MemorySegment.ofArray(new byte[BYTES]));
            System.out.println(name + ": " + queue.accounting());
        }
    }

    /** The handler hands the work on; whoever does it answers, by cookie, from any thread. */
    private static void later(FaultConsumer consumer, PageMapper space, Executor loader) {
        FaultWorker _ = consumer.run(group -> {
            int cookie = group.cookie();
            long address = group.address(0); // the view ends when the handler returns
            loader.execute(() -> {
                space.zero(address);
                Result _ = consumer.answerLater(cookie, SUCCESS);
            });
            return LATER;
        });
    }

    /** The handler is given all groups that are there, and does for many what it does for one. */
    private static void batch(FaultConsumer consumer, PageMapper space) {
        long[] wanted = new long[READS];
        FaultWorker _ = consumer.run(
                batch -> {
                    for (int i = 0; i < batch.size(); i++)
                        wanted[i] = batch.group(i).address(0);
                    Arrays.sort(wanted, 0, batch.size()); // as a disk likes them
                    for (int i = 0; i < batch.size(); i++) space.zero(wanted[i]);
                    return SUCCESS; // to all of them; batch.answer(i, code) answers one
                },
                READS);
    }

    /** No handler: a virtual thread takes one group after another. */
    private static void take(FaultConsumer consumer, PageMapper space) {
        Thread.ofVirtual().start(() -> {
            FaultGroup group = new FaultGroup();
            Result result = consumer.post(0, READS);
            while (result != CLOSED) {
                result = consumer.take(group, SECOND); // TIMED_OUT, if nothing comes
                if (result == OK) {
                    space.zero(group.address(0));
                    result = consumer.answerAndRepost(group.cookie(), SUCCESS);
                }
            }
            consumer.close();
        });
    }
}
