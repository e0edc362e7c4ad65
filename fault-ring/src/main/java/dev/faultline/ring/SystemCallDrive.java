package dev.faultline.ring;

import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.PageResponseLayout;
import dev.faultline.ring.internal.EventWakeup;

/**
 * Drives a descriptor by {@code poll}, {@code read} and {@code write}: one or two calls for a message, as many for its answers.
 *
 * <p>Nothing is read or written that {@code poll} has not said would go, so a descriptor that blocks keeps nobody.
 */
final class SystemCallDrive implements DescriptorDrive {
    // Each look is a system call.
    private static final int LOOKS_BEFORE_SLEEP = 50;

    private final int fd;
    private final DescriptorProtocol protocol;
    private final DescriptorCalls calls;
    private final LinuxCalls linux;
    private final long readBytes;
    private final int wakeDescriptor;

    private boolean readable;
    private boolean writable;

    private final int[] polled = new int[2];
    private final int[] events = new int[2];
    private final int[] revents = new int[2];

    /**
     * A drive.
     *
     * @param linux closed with it
     * @param calls made on the descriptor
     */
    SystemCallDrive(
            int fd,
            DescriptorProtocol protocol,
            LinuxCalls linux,
            DescriptorCalls calls,
            long readBytes,
            int wakeDescriptor) {
        this.fd = fd;
        this.protocol = protocol;
        this.calls = calls;
        this.linux = linux;
        this.readBytes = readBytes;
        this.wakeDescriptor = wakeDescriptor;
    }

    private void look() {
        int now = calls.poll(fd, LinuxCalls.POLLIN | LinuxCalls.POLLOUT | LinuxCalls.POLLRDHUP, 0);
        if (now < 0) {
            protocol.refused("poll", -now);
        } else {
            seen(now);
        }
    }

    private void seen(int now) {
        protocol.seen(now);
        readable |= (now & DescriptorProtocol.READABLE) != 0;
        writable |= (now & LinuxCalls.POLLOUT) != 0;
    }

    @Override
    public int send() {
        int sent = 0;
        while (protocol.hasAnswers()) {
            if (!writable) {
                look();
            }
            if (!writable) {
                break;
            }
            // What was said to be writable is for one write: more might have to wait, on a descriptor that blocks.
            writable = false;
            int n = protocol.copyAnswers();
            int took = protocol.written(calls.write(fd, protocol.out(), (long) n * PageResponseLayout.SIZE), n);
            if (took < 0) {
                break;
            }
            sent += took;
        }
        return sent;
    }

    @Override
    public void exchange(boolean receives) {
        if ((receives && !readable) || (protocol.hasAnswers() && !writable)) {
            look();
        }
        send();
        if (receives && readable) {
            readable = false;
            boolean _ = protocol.read(0, calls.read(fd, protocol.in(0), readBytes));
        }
    }

    @Override
    public void flush(boolean receives) {
        send();
    }

    @Override
    public int looksBeforeSleep() {
        return LOOKS_BEFORE_SLEEP;
    }

    @Override
    public boolean sleep(boolean receives, long limitNs) {
        // An end that is known is told for ever, and must not keep this thread awake while it waits for something else.
        polled[0] = protocol.isHungUp() && !receives ? -1 : fd;
        polled[1] = wakeDescriptor;
        events[0] = LinuxCalls.POLLRDHUP
                | (receives ? LinuxCalls.POLLIN : 0)
                | (protocol.hasAnswers() ? LinuxCalls.POLLOUT : 0);
        events[1] = LinuxCalls.POLLIN;
        revents[0] = 0;
        revents[1] = 0;
        int n = calls.poll(polled, events, revents, EventWakeup.milliseconds(limitNs));
        if (n < 0) {
            protocol.refused("poll", -n);
            return false;
        }
        seen(revents[0]);
        return revents[1] != 0;
    }

    @Override
    public boolean close() {
        linux.close();
        return true;
    }
}
