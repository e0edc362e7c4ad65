package dev.faultline.iommu.iommufd.mock;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.AreaUser;
import dev.faultline.iommu.Areas;
import dev.faultline.iommu.iommufd.AccessObject;
import dev.faultline.iommu.iommufd.Call;
import dev.faultline.iommu.iommufd.DriverFile;
import dev.faultline.iommu.iommufd.ErrnoException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A software device of the self-tests: an access, and what it has pinned.
 *
 * <p>Threads: any. Its lock is held while it pins, and while it lets go of what is about to be unmapped; the access' own lock is taken
 * inside.
 */
final class MockAccess extends DriverFile implements AreaUser {
    private record Item(long iova, long length) {
        boolean overlaps(long first, long last) {
            return Long.compareUnsigned(iova, last) <= 0 && Long.compareUnsigned(first, iova + length - 1) <= 0;
        }
    }

    /** Does what can still fail. */
    @FunctionalInterface
    interface Completion {
        void complete() throws ErrnoException;
    }

    /** Does what can still fail, with the number of what was pinned. */
    @FunctionalInterface
    interface PinCompletion {
        void complete(int item) throws ErrnoException;
    }

    private final boolean pins;

    /** Set before anybody can find the descriptor. */
    private @Nullable AccessObject object;

    // Under the lock.
    private final Map<Integer, Item> items = new LinkedHashMap<>();
    private int nextItem;

    MockAccess(boolean pins) {
        this.pins = pins;
    }

    boolean pins() {
        return pins;
    }

    /** Makes the access, and attaches it to the address space that a command names. */
    void begin(Call call, int at, Completion rest) throws ErrnoException {
        AccessObject made = new AccessObject(call.context(), this);
        call.context().create(made, access -> {
            access.attach(call, at, "id");
            rest.complete();
            access.use();
        });
        object = made;
    }

    AccessObject object() {
        return Objects.requireNonNull(object);
    }

    @Override
    public long alignment() {
        return pins ? Areas.PAGE_BYTES : 1;
    }

    @Override
    public synchronized void unmapping(long first, long last) {
        items.values().removeIf(item -> {
            boolean goes = item.overlaps(first, last);
            if (goes) {
                object().unpin(item.iova, item.length);
            }
            return goes;
        });
    }

    /** Pins, checks what was pinned, and numbers it: a number is used up even where the answer can not be written. */
    synchronized void pin(long iova, long length, boolean write, Completion check, PinCompletion rest)
            throws ErrnoException {
        object().pin(iova, length, write);
        int number;
        try {
            check.complete();
            number = nextItem++;
            rest.complete(number);
        } catch (ErrnoException e) {
            object().unpin(iova, length);
            throw e;
        }
        items.put(number, new Item(iova, length));
    }

    synchronized void unpin(int number) throws ErrnoException {
        Item item = items.remove(number);
        if (item == null) {
            throw new ErrnoException(Errno.ENOENT, "access_pages_id", "what ACCESS_PAGES gave");
        }
        object().unpin(item.iova, item.length);
    }

    @Override
    protected void closed() {
        if (object != null) {
            unmapping(0, -1);
            object.close();
        }
    }
}
