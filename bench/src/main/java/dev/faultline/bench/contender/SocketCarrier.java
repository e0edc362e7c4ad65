package dev.faultline.bench.contender;

import dev.faultline.ffm.Errno;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.PaddedBefore;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.PageResponseLayout;
import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import dev.faultline.ring.DescriptorConsumer;
import java.lang.foreign.MemorySegment;
import java.util.function.Function;

/**
 * A fault queue's protocol over a socket that keeps the bounds of messages, with the consumer a user has: {@link
 * DescriptorConsumer#openUring}. The same as {@code uring_socket.h}, whose consumer does nothing but the calls.
 */
final class SocketCarrier {
    private static final int LEAST_ENTRIES = 256;
    private static final int GROUPS_IN_MESSAGE = 64;
    private static final int ANSWERS_IN_MESSAGE = 512;

    private SocketCarrier() {}

    /** Both ends look, and do not sleep; so many groups at most go into a message. */
    static Function<Outstanding, Carrier> uring(int window, int groupsInMessage) {
        int entries = Math.max(LEAST_ENTRIES, 2 * window);
        return outstanding -> {
            LinuxCalls calls = LinuxCalls.open();
            int[] ends = new int[2];
            checked("socketpair", calls.socketpair(LinuxCalls.SOCK_SEQPACKET, ends));
            // The device's end only: one that does not block makes io_uring poll before each read.
            checked("fcntl", calls.setNonBlocking(ends[0], true));
            DeviceEnd device = new DeviceEnd(outstanding, calls, ends[0], Math.min(groupsInMessage, GROUPS_IN_MESSAGE));
            Responder responder = QueueResponder.of(DescriptorConsumer.openUring(ends[1], entries, 1), entries);
            return new Carrier(device, responder, () -> {
                int _ = calls.close(ends[1]);
                int _ = calls.close(ends[0]);
                device.memory.close();
                calls.close();
            });
        };
    }

    private static void checked(String call, long result) {
        if (result < 0) {
            throw new IllegalStateException(call + ": " + Errno.name((int) -result));
        }
    }

    /** Sends what is staged as messages, and takes answers, without waiting in the kernel. */
    private static class DeviceEnd extends PaddedBefore implements Requester {
        private final Outstanding outstanding;
        private final LinuxCalls calls;
        private final int fd;
        private final int groupsInMessage;
        private final Region memory = Region.allocate(
                GROUPS_IN_MESSAGE * PageFaultLayout.SIZE + ANSWERS_IN_MESSAGE * PageResponseLayout.SIZE);
        private final MemorySegment records = memory.segment().asSlice(0, GROUPS_IN_MESSAGE * PageFaultLayout.SIZE);
        private final MemorySegment answers = memory.segment().asSlice(GROUPS_IN_MESSAGE * PageFaultLayout.SIZE);
        private int staged;

        DeviceEnd(Outstanding outstanding, LinuxCalls calls, int fd, int groupsInMessage) {
            this.groupsInMessage = groupsInMessage;
            this.outstanding = outstanding;
            this.calls = calls;
            this.fd = fd;
        }

        @Override
        public void send(int tag, int group, long address) {
            PageFaultLayout.write(
                    records,
                    (long) staged * PageFaultLayout.SIZE,
                    PageFaultLayout.FLAG_PASID_VALID | PageFaultLayout.FLAG_LAST_PAGE,
                    DEVICE,
                    PASID,
                    group,
                    ACCESS,
                    address,
                    0,
                    tag + 1);
            if (++staged == groupsInMessage) {
                flush();
            }
        }

        @Override
        public void flush() {
            if (staged > 0) {
                long bytes = (long) staged * PageFaultLayout.SIZE;
                long sent = calls.write(fd, records, bytes);
                if (sent != bytes) {
                    throw new IllegalStateException("write=" + sent + ": allowed " + bytes);
                }
                staged = 0;
            }
        }

        @Override
        public void receive() {
            long bytes = calls.read(fd, answers, answers.byteSize());
            if (bytes == -Errno.EAGAIN || bytes == -Errno.EINTR) {
                return;
            }
            checked("read", bytes);
            for (long at = 0; at < bytes; at += PageResponseLayout.SIZE) {
                outstanding.answered(
                        SharedWords.getInt(answers, at + PageResponseLayout.COOKIE_OFFSET) - 1,
                        SharedWords.getInt(answers, at + PageResponseLayout.CODE_OFFSET)
                                == PageResponseLayout.CODE_SUCCESS);
            }
        }
    }
}
