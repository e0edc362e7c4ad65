package dev.faultline.ring;

import com.google.errorprone.annotations.CheckReturnValue;
import dev.faultline.ring.internal.EventWakeup;

/**
 * A descriptor that can be read once there is something for a consumer that sleeps: for a thread that waits for other descriptors
 * too, by {@code epoll}, {@code poll} or io_uring. A queue has it that waits by {@link Waiting#EVENTFD}.
 *
 * <pre>{@code
 *  epoll.add(set, wake.descriptor(), EpollCalls.IN, MINE);
 *  for (;;) {
 *      while (consumer.poll(handler, 64) > 0) {}
 *      if (wake.arm()) {
 *          epoll.await(set, -1);
 *          wake.clear();
 *          // and whatever the other descriptors say
 *      }
 *  }
 * }</pre>
 *
 * <p>Nobody writes it but for a consumer that has armed it, so an event costs one system call of the producer's, and one of {@link
 * #clear}; while there is work neither happens. No event is lost: what is published before {@link #arm} looks is found by it, and who
 * publishes after that finds it armed.
 *
 * <p>Threads: the consumer's. Ownership and lifetime: the queue's, which closes the descriptor when it is closed, and so takes it out of
 * any set; it is armed before that, and readable. Progress: {@link #arm} is wait-free; {@link #clear} is a system call that
 * does not wait. Errors: a call from a second thread throws {@link IllegalStateException}.
 */
public final class WakeDescriptor {
    private final RingConsumer consumer;
    private final EventWakeup wakeup;

    WakeDescriptor(RingConsumer consumer, EventWakeup wakeup) {
        this.consumer = consumer;
        this.wakeup = wakeup;
    }

    /**
     * What to wait for: events of reading.
     *
     * @return the descriptor, which is only to be waited for: not read, not written, not closed
     * @throws IllegalStateException if the queue is closed
     */
    public int descriptor() {
        return wakeup.descriptor();
    }

    /**
     * Sends what is staged, says that the consumer is going to sleep, and looks again.
     *
     * @return true if it may sleep: from now on whatever there is for it makes the descriptor readable. False if there is something to
     *     poll, somebody has called {@link FaultConsumer#wake}, or the queue is closed
     */
    @CheckReturnValue
    public boolean arm() {
        return consumer.arm();
    }

    /** The consumer is awake, whatever has woken it: the descriptor is not readable, and not armed. */
    public void clear() {
        if (consumer.mayClear()) {
            wakeup.clear();
        }
    }

    @Override
    public String toString() {
        return "WakeDescriptor[" + (wakeup.isAsleep() ? "armed" : "not armed") + "]";
    }
}
