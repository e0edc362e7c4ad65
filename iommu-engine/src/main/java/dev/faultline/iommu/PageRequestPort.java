package dev.faultline.iommu;

import com.google.errorprone.annotations.CheckReturnValue;
import dev.faultline.ring.Answer;
import dev.faultline.ring.AutoAnswer;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.Result;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The IOMMU's side of a device's page requests, and the software behind it: the queue they go through, groups that lack their last
 * request, who handles a request, the lanes to the fault queues, and the responses.
 *
 * <p>As in the kernel, requests that are not the last of their group are kept in one list a device, for all PASIDs and attachments;
 * the last one takes those with its index out of it, PASIDs not compared, and decides by its own PASID who handles the group.
 *
 * <p>Threads: the one that has entered the device. Nothing is allocated for a request unless the queue's reader has fallen behind.
 */
final class PageRequestPort {
    private static final int NOT_LOOKED = -1;
    /** Incomplete groups are bounded by what a function may have unanswered; one that breaks its bound is cut here. */
    private static final int MOST_PARTIAL = Groups.PCI_INDICES;

    /** Under which id handlers are told of the device. */
    private int device;

    private final DeviceConfig config;
    private final int laneGroups;
    private final boolean pasidRequired;
    private final PageRequestQueue queue;
    private final Attachments attachments;
    private final CounterWords counters;

    /** If its requests are reported by a driver. */
    private @Nullable PageRequestReporter reporter;

    private Lane[] lanes = {};
    private List<FaultProducer> producers = List.of();

    /** The queue's word, when it was looked at last. */
    private int seen = NOT_LOOKED;

    private int discards;

    private final PartialRequests partial;

    /** Responses the IOMMU gives by itself, with the next ones. */
    private long[] due = new long[8];

    private int dueCount;

