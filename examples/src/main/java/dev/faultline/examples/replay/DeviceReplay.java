package dev.faultline.examples.replay;

import dev.faultline.ffm.Region;
import dev.faultline.iommu.Access;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.AccessSink;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.Disaster;
import dev.faultline.iommu.InvalidateRequest;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.Result;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.HexFormat;
import org.jspecify.annotations.Nullable;

/**
 * One device that replays a trace: starts its accesses in order, keeps up to a window of them under way, and checks what
 * they bring.
 *
 * <p>Threads: the one that has entered the device. Ownership: closing frees the shadow and the buffers, the device is the
 * caller's. Progress: {@link #advance} never waits and allocates nothing, but for pages touched for the first time.
 *
 * <p>An access to a page that another one under way touches waits, and all after it: so the shadow, which changes when a
 * store starts, says what a load must find whenever it ends, even if the access had to be started again.
 */
final class DeviceReplay implements AccessSink, AutoCloseable {
    /** An access that was answered without its page is started again so often. */
    private static final int MOST_RESTARTS = 1000;

    /** A disaster is caused once in so many groups. */
    private static final int GROUPS_PER_DISASTER = 32;

    /** Accesses started after one that waits for its page, before the device looks for the answer. */
    private static final int LOOK_AHEAD_ENTRIES = 64;

    private static final int SLOT_BYTES = TraceAccess.PAGE_BYTES;
    private static final int PAGE_SHIFT = 12;
    private static final long NO_PAGE = -1;
    private static final int SIGN_BITS = Long.SIZE - TraceAccess.ADDRESS_BITS;

    /** The parts of an access of the trace: which half, where it crosses a page, and for MODIFY whether it stores already. */
    private static final int SECOND_HALF = 1;

    private static final int STORING = 2;

    private final Device device;
    private final @Nullable Disaster disaster;
    /** After so many groups it is caused again. */
    private long nextDisaster;

    private final int number;
    private final long deviceSeed;
    private final ShadowMemory shadow;
    private final int window;
    private final Region region;
    private final MemorySegment buffers;

    /** The page an access under way touches, or {@link #NO_PAGE}. */
    private final long[] slotPage;

    private final long[] slotAddress;
    private final int[] slotBytes;
    private final Access[] slotKinds;
    private final long[] slotAccess;
    private final int[] slotRestarts;
    private final int[] freeSlots;
    private int free;

    private SharedTrace.@Nullable Batch batch;
    private int position;
    private int part;

    private long counted;
    private long accesses;
    private long loads;
    private long stores;
    private long verifiedBytes;
    private long storedBytes;
    private long restarts;
    private @Nullable Mismatch mismatch;
    private @Nullable String refused;
    /** The device does nothing more before it is reset. */
    private boolean resets;
    /** What the driver has asked the device's TLB to forget, and waits for. */
    private @Nullable InvalidateRequest invalidation;

    private long tlbTimeOuts;

    /**
     * Replays on a device.
     *
     * @param disaster what the device causes again and again; null for none
     */
    DeviceReplay(Device device, int number, long seed, int window, @Nullable Disaster disaster) {
        this.device = device;
        this.disaster = disaster;
        this.number = number;
        this.window = window;
        deviceSeed = Scramble.deviceSeed(seed, number);
        shadow = new ShadowMemory(deviceSeed);
        region = Region.allocate((long) window * SLOT_BYTES);
        buffers = region.segment();
        slotPage = new long[window];
        Arrays.fill(slotPage, NO_PAGE);
        slotAddress = new long[window];
        slotBytes = new int[window];
        slotKinds = new Access[window];
        Arrays.fill(slotKinds, Access.READ);
        slotAccess = new long[window];
        slotRestarts = new int[window];
        freeSlots = new int[window];
        Arrays.setAll(freeSlots, i -> window - 1 - i);
        free = window;
    }

    Device device() {
        return device;
    }

