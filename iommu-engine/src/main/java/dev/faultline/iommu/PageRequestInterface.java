package dev.faultline.iommu;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/**
 * The page request capability of a PCIe function (PRI), with its registers. A physical function and all its virtual functions
 * share one: its requests, its failure, its reset.
 *
 * <p>Threads: any. Registers are written as the physical function, so a call may wait, a bounded time, for the thread that has
 * entered it to step. Ownership: the physical function's. Source: PCIe extended capability 0x13.
 *
 * <pre>
 *  off ── allocate, ENABLE ──► on ── a response says failure ──► on, RESPONSE_FAILURE: nothing leaves
 *   ▲                          │                                    │
 *   └── answers came: STOPPED ─┴───────── ENABLE cleared ◄──────────┘
 * </pre>
 */
public final class PageRequestInterface {
    /** Control: page requests may leave. */
    public static final int ENABLE = 1;
    /** Control: forgets what is unanswered; acts only where {@link #ENABLE} is clear or is being cleared; reads 0. */
    public static final int RESET = 1 << 1;
    /** Status: a response said failure. Stays until it is cleared by writing 1. */
    public static final int RESPONSE_FAILURE = 1;
    /** Status: a response came for a group that is not open. Stays until it is cleared by writing 1. */
    public static final int UNEXPECTED_GROUP = 1 << 1;
    /** Status, read only: disabled, and nothing is unanswered. 0 while enabled. */
    public static final int STOPPED = 1 << 8;
    /** Status, read only: a request with PASID is answered with that PASID. */
    public static final int PASID_REQUIRED = 1 << 15;

    private static final int ENABLED = 1;
    private static final int FAILED = 1 << 1;
    private static final int UNEXPECTED = 1 << 2;
    /** Added by every change that functions have to see. */
    private static final int CHANGE = 1 << 3;

    private static final int RESETS_SHIFT = 32;

    private final Device physical;
    private final int capacity;
    private final boolean pasidRequired;

    /**
     * ENABLED, FAILED, UNEXPECTED, and a count of changes. Written by the physical function and by the function that is answered;
     * read by every function at each step. A stale value costs one request that leaves a step too late.
     */
    private final AtomicInteger flags = new AtomicInteger();

    /**
     * Resets in the upper half, unanswered messages in the lower. Written by the functions as they ask and are answered; with
     * one function by its thread alone.
     */
    private final AtomicLong unanswered = new AtomicLong();

    private volatile int allocation;

    /** Whether several threads may count. Set by the physical function before the first virtual one is made. */
    private boolean shared;

    PageRequestInterface(Device physical, int capacity, boolean pasidRequired) {
        this.physical = physical;
        this.capacity = capacity;
        this.pasidRequired = pasidRequired;
        this.allocation = capacity;
        if (capacity > 0) {
            flags.set(ENABLED);
        }
    }

    /**
     * How many page request messages it can have unanswered.
     *
     * @return fixed when the device was made
     */
    public int capacity() {
        return capacity;
    }

    /**
     * How many it may have unanswered.
     *
     * @return 0 to {@link #capacity}
     */
    public int allocation() {
        return allocation;
    }

    /**
     * How many it has unanswered, over all functions.
     *
     * @return messages; exact while nobody steps a function
     */
    public int outstanding() {
        return (int) unanswered.getOpaque();
    }

    /**
     * Writes the allocation register.
     *
     * @param messages 0 to {@link #capacity}; with 0 nothing leaves
     */
    public void allocate(int messages) {
        Limits.inRange("allocation", messages, 0, capacity);
        physical.perform(() -> {
            allocation = messages;
            change(0, 0);
        });
    }

    /**
     * Reads the control register.
     *
     * @return {@link #ENABLE} or 0
     */
    public int control() {
        return (flags.get() & ENABLED) != 0 ? ENABLE : 0;
    }

    /**
     * Writes the control register.
     *
     * @param bits {@link #ENABLE}, {@link #RESET}, both or none
     */
    public void control(int bits) {
        Limits.inRange("control", bits, 0, ENABLE | RESET);
        physical.perform(() -> {
            boolean enable = (bits & ENABLE) != 0;
            if (!enable && (bits & RESET) != 0) {
                forget();
            }
            change(enable ? ENABLED : 0, enable ? 0 : ENABLED);
        });
    }

    /**
     * Reads the status register.
     *
     * @return its bits
     */
    public int status() {
        int now = flags.get();
        return ((now & FAILED) != 0 ? RESPONSE_FAILURE : 0)
                | ((now & UNEXPECTED) != 0 ? UNEXPECTED_GROUP : 0)
                | ((now & ENABLED) == 0 && outstanding() == 0 ? STOPPED : 0)
                | (pasidRequired ? PASID_REQUIRED : 0);
    }

