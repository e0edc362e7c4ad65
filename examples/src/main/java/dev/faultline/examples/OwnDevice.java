package dev.faultline.examples;

import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ring.Accounting;
import dev.faultline.ring.Answer;
import dev.faultline.ring.AnswerSink;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.FaultWorker;
import dev.faultline.ring.QueueConfig;
import dev.faultline.ring.Result;

/**
 * A device model that is not Faultline's, on Faultline's fault queue: a card that fills a ring of buffers in memory, and
 * asks for each page it does not find.
 *
 * <p>Threads: the card belongs to the one that runs it. Units: bytes; pages of 4096.
 */
public final class OwnDevice implements AnswerSink {
    private static final int ID = 7;
    private static final int PAGE_BYTES = 4096;
    private static final int RING_PAGES = 64;
    private static final int OPEN_GROUPS = 8;
    private static final long RING_ADDRESS = 0x4000_0000L;
    private static final long AWAIT_NS = 1_000_000;

    /** What this card has for a page table. The handler writes it before it answers, the card reads it after. */
    private final boolean[] present;

    private long filled;
    private long refused;
    private boolean waiting;

    OwnDevice(boolean[] present) {
        this.present = present;
    }

    /**
     * Fills some buffers and prints what became of the faults.
     *
     * @param args none
     */
    public static void main(String[] args) {
        System.out.println(fill(1_000));
    }

    /** Fills so many buffers, with a handler that brings every page but the last of the ring. */
    @SuppressWarnings("try") // the worker works without being named
    static String fill(int buffers) {
        boolean[] present = new boolean[RING_PAGES];
        OwnDevice card = new OwnDevice(present);
        try (FaultQueue queue = FaultQueue.open(QueueConfig.of(OPEN_GROUPS));
                FaultWorker worker = queue.consumer().run(group -> {
                    int page = pageOf(group.address(0));
                    present[page] = page != RING_PAGES - 1;
                    return present[page] ? Answer.SUCCESS : Answer.INVALID;
                });
                FaultProducer producer = queue.producer(OPEN_GROUPS, card)) {
            if (!producer.enter()) {
                throw new IllegalStateException("somebody else has entered the producer");
            }
            for (int i = 0; i < buffers; i++) {
                card.fillOne(producer, RING_ADDRESS + (long) (i % RING_PAGES) * PAGE_BYTES);
            }
            producer.leave();
            Accounting faults = queue.accounting();
            return "filled " + card.filled + ", refused " + card.refused + "; " + faults;
        }
    }

    private void fillOne(FaultProducer producer, long address) {
        int page = pageOf(address);
        if (!present[page]) {
            // A page request of one page is a group of its own: it is the last of its group.
            Result raised =
                    producer.raise(page, ID, FaultProducer.NO_PASID, page, address, PageFaultLayout.PERM_WRITE, true);
            if (raised != Result.OK) {
                throw new IllegalStateException("raise: " + raised);
            }
            waiting = true;
            while (waiting) {
                if (producer.poll() == 0) {
                    boolean _ = producer.await(AWAIT_NS);
                }
            }
        }
        if (present[page]) {
            filled++;
        } else {
            refused++;
        }
    }

    @Override
    public void answered(long tag, Answer code) {
        waiting = false;
    }

    private static int pageOf(long address) {
        return (int) ((address - RING_ADDRESS) / PAGE_BYTES);
    }
}