    /** Goes on to the next piece of the trace; the one before has to be done. */
    void take(SharedTrace.Batch next) {
        batch = next;
        position = 0;
        part = 0;
    }

    /** Whether every access of the batch has ended. */
    boolean done() {
        return free == window && (batch == null || position == batch.size());
    }

    /** Whether accesses are under way. */
    boolean busy() {
        return free < window;
    }

    /** How many groups the device has raised since this was asked last. */
    int raisedSince() {
        long groups = device.counters().groups();
        int more = (int) (groups - counted);
        counted = groups;
        return more;
    }

    /** Whether something is wrong, and it is no use going on. */
    boolean failed() {
        return mismatch != null || refused != null;
    }

    /**
     * Starts accesses and moves them on, until the window is full, the batch is at its end, or enough was started.
     *
     * @return whether anything was started or ended
     */
    boolean advance(int most) {
        if (disaster != null && device.counters().groups() >= nextDisaster) {
            device.misbehave(disaster);
            nextDisaster = device.counters().groups() + GROUPS_PER_DISASTER;
            if (disaster == Disaster.DEVICE_TLB_TIMEOUT && invalidation == null) {
                invalidation = device.ats().invalidate(FaultProducer.NO_PASID, 0, false);
            }
        }
        if (invalidation != null) {
            awaitInvalidation(invalidation);
        }
        boolean moved = settle();
        SharedTrace.Batch from = batch;
        if (from == null) {
            return moved;
        }
        int size = from.size();
        int left = most;
        while (left > 0 && free > 0 && position < size && startNext(from)) {
            moved = true;
            left = free < window ? Math.min(left - 1, LOOK_AHEAD_ENTRIES) : left - 1;
        }
        return moved;
    }

    /** A driver resets a device that does not answer in time. */
    private void awaitInvalidation(InvalidateRequest sent) {
        int _ = device.ats().expire();
        if (sent.state() == InvalidateRequest.State.PENDING) {
            return;
        }
        invalidation = null;
        if (sent.state() == InvalidateRequest.State.TIMED_OUT) {
            tlbTimeOuts++;
            device.reset();
        }
    }

    /** Moves on what is under way, and checks what has ended. */
    boolean settle() {
        boolean moved = false;
        while (free < window) {
            boolean stepped = device.step();
            int ended = device.poll(this);
            if (resets) {
                resets = false;
                device.reset();
            }
            if (!stepped && ended == 0) {
                break;
            }
            moved = true;
        }
        return moved;
    }

    /** Starts the next part of the trace; false if another access is under way in its page. */
    private boolean startNext(SharedTrace.Batch from) {
        long access = from.access(position);
        int kind = TraceAccess.kind(access);
        long address = TraceAccess.address(access);
        int bytes = TraceAccess.bytes(access);
        int untilPageEnd = TraceAccess.PAGE_BYTES - (int) (address & TraceAccess.PAGE_BYTES - 1);
        boolean crosses = bytes > untilPageEnd;
        if ((part & SECOND_HALF) != 0) {
            address += untilPageEnd;
            bytes -= untilPageEnd;
        } else if (crosses) {
            bytes = untilPageEnd;
        }
        if (free < window && isTouched(address >>> PAGE_SHIFT)) {
            return false;
        }
        boolean storing = kind == TraceAccess.STORE || (part & STORING) != 0;
        long ordinal = from.first() + position + 1;

        if (crosses && (part & SECOND_HALF) == 0) {
            part |= SECOND_HALF;
        } else if (kind == TraceAccess.MODIFY && !storing) {
            part = STORING;
        } else {
            part = 0;
            position++;
        }
        start(
                address,
                bytes,
                storing ? Access.WRITE : kind == TraceAccess.EXECUTE ? Access.EXECUTE : Access.READ,
                ordinal);
        return true;
    }

    private boolean isTouched(long page) {
        for (long touched : slotPage) {
            if (touched == page) {
                return true;
            }
        }
        return false;
    }

