package dev.faultline.iommu;

import dev.faultline.iommu.table.Walk;
import dev.faultline.ring.FaultProducer;
import org.jspecify.annotations.Nullable;

/**
 * The page requests of a function: the groups it has open, what it may send, and what a response does to the accesses that wait
 * for it. A function that stalls does the same with tags.
 *
 * <p>Threads: the one that has entered the device. Nothing is allocated after construction.
 */
final class PageRequests {
    /** The time is read once in so many polls. */
    private static final int POLLS_PER_CLOCK = 1024;
    /** A limit is kept to such a part of it. */
    private static final int TICKS_PER_LIMIT = 16;

    private final DeviceConfig config;
    private final Window window;
    private final Attachments attachments;
    private final Accesses accesses;
    private final CounterWords counters;
    private final PageRequestInterface pri;
    private final PageRequestPort port;
    private final Groups groups;
    private final boolean stalls;
    private final @Nullable LatencySink latency;
    private @Nullable Misbehaviour misbehaviour;

    /** What of the interface was seen last, and under which reset the open groups were opened. */
    private int flags;

    private int resets;

    private final long tickNs;
    private int polls;
    private long tickStartNs;
    private int ticks;

    PageRequests(
            DeviceConfig config,
            Window window,
            Attachments attachments,
            Accesses accesses,
            CounterWords counters,
            PageRequestInterface pri,
            PageRequestPort port) {
        this.config = config;
        this.window = window;
        this.attachments = attachments;
        this.accesses = accesses;
        this.counters = counters;
        this.pri = pri;
        this.port = port;
        this.stalls = config.faults() == FaultModel.STALL;
        this.groups = new Groups(stalls ? Math.clamp(config.allocation(), 1, Groups.STALL_TAGS) : Groups.PCI_INDICES);
        this.latency = config.latency();
        this.tickNs = Math.max(1, config.requestLimitNs() / TICKS_PER_LIMIT);
        this.flags = pri.flags();
        this.resets = pri.resets();
    }

    // Asking.

    /** Asks for the page an access comes to, or ends it. Says whether anything moved. */
    boolean ask(int slot, Attachment attachment) {
        AccessResult end = attachment.stopped ? AccessResult.STOPPED : cannotAsk();
        if (end != null) {
            accesses.end(slot, end);
            return true;
        }
        long address = window.at(slot).address;
        int pasid = window.at(slot).pasid;
        long page = address & Frames.PAGE;
        window.remember(slot);
        if (config.groupPages() > 1) {
            int covering = groups.covering(attachment, pasid, page);
            if (covering != Groups.NONE) {
                window.at(slot).group = covering;
                window.set(slot, Window.WAITING);
                window.want(slot, Window.wanted(attachment.table().domain(), page));
                return false;
            }
        }
        int pages = groupPages(attachment, page);
        if (groups.full() || attachment.laneFull() || !pri.take(pages, resets)) {
            if (groups.allLate()) {
                accesses.end(slot, AccessResult.TIMED_OUT);
                return true;
            }
            counters.add(CounterWords.HELD, 1);
            window.set(slot, Window.HELD);
            return false;
        }
        int rights = PageRequest.carried(pasid, window.at(slot).rights);
        int group = groups.open(attachment, pasid, slot, page, pages, rights, ticks);
        counters.add(CounterWords.GROUPS, 1);
        window.at(slot).group = group;
        window.set(slot, Window.WAITING);
        if (latency != null) {
            window.at(slot).raisedAtNs = window.clock.nowNs();
        }
        // Before the request: whoever answers it maps the page only after this, and an eviction after that sees it.
        window.want(slot, Window.wanted(attachment.table().domain(), page));
        Misbehaviour bad = misbehaviour;
        Disaster disaster = bad == null ? null : bad.begin(attachment, groups.openCount() > 1);
        int index = disaster == Disaster.INDEX_REUSED ? groups.anotherThan(group) : group;
        long left = window.at(slot).left;
        for (int i = 0; i < pages; i++) {
            // A page request names a page, and a stall the very address.
            long at = stalls ? address : page + (long) i * Frames.BYTES;
            int length = Math.clamp(left - Math.max(0, at - address), 0, Integer.MAX_VALUE);
            boolean last = i + 1 == pages;
            counters.add(CounterWords.PAGE_REQUESTS, 1);
            if (last && disaster == Disaster.LOST_LAST) {
                counters.add(CounterWords.LOST, 1);
            } else {
                port.receive(pasid, index, at, rights, length, last, attachment);
            }
        }
        if (bad != null && disaster != null) {
            bad.end(disaster, attachment, new PageRequest(pasid, index, page, rights, 0, true));
        }
        return true;
    }

