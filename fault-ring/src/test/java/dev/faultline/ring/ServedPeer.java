package dev.faultline.ring;

import dev.faultline.ffm.Errno;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.SocketCalls;
import java.nio.file.Path;
import java.util.concurrent.locks.LockSupport;

/**
 * A process of its own that is the consumer of a served queue: connects to a name and answers, until the other end goes.
 *
 * <p>Arguments: the name; {@code calls} or {@code uring}; after how many groups it stops answering without a word, or -1.
 */
final class ServedPeer {
    private ServedPeer() {}

    public static void main(String[] args) throws InterruptedException {
        long answers = Long.parseLong(args[2]);
        LinuxCalls linux = LinuxCalls.open();
        int fd;
        try (SocketCalls sockets = SocketCalls.open()) {
            fd = checked("socket", sockets.socket(LinuxCalls.SOCK_SEQPACKET));
            int _ = checked("connect", sockets.connect(fd, Path.of(args[0])));
        }
        DescriptorConsumer consumer = args[1].equals("uring")
                ? DescriptorConsumer.openUring(fd, 256, 4)
                : DescriptorConsumer.open(fd, 256, 4);
        long[] handled = new long[1];
        FaultWorker worker = consumer.run(group -> {
            if (handled[0]++ == answers) {
                System.out.println("stuck");
                for (; ; ) {
                    LockSupport.park();
                }
            }
            return group.size() == 1 ? Answer.SUCCESS : Answer.INVALID;
        });
        worker.thread().join();
        Accounting a = consumer.accounting();
        System.out.println(a.balanced() && a.raised() == handled[0] ? "balanced " + a.answered() : a.toString());
        int _ = checked("close", linux.close(fd));
        linux.close();
    }

    private static int checked(String call, int result) {
        if (result < 0) {
            throw new IllegalStateException(call + ": " + Errno.name(-result));
        }
        return result;
    }
}