    private void start(long address, int bytes, Access kind, long ordinal) {
        int slot = freeSlots[--free];
        long offset = (long) slot * SLOT_BYTES;
        accesses++;
        if (kind == Access.WRITE) {
            stores++;
            shadow.store(address, bytes, Scramble.stored(deviceSeed, accesses), buffers, offset);
        } else {
            loads++;
        }
        slotPage[slot] = address >>> PAGE_SHIFT;
        slotAddress[slot] = address;
        slotBytes[slot] = bytes;
        slotKinds[slot] = kind;
        slotAccess[slot] = ordinal;
        slotRestarts[slot] = 0;
        begin(slot);
        boolean _ = device.step();
        int _ = device.poll(this);
    }

    private void begin(int slot) {
        Result result = device.start(
                slotKinds[slot],
                slotAddress[slot] << SIGN_BITS >> SIGN_BITS,
                buffers,
                (long) slot * SLOT_BYTES,
                slotBytes[slot],
                number,
                slot);
        if (result != Result.OK) {
            throw new IllegalStateException("start of slot " + slot + ": " + result);
        }
    }

    @Override
    public void finished(long userTag, AccessResult result) {
        int slot = (int) userTag;
        if (result != AccessResult.OK) {
            failedAccess(slot, result);
            return;
        }
        int bytes = slotBytes[slot];
        long offset = (long) slot * SLOT_BYTES;
        if (slotKinds[slot] == Access.WRITE) {
            storedBytes += bytes;
        } else {
            verifiedBytes += bytes;
            if (!shadow.matches(slotAddress[slot], bytes, buffers, offset) && mismatch == null) {
                mismatch = describe(slot);
            }
        }
        release(slot);
    }

    private void release(int slot) {
        slotPage[slot] = NO_PAGE;
        freeSlots[free++] = slot;
    }

    private void failedAccess(int slot, AccessResult result) {
        if (mayPass(result) && ++slotRestarts[slot] <= MOST_RESTARTS) {
            // Overdue: the queue answered instead of the handler, which may have brought the page by now. Or a
            // disaster.
            restarts++;
            resets |= result == AccessResult.RESPONSE_FAILURE || result == AccessResult.TIMED_OUT;
            begin(slot);
            return;
        }
        if (refused == null) {
            refused = "device " + number + ", access " + slotAccess[slot] + " of the trace: at 0x"
                    + Long.toHexString(slotAddress[slot]) + " ended " + result
                    + (slotRestarts[slot] == 0 ? "" : " after " + MOST_RESTARTS + " more attempts");
        }
        release(slot);
    }

    /** Whether the access may go well if it is started again. */
    private boolean mayPass(AccessResult result) {
        return result == AccessResult.INVALID
                || (disaster != null
                        && (result == AccessResult.RESPONSE_FAILURE
                                || result == AccessResult.TIMED_OUT
                                || result == AccessResult.RESET));
    }

    private Mismatch describe(int slot) {
        int bytes = slotBytes[slot];
        long offset = (long) slot * SLOT_BYTES;
        byte[] expected = shadow.expected(slotAddress[slot], bytes);
        byte[] found = buffers.asSlice(offset, bytes).toArray(ValueLayout.JAVA_BYTE);
        HexFormat hex = HexFormat.of();
        return new Mismatch(number, slotAccess[slot], slotAddress[slot], hex.formatHex(expected), hex.formatHex(found));
    }

    int pages() {
        return shadow.pages();
    }

    long accesses() {
        return accesses;
    }

    long loads() {
        return loads;
    }

    long stores() {
        return stores;
    }

    long verifiedBytes() {
        return verifiedBytes;
    }

    long storedBytes() {
        return storedBytes;
    }

    long restarts() {
        return restarts;
    }

    long tlbTimeOuts() {
        return tlbTimeOuts;
    }

    @Nullable
    Mismatch mismatch() {
        return mismatch;
    }

    @Nullable
    String refused() {
        return refused;
    }

    @Override
    public void close() {
        shadow.close();
        region.close();
    }
}
