package dev.faultline.ring;

import dev.faultline.ffm.Errno;
import dev.faultline.ffm.LinuxCalls;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/**
 * io_uring over a {@link KernelLikeEngine}, as it was recorded: a read posted before the fault completes with its group; of several one
 * gets it and the others end with 0; on a descriptor that does not block a read of nothing ends with 0 at once; a length that is no
 * multiple of a record is refused only when a group comes. One thread, but for the engine.
 */
final class KernelLikeUring implements UringCalls {
    /** Something that is posted. */
    private record Request(String op, MemorySegment buffer, int bytes, int fd, int events, long userData) {}

    private record Completion(long userData, int result) {}

    private final KernelLikeEngine engine;
    private final LinuxCalls linux;
    private final int room;
    private final boolean blocks;
    private final Deque<Request> prepared = new ArrayDeque<>();
    private final List<Request> waiting = new ArrayList<>();
    private final Deque<Completion> completions = new ArrayDeque<>();
    /** Reads lose this many groups to another reader. */
    int losses;
    /** Writes wait, as on a socket that is full. */
    boolean holdsWrites;

    /** What was completed, each read and poll of the engine with its result. */
    final List<String> history = new ArrayList<>();

    /**
     * A ring.
     *
     * @param room entries that can be prepared at once
     * @param blocks whether the descriptor does
     */
    KernelLikeUring(KernelLikeEngine engine, LinuxCalls linux, int room, boolean blocks) {
        this.engine = engine;
        this.linux = linux;
        this.room = room;
        this.blocks = blocks;
    }

    private boolean prepare(Request request) {
        return prepared.size() < room && prepared.add(request);
    }

    private static Request request(String op, long userData) {
        return new Request(op, MemorySegment.NULL, 0, -1, 0, userData);
    }

    @Override
    public boolean read(MemorySegment buffer, int bytes, long userData) {
        return prepare(new Request("read", buffer, bytes, -1, 0, userData));
    }

    @Override
    public boolean write(MemorySegment buffer, int bytes, long userData) {
        return prepare(new Request("write", buffer, bytes, -1, 0, userData));
    }

    @Override
    public boolean poll(int events, long userData) {
        return prepare(new Request("poll", MemorySegment.NULL, 0, -1, events, userData));
    }

    @Override
    public boolean pollOther(int other, int events, long userData) {
        return prepare(new Request("other", MemorySegment.NULL, 0, other, events, userData));
    }

    @Override
    public boolean cancel(long target, long userData) {
        return prepare(new Request("cancel", MemorySegment.NULL, 0, (int) target, 0, userData));
    }

    @Override
    public boolean cancelAll(long userData) {
        return prepare(request("cancelAll", userData));
    }

    @Override
    public int submitAndWait(int atLeast, long timeoutNs) {
        int n = prepared.size();
        for (Request request; (request = prepared.poll()) != null; ) {
            if (!isDone(request, true)) {
                waiting.add(request);
            }
        }
        long end = System.nanoTime() + timeoutNs;
        for (; ; ) {
            waiting.removeIf(request -> isDone(request, false));
            if (completions.size() >= atLeast) {
                return n;
            }
            if (System.nanoTime() - end >= 0) {
                return n > 0 ? n : -Errno.ETIME;
            }
            Thread.onSpinWait();
        }
    }

    /** Carries a request out, as far as that goes without waiting. */
    private boolean isDone(Request request, boolean first) {
        switch (request.op) {
            case "read" -> {
                if (engine.poll(0, LinuxCalls.POLLIN, 0) == 0 && (blocks || !first)) {
                    return false;
                }
                boolean loses = losses > 0 && !first;
                losses -= loses ? 1 : 0;
                long n = loses ? 0 : engine.read(0, request.buffer, request.bytes);
                complete(request, (int) n);
            }
            case "write" -> {
                if (holdsWrites) {
                    return false;
                }
                complete(request, (int) engine.write(0, request.buffer, request.bytes));
            }
            case "poll" -> {
                int now = engine.poll(0, request.events, 0);
                if (now == 0) {
                    return false;
                }
                complete(request, now);
            }
            case "other" -> {
                int now = linux.poll(request.fd, request.events, 0);
                if (now == 0) {
                    return false;
                }
                complete(request, now);
            }
            default -> {
                int before = waiting.size();
                waiting.removeIf(one -> {
                    boolean cancelled = request.op.equals("cancelAll") || one.userData == request.fd;
                    if (cancelled) {
                        complete(one, -Errno.ECANCELED);
                    }
                    return cancelled;
                });
                complete(request, before - waiting.size());
            }
        }
        return true;
    }

    private void complete(Request request, int result) {
        completions.add(new Completion(request.userData, result));
        if (request.op.equals("read") || request.op.equals("poll")) {
            history.add(request.op + " " + result);
        }
    }

    @Override
    public boolean hasNews() {
        return !completions.isEmpty() || waiting.stream().anyMatch(one -> !one.op.equals("other") && isReady(one));
    }

    private boolean isReady(Request request) {
        if (request.op.equals("write")) {
            return !holdsWrites;
        }
        return engine.poll(0, request.op.equals("poll") ? request.events : LinuxCalls.POLLIN, 0) != 0;
    }

    @Override
    public int ready() {
        return completions.size();
    }

    private Completion at(int i) {
        return completions.stream().skip(i).findFirst().orElseThrow();
    }

    @Override
    public long userData(int i) {
        return at(i).userData;
    }

    @Override
    public int result(int i) {
        return at(i).result;
    }

    @Override
    public void advance(int n) {
        for (int i = 0; i < n; i++) {
            completions.remove();
        }
    }

    @Override
    public void close() {
        if (!waiting.isEmpty()) {
            throw new IllegalStateException("under way: " + waiting);
        }
    }
}
