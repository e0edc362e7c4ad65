package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Errno;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.PageResponseLayout;
import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The other end of a consumer's descriptor: sends groups, takes answers, and refuses what it does not know. One thread. */
final class SocketPeer implements AutoCloseable {
    private static final int BYTES = 1 << 17;

    final LinuxCalls calls = LinuxCalls.open();
    private final Region region = Region.allocate(2 * BYTES);
    final MemorySegment out = region.segment().asSlice(0, BYTES);
    private final MemorySegment in = region.segment().asSlice(BYTES);
    private final int[] fds = new int[2];
    private boolean consumersIsOpen = true;
    private boolean isOpen = true;
    private int queued;
    private int nextCookie = 1;

    /** Cookies that are open, each with its tag. */
    final Map<Integer, Integer> open = new HashMap<>();

    final List<String> answers = new ArrayList<>();
    final List<Integer> sizes = new ArrayList<>();
    int answered;
    boolean keepsAnswers = true;

    SocketPeer() {
        assertEquals(0, calls.socketpair(LinuxCalls.SOCK_SEQPACKET, fds));
    }

    /** The consumer's end. */
    int descriptor() {
        return fds[0];
    }

    /** Puts a group into the message. */
    int group(int tag, int size) {
        int cookie = nextCookie++;
        open.put(cookie, tag);
        for (int i = 0; i < size; i++) {
            record(tag, cookie, i, i == size - 1);
        }
        return cookie;
    }

    /** Puts any record into the message. */
    void record(int tag, int cookie, int i, boolean last) {
        PageFaultLayout.write(
                out,
                (long) queued++ * PageFaultLayout.SIZE,
                PageFaultLayout.FLAG_PASID_VALID | (last ? PageFaultLayout.FLAG_LAST_PAGE : 0),
                7,
                5,
                tag,
                PageFaultLayout.PERM_READ,
                ((long) tag << 12) + i,
                4096,
                cookie);
    }

    /** Sends the message. */
    void send() {
        if (queued > 0) {
            send(queued * PageFaultLayout.SIZE);
        }
    }

    void send(int bytes) {
        queued = 0;
        assertEquals(bytes, calls.write(fds[1], out, bytes));
    }

    void raise(int tag, int size) {
        group(tag, size);
        send();
    }

    /** Takes the answers that have come; says how many. */
    int takeAnswers() {
        return takeAnswers(0);
    }

    int takeAnswers(int timeoutMs) {
        int n = 0;
        for (int wait = timeoutMs; (calls.poll(fds[1], LinuxCalls.POLLIN, wait) & LinuxCalls.POLLIN) != 0; wait = 0) {
            long bytes = calls.read(fds[1], in, BYTES);
            if (bytes == 0 || bytes == -Errno.ECONNRESET) {
                return n;
            }
            assertTrue(bytes > 0 && bytes % PageResponseLayout.SIZE == 0, () -> "answers of bytes=" + bytes);
            sizes.add((int) bytes / PageResponseLayout.SIZE);
            for (long at = 0; at < bytes; at += PageResponseLayout.SIZE) {
                int cookie = SharedWords.getInt(in, at + PageResponseLayout.COOKIE_OFFSET);
                int code = SharedWords.getInt(in, at + PageResponseLayout.CODE_OFFSET);
                Integer tag = open.remove(cookie);
                assertTrue(tag != null, () -> "cookie=" + cookie + " is not open");
                answered++;
                if (keepsAnswers) {
                    answers.add(tag + (code == PageResponseLayout.CODE_SUCCESS ? " SUCCESS" : " INVALID"));
                }
                n++;
            }
        }
        return n;
    }

    /** Goes, as a process that ends. */
    void hangUp() {
        if (isOpen) {
            isOpen = false;
            assertEquals(0, calls.close(fds[1]));
        }
    }

    void closeConsumersEnd() {
        if (consumersIsOpen) {
            consumersIsOpen = false;
            assertEquals(0, calls.close(fds[0]));
        }
    }

    @Override
    public void close() {
        hangUp();
        closeConsumersEnd();
        region.close();
        calls.close();
    }
}
