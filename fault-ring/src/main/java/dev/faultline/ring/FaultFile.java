package dev.faultline.ring;

import com.google.errorprone.annotations.CheckReturnValue;
import dev.faultline.ffm.Errno;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.PageResponseLayout;
import dev.faultline.ring.internal.Wakeup;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.IntStream;

/**
 * The file-like door of a {@link FaultQueue}: what a fault queue's descriptor does in Linux, call by call and number by number.
 *
 * <p>A read takes whole groups off the deliver list and gives each the lowest free cookie, from 1 (from 0 once
 * 0 was answered in vain while another cookie waited); a write answers groups by
 * cookie, in any order, one after the other until one is refused. A read never waits; {@link #poll} does. Cookies are used again
 * at once, so a late answer can hit a newer group, as it can in the kernel: the ring door is the one without that.
 *
 * <p>Groups are listed as their lane hands them over; of several lanes, those found by one call are put in the order in which
 * they became whole, by their lanes' clocks, which may lag by a poll of the producer. A group answered automatically disappears
 * from the list, and its cookie is free; a write that crosses such an answer is counted stale. A raised group is found once its producer has published it. Beyond as many listed
 * groups of one producer as the queue has {@linkplain QueueConfig#entries() entries}, the next show when that producer polls, if a
 * thread has entered it.
 *
 * <p>Threads: any; a lock lets one at a time in, as the kernel's mutex does. Ownership: closed by its user, or by the queue.
 * Closing answers nobody: what is open stays so until its deadline (which the kernel does not have: 0 is as there), its
 * device's detach or the queue's close, and the door cannot be opened again. Progress: nothing waits for more than the lock, but for {@link #poll}. Nothing is allocated for a group once
 * as many were listed at a time, as large, unless several lanes bring more than 31 out of order: its copy goes where an
 * earlier one was, kept for that until the door closes.
 * Units: bytes, nanoseconds. Errors: the negative of an {@link Errno}; nothing is thrown.
 *
 * <p>Source: {@code include/uapi/linux/iommufd.h} and {@code drivers/iommu/iommufd/eventq.c}, Linux 7.2; user addresses as on
 * x86-64.
 */
public final class FaultFile implements AutoCloseable {
    /** There is a group to read. */
    public static final int POLLIN = 0x1;

    /** An answer can be written, which is always so. */
    public static final int POLLOUT = 0x4;

    /** Set with {@link #POLLIN}. */
    public static final int POLLRDNORM = 0x40;

    /** The kernel moves no more in one call: {@code MAX_RW_COUNT}. */
    private static final long MOST_BYTES = 0x7fff_f000L;

    private static final int RECORD = PageFaultLayout.SIZE;
    private static final int RESPONSE = PageResponseLayout.SIZE;
    private static final long LONGEST_SLEEP_NS = TimeUnit.DAYS.toNanos(1);

    /** The word of a record whose upper half is the cookie. */
    private static final int COOKIE_WORD = PageFaultLayout.COOKIE_OFFSET / Long.BYTES;

    /** A group on the deliver list, or room for one. */
    private static final class Listed {
        private long[] words = new long[RECORD / Long.BYTES];
        /** The same as a segment. */
        private MemorySegment records = MemorySegment.ofArray(words);

        private long bytes;
        private int ringCookie;
        private long raisedAtNs;

        void copy(FaultGroup group) {
            bytes = (long) group.size() * RECORD;
            if (bytes > records.byteSize()) {
                words = new long[group.size() * RECORD / Long.BYTES];
                records = MemorySegment.ofArray(words);
            }
            group.copyTo(words);
            ringCookie = group.cookie();
            raisedAtNs = group.raisedAtNs();
        }

        void setCookie(int cookie) {
            for (int i = COOKIE_WORD; i < bytes / Long.BYTES; i += RECORD / Long.BYTES) {
                words[i] = (words[i] & 0xffff_ffffL) | (long) cookie << Integer.SIZE;
            }
        }
    }

    private final FaultQueue queue;
    private final RingConsumer consumer;
    private final Wakeup wakeup;