    /**
     * Writes the status register.
     *
     * @param bits to clear: {@link #RESPONSE_FAILURE}, {@link #UNEXPECTED_GROUP}, both or none
     */
    public void clearStatus(int bits) {
        Limits.inRange("status", bits, 0, RESPONSE_FAILURE | UNEXPECTED_GROUP);
        physical.perform(() -> change(
                0, ((bits & RESPONSE_FAILURE) != 0 ? FAILED : 0) | ((bits & UNEXPECTED_GROUP) != 0 ? UNEXPECTED : 0)));
    }

    /**
     * Enables it as a driver does.
     *
     * @param wanted page request messages, 1 or more; the capacity is given if it is less
     * @throws IllegalStateException if it is enabled, or not stopped: something is still unanswered
     */
    public void enable(int wanted) {
        Limits.inRange("wanted", wanted, 1, Integer.MAX_VALUE);
        physical.perform(() -> {
            if (control() != 0 || (status() & STOPPED) == 0) {
                throw new IllegalStateException("page request interface of " + physical + " is busy: "
                        + (control() != 0 ? "enabled" : outstanding() + " page requests are unanswered"));
            }
            allocation = Math.min(capacity, wanted);
            change(ENABLED, 0);
        });
    }

    /** Disables it; what is unanswered stays so, see {@link #STOPPED}. */
    public void disable() {
        control(0);
    }

    /**
     * Resets it as a driver does: forgets what is unanswered. Answers that come afterwards are unexpected, and may be taken for
     * those of later groups with the same index: drain first, or use {@link Device#reset}.
     *
     * @throws IllegalStateException if it is enabled
     */
    public void reset() {
        physical.perform(() -> {
            if (control() != 0) {
                throw new IllegalStateException("page request interface of " + physical + " is busy: enabled");
            }
            control(RESET);
        });
    }

    boolean pasidRequired() {
        return pasidRequired;
    }

    /** What functions compare at each step. */
    int flags() {
        return flags.get();
    }

    static boolean sends(int flags) {
        return (flags & (ENABLED | FAILED)) == ENABLED;
    }

    static boolean failed(int flags) {
        return (flags & FAILED) != 0;
    }

    int resets() {
        return (int) (unanswered.getOpaque() >>> RESETS_SHIFT);
    }

    /** Several functions will use it. By the physical function. */
    void share() {
        shared = true;
    }

    /** Takes credits for messages; false if there are not so many, or it was reset since the function looked. */
    boolean take(int messages, int resets) {
        if (!shared) {
            long now = unanswered.getPlain();
            if ((int) now + messages > allocation) {
                return false;
            }
            unanswered.setOpaque(now + messages);
            return true;
        }
        while (true) {
            long now = unanswered.get();
            if (now >>> RESETS_SHIFT != resets || (int) now + messages > allocation) {
                return false;
            }
            if (unanswered.compareAndSet(now, now + messages)) {
                return true;
            }
        }
    }

    /** Gives credits back, unless a reset has done so. */
    void give(int messages, int resets) {
        if (!shared) {
            long now = unanswered.getPlain();
            if (now >>> RESETS_SHIFT == resets) {
                unanswered.setOpaque(now - messages);
            }
            return;
        }
        long now;
        do {
            now = unanswered.get();
        } while (now >>> RESETS_SHIFT == resets && !unanswered.compareAndSet(now, now - messages));
    }

    /** A response said failure. Any function. */
    void fail() {
        change(FAILED, 0);
    }

    /** A response came for no open group. Any function. */
    void unexpected() {
        if ((flags.get() & UNEXPECTED) == 0) {
            change(UNEXPECTED, 0);
        }
    }

    /** All credits are back, and functions forget their groups at their next step. By the physical function. */
    void forget() {
        long now;
        do {
            now = unanswered.get();
        } while (!unanswered.compareAndSet(now, ((now >>> RESETS_SHIFT) + 1) << RESETS_SHIFT));
    }

    /** Nothing is unanswered, nothing has failed. By the physical function. */
    void restart(boolean enabled) {
        forget();
        change(enabled ? ENABLED : 0, (enabled ? 0 : ENABLED) | FAILED | UNEXPECTED);
    }

    private void change(int set, int clear) {
        int now;
        do {
            now = flags.get();
        } while (!flags.compareAndSet(now, ((now & ~clear) | set) + CHANGE));
    }
}
