package dev.faultline.iommu;

import static dev.faultline.ffm.PageFaultLayout.PERM_EXEC;
import static dev.faultline.ffm.PageFaultLayout.PERM_PRIV;
import static dev.faultline.ffm.PageFaultLayout.PERM_READ;
import static dev.faultline.ffm.PageFaultLayout.PERM_WRITE;

import com.google.errorprone.annotations.CheckReturnValue;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;

/**
 * The page request queue of an IOMMU: bounded, between all functions and the software that reads it. Software normally keeps up,
 * and then a request costs one look here; {@link #pause} makes it fall behind.
 *
 * <p>Overflow: a request that finds the queue full sets the overflow condition. From then on nothing is stored, even where there is
 * room, until software has read everything. Meanwhile a request that is the last of its group is answered SUCCESS by the IOMMU, so
 * that its device asks again; others, and stop markers, are dropped. Clearing the condition discards the groups that lack their
 * last request, for what they lack may have been lost.
 *
 * <p>Threads: any. Progress: {@link #pause} and {@link #resume} take a lock, as a request does while software is behind. Source:
 * VT-d PRS.PRO, SMMUv3 PRIQ overflow.
 */
public final class PageRequestQueue {
    /** What became of a request. */
    enum Taken {
        /** Software keeps up again: it is to be taken now. */
        PASSED,
        STORED,
        OVERFLOWED
    }

    private record Stored(PageRequestPort port, PageRequest request) {}

    private static final int BEHIND = 1;
    private static final int CHANGE = 1 << 1;

    private final int entries;

    /**
     * {@link #BEHIND}, and a count of changes. Written under the lock; read by every port before it takes a request. A stale value
     * costs a request that passes by others of other devices, which is no order anybody was promised.
     */
    private volatile int word;

    /** Written by any thread; read by a port when a group of several is whole. */
    private volatile boolean strict;

    /** Written by any thread; read by a port when a request has a right that only PASIDs have. */
    private volatile boolean vtd;

    private final AtomicLong strangersAnswered = new AtomicLong();
    private final AtomicLong strangersDropped = new AtomicLong();

    private final AtomicLong protocolErrors = new AtomicLong();

    // Under the lock.
    private final Deque<Stored> stored = new ArrayDeque<>();
    private final List<Stored> read = new ArrayList<>();
    private boolean overflowed;
    /** The overflow ends by itself. */
    private boolean momentary;

    private long overflows;
    private int discards;

    PageRequestQueue(int entries) {
        this.entries = entries;
    }

    /**
     * How many requests it holds.
     *
     * @return as the {@link IommuConfig} said
     */
    public int entries() {
        return entries;
    }

    /** Software stops reading. Doing it again does nothing. */
    public synchronized void pause() {
        if ((word & BEHIND) == 0) {
            word += CHANGE + BEHIND;
        }
    }

    /** Software reads everything, clears an overflow, and keeps up from now on. */
    public synchronized void resume() {
        if ((word & BEHIND) == 0) {
            return;
        }
        read.addAll(stored);
        stored.clear();
        if (overflowed) {
            overflowed = false;
            discards++;
        }
        momentary = false;
        word += CHANGE - BEHIND;
    }

    /**
     * Whether software has fallen behind.
     *
     * @return true between {@link #pause} and {@link #resume}
     */
    public boolean isPaused() {
        return isBehind(word);
    }

    /**
     * Whether an overflow is waiting to be cleared.
     *
     * @return true from the request that found the queue full until {@link #resume}
     */
    public synchronized boolean isOverflowed() {
        return overflowed;
    }

    /**
     * How often it overflowed.
     *
     * @return conditions, not requests; those are counted by device
     */
    public synchronized long overflows() {
        return overflows;
    }

    /**
     * How many requests are stored.
     *
     * @return 0 to {@link #entries}
     */
    public synchronized int stored() {
        return stored.size();
    }

    /**
     * Whether all requests of a group have to carry one PASID, or all none. If they do not, that is a protocol error: the group is
     * answered INVALID and handed to nobody. Unless told so, the PASID of the last request counts, as in the kernel.
     *
     * @param now true from now on
     */
    public void strict(boolean now) {
        strict = now;
    }