    /** Why nothing may be asked, or null. */
    private @Nullable AccessResult cannotAsk() {
        if (PageRequestInterface.sends(flags) && pri.allocation() > 0) {
            return null;
        }
        return PageRequestInterface.failed(flags) ? AccessResult.RESPONSE_FAILURE : AccessResult.NO_PAGE_REQUESTS;
    }

    private int groupPages(Attachment attachment, long page) {
        Walk walk = attachment.table().walk();
        int n = 1;
        int most = Math.min(config.groupPages(), pri.allocation());
        while (n < most) {
            long next = page + (long) n * Frames.BYTES;
            if (!walk.canonical(next) || (next ^ page) < 0) {
                break;
            }
            n++;
        }
        return n;
    }

    /** Sends a message that belongs to no access. */
    void send(PageRequest request) {
        counters.add(CounterWords.PAGE_REQUESTS, 1);
        port.receive(
                request.pasid(),
                request.index(),
                request.address(),
                PageRequest.carried(request.pasid(), request.access()),
                request.length(),
                request.last(),
                null);
    }

    /** Causes what it is told to from now on. */
    void misbehave(Misbehaviour by) {
        misbehaviour = by;
    }

    // Responses.

    /** Takes responses and sees what became of the interface. */
    boolean poll(boolean all) {
        boolean moved = misbehaviour != null && misbehaviour.act();
        moved |= pri.flags() != flags && look();
        moved |= port.poll(this, all);
        if (++polls % POLLS_PER_CLOCK == 0 && config.requestLimitNs() > 0 && groups.openCount() > 0) {
            moved |= tick();
        }
        return moved;
    }

    /** Whether the next poll finds something that no lane knows of. */
    boolean canMove() {
        return pri.flags() != flags
                || port.hasDue()
                || (config.requestLimitNs() > 0
                        && groups.openCount() > 0
                        && window.clock.nowNs() - tickStartNs >= tickNs)
                || (misbehaviour != null && misbehaviour.canAct());
    }

    /** Whether what was sent before for a PASID is where it has to be. */
    boolean drained(int pasid, Drain until) {
        if (port.holds(pasid)) {
            return false;
        }
        Attachment attachment = attachments.get(pasid);
        return until == Drain.DELIVERED || attachment == null || groups.openOf(attachment, pasid) == 0;
    }

    /** The time is to be read at the next poll. */
    void waited() {
        polls = POLLS_PER_CLOCK - 1;
    }

    /**
     * A response from the IOMMU.
     *
     * @param index group, or a stall's tag
     * @param pasid that it carries, or none
     * @param answer what to do
     * @param forRoom the IOMMU gave it for want of room, so that it says nothing about the handler's patience
     */
    void respond(int index, int pasid, ResponseCode answer, boolean forRoom) {
        if (!groups.isOpen(index) || !carries(index, pasid)) {
            counters.add(CounterWords.UNKNOWN_ANSWERS, 1);
            if (!stalls && !PageRequestInterface.failed(flags)) {
                pri.unexpected();
            }
            // Whatever it was for, the lane has room again.
            window.retry(Window.HELD);
            return;
        }
        ResponseCode code = misbehaviour != null && misbehaviour.turnsResponse() ? ResponseCode.FAILURE : answer;
        boolean ignored = PageRequestInterface.failed(flags) || groups.isLate(index);
        Attachment attachment = groups.attachment(index);
        int asked = groups.owner[index];
        int pages = groups.pages[index];
        close(index);
        if (ignored) {
            counters.add(CounterWords.IGNORED_ANSWERS, 1);
        } else if (code == ResponseCode.FAILURE) {
            pri.fail();
            end(index, AccessResult.RESPONSE_FAILURE);
            look();
        } else if (attachment.laneClosed()) {
            end(index, AccessResult.CLOSED);
        } else if (pages == 1) {
            // Nobody else waits for a group of one page.
            wake(asked, index, !forRoom, code == ResponseCode.SUCCESS ? null : AccessResult.INVALID);
        } else {
            // One INVALID stands for all pages of the group. The page that was missing may have come all the same, so
            // it is looked for once more; accesses to the other pages ask for themselves.
            boolean lookAgain = code == ResponseCode.SUCCESS || attachments.get(attachment.pasid()) == attachment;
            AccessResult end = lookAgain ? null : AccessResult.INVALID;
            for (int slot = window.oldest(); slot != Window.NONE; ) {
                int next = window.younger(slot);
                if (slot == asked && code != ResponseCode.SUCCESS) {
                    window.at(slot).lastLook = true;
                }
                wake(slot, index, slot == asked && !forRoom, end);
                slot = next;
            }
        }
        window.retry(Window.HELD);
    }

