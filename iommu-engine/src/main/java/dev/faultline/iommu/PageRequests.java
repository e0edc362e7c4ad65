package dev.faultline.iommu;

import com.google.errorprone.annotations.CheckReturnValue;
import dev.faultline.iommu.table.PageFormat;
import dev.faultline.ring.Answer;
import dev.faultline.ring.AutoAnswer;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.Result;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The page requests of a device: the groups it has open, the lanes they go through, and what an answer does to the accesses
 * that wait for it.
 *
 * <p>Threads: the one that has entered the device. Nothing is allocated but when a lane is made or given up.
 */
final class PageRequests {
    private final int device;
    private final DeviceConfig config;
    private final Window window;
    private final Attachments attachments;
    private final Accesses accesses;
    private final CounterWords counters;
    private final Groups groups = new Groups();
    private final int laneGroups;
    private final @Nullable LatencySink latency;

    private Lane[] lanes = {};
    private List<FaultProducer> producers = List.of();

    /** A group whose requests are not all raised, or NONE. Others wait for it. */
    private int raising = Groups.NONE;

    PageRequests(
            int device,
            DeviceConfig config,
            Window window,
            Attachments attachments,
            Accesses accesses,
            CounterWords counters) {
        this.device = device;
        this.config = config;
        this.accesses = accesses;
        this.window = window;
        this.attachments = attachments;
        this.counters = counters;
        this.laneGroups = Math.clamp(config.allocation() / config.groupPages(), 1, Groups.INDICES);
        this.latency = config.latency();
    }

    // Lanes.

    /** Enters all lanes, or none. */
    @CheckReturnValue
    boolean enter() {
        int entered = 0;
        try {
            while (entered < lanes.length && lanes[entered].producer.enter()) {
                entered++;
            }
        } finally {
            if (entered < lanes.length) {
                while (entered > 0) {
                    lanes[--entered].producer.leave();
                }
            }
        }
        return entered == lanes.length;
    }

    void leave() {
        for (Lane lane : lanes) {
            lane.staged = false;
            lane.producer.leave();
        }
    }

    List<FaultProducer> producers() {
        return producers;
    }

    /** The lane to a queue; null if this device makes no page requests. */
    @Nullable
    Lane laneTo(@Nullable FaultQueue queue) {
        if (queue == null || !config.pri() || config.allocation() == 0) {
            return null;
        }
        for (Lane lane : lanes) {
            if (lane.queue == queue) {
                return lane;
            }
        }
        int largest = queue.config().largestGroup();
        if (config.groupPages() > largest) {
            throw new IllegalArgumentException(
                    "groupPages=" + config.groupPages() + ": allowed 1 to the fault queue's largestGroup=" + largest);
        }
        Lane lane = new Lane(queue, laneGroups);
        if (!lane.producer.enter()) {
            lane.producer.close();
            throw new IllegalStateException("the new lane of device " + device + " is in use by somebody else");
        }
        Lane[] more = new Lane[lanes.length + 1];
        System.arraycopy(lanes, 0, more, 0, lanes.length);
        more[lanes.length] = lane;
        use(more);
        return lane;
    }

    /** Ends the groups of an attachment. */
    void detach(Attachment attachment) {
        Lane lane = attachment.lane;
        if (lane == null) {
            return;
        }
        lane.producer.revoke(tag -> Groups.of(attachment, tag), AutoAnswer.DETACH);
        takeAnswers(lane);
        for (int i = groups.openCount() - 1; i >= 0; i--) {
            int group = groups.openAt(i);
            if (groups.attachment(group) == attachment) {
                abandon(group, lane, AccessResult.INVALID);
            }
        }
    }

    void close() {
        for (Lane lane : lanes) {
            lane.producer.close();
            takeAnswers(lane);
        }
        use(new Lane[0]);
    }

    private void use(Lane[] changed) {
        lanes = changed;
        List<FaultProducer> list = new ArrayList<>();
        for (Lane lane : changed) {
            list.add(lane.producer);
        }
        producers = List.copyOf(list);
    }

    // Stepping.

    /**
     * Takes answers.
     *
     * @param all from lanes without open groups too
     */
    boolean poll(boolean all) {
        boolean moved = false;
        for (Lane lane : lanes) {
            if (all || lane.open > 0) {
                lane.producer.poll();
                lane.staged = false;
                moved |= takeAnswers(lane);
            }
        }
        return moved;
    }

    /** Goes on with a group that could not be raised as a whole. */
    boolean goOn() {
        if (raising == Groups.NONE) {
            return false;
        }
        boolean moved = raise(raising);
        if (raising == Groups.NONE) {
            window.retry(Window.HELD);
        }
        return moved;
    }

    void flush() {
        for (Lane lane : lanes) {
            if (lane.staged) {
                lane.staged = false;
                lane.producer.flush();
            }
        }
    }

    // Asking.

