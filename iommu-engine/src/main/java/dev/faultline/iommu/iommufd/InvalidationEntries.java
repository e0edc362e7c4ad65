package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * A program's array of invalidations: the kernel's {@code iommu_user_data_array}.
 *
 * <p>Threads: the one that runs the command. Lifetime: the command.
 *
 * <p>Ownership: the command's. Units: bytes, entries. Errors: {@link ErrnoException} of an entry that can not be read, or has another
 * type or length. Source: {@code struct iommu_user_data_array} of {@code include/linux/iommu.h}, Linux 7.2.
 */
public final class InvalidationEntries {
    private final UserMemory memory;
    private final int type;
    private final long address;
    private final int length;
    private final int count;
    private int done;
    private ByteBuffer entry = ByteBuffer.allocate(0);
    private MemorySegment given = MemorySegment.NULL;

    /**
     * An array.
     *
     * @param memory where it is
     * @param type of its entries
     * @param address of the first
     * @param length of each, in bytes
     * @param count how many
     */
    InvalidationEntries(UserMemory memory, int type, long address, int length, int count) {
        this.memory = memory;
        this.type = type;
        this.address = address;
        this.length = length;
        this.count = count;
    }

    /**
     * How many there are.
     *
     * @return 0 only asks whether the type is known
     */
    public int count() {
        return count;
    }

    /**
     * How many have been done.
     *
     * @return 0 to {@link #count}
     */
    public int done() {
        return done;
    }

    /** One more has been done. */
    public void oneDone() {
        done++;
    }

    /** The program is told the number it gave: of drivers that fail before they count. */
    public void uncounted() {
        done = count;
    }

    /**
     * Requires a type.
     *
     * @param wanted the type
     * @throws ErrnoException EINVAL if the entries are of another
     */
    public void require(int wanted) throws ErrnoException {
        if (type != wanted) {
            throw new ErrnoException(Errno.EINVAL, "data_type", "0x" + Integer.toHexString(wanted));
        }
    }

    /**
     * Reads one entry; what the program leaves off its end is zero.
     *
     * @param index which
     * @param least bytes of the type's first released version
     * @param full bytes it has now
     * @return {@code full} bytes, in native order, until the next is read
     * @throws ErrnoException EINVAL if the entries are shorter or longer, EFAULT if it cannot be read
     */
    public ByteBuffer read(int index, int least, int full) throws ErrnoException {
        if (length < least || length > full) {
            throw new ErrnoException(Errno.EINVAL, "entry_len", least + " to " + full);
        }
        return entry(index, full);
    }

    /**
     * Reads all entries before any is done. They may be longer than the type says if the rest is zero.
     *
     * @param full bytes of the type
     * @return {@code full} bytes for each, in native order
     * @throws ErrnoException E2BIG if there is more than the type has, EFAULT if one cannot be read
     */
    public ByteBuffer readAll(int full) throws ErrnoException {
        ByteBuffer all = ByteBuffer.allocate(count * full).order(ByteOrder.nativeOrder());
        if (length == full) {
            MemorySegment to = MemorySegment.ofArray(all.array());
            if (UserMemory.isOutside(address, all.capacity()) || memory.copyIn(address, to) < all.capacity()) {
                throw unreadable();
            }
            return all;
        }
        for (int i = 0; i < count; i++) {
            ByteBuffer entry = entry(i, Math.max(full, length));
            for (int at = full; at < length; at++) {
                if (entry.get(at) != 0) {
                    throw new ErrnoException(Errno.E2BIG, "entry_len", full + ", or zeros after that");
                }
            }
            all.put(i * full, entry, 0, full);
        }
        return all;
    }

    /** An entry, and zeros up to {@code bytes}: the same for every entry, so one buffer serves all. */
    private ByteBuffer entry(int index, int bytes) throws ErrnoException {
        if (entry.capacity() != bytes) {
            entry = ByteBuffer.allocate(bytes).order(ByteOrder.nativeOrder());
            given = MemorySegment.ofArray(entry.array()).asSlice(0, length);
        }
        long from = address + (long) length * index;
        if (UserMemory.isOutside(from, length) || memory.copyIn(from, given) < length) {
            throw unreadable();
        }
        return entry;
    }

    private static ErrnoException unreadable() {
        return new ErrnoException(Errno.EFAULT, "data_uptr", "memory that can be read");
    }

    @Override
    public String toString() {
        return "InvalidationEntries[type 0x" + Integer.toHexString(type) + ", " + done + " of " + count + " done]";
    }
}