    PageRequestPort(
            int device,
            DeviceConfig config,
            int laneGroups,
            boolean pasidRequired,
            PageRequestQueue queue,
            Attachments attachments,
            CounterWords counters) {
        this.device = device;
        this.config = config;
        this.laneGroups = laneGroups;
        this.pasidRequired = pasidRequired;
        this.queue = queue;
        this.attachments = attachments;
        this.counters = counters;
        this.partial = new PartialRequests(Math.max(MOST_PARTIAL, config.allocation()));
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

    /** The lane to a queue; null if this device asks for nothing. */
    @Nullable
    Lane laneTo(@Nullable FaultQueue to) {
        if (to == null || config.faults() == FaultModel.TERMINATE || config.allocation() == 0) {
            return null;
        }
        for (Lane lane : lanes) {
            if (lane.queue == to) {
                return lane;
            }
        }
        use(Arrays.stream(lanes)
                .filter(lane -> lane.open > 0 || !lane.queue.isClosed())
                .toArray(Lane[]::new));
        int largest = to.config().largestGroup();
        if (config.groupPages() > largest) {
            throw new IllegalArgumentException(
                    "groupPages=" + config.groupPages() + ": allowed 1 to the fault queue's largestGroup=" + largest);
        }
        Lane lane = new Lane(to, laneGroups);
        if (reporter != null) {
            lane.producer.attend(reporter::attend);
        }
        if (!lane.producer.enter()) {
            lane.producer.close();
            throw new IllegalStateException("the new lane of device " + device + " is in use by somebody else");
        }
        Lane[] more = Arrays.copyOf(lanes, lanes.length + 1);
        more[lanes.length] = lane;
        use(more);
        return lane;
    }

    private void use(Lane[] changed) {
        lanes = changed;
        List<FaultProducer> list = new ArrayList<>();
        for (Lane lane : changed) {
            list.add(lane.producer);
        }
        producers = List.copyOf(list);
    }

    // Requests.

    /**
     * Takes a message from the function.
     *
     * @param known who is attached for the PASID, if the caller knows
     */
    void receive(int pasid, int index, long address, int access, int length, boolean last, @Nullable Attachment known) {
        int now = queue.word();
        if (now != seen) {
            var _ = look();
        }
        if (PageRequestQueue.isBehind(seen) && config.faults() == FaultModel.PAGE_REQUEST) {
            divert(new PageRequest(pasid, index, address, access, length, last));
        } else {
            take(pasid, index, address, access, length, last, known);
        }
    }

    /** From now on handlers are told of the device under another id. */
    void reportAs(int id) {
        device = id;
    }

    /** From now on requests are reported by a driver. */
    void reportBy(PageRequestReporter by) {
        reporter = by;
    }

    /** Takes a request that a driver reports; false if nobody handles it. */
    boolean report(int pasid, int index, long address, int access, boolean last) {
        PageRequestReporter from = Objects.requireNonNull(reporter);
        Attachment attachment = from.handler(attachments, pasid);
        Lane lane = attachment == null ? null : attachment.lane;
        if (attachment == null || lane == null) {
            counters.add(CounterWords.UNHANDLED, 1);
            from.refused(pasid, index, last);
            return false;
        }
        if (!last) {
            if (!partial.add(pasid, index, address, access, 0)) {
                counters.add(CounterWords.OVERFLOW_DROPPED, 1);
            }
            return true;
        }
        int members = partial.of(index) + 1;
        long tag = from.tag(attachment.key, pasid, index);
        Result result = members > lane.queue.config().largestGroup() ? Result.SHORT_BUFFER : Result.OK;
        for (int i = 0; i < partial.count() && result == Result.OK; i++) {
            if (partial.index[i] == index) {
                result = raiseAsIs(lane, tag, partial.pasid[i], index, partial.address[i], partial.access[i], false);
            }
        }
        partial.remove(index);
        if (result == Result.OK) {
            result = raiseAsIs(lane, tag, pasid, index, address, access, true);
        }
        if (result == Result.OK) {
            lane.open++;
            lane.staged = true;
            counters.add(CounterWords.DELIVERED, members);
            return true;
        }
        lane.closed |= result == Result.CLOSED;
        counters.add(result == Result.FULL ? CounterWords.OVERFLOW_ANSWERED : CounterWords.UNHANDLED, 1);
        counters.add(CounterWords.OVERFLOW_DROPPED, members - 1L);
        from.drop(tag);
        from.refused(pasid, index, true);
        return false;
    }

    private Result raiseAsIs(Lane lane, long tag, int pasid, int index, long address, int access, boolean last) {
        return lane.producer.raiseAsIs(
                tag, PageRequestReporter.flags(pasid, last), device, pasid, index, address, access);
    }

    private void divert(PageRequest request) {
        switch (queue.offer(this, request)) {
            case STORED -> {}
            case OVERFLOWED -> refuseForRoom(request.pasid(), request.index(), request.access(), request.last());
            case PASSED -> {
                var _ = look();
                takeAgain(request);
            }
        }
    }

    /** Takes what software has read. Says whether anything was there. */
    private boolean look() {
        int now = queue.word();
        List<PageRequest> read = queue.collect(this);
        seen = now;
        for (PageRequest request : read) {
            takeAgain(request);
        }
        int clearings = queue.discards();
        if (clearings != discards) {
            discards = clearings;
            discardPartial();
        }
        return !read.isEmpty();
    }

    private void takeAgain(PageRequest request) {
        take(
                request.pasid(),
                request.index(),
                request.address(),
                request.access(),
                request.length(),
                request.last(),
                null);
    }

    private void take(
            int pasid, int index, long address, int access, int length, boolean last, @Nullable Attachment known) {
        if (PageRequest.isStopMarker(pasid, access, last)) {
            counters.add(CounterWords.MARKERS, 1);
            return;
        }
        Attachment attachment = known == null ? attachments.get(pasid) : known;
        Lane lane = attachment == null ? null : attachment.lane;
        if (attachment == null
                || lane == null
                || !queue.handsOn(access)
                || (known == null && !isCanonical(attachment, address))) {
            refuse(pasid, index, last);
        } else if (!last) {
            if (!partial.add(pasid, index, address, access, length)) {
                counters.add(CounterWords.OVERFLOW_DROPPED, 1);
            }
        } else if (partial.count() == 0) {
            finish(lane, raise(lane, attachment, pasid, index, pasid, address, access, length, true), pasid, index, 1);
        } else {
            takeGroup(lane, attachment, pasid, index, address, access, length);
        }
    }

    /** A driver hands no other on. The function's own accesses have been looked at before they ask. */
    private static boolean isCanonical(Attachment attachment, long address) {
        return attachment.table().walk().canonical(address);
    }

    private void takeGroup(
            Lane lane, Attachment attachment, int pasid, int index, long address, int access, int length) {
        int members = partial.of(index) + 1;
        if (queue.isStrict() && partial.hasOther(pasid, index)) {
            queue.countProtocolError();
            refuse(pasid, index, true);
            return;
        }
        Result result = members > lane.queue.config().largestGroup() ? Result.SHORT_BUFFER : Result.OK;
        for (int i = 0; i < partial.count() && result == Result.OK; i++) {
            if (partial.index[i] == index) {
                result = raise(
                        lane,
                        attachment,
                        pasid,
                        index,
                        partial.pasid[i],
                        partial.address[i],
                        partial.access[i],
                        partial.length[i],
                        false);
            }
        }
        partial.remove(index);
        if (result == Result.OK) {
            result = raise(lane, attachment, pasid, index, pasid, address, access, length, true);
        }
        finish(lane, result, pasid, index, members);
    }

    private Result raise(
            Lane lane,
            Attachment attachment,
            int pasidOfGroup,
            int index,
            int pasid,
            long address,
            int access,
            int length,
            boolean last) {
        return lane.producer.raise(
                RequestTag.of(attachment.key, pasidOfGroup, index),
                device,
                pasid,
                index,
                address,
                access,
                length,
                last);
    }

    private void finish(Lane lane, Result result, int pasid, int index, int members) {
        switch (result) {
            case OK -> {
                lane.open++;
                lane.staged = true;
                counters.add(CounterWords.DELIVERED, members);
            }
            case FULL -> {
                // A function that keeps to its allocation never comes here.
                counters.add(CounterWords.OVERFLOW_ANSWERED, 1);
                counters.add(CounterWords.OVERFLOW_DROPPED, members - 1L);
                respondLater(pasid, index, ResponseCode.SUCCESS);
            }
            default -> {
                lane.closed |= result == Result.CLOSED;
                counters.add(CounterWords.UNHANDLED, members);
                respondLater(pasid, index, ResponseCode.INVALID);
            }
        }
    }

    /** Nobody handles it. A function owes an answer only to the last request of a group. */
    private void refuse(int pasid, int index, boolean last) {
        counters.add(CounterWords.UNHANDLED, 1);
        if (last) {
            counters.add(CounterWords.UNHANDLED, partial.of(index));
            partial.remove(index);
            respondLater(pasid, index, ResponseCode.INVALID);
        }
    }

    private void refuseForRoom(int pasid, int index, int access, boolean last) {
        if (last && !PageRequest.isStopMarker(pasid, access, true)) {
            counters.add(CounterWords.OVERFLOW_ANSWERED, 1);
            respondLater(pasid, index, ResponseCode.SUCCESS);
        } else {
            counters.add(CounterWords.OVERFLOW_DROPPED, 1);
        }
    }

    private void discardPartial() {
        counters.add(CounterWords.DISCARDED, partial.count());
        partial.clear();
    }

    /** How many messages are neither handed on nor dropped. */
    int outstanding() {
        return partial.count() + queue.count(this);
    }

    /** Whether requests of a PASID are neither handed on nor dropped; groups that lack their last request aside. */
    boolean holds(int pasid) {
        return queue.holds(this, pasid);
    }

    // Responses.

    /**
     * Takes answers and gives them to the function.
     *
     * @param all from lanes without open groups too
     */
    boolean poll(PageRequests function, boolean all) {
        boolean moved = queue.word() != seen && look();
        for (Lane lane : lanes) {
            if (all || lane.open > 0) {
                lane.producer.poll();
                lane.staged = false;
                moved |= respond(function, lane);
            }
        }
        moved |= respondDue(function);
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

    /** Whether a response waits that no lane knows of. */
    boolean hasDue() {
        return dueCount > 0 || queue.word() != seen;
    }

    private boolean respond(PageRequests function, Lane lane) {
        int n = lane.noted();
        for (int i = 0; i < n; i++) {
            long tag = lane.tag(i);
            lane.open--;
            ResponseCode code = lane.code(i) == Answer.SUCCESS ? ResponseCode.SUCCESS : ResponseCode.INVALID;
            if (reporter != null) {
                reporter.answered(tag, code);
            } else {
                function.respond(RequestTag.index(tag), carriedPasid(RequestTag.pasid(tag)), code, false);
            }
        }
        lane.forget();
        return n > 0;
    }

    /** Gives the responses that the IOMMU gives by itself. */
    boolean respondDue(PageRequests function) {
        if (dueCount == 0) {
            return false;
        }
        long[] now = due;
        int n = dueCount;
        due = new long[8];
        dueCount = 0;
        for (int i = 0; i < n; i++) {
            ResponseCode code = now[i] < 0 ? ResponseCode.SUCCESS : ResponseCode.INVALID;
            function.respond(
                    RequestTag.index(now[i]),
                    carriedPasid(RequestTag.pasid(now[i])),
                    code,
                    code == ResponseCode.SUCCESS);
        }
        return true;
    }

    /** By its own means, and not before the function has finished sending. */
    private void respondLater(int pasid, int index, ResponseCode code) {
        if (dueCount == due.length) {
            due = Arrays.copyOf(due, 2 * dueCount);
        }
        due[dueCount++] = RequestTag.of(0, pasid, index) | (code == ResponseCode.SUCCESS ? Long.MIN_VALUE : 0);
    }

    /** A response carries a PASID only where the function wants it, and its request had one. */
    private int carriedPasid(int pasid) {
        return pasidRequired ? pasid : FaultProducer.NO_PASID;
    }

    // Ends.

    /** Answers the groups of an attachment INVALID. Requests of groups that are not whole stay, as in the kernel. */
    void detach(PageRequests function, Attachment attachment) {
        Lane lane = attachment.lane;
        if (lane == null) {
            return;
        }
        lane.producer.revoke(tag -> RequestTag.key(tag) == attachment.key, AutoAnswer.DETACH);
        respond(function, lane);
    }

    /** The device takes part in no page faults any more. */
    void discard() {
        counters.add(CounterWords.DISCARDED, queue.forget(this));
        discardPartial();
    }

    /** Answers everything and drops the answers: the function has forgotten what it asked. */
    void reset() {
        discard();
        for (Lane lane : lanes) {
            lane.producer.revoke(tag -> true, AutoAnswer.RESET);
            lane.open = 0;
            lane.forget();
        }
        dueCount = 0;
    }

    void close(PageRequests function) {
        discard();
        for (Lane lane : lanes) {
            lane.producer.close();
            respond(function, lane);
        }
        use(new Lane[0]);
    }
}
