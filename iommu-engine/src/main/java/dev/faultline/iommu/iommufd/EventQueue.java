package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * A vEVENTQ: the events of one type that a vIOMMU's devices cause, up to a depth, in order.
 *
 * <p>Every event takes a sequence number, lost or not, so that a reader sees by a jump how many were lost between two. What was lost
 * last shows as a header without an event, {@code LOST_EVENTS}, which is never anywhere but at the end, for the next event that finds
 * room replaces it.
 *
 * <p>Threads: any reports, any reads. A short lock guards the list and is never held over user memory: two readers at once each get
 * events of their own, and whichever of them fails puts its event back first. Held by its descriptor. Source: {@code eventq.c}
 * and {@code iommufd_private.h}, Linux 7.2.
 */
final class EventQueue extends IommufdObject {
    /** The kernel's bound. */
    static final int MOST_DEPTH = 1 << 19;

    private static final int HEADER = 8;
    private static final int LOST_EVENTS = 1;
    private static final long LONGEST_SLEEP_NS = TimeUnit.DAYS.toNanos(1);

    /** An event, or the header of lost ones, which has no data. */
    static final class Event {
        final int sequence;
        final byte @Nullable [] data;

        Event(int sequence, byte @Nullable [] data) {
            this.sequence = sequence;
            this.data = data;
        }

        boolean isLost() {
            return data == null;
        }

        int bytes() {
            return data == null ? HEADER : HEADER + data.length;
        }
    }

    private final Context context;
    private final Viommu viommu;
    private final int type;
    private final int depth;

    private final ReentrantLock lock = new ReentrantLock();
    private final Condition arrived = lock.newCondition();

    // Under the lock.
    private final ArrayDeque<Event> events = new ArrayDeque<>();
    private @Nullable EventSink sink;

    /** Events that are listed, or being read. */
    private int held;

    private int sequence;

    EventQueue(Context context, Viommu viommu, int type, int depth) {
        this.context = context;
        this.viommu = viommu;
        this.type = type;
        this.depth = depth;
        context.objects().use(viommu);
    }

    int type() {
        return type;
    }

    // ---- reporting ----

    /**
     * An event happens.
     *
     * @param data its bytes, which are kept
     */
    void report(byte[] data) throws ErrnoException {
        EventSink told;
        lock.lock();
        try {
            if (held == depth) {
                put(null);
            } else {
                try {
                    context.process().allocations().take("an event");
                } catch (ErrnoException e) {
                    put(null);
                    throw e;
                }
                held++;
                put(data);
            }
            told = sink;
        } finally {
            lock.unlock();
        }
        if (told != null) {
            told.arrived();
        }
    }

    private void put(byte @Nullable [] data) {
        Event last = events.peekLast();
        if (last != null && last.isLost()) {
            events.removeLast();
        }
        events.addLast(new Event(sequence, data));
        sequence = (sequence + 1) & Integer.MAX_VALUE;
        arrived.signalAll();
    }

    /** The number of the next event: for tests, which cannot report as many as make it wrap. */
    void sequence(int next) {
        lock.lock();
        try {
            sequence = next;
        } finally {
            lock.unlock();
        }
    }

    // ---- reading ----

    /** As many whole events as fit; the descriptor's read. */
    long read(UserMemory memory, long buffer, long count) {
        if (hasSink()) {
            return -Errno.EBADFD;
        }
        if (count < HEADER) {
            return -Errno.EINVAL;
        }
        long done = 0;
        int error = 0;
        Event event;
        while ((event = fetch()) != null) {
            if (count - done < event.bytes()) {
                restore(event);
                error = event.isLost() ? 0 : Errno.EINVAL;
                break;
            }
            if (!copyOut(event, memory, buffer + done)) {
                restore(event);
                error = Errno.EFAULT;
                break;
            }
            finish(event);
            done += event.bytes();
        }
        return done > 0 ? done : -error;
    }

    private static boolean copyOut(Event event, UserMemory memory, long to) {
        MemorySegment header = MemorySegment.ofArray(new int[] {event.isLost() ? LOST_EVENTS : 0, event.sequence});
        if (memory.copyOut(header, to) < HEADER) {
            return false;
        }
        byte[] data = event.data;
        return data == null || memory.copyOut(MemorySegment.ofArray(data), to + HEADER) == data.length;
    }

    /** The first event, which the caller finishes or restores; null if there is none. */
    @Nullable
    Event fetch() {
        lock.lock();
        try {
            return events.poll();
        } finally {
            lock.unlock();
        }
    }

    /** Puts an event back that could not be read. A header of lost ones is told anew only if nothing newer says it by a jump. */
    void restore(Event event) {
        lock.lock();
        try {
            if (!event.isLost() || events.isEmpty()) {
                events.addFirst(event);
            }
        } finally {
            lock.unlock();
        }
    }

    /** An event was read. */
    void finish(Event event) {
        if (!event.isLost()) {
            lock.lock();
            try {
                held--;
            } finally {
                lock.unlock();
            }
        }
    }

    int poll(int wanted, long limitNs) {
        if (hasSink()) {
            return -Errno.EBADFD;
        }
        int there = wanted & (OpenFile.POLLIN | OpenFile.POLLRDNORM);
        lock.lock();
        try {
            long left = limitNs < 0 ? LONGEST_SLEEP_NS : limitNs;
            while ((events.isEmpty() || there == 0) && left > 0) {
                left = arrived.awaitNanos(left);
                if (limitNs < 0) {
                    left = LONGEST_SLEEP_NS;
                }
            }
            return events.isEmpty() ? 0 : there;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return -Errno.EINTR;
        } finally {
            lock.unlock();
        }
    }

    /** Has somebody else read; false if somebody does so already. */
    boolean takeBy(EventSink reader) {
        lock.lock();
        try {
            if (sink != null) {
                return false;
            }
            sink = reader;
            return true;
        } finally {
            lock.unlock();
        }
    }

    /** The descriptor is read again. */
    void giveBack() {
        lock.lock();
        try {
            sink = null;
        } finally {
            lock.unlock();
        }
    }

    private boolean hasSink() {
        lock.lock();
        try {
            return sink != null;
        } finally {
            lock.unlock();
        }
    }

    /** Is told that there is something to read. */
    @FunctionalInterface
    interface EventSink {
        void arrived();
    }

    /** What lies unread is gone. */
    @Override
    void destroy() {
        viommu.remove(this);
        context.objects().unuse(viommu);
    }

    @Override
    public String toString() {
        lock.lock();
        try {
            return "EventQueue[type 0x" + Integer.toHexString(type) + ", " + held + " of " + depth + " events, next "
                    + sequence + "]";
        } finally {
            lock.unlock();
        }
    }
}