    /** The kernel's mutex: guards everything below, and every use of the consumer. */
    private final ReentrantLock mutex = new ReentrantLock();

    /** Where those in poll sleep who do not sleep on the queue's wake-up. */
    private final Condition lookAgain = mutex.newCondition();

    /** How often they were told to look again. */
    private long looksDue;

    private boolean hasLeader;
    /** Set under the mutex. */
    private volatile boolean closed;

    private final ArrayDeque<Listed> deliverList = new ArrayDeque<>();
    private final List<Listed> arrived = new ArrayList<>();

    /** Reads that groups came into, also such as were revoked since. */
    private long readsUsed;

    /** How many they were when the lanes were last looked after: with fewer than the entries since, no lane has run out of reads. */
    private long readsUsedAtLook;

    /** Room of groups that have left the list. */
    private final ArrayDeque<Listed> room = new ArrayDeque<>();

    private final CompletionHandler arrival = (userData, group) -> arrive(group);

    /** The ring's cookie by the file's; 0 where that is free. The first is used once {@link #givesZero}. */
    private int[] ringCookies = new int[64];

    /** How many places are not free. */
    private int given;

    /**
     * Linux keeps 0 apart as long as nobody asks for it: who answers cookie 0 while another waits is refused, but the table
     * forgets that 0 was kept apart, and gives it out from then on.
     */
    private boolean givesZero;

    /** No cookie below is free. */
    private int lowestFree = 1;

    /** What {@link RingConsumer#revocations} said when the list and the table were last gone through. */
    private long revocationsSeen;

    private final MemorySegment response = MemorySegment.ofArray(new int[RESPONSE / Integer.BYTES]);

    /** A door whose reads are posted on every lane there is. */
    FaultFile(FaultQueue queue) {
        this.queue = queue;
        this.consumer = RingConsumer.of(queue, false);
        this.wakeup = queue.consumerWakeup();
        Result posted = consumer.post(0, queue.config().entries());
        if (posted != Result.OK) {
            throw new IllegalStateException("post on a new consumer: " + posted);
        }
    }

    // ---- read and write ----

    /**
     * Takes groups off the deliver list, as many whole ones as fit.
     *
     * @param memory the caller's
     * @param address where records of {@value dev.faultline.ffm.PageFaultLayout#SIZE} bytes are written
     * @param count bytes at most, a multiple of the record's size
     * @return bytes written, 0 if there is no group; {@code -EFAULT} if the range is outside the user's or the first group could
     *     not be written; {@code -ESPIPE} if the count is no multiple; {@code -EINVAL} if the first group does not fit; {@code
     *     -EBADF} once closed
     */
    @CheckReturnValue
    public long read(UserMemory memory, long address, long count) {
        mutex.lock();
        try {
            int refused = refusal(address, count, RECORD);
            if (refused != 0) {
                return -refused;
            }
            long most = Math.min(count, MOST_BYTES);
            dropRevoked();
            long done = 0;
            int error = 0;
            while (hasGroup()) {
                Listed group = deliverList.element();
                long size = group.bytes;
                if (size > most - done) {
                    error = Errno.EINVAL;
                    break;
                }
                int cookie = freeCookie();
                group.setCookie(cookie);
                if (memory.copyOut(group.records, size, address + done) < size) {
                    error = Errno.EFAULT;
                    break;
                }
                ringCookies[cookie] = group.ringCookie;
                given++;
                room.push(deliverList.remove());
                done += size;
            }
            return done > 0 ? done : -error;
        } finally {
            mutex.unlock();
        }
    }

    /**
     * {@link #read(UserMemory, long, long)} into a segment, which is all the memory there is.
     *
     * @param buffer as large as the count
     * @return as there
     */
    @CheckReturnValue
    public long read(MemorySegment buffer) {
        return read(UserMemory.of(buffer), UserMemory.BASE, buffer.byteSize());
    }