    /** Asks for the page an access comes to. Says whether anything was raised. */
    boolean ask(int slot, Attachment attachment, Lane lane) {
        long page = window.address[slot] & Frames.PAGE;
        window.remember(slot);
        if (config.groupPages() > 1) {
            int covering = groups.covering(attachment, page);
            if (covering != Groups.NONE) {
                window.group[slot] = covering;
                window.set(slot, Window.WAITING);
                window.want(slot, Window.wanted(attachment.pasid(), page));
                return false;
            }
        }
        int pages = groupPages(attachment, page);
        if (raising != Groups.NONE
                || groups.full()
                || groups.messages() + pages > config.allocation()
                || lane.open == lane.groups()) {
            counters.add(CounterWords.HELD, 1);
            window.set(slot, Window.HELD);
            return false;
        }
        int group = groups.open(attachment, slot, page, pages, window.rights[slot]);
        lane.open++;
        counters.add(CounterWords.GROUPS, 1);
        window.group[slot] = group;
        window.set(slot, Window.WAITING);
        if (latency != null) {
            window.raisedAtNs[slot] = System.nanoTime();
        }
        // Before the request: whoever answers it maps the page only after this, and an eviction after that sees it.
        window.want(slot, Window.wanted(attachment.pasid(), page));
        raising = group;
        raise(group);
        return true;
    }

    private int groupPages(Attachment attachment, long page) {
        PageFormat format = attachment.space().format();
        int n = 1;
        while (n < config.groupPages()) {
            long next = page + (long) n * Frames.BYTES;
            if (!format.canonical(next) || (next ^ page) < 0) {
                break;
            }
            n++;
        }
        return n;
    }

    /** Raises what is left of a group. */
    private boolean raise(int group) {
        Attachment attachment = groups.attachment(group);
        Lane lane = attachment.lane;
        if (lane == null) {
            throw new AssertionError("no lane");
        }
        boolean any = false;
        while (groups.raised[group] < groups.pages[group]) {
            int n = groups.raised[group];
            Result result = lane.producer.raise(
                    Groups.tag(attachment, group),
                    device,
                    attachment.pasid(),
                    group,
                    groups.base[group] + (long) n * Frames.BYTES,
                    groups.access[group],
                    n + 1 == groups.pages[group]);
            if (result == Result.FULL) {
                return any;
            }
            if (result != Result.OK) {
                abandon(group, lane, AccessResult.CLOSED);
                return true;
            }
            lane.staged = true;
            any = true;
            groups.raised[group] = n + 1;
            counters.add(CounterWords.PAGE_REQUESTS, 1);
        }
        raising = Groups.NONE;
        return true;
    }

    // Answers.

    private boolean takeAnswers(Lane lane) {
        int n = lane.noted();
        for (int i = 0; i < n; i++) {
            answered(lane, lane.tag(i), lane.code(i));
        }
        lane.forget();
        return n > 0;
    }

    private void answered(Lane lane, long tag, Answer code) {
        if (!groups.answers(tag)) {
            counters.add(CounterWords.UNKNOWN_ANSWERS, 1);
            return;
        }
        int group = Groups.index(tag);
        Attachment attachment = groups.attachment(group);
        int asked = groups.owner[group];
        int pages = groups.pages[group];
        closeGroup(group, lane);
        if (pages == 1) {
            // Nobody else waits for a group of one page.
            wake(asked, group, true, code == Answer.SUCCESS ? null : AccessResult.INVALID);
        } else {
            // One INVALID stands for all pages of the group. The page that was missing may have come all the same, so
            // it is looked for once more; accesses to the other pages ask for themselves.
            boolean lookAgain = code == Answer.SUCCESS || attachments.get(attachment.pasid()) == attachment;
            AccessResult end = lookAgain ? null : AccessResult.INVALID;
            for (int slot = window.oldest(); slot != Window.NONE; ) {
                int next = window.younger(slot);
                if (slot == asked && code != Answer.SUCCESS) {
                    window.lastLook[slot] = true;
                }
                wake(slot, group, slot == asked, end);
                slot = next;
            }
        }
        window.retry(Window.HELD);
    }

    private void wake(int slot, int group, boolean asked, @Nullable AccessResult end) {
        if (window.state(slot) != Window.WAITING || window.group[slot] != group) {
            return;
        }
        window.group[slot] = Groups.NONE;
        if (end != null) {
            accesses.end(slot, end);
            return;
        }
        if (asked) {
            window.tries[slot]++;
        }
        counters.add(CounterWords.RETRIES, 1);
        window.set(slot, Window.READY);
    }

    private void closeGroup(int group, Lane lane) {
        groups.close(group);
        lane.open--;
        if (raising == group) {
            raising = Groups.NONE;
        }
    }

    /** A group that will get no answer. */
    private void abandon(int group, Lane lane, AccessResult end) {
        closeGroup(group, lane);
        for (int slot = window.oldest(); slot != Window.NONE; ) {
            int next = window.younger(slot);
            wake(slot, group, false, end);
            slot = next;
        }
        window.retry(Window.HELD);
    }
}
