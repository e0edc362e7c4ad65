package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.Access;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.Result;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.EnumMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A handler on the thread that steps a device calls {@link Iommufd}, while other threads' commands wait for that thread. */
class IommufdThreadsTest {
    private static final int PAGE = 4096;
    private static final int CHANGES = 300;
    private static final long FAULTING = 0x10_0000;
    private static final long OTHERS = 0x80_0000;

    /** Were one of them to wait for the other, it would give up after this, and the test fail. */
    private static final long LIMIT_NS = TimeUnit.SECONDS.toNanos(5);

    private final EngineDriver driver = EngineDriver.open(IommuConfig.small().withLimitNs(LIMIT_NS));
    private final Iommufd iommufd = Iommufd.open(driver);
    private final UserAddressSpace space = iommufd.addressSpace();
    private final MemorySegment ram = Arena.ofAuto().allocate(2 * PAGE, PAGE);
    private final AtomicBoolean stop = new AtomicBoolean();
    private final Map<AccessResult, Integer> results = new EnumMap<>(AccessResult.class);

    @Test
    @Timeout(value = 2, unit = TimeUnit.MINUTES, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
    void aHandlerOnTheSteppingThreadMapsWhileAnotherReplacesAndUnmaps() throws InterruptedException {
        UserDevice nic = iommufd.device(DeviceConfig.pri("nic"));
        UserFaultQueue faults = iommufd.faultQueue();
        FaultConsumer consumer = faults.consumer();
        UserPageTable[] tables = {
            space.pageTable(nic).faults(faults).make(),
            space.pageTable(nic).faults(faults).make()
        };
        AtomicReference<@Nullable Throwable> failed = new AtomicReference<>();
        UserAttachment[] attached = {nic.attach(tables[0])};
        Thread stepper = Thread.ofPlatform().start(() -> {
            try {
                step(nic, consumer);
            } catch (Throwable e) {
                failed.set(e);
            }
        });
        long longest = 0;
        try {
            for (int i = 0; i < CHANGES && failed.get() == null; i++) {
                long begun = System.nanoTime();
                attached[0].replace(tables[(i + 1) & 1]);
                long at = OTHERS + (long) (i & 7) * PAGE;
                space.map(at, ram.asSlice(PAGE));
                assertEquals(PAGE, space.unmap(at, PAGE), "waits for the stepping thread");
                if (i % 10 == 0) {
                    attached[0].close();
                    attached[0] = nic.attach(tables[i & 1]);
                }
                longest = Math.max(longest, System.nanoTime() - begun);
            }
        } finally {
            stop.set(true);
            stepper.join();
        }
        assertEquals(null, failed.get());
        assertTrue(longest < LIMIT_NS, "no command ran out of time");
        assertTrue(results.getOrDefault(AccessResult.OK, 0) > 0, results::toString);
        iommufd.close();
        driver.close();
    }

    /** Writes to a page that is not there, makes it present in its own handler, takes it away, and again. */
    private void step(UserDevice nic, FaultConsumer consumer) {
        Device device = nic.engine();
        MemorySegment one = MemorySegment.ofArray(new byte[1]);
        boolean[] isMapped = new boolean[1];
        AccessResult[] ended = new AccessResult[1];
        while (!device.enter()) {
            Thread.onSpinWait(); // the other thread is changing it
        }
        assertEquals(Result.OK, consumer.post(1, 8));
        while (!stop.get()) {
            ended[0] = null;
            assertEquals(Result.OK, device.start(Access.WRITE, FAULTING, one, 0, 1, FaultProducer.NO_PASID, 1));
            while (device.poll((tag, result) -> ended[0] = result) == 0) {
                boolean moved = device.step();
                moved |= consumer.poll(
                                (userData, group) -> {
                                    if (!isMapped[0]) {
                                        space.map(FAULTING, ram.asSlice(0, PAGE));
                                        isMapped[0] = true;
                                        iommufd.addressSpace().close();
                                    }
                                    var _ = consumer.answerAndRepost(group.cookie(), Answer.SUCCESS);
                                },
                                8)
                        > 0;
                int _ = consumer.submit();
                if (!moved) {
                    Thread.yield();
                }
            }
            results.merge(ended[0], 1, Integer::sum);
            if (isMapped[0]) {
                assertEquals(PAGE, space.unmap(FAULTING, PAGE));
                isMapped[0] = false;
            }
        }
        device.leave();
        consumer.close();
    }
}