    /**
     * Answers groups, in the order written, up to the first that is refused.
     *
     * @param memory the caller's
     * @param address where answers of {@value dev.faultline.ffm.PageResponseLayout#SIZE} bytes are
     * @param count their bytes, a multiple of the answer's size
     * @return bytes taken; where that is none, {@code -EFAULT} if the range is outside the user's or the first answer could not be
     *     read; {@code -ESPIPE} if the count is no multiple; {@code -EINVAL} if its code is neither success nor invalid, or no
     *     group with its cookie waits; {@code -EBADF} once closed
     */
    @CheckReturnValue
    public long write(UserMemory memory, long address, long count) {
        mutex.lock();
        try {
            int refused = refusal(address, count, RESPONSE);
            if (refused != 0) {
                return -refused;
            }
            long most = Math.min(count, MOST_BYTES);
            dropRevoked();
            long done = 0;
            int error = 0;
            while (done < most && error == 0) {
                error = memory.copyIn(address + done, response) < RESPONSE
                        ? Errno.EFAULT
                        : answer(
                                response.get(ValueLayout.JAVA_INT, PageResponseLayout.COOKIE_OFFSET),
                                response.get(ValueLayout.JAVA_INT, PageResponseLayout.CODE_OFFSET));
                if (error == 0) {
                    done += RESPONSE;
                }
            }
            consumer.submit();
            return done > 0 ? done : -error;
        } finally {
            mutex.unlock();
        }
    }

    /** What a call is refused for before anything is moved, in the kernel's order; 0 if nothing. */
    private int refusal(long address, long count, int unit) {
        if (isClosed()) {
            return Errno.EBADF;
        }
        if (UserMemory.isOutside(address, count)) {
            return Errno.EFAULT;
        }
        return Math.min(count, MOST_BYTES) % unit == 0 ? 0 : Errno.ESPIPE;
    }

    /** Answers one group; 0 or an error number. */
    private int answer(int cookie, int code) {
        if (code != PageResponseLayout.CODE_SUCCESS && code != PageResponseLayout.CODE_INVALID) {
            return Errno.EINVAL;
        }
        if (cookie < 0 || cookie >= ringCookies.length || ringCookies[cookie] == 0) {
            if (cookie == 0 && given > 0 && !givesZero) {
                givesZero = true;
                lowestFree = 0;
            }
            return Errno.EINVAL;
        }
        int ringCookie = ringCookies[cookie];
        free(cookie);
        Result result =
                consumer.answer(ringCookie, code == PageResponseLayout.CODE_SUCCESS ? Answer.SUCCESS : Answer.INVALID);
        return switch (result) {
            case OK -> 0;
            case CLOSED -> Errno.EBADF;
            default -> Errno.EINVAL; // answered automatically this moment
        };
    }

    /**
     * {@link #write(UserMemory, long, long)} from a segment, which is all the memory there is.
     *
     * @param buffer as large as the count
     * @return as there
     */
    @CheckReturnValue
    public long write(MemorySegment buffer) {
        return write(UserMemory.of(buffer), UserMemory.BASE, buffer.byteSize());
    }

    /**
     * Refuses: there is no position to read at.
     *
     * @param memory not looked at
     * @param address not looked at
     * @param count not looked at
     * @param offset not looked at
     * @return {@code -ESPIPE}, or {@code -EBADF} once closed
     */
    @CheckReturnValue
    public long pread(UserMemory memory, long address, long count, long offset) {
        return noPosition();
    }

    /**
     * Refuses: there is no position to write at.
     *
     * @param memory not looked at
     * @param address not looked at
     * @param count not looked at
     * @param offset not looked at
     * @return {@code -ESPIPE}, or {@code -EBADF} once closed
     */
    @CheckReturnValue
    public long pwrite(UserMemory memory, long address, long count, long offset) {
        return noPosition();
    }

    private long noPosition() {
        mutex.lock();
        try {
            return isClosed() ? -Errno.EBADF : -Errno.ESPIPE;
        } finally {
            mutex.unlock();
        }
    }

    // ---- poll ----