    /**
     * Whether requests are refused that Linux' driver of VT-d does not hand on: with privilege for reading or writing, and for executing with
     * reading. The last of its group is answered INVALID, others are dropped; both are counted as {@link PageRequestCounters#unhandled}.
     * Unless told so, they are handed on.
     *
     * @param now true from now on
     */
    public void vtdRights(boolean now) {
        vtd = now;
    }

    /** Whether a request may be handed on, as far as its rights say. */
    boolean handsOn(int access) {
        if ((access & (PERM_EXEC | PERM_PRIV)) == 0 || !vtd) {
            return true;
        }
        boolean privilegedData = (access & PERM_PRIV) != 0 && (access & (PERM_READ | PERM_WRITE)) != 0;
        return !privilegedData && (access & (PERM_EXEC | PERM_READ)) != (PERM_EXEC | PERM_READ);
    }

    /**
     * Messages from requester ids that no device has.
     *
     * @param answered were the last of their group, and answered INVALID
     * @param dropped were others, or stop markers
     */
    public record Strangers(long answered, long dropped) {}

    /**
     * What became of messages from requester ids that no device has. They take no place in the queue and are nobody's groups.
     *
     * @return each message counted once
     */
    public Strangers strangers() {
        return new Strangers(strangersAnswered.get(), strangersDropped.get());
    }

    /** A message of nobody's: whether it is answered. */
    boolean answersStranger(PageRequest request) {
        boolean answers =
                request.last() && !PageRequest.isStopMarker(request.pasid(), request.access(), request.last());
        (answers ? strangersAnswered : strangersDropped).incrementAndGet();
        return answers;
    }

    /**
     * How many groups were refused for what their device must not do.
     *
     * @return groups whose requests carry different PASIDs, while that was looked for
     */
    public long protocolErrors() {
        return protocolErrors.get();
    }

    boolean isStrict() {
        return strict;
    }

    void countProtocolError() {
        protocolErrors.incrementAndGet();
    }

    int word() {
        return word;
    }

    static boolean isBehind(int word) {
        return (word & BEHIND) != 0;
    }

    @CheckReturnValue
    synchronized Taken offer(PageRequestPort port, PageRequest request) {
        if ((word & BEHIND) == 0) {
            return Taken.PASSED;
        }
        if (overflowed || stored.size() == entries) {
            overflow();
            if (momentary && request.last()) {
                resume();
            }
            return Taken.OVERFLOWED;
        }
        stored.add(new Stored(port, request));
        return Taken.STORED;
    }

    /** As if it were full for a moment: requests are lost, up to the first that is the last of its group. */
    synchronized void overflowOnce() {
        if (!isBehind(word)) {
            pause();
            momentary = true;
        }
        overflow();
    }

    private void overflow() {
        if (!overflowed) {
            overflowed = true;
            overflows++;
        }
    }

    /** What software has read of a port's requests, in their order. */
    synchronized List<PageRequest> collect(PageRequestPort port) {
        return remove(read, port);
    }

    /** How often groups without their last request had to be discarded. */
    synchronized int discards() {
        return discards;
    }

    /** Takes all requests of a port out. */
    synchronized int forget(PageRequestPort port) {
        return remove(stored, port).size() + remove(read, port).size();
    }

    /** How many requests of a port are here. */
    synchronized int count(PageRequestPort port) {
        int n = 0;
        for (Stored entry : stored) {
            n += entry.port == port ? 1 : 0;
        }
        for (Stored entry : read) {
            n += entry.port == port ? 1 : 0;
        }
        return n;
    }

    /** Whether a request of a port with a PASID is here. */
    synchronized boolean holds(PageRequestPort port, int pasid) {
        return Stream.concat(stored.stream(), read.stream())
                .anyMatch(entry -> entry.port == port && entry.request.pasid() == pasid);
    }

    private static List<PageRequest> remove(Iterable<Stored> from, PageRequestPort port) {
        List<PageRequest> own = new ArrayList<>();
        for (Iterator<Stored> each = from.iterator(); each.hasNext(); ) {
            Stored entry = each.next();
            if (entry.port == port) {
                own.add(entry.request);
                each.remove();
            }
        }
        return own;
    }
}
