package dev.faultline.ring;

import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * What became of the groups of a {@link DescriptorConsumer}, of one moment for any thread that asks.
 *
 * <p>The owner brackets each change of the counts and of the {@link OpenGroups} that belong to them with {@link #change} and
 * {@link #changed}; who asks reads both and, if a change fell between, reads again, or takes what the owner says after its
 * next change.
 *
 * <table>
 * <caption>The shared words</caption>
 * <tr><th>word</th><th>written by</th><th>published by, pairs with</th><th>a stale value costs</th></tr>
 * <tr><td>version</td><td>the owner; odd while it changes something</td><td>odd before the release stores of a change, even by
 * release after them; read by acquire before, and after, the acquire loads of the counts</td><td>another look</td></tr>
 * <tr><td>counts, entries</td><td>the owner</td><td>release, acquire</td><td>excluded by version</td></tr>
 * <tr><td>asked, told</td><td>who asks, under the lock; the owner</td><td>volatile</td><td>another look</td></tr>
 * </table>
 */
final class DescriptorCounts {
    static final int REQUESTS = 0;
    static final int RAISED = 1;
    static final int ANSWERED = 2;
    static final int ANSWERS = 3;
    static final int STALE = 4;
    /** Answered by the other end without telling, as far as this side has found out. */
    static final int DETACHED = 5;
    /** Open when the other end went. */
    static final int CLOSED = 6;

    private static final int COUNTS = 7;
    private static final int LOOKS_BEFORE_ASKING = 16;

    private final OpenGroups groups;
    private final AtomicLong version = new AtomicLong();
    private final AtomicLongArray counts = new AtomicLongArray(COUNTS);
    private final ReentrantLock asking = new ReentrantLock();
    private int questions;
    private volatile int asked;
    private volatile @Nullable Told told;

    /** What the owner says to a question. */
    private record Told(int question, Accounting accounting) {}

    DescriptorCounts(OpenGroups groups) {
        this.groups = groups;
    }

    /** The owner begins to change counts and entries. */
    void change() {
        version.setOpaque(version.getPlain() + 1);
    }

    void add(int count, long n) {
        counts.setRelease(count, counts.getPlain(count) + n);
    }

    /** The owner has changed counts and entries. */
    void changed() {
        version.setRelease(version.getPlain() + 1);
        int question = asked;
        if (question != 0) {
            asked = 0;
            told = new Told(question, read());
        }
    }

    Accounting accounting() {
        asking.lock();
        try {
            int question = ++questions;
            for (int looks = 1; ; looks++) {
                long before = version.getAcquire();
                if ((before & 1) == 0) {
                    Accounting read = read();
                    if (version.getOpaque() == before) {
                        asked = 0;
                        return read;
                    }
                }
                if (looks % LOOKS_BEFORE_ASKING == 0) {
                    asked = question;
                    Thread.yield();
                }
                Told answer = told;
                if (answer != null && answer.question() == question) {
                    return answer.accounting();
                }
            }
        } finally {
            asking.unlock();
        }
    }

    private Accounting read() {
        long detached = counts.getAcquire(DETACHED);
        long closed = counts.getAcquire(CLOSED);
        return new Accounting(
                counts.getAcquire(REQUESTS),
                counts.getAcquire(RAISED),
                counts.getAcquire(ANSWERED),
                detached + closed,
                0,
                groups.outstanding(),
                Map.of(AutoAnswer.DETACH, detached, AutoAnswer.CLOSE, closed),
                Map.of(),
                counts.getAcquire(ANSWERS),
                counts.getAcquire(STALE));
    }
}