    /**
     * Waits until something asked for is possible.
     *
     * @param events {@link #POLLIN}, {@link #POLLRDNORM}, {@link #POLLOUT}; other bits never come
     * @param limitNs nanoseconds at most: 0 only looks, a negative number waits without limit
     * @return which of the events are there; 0 if the time ran out; {@code -EINTR} if the thread is interrupted, which it then
     *     still is; {@code -EBADF} once closed, also for those who wait at that moment
     */
    @CheckReturnValue
    public int poll(int events, long limitNs) {
        long start = System.nanoTime();
        mutex.lock();
        try {
            for (int looks = 0; ; ) {
                if (isClosed()) {
                    return -Errno.EBADF;
                }
                collect();
                int found = events & (deliverList.isEmpty() ? POLLOUT : POLLIN | POLLRDNORM | POLLOUT);
                if (found != 0) {
                    return found;
                }
                long left = limitNs < 0 ? LONGEST_SLEEP_NS : limitNs - (System.nanoTime() - start);
                if (left <= 0) {
                    return 0;
                }
                if (Thread.currentThread().isInterrupted()) {
                    return -Errno.EINTR;
                }
                looks = pause(looks, Math.min(left, LONGEST_SLEEP_NS));
            }
        } finally {
            mutex.unlock();
        }
    }

    /** Lets others in for a while, until there may be news. */
    private int pause(int looks, long limitNs) {
        if (!queue.config().waiting().sleeps()) {
            // Nobody signals such a queue's consumer.
            mutex.unlock();
            try {
                return queue.config().waiting().idle(looks);
            } finally {
                mutex.lock();
            }
        }
        if (hasLeader) {
            follow(limitNs);
        } else {
            lead(limitNs);
        }
        return 0;
    }

    /**
     * Sleeps on the queue's wake-up, which takes one thread. The list was empty after the look that came before, under the same
     * hold of the mutex; from the announcement on, whoever publishes wakes this thread, also if another call has fetched the
     * news by then.
     */
    private void lead(long limitNs) {
        hasLeader = true;
        wakeup.announce();
        try {
            if (consumer.isReady() || isClosed()) {
                wakeup.cancel();
            } else {
                mutex.unlock();
                try {
                    wakeup.sleep(limitNs);
                } finally {
                    mutex.lock();
                }
            }
        } finally {
            // The others look for themselves; whoever finds nothing first leads next.
            hasLeader = false;
            wakeFollowers();
        }
    }

    private void wakeFollowers() {
        looksDue++;
        lookAgain.signalAll();
    }

