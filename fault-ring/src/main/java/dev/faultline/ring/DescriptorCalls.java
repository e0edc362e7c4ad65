package dev.faultline.ring;

import dev.faultline.ffm.LinuxCalls;
import java.lang.foreign.MemorySegment;

/**
 * The calls a {@link DescriptorConsumer} makes on its descriptor; see {@link LinuxCalls}.
 *
 * <p>Threads: the consumer's.
 */
interface DescriptorCalls {
    long read(int fd, MemorySegment buffer, long bytes);

    long write(int fd, MemorySegment buffer, long bytes);

    int poll(int fd, int events, int timeoutMs);

    int poll(int[] fds, int[] events, int[] revents, int timeoutMs);

    /** The kernel's. */
    record Linux(LinuxCalls calls) implements DescriptorCalls {
        @Override
        public long read(int fd, MemorySegment buffer, long bytes) {
            return calls.read(fd, buffer, bytes);
        }

        @Override
        public long write(int fd, MemorySegment buffer, long bytes) {
            return calls.write(fd, buffer, bytes);
        }

        @Override
        public int poll(int fd, int events, int timeoutMs) {
            return calls.poll(fd, events, timeoutMs);
        }

        @Override
        public int poll(int[] fds, int[] events, int[] revents, int timeoutMs) {
            return calls.poll(fds, events, revents, timeoutMs);
        }
    }
}
