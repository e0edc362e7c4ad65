package dev.faultline.ring;

import dev.faultline.ffm.Errno;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.PageResponseLayout;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.TreeMap;

/**
 * A fault descriptor that keeps the kernel's rules: whole groups as far as they fit, 0 when it is empty, the lowest free
 * cookie, answers applied one by one up to the first that is refused. One thread polls it, another may be its device.
 */
final class KernelLikeEngine implements DescriptorCalls {
    /** A group: its tag and how many requests it has. */
    private record Group(int tag, int size) {}

    private final LinuxCalls linux;
    private final Deque<Group> waiting = new ArrayDeque<>();
    private final TreeMap<Integer, Group> open = new TreeMap<>();
    final List<String> answers = new ArrayList<>();
    /** What each read and write returned. */
    final List<Long> reads = new ArrayList<>();

    final List<Long> writes = new ArrayList<>();
    /** As many writes say {@code EAGAIN}, or {@code EINTR} if negative. */
    int againTimes;

    private boolean hungUp;

    KernelLikeEngine(LinuxCalls linux) {
        this.linux = linux;
    }

    synchronized void raise(int tag, int size) {
        waiting.add(new Group(tag, size));
    }

    /** Answers a group by itself, as a detach does. */
    synchronized void detach(int cookie) {
        open.remove(cookie);
    }

    /** Says that there will be no more: what a device that is gone for good may do, and the kernel does not. */
    synchronized void hangUp() {
        hungUp = true;
    }

    synchronized List<String> answersSoFar() {
        return List.copyOf(answers);
    }

    @Override
    public synchronized long read(int fd, MemorySegment buffer, long bytes) {
        long result = read(buffer, bytes);
        reads.add(result);
        return result;
    }

    private long read(MemorySegment buffer, long bytes) {
        if (bytes % PageFaultLayout.SIZE != 0) {
            return -Errno.ESPIPE;
        }
        long at = 0;
        while (!waiting.isEmpty()) {
            Group group = waiting.getFirst();
            if (at + (long) group.size * PageFaultLayout.SIZE > bytes) {
                return at > 0 ? at : -Errno.EINVAL;
            }
            int cookie = 1;
            while (open.containsKey(cookie)) {
                cookie++;
            }
            open.put(cookie, waiting.removeFirst());
            for (int i = 0; i < group.size; i++, at += PageFaultLayout.SIZE) {
                PageFaultLayout.write(
                        buffer,
                        at,
                        i == group.size - 1 ? PageFaultLayout.FLAG_LAST_PAGE : 0,
                        7,
                        0,
                        group.tag,
                        PageFaultLayout.PERM_READ,
                        ((long) group.tag << 12) + i,
                        0,
                        cookie);
            }
        }
        return at;
    }

    @Override
    public synchronized long write(int fd, MemorySegment buffer, long bytes) {
        long result = write(buffer, bytes);
        writes.add(result);
        return result;
    }

    private long write(MemorySegment buffer, long bytes) {
        if (hungUp) {
            return -Errno.EPIPE;
        }
        if (againTimes != 0) {
            int error = againTimes > 0 ? Errno.EAGAIN : Errno.EINTR;
            againTimes -= Integer.signum(againTimes);
            return -error;
        }
        for (long at = 0; at < bytes; at += PageResponseLayout.SIZE) {
            Group group = open.remove(SharedWords.getInt(buffer, at));
            if (group == null) {
                return at > 0 ? at : -Errno.EINVAL;
            }
            answers.add(group.tag + (SharedWords.getInt(buffer, at + 4) == 0 ? " SUCCESS" : " INVALID"));
        }
        return bytes;
    }

    @Override
    public synchronized int poll(int fd, int events, int timeoutMs) {
        return (events & (LinuxCalls.POLLOUT | (waiting.isEmpty() ? 0 : LinuxCalls.POLLIN)))
                | (hungUp ? LinuxCalls.POLLHUP : 0);
    }

    @Override
    public int poll(int[] fds, int[] events, int[] revents, int timeoutMs) {
        int fd = fds[0];
        long end = System.nanoTime() + timeoutMs * 1_000_000L;
        for (; ; ) {
            int now = fd < 0 ? 0 : poll(fd, events[0], 0);
            fds[0] = -1;
            int n = linux.poll(fds, events, revents, 0);
            fds[0] = fd;
            revents[0] = now;
            if (now != 0 || n != 0 || System.nanoTime() - end >= 0) {
                return now != 0 && n >= 0 ? n + 1 : n;
            }
            Thread.onSpinWait();
        }
    }
}
