package dev.faultline.ring;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ring.internal.EventWakeup;
import dev.faultline.ring.internal.Wakeup;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A queue of page-fault groups between producers and one consumer: the loop from a device's page request to its answer.
 *
 * <p>Threads: the methods here are for any thread and may take a lock; the two ends, {@link FaultConsumer} and {@link
 * FaultProducer}, are where the speed is. Ownership and lifetime:
 *
 * <table>
 * <caption>What belongs to whom</caption>
 * <tr><th>object</th><th>made by</th><th>closed by</th><th>its memory is freed</th></tr>
 * <tr><td>queue</td><td>{@link #open}</td><td>its owner</td><td>with its last lane</td></tr>
 * <tr><td>lane</td><td>{@link #producer}</td><td>its producer, or the queue</td><td>when both ends have left it</td></tr>
 * <tr><td>consumer</td><td>{@link #consumer}</td><td>its thread, or the queue when it is idle</td><td>-</td></tr>
 * <tr><td>file</td><td>{@link #file}</td><td>its owner, or the queue</td><td>-</td></tr>
 * <tr><td>worker</td><td>{@link FaultConsumer#run}</td><td>its owner, or the queue</td><td>-</td></tr>
 * </table>
 *
 * <p>Guarantees: a group is delivered whole or not at all, to exactly one read; it is answered exactly once, by its consumer or
 * automatically; {@link #accounting} balances at any moment; nothing waits for ever. A thread of the queue's own looks after
 * the deadlines of lanes that nobody steps.
 *
 * <p>Source: the life of a group is that of Linux' {@code drivers/iommu/iommufd/eventq.c} and {@code io-pgfault.c}, with the
 * differences that {@code docs/design.md} lists.
 */
public final class FaultQueue implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(FaultQueue.class);
    private static final long LEAST_PERIOD_NS = 1_000_000;
    private static final long LARGEST_PERIOD_NS = 500_000_000;

    private final QueueConfig config;
    private final int laneMask;
    private final Wakeup consumerWakeup;

    /** Guards what changes when a lane or a door comes or goes. */
    private final ReentrantLock changes = new ReentrantLock();

    private volatile @Nullable Lane[] lanes;
    private final int[] lastCookies;
    private final AtomicLong held = new AtomicLong();
    private Accounting departed = Accounting.ZERO;
    private @Nullable RingConsumer consumer;
    /** Set once, under the lock. */
    private volatile @Nullable FaultFile file;

    private final @Nullable Thread keeper;
    private volatile boolean closing;
    private boolean closed;

    /** Any thread's to set; a stale one refuses a command. */
    private volatile CommandHandler commands = CommandHandler.NONE;

    private FaultQueue(QueueConfig config) {
        this.config = config;
        this.laneMask = CacheLine.ceilingPowerOfTwo(config.lanes()) - 1;
        this.lanes = new Lane[config.lanes()];
        this.lastCookies = new int[config.lanes()];
        this.consumerWakeup = config.waiting() == Waiting.EVENTFD ? EventWakeup.open() : new Wakeup();
        this.keeper = config.deadlineNs() == 0
                ? null
                : Thread.ofPlatform().name("faultline-deadlines").daemon().unstarted(this::keepDeadlines);
    }

    /**
     * Opens a queue.
     *
     * @param config its settings
     * @return the queue, with no producer and no consumer yet
     * @throws UnsupportedOperationException if it is to wait by {@link Waiting#EVENTFD} and this machine lacks the calls, see {@link
     *     dev.faultline.ffm.LinuxCalls#missing}
     */
    public static FaultQueue open(QueueConfig config) {
        Arguments.notNull("config", config, "a QueueConfig");
        FaultQueue queue = new FaultQueue(config);
        if (queue.keeper != null) {
            queue.keeper.start();
        }
        return queue;
    }

    /**
     * The settings.
     *
     * @return what the queue was opened with
     */
    public QueueConfig config() {
        return config;
    }

    /**
     * The ring door: posted reads and completions. A queue is read through one door, once.
     *
     * @return the consumer
     * @throws IllegalStateException if a door is taken, or the queue closed
     */
    public FaultConsumer consumer() {
        return ringConsumer();
    }

    RingConsumer ringConsumer() {
        changes.lock();
        try {
            checkDoor();
            consumer = RingConsumer.of(this, true);
            return consumer;
        } finally {
            changes.unlock();
        }
    }

    /**
     * What to wait for when the consumer's thread has other descriptors to wait for too: for {@code epoll}, {@code poll} or io_uring.
     *
     * @return the descriptor of the consumer; the same each time
     * @throws IllegalStateException if the queue does not wait by {@link Waiting#EVENTFD}, or has no consumer
     */
    public WakeDescriptor wakeDescriptor() {
        RingConsumer reader = door();
        if (!(consumerWakeup instanceof EventWakeup events)) {
            throw new IllegalStateException("waiting=" + config.waiting() + ": allowed EVENTFD");
        }
        if (reader == null) {
            throw new IllegalStateException("the queue has no consumer: allowed after consumer()");
        }
        return reader.wakeDescriptor(events);
    }

    /**
     * The file-like door: read, write and poll as on the kernel's descriptor. A queue is read through one door, once.
     *
     * @return the file
     * @throws IllegalStateException if a door is taken, or the queue closed
     */
    public FaultFile file() {
        FaultFile made;
        changes.lock();
        try {
            checkDoor();
            made = new FaultFile(this);
            file = made;
        } finally {
            changes.unlock();
        }
        // Not under the lock: a lane that is looked after may take it.
        made.join();
        for (Lane lane : lanes) {
            if (lane != null) {
                lane.lookAfter();
            }
        }
        return made;
    }

    private void checkDoor() {
        if (closing) {
            throw new IllegalStateException("the queue is closed: allowed while it is open");
        }
        if (consumer != null || file != null) {
            throw new IllegalStateException(
                    "door=" + (file == null ? "consumer" : "file") + " is taken: allowed is one door, once");
        }
    }

    /**
     * Says who does what the consumer asks of producers that bring no handler of their own.
     *
     * @param handler instead of the one before; at first there is none, and such commands are refused
     */
    public void commands(CommandHandler handler) {
        Arguments.notNull("handler", handler, "a CommandHandler");
        commands = handler;
    }

    /**
     * Adds a producer, with a lane of its own.
     *
     * @param allocation groups it may have open at once, 1 or more
     * @param sink is told every answer
     * @return the producer, which nobody has entered
     * @throws IllegalArgumentException if {@code allocation} is outside what a cookie can name
     * @throws IllegalStateException if the queue is closed, or has as many producers as it was configured for
     */
    public FaultProducer producer(int allocation, AnswerSink sink) {
        return producer(allocation, sink, (opcode, payload, bytes) -> commands.command(opcode, payload, bytes));
    }

    /**
     * Adds a producer whose engine takes commands, with a lane of its own.
     *
     * @param allocation groups it may have open at once, 1 or more
     * @param sink is told every answer
     * @param commands does what the consumer asks of the engine
     * @return the producer, which nobody has entered
     * @throws IllegalArgumentException if {@code allocation} is outside what a cookie can name
     * @throws IllegalStateException if the queue is closed, or has as many producers as it was configured for
     */
    public FaultProducer producer(int allocation, AnswerSink sink, CommandHandler commands) {
        Arguments.notNull("sink", sink, "an AnswerSink");
        Arguments.notNull("commands", commands, "a CommandHandler");
        int most = Cookies.largestAllocation(config.lanes());
        if (allocation < 1 || allocation > most) {
            throw new IllegalArgumentException(
                    "allocation=" + allocation + ": allowed 1 to " + most + " with lanes=" + config.lanes());
        }
        Lane lane;
        FaultFile reader;
        changes.lock();
        try {
            if (closing) {
                throw new IllegalStateException("the queue is closed: allowed while it is open");
            }
            lane = addLane(allocation, sink, commands);
            reader = file;
        } finally {
            changes.unlock();
        }
        if (reader != null) {
            // A file's reads are there before the first request is raised.
            reader.join();
            lane.lookAfter();
        }
        return lane;
    }

    private Lane addLane(int allocation, AnswerSink sink, CommandHandler commands) {
        @Nullable Lane[] now = lanes.clone();
        for (int i = 0; i < now.length; i++) {
            if (now[i] == null) {
                Lane lane = Lane.of(this, i, allocation, lastCookies[i], sink, commands);
                now[i] = lane;
                lanes = now;
                // A consumer that sleeps has to post its standing reads on the new lane.
                consumerWakeup.signal();
                return lane;
            }
        }
        throw new IllegalStateException("lanes=" + now.length
                + " are all taken: allowed once a producer is closed, or with more of them configured");
    }

    /** A lane has closed: what it counted stays. */
    void remove(Lane lane) {
        changes.lock();
        try {
            if (lanes[lane.index] == lane) {
                departed = departed.plus(lane.accounting());
                lastCookies[lane.index] = lane.lastCookie();
                @Nullable Lane[] now = lanes.clone();
                now[lane.index] = null;
                lanes = now;
            }
        } finally {
            changes.unlock();
        }
    }

    /**
     * What became of every group raised on this queue, also by producers that are closed.
     *
     * @return the counts; each lane's are of one moment. A lane whose thread does not poll for 200 ms is read from outside
     */
    public Accounting accounting() {
        Accounting sum;
        @Nullable Lane[] now;
        changes.lock();
        try {
            sum = departed;
            now = lanes;
        } finally {
            changes.unlock();
        }
        // Not under the lock: a lane may be waiting for it to say that it has closed.
        for (Lane lane : now) {
            if (lane != null) {
                sum = sum.plus(lane.accounting());
            }
        }
        return sum;
    }

    /**
     * Everything outstanding, for people: cookie, age, device and state of each open group, lane by lane.
     *
     * @return lines of text
     */
    public String dump() {
        StringBuilder text = new StringBuilder();
        for (Lane lane : lanes) {
            if (lane != null) {
                text.append(lane.dump());
            }
        }
        return text.append(accounting()).append('\n').toString();
    }

    /**
     * Closes in order: admits nothing more; has every lane answer what is open {@link Answer#INVALID} and end its reads with
     * {@link Result#CLOSED}; stops the worker; waits for both ends to leave, as long as the configuration says; frees the
     * memory last. An end that does not leave in time keeps its lane's memory, which the log is told of, and which is freed when
     * it leaves. Calling it again does nothing.
     */
    @Override
    public void close() {
        @Nullable Lane[] open;
        FaultFile shut;
        changes.lock();
        try {
            if (closed) {
                return;
            }
            closed = true;
            closing = true;
            open = lanes;
            shut = file;
        } finally {
            changes.unlock();
        }
        if (shut != null) {
            // First: what a write has taken by now is answered so, and what it has not is answered below.
            shut.shut();
        }
        long end = System.nanoTime() + config.closeLimitNs();
        for (Lane lane : open) {
            if (lane != null && !lane.close(AutoAnswer.CLOSE, end - System.nanoTime())) {
                LOG.warn(
                        "lane {} is entered by a thread that does not poll; its groups are answered when it does",
                        lane.index);
            }
        }
        if (keeper != null) {
            LockSupport.unpark(keeper);
        }
        RingConsumer reader = door();
        if (reader != null) {
            reader.wake();
            FaultWorker worker = reader.worker();
            if (worker != null) {
                worker.close();
            }
            Wakeup rest = new Wakeup();
            while (!reader.leaveIfIdle() && System.nanoTime() - end < 0) {
                rest.announce();
                rest.sleep(100_000);
            }
        }
        if (consumerWakeup instanceof EventWakeup events) {
            events.close();
        }
        if (heldBytes() > 0) {
            LOG.warn("{} bytes of lanes are still in use: they are kept until their ends leave", heldBytes());
        }
        RuntimeException failure = null;
        for (Lane lane : open) {
            try {
                if (lane != null) {
                    lane.tellHere();
                }
            } catch (RuntimeException e) {
                if (failure == null) {
                    failure = e;
                } else {
                    failure.addSuppressed(e);
                }
            }
        }
        if (failure != null) {
            throw failure;
        }
    }

    private @Nullable RingConsumer door() {
        changes.lock();
        try {
            return consumer;
        } finally {
            changes.unlock();
        }
    }

    /**
     * How much memory the queue holds.
     *
     * @return bytes of every lane that is not freed; 0 after a {@link #close} that both ends left in time
     */
    public long heldBytes() {
        return held.get();
    }

    /** A lane's region was allocated, or freed. */
    void countHeld(long bytes) {
        held.addAndGet(bytes);
    }

    private void keepDeadlines() {
        long period = Math.clamp(config.deadlineNs() / 8, LEAST_PERIOD_NS, LARGEST_PERIOD_NS);
        while (!closing) {
            LockSupport.parkNanos(this, period);
            for (Lane lane : lanes) {
                if (lane != null) {
                    lane.lookAfter();
                }
            }
        }
    }

    @Nullable
    Lane[] lanes() {
        return lanes;
    }

    int laneMask() {
        return laneMask;
    }

    /**
     * Whether it takes no more.
     *
     * @return true once {@link #close} has begun
     */
    public boolean isClosed() {
        return closing;
    }

    /** The file-like door, if that is taken. */
    @Nullable
    FaultFile fileDoor() {
        return file;
    }

    boolean isClosing() {
        return closing;
    }

    Wakeup consumerWakeup() {
        return consumerWakeup;
    }

    /** Wakes the consumer, after a lane has published what it is to find. */
    void signalConsumer() {
        if (config.waiting().sleeps()) {
            consumerWakeup.signal();
        }
    }

    @Override
    public String toString() {
        return "FaultQueue[" + TimeUnit.NANOSECONDS.toMillis(config.deadlineNs()) + " ms deadline, " + accounting()
                + "]";
    }
}