    private boolean carries(int index, int pasid) {
        return !pri.pasidRequired() || groups.pasid[index] == pasid;
    }

    private void wake(int slot, int group, boolean counts, @Nullable AccessResult end) {
        if (window.state(slot) != Window.WAITING || window.at(slot).group != group) {
            return;
        }
        window.at(slot).group = Groups.NONE;
        if (end != null) {
            accesses.end(slot, end);
            return;
        }
        if (counts) {
            window.at(slot).tries++;
        }
        counters.add(CounterWords.RETRIES, 1);
        window.set(slot, Window.READY);
    }

    private void close(int group) {
        pri.give(groups.pages[group], resets);
        groups.close(group);
    }

    /** Ends the accesses that wait for a group, or for any with {@link Groups#NONE}. */
    private void end(int group, AccessResult how) {
        for (int slot = window.oldest(); slot != Window.NONE; ) {
            int next = window.younger(slot);
            if (window.state(slot) == Window.WAITING && (group == Groups.NONE || window.at(slot).group == group)) {
                wake(slot, window.at(slot).group, false, how);
            }
            slot = next;
        }
    }

    // The interface.

    /** Something of the interface has changed. */
    private boolean look() {
        flags = pri.flags();
        if (pri.resets() != resets) {
            end(Groups.NONE, AccessResult.RESET);
            while (groups.openCount() > 0) {
                groups.close(groups.openAt(0));
            }
            resets = pri.resets();
        }
        if (PageRequestInterface.failed(flags)) {
            end(Groups.NONE, AccessResult.RESPONSE_FAILURE);
        }
        window.retry(Window.HELD);
        return true;
    }

    /** Lets go of groups whose response has not come in time. */
    private boolean tick() {
        long now = window.clock.nowNs();
        if (now - tickStartNs < tickNs) {
            return false;
        }
        ticks++;
        tickStartNs = now;
        boolean moved = false;
        for (int i = 0; i < groups.openCount(); i++) {
            int group = groups.openAt(i);
            if (ticks - groups.openedAt[group] > TICKS_PER_LIMIT && !groups.isLate(group)) {
                groups.setLate(group);
                counters.add(CounterWords.LATE_GROUPS, 1);
                end(group, AccessResult.TIMED_OUT);
                moved = true;
            }
        }
        if (moved) {
            window.retry(Window.HELD);
        }
        return moved;
    }

    // Ends.

    /** Stops asking for a PASID. */
    void stop(Attachment attachment, PasidStop how) {
        attachment.stopped = true;
        // All its groups have been sent whole, so nothing has to be closed first.
        if (how == PasidStop.MARKER && attachment.pasid() != FaultProducer.NO_PASID) {
            send(PageRequest.stopMarker(attachment.pasid()));
        }
    }

    /** How many groups of an attachment have no response. */
    int openOf(Attachment attachment) {
        return groups.openOf(attachment);
    }

    /** Forgets everything it asked; the accesses are not its business. */
    void reset() {
        while (groups.openCount() > 0) {
            close(groups.openAt(0));
        }
        flags = pri.flags();
        resets = pri.resets();
    }

    /** Ends what waits for an attachment that is gone: groups that will get no answer, for they were never whole at the IOMMU. */
    void abandon(Attachment attachment, AccessResult how) {
        for (int i = groups.openCount() - 1; i >= 0; i--) {
            int group = groups.openAt(i);
            if (groups.attachment(group) == attachment) {
                end(group, how);
                if (!groups.isLate(group)) {
                    groups.setLate(group);
                }
            }
        }
    }
}
