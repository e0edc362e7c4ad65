package dev.faultline.examples.conform;

import dev.faultline.iommu.iommufd.SystemCalls;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * What the recorder did beside the recorded calls: looks into the mock's caches, and faults and events from another thread.
 *
 * <p>Threads: one, and the one it starts.
 */
final class TestCommands {
    /** What an entry of the mock's IOTLB, or of a device's cache, holds until it is invalidated. */
    static final int IOTLB_VALID = 0xbadbeef;

    static final int DEV_CACHE_VALID = 0xbaddad;

    /** The fault that comes from another thread. */
    private static final int PASID = 1;

    private static final int GROUP = 5;
    private static final int ACCESS = 3;
    private static final long ADDRESS = 0x5000;
    private static final long DELAY_MS = 100;

    /** The other thread, until it is done. */
    interface Later extends AutoCloseable {
        @Override
        void close();
    }

    private final SystemCalls calls;
    private final CallerMemory memory;
    private final DescriptorNames names;
    private int device;

    TestCommands(SystemCalls calls, CallerMemory memory, DescriptorNames names) {
        this.calls = calls;
        this.memory = memory;
        this.names = names;
    }

    /** The device that was made, or used, last. */
    void device(int id) {
        device = id;
    }

    private static ByteBuffer command(int operation, int id) {
        return ByteBuffer.allocate(Commands.TEST_BYTES)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(0, Commands.TEST_BYTES)
                .putInt(4, operation)
                .putInt(8, id);
    }

    private int call(ByteBuffer command) {
        byte[] bytes = new byte[Commands.TEST_BYTES];
        command.get(0, bytes);
        return calls.ioctl(names.context(), Commands.TEST, memory.structure(bytes));
    }

    /** Whether there is a cached entry that holds its value: 1 or 0, as a recording has it. */
    String isValid(int operation, int id, int entry, int value) {
        return call(command(operation, id).putInt(16, entry).putInt(20, value)) == 0 ? "1" : "0";
    }

    /** Raises the fault, or the event, that a descriptor of that name waits for. */
    void raise(String descriptor) {
        ByteBuffer command = descriptor.startsWith("veventq")
                ? command(Commands.TEST_TRIGGER_VEVENT, 0).putInt(16, device)
                : command(Commands.TEST_TRIGGER_IOPF, 0)
                        .putInt(16, device)
                        .putInt(20, PASID)
                        .putInt(24, GROUP)
                        .putInt(28, ACCESS)
                        .putLong(32, ADDRESS);
        var _ = call(command);
    }

    /** Raises it in a while, from another thread. */
    Later raiseLater(String descriptor) {
        Thread thread = Thread.ofPlatform().name("faultline-later").start(() -> {
            try {
                Thread.sleep(DELAY_MS);
                raise(descriptor);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        });
        return () -> {
            try {
                thread.join();
            } catch (InterruptedException e) {
                thread.interrupt();
                Thread.currentThread().interrupt();
            }
        };
    }
}