    private void follow(long limitNs) {
        long seen = looksDue;
        try {
            for (long left = limitNs; seen == looksDue && left > 0; ) {
                left = lookAgain.awaitNanos(left);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    // ---- the deliver list and the cookies ----

    /** Posts reads on the lanes that have joined since, so that their groups come here without being asked for. */
    void join() {
        mutex.lock();
        try {
            if (!isClosed()) {
                collect();
            }
        } finally {
            mutex.unlock();
        }
    }

    /** Whether the deliver list has a group, which makes looking at the lanes again needless: they would only add behind it. */
    private boolean hasGroup() {
        if (deliverList.isEmpty()) {
            collect();
        }
        return !deliverList.isEmpty();
    }

    /** Brings the deliver list up to date. */
    private void collect() {
        arrived.clear();
        long before;
        do {
            before = readsUsed;
            consumer.poll(arrival, Integer.MAX_VALUE);
            if (readsUsed - readsUsedAtLook >= queue.config().entries()) {
                // A lane may have had more groups than reads: its producer gives it reads again, or it is done here.
                readsUsedAtLook = readsUsed;
                consumer.submit();
                for (Lane lane : queue.lanes()) {
                    if (lane != null) {
                        lane.lookAfter();
                    }
                }
            }
        } while (readsUsed > before);
        if (!areInOrder(arrived)) {
            // Stable: the order within a lane holds.
            arrived.sort((a, b) -> Long.signum(a.raisedAtNs - b.raisedAtNs));
        }
        for (int i = 0; i < arrived.size(); i++) {
            deliverList.add(arrived.get(i));
        }
        dropRevoked();
    }

    /** Asked first, for sorting allocates; what one lane has brought is in order. */
    private static boolean areInOrder(List<Listed> groups) {
        for (int i = 1; i < groups.size(); i++) {
            if (groups.get(i).raisedAtNs - groups.get(i - 1).raisedAtNs < 0) {
                return false;
            }
        }
        return true;
    }

    /** Copies a group, and posts its read again at once: the deliver list knows no bound but the producers' allocations. */
    private void arrive(FaultGroup group) {
        readsUsed++;
        if (consumer.answerAndRepost(group.cookie(), Answer.LATER) == Result.OK) {
            Listed listed = room.isEmpty() ? new Listed() : room.pop();
            listed.copy(group);
            arrived.add(listed);
        }
    }

    /**
     * Has groups revoked while no read or write is under way, as the kernel's mutex does: a write has answered before, or finds its cookie
     * gone. Whoever calls this has entered the lane, which nobody waits for who holds the mutex.
     */
    void whileNobodyIsIn(Runnable revoking) {
        mutex.lock();
        try {
            revoking.run();
        } finally {
            mutex.unlock();
        }
    }

    /**
     * Puts groups that are to be revoked in the kernel's order: those that no read has taken first, the newest first, then those that were
     * read, by cookie. Under the mutex.
     *
     * @param byAge the ring's cookies of groups of one lane, the oldest first
     */
    int[] inOrderOfRevoking(int[] byAge) {
        Map<Integer, Integer> read = new HashMap<>();
        for (int cookie = 0; cookie < ringCookies.length; cookie++) {
            if (ringCookies[cookie] != 0) {
                read.put(ringCookies[cookie], cookie);
            }
        }
        return IntStream.range(0, byAge.length)
                .boxed()
                .sorted(Comparator.comparingInt(i -> read.getOrDefault(byAge[i], -1 - i)))
                .mapToInt(i -> byAge[i])
                .toArray();
    }

    private void dropRevoked() {
        long revocations = consumer.revocations();
        if (revocations == revocationsSeen) {
            return;
        }
        revocationsSeen = revocations;
        for (int left = deliverList.size(); left > 0; left--) {
            Listed group = deliverList.remove();
            if (consumer.isOpen(group.ringCookie)) {
                deliverList.add(group);
            } else {
                room.push(group);
            }
        }
        for (int cookie = 0; cookie < ringCookies.length; cookie++) {
            if (ringCookies[cookie] != 0 && !consumer.isOpen(ringCookies[cookie])) {
                free(cookie);
            }
        }
    }

    private int freeCookie() {
        while (lowestFree < ringCookies.length && ringCookies[lowestFree] != 0) {
            lowestFree++;
        }
        if (lowestFree == ringCookies.length) {
            ringCookies = Arrays.copyOf(ringCookies, 2 * ringCookies.length);
        }
        return lowestFree;
    }

    private void free(int cookie) {
        ringCookies[cookie] = 0;
        given--;
        lowestFree = Math.min(lowestFree, cookie);
    }

    // ---- closing ----

    /** Whether it was closed, and knows of no group any more. */
    boolean isShut() {
        return closed;
    }

    private boolean isClosed() {
        return closed || queue.isClosing();
    }

    /** Closes the door, as closing the descriptor does. Later calls say {@code -EBADF}. Calling it again does nothing. */
    @Override
    public void close() {
        shut();
    }

    /** Lets go of the lanes, and wakes who waits. */
    void shut() {
        mutex.lock();
        try {
            if (closed) {
                return;
            }
            closed = true;
            consumer.close();
            deliverList.clear();
            room.clear();
            ringCookies = new int[0];
            wakeFollowers();
        } finally {
            mutex.unlock();
        }
        wakeup.signal();
    }

    @Override
    public String toString() {
        mutex.lock();
        try {
            if (isClosed()) {
                return "FaultFile[closed]";
            }
            return "FaultFile[" + deliverList.size() + " to read, " + given + " read and not answered]";
        } finally {
            mutex.unlock();
        }
    }
}
