package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Areas;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One command under way: its structure, copied from the program's memory once, and the objects it has looked up.
 *
 * <p>Threads: the one that runs the command. Lifetime: until the command returns; then everything it looked up is let go. Offsets are
 * those of the kernel's structure, in bytes.
 *
 * <p>Ownership: what it hands out stays its own. Errors: {@link ErrnoException} of what the program gave, never of its memory alone.
 * Source: {@code struct iommufd_ucmd} of {@code drivers/iommu/iommufd/iommufd_private.h}, Linux 7.2.
 */
public final class Call {
    private final Context context;
    private final long address;
    private final int size;
    private final ByteBuffer struct;
    private final List<IommufdObject> held = new ArrayList<>(4);

    /**
     * A command whose structure is here already.
     *
     * @param size as the program said: no more than this many bytes are written back
     */
    Call(Context context, long address, int size, byte[] struct) {
        this.context = context;
        this.address = address;
        this.size = size;
        this.struct = ByteBuffer.wrap(struct).order(ByteOrder.nativeOrder());
    }

    /**
     * Whose objects it is about.
     *
     * @return the context
     */
    public Context context() {
        return context;
    }

    /**
     * The program's memory.
     *
     * @return what its pointers point into
     */
    public UserMemory memory() {
        return context.process().memory();
    }

    ObjectTable objects() {
        return context.objects();
    }

    Allocations allocations() {
        return context.process().allocations();
    }

    /**
     * Reads a field.
     *
     * @param at its offset
     * @return one byte, 0 to 255
     */
    public int u8(int at) {
        return struct.get(at) & 0xff;
    }

    /**
     * Reads a field.
     *
     * @param at its offset
     * @return two bytes, 0 to 65535
     */
    public int u16(int at) {
        return struct.getShort(at) & 0xffff;
    }

    /**
     * Reads a field.
     *
     * @param at its offset
     * @return four bytes
     */
    public int u32(int at) {
        return struct.getInt(at);
    }

    /**
     * Reads a field.
     *
     * @param at its offset
     * @return eight bytes
     */
    public long u64(int at) {
        return struct.getLong(at);
    }

    /**
     * Sets a field of the answer.
     *
     * @param at its offset
     * @param value one byte of it
     */
    public void put8(int at, int value) {
        struct.put(at, (byte) value);
    }

    /**
     * Sets a field of the answer.
     *
     * @param at its offset
     * @param value four bytes
     */
    public void put32(int at, int value) {
        struct.putInt(at, value);
    }

    /**
     * Sets a field of the answer.
     *
     * @param at its offset
     * @param value eight bytes
     */
    public void put64(int at, long value) {
        struct.putLong(at, value);
    }

    /**
     * Looks an object up; it stays until the command returns.
     *
     * @param at the offset of the field that has its id
     * @param field the field's name
     * @param type what it has to be
     * @param <T> that type
     * @return the object
     * @throws ErrnoException ENOENT if there is none of that type
     */
    public <T extends IommufdObject> T get(int at, String field, Class<T> type) throws ErrnoException {
        T object = find(at, type);
        if (object == null) {
            throw new ErrnoException(Errno.ENOENT, field, "the id of " + type.getSimpleName());
        }
        return object;
    }

    /**
     * Looks a page table up; it stays until the command returns.
     *
     * @param at the offset of the field that has its id
     * @param field the field's name
     * @return what a driver made of it
     * @throws ErrnoException ENOENT if there is no such object, EINVAL if it is something else
     */
    public Domain domain(int at, String field) throws ErrnoException {
        if (get(at, field, IommufdObject.class) instanceof Hwpt hwpt) {
            return hwpt.domain();
        }
        throw new ErrnoException(Errno.EINVAL, field, "the id of a HWPT");
    }

    /** Looks an object up; null if there is none of that type. */
    <T extends IommufdObject> @Nullable T find(int at, Class<T> type) {
        T object = objects().hold(u32(at), type);
        if (object != null) {
            held.add(object);
        }
        return object;
    }

    /**
     * Looks up what is mapped in an address space.
     *
     * @param at the offset of the field that has its id
     * @param field the field's name
     * @return its areas
     * @throws ErrnoException ENOENT if there is no such address space
     */
    public Areas areas(int at, String field) throws ErrnoException {
        return get(at, field, Ioas.class).areas();
    }

    /**
     * A page table, and what it shows.
     *
     * @param domain as the driver made it
     * @param areas of its address space
     */
    public record Paging(PagingDomain domain, Areas areas) {}

    /**
     * Looks up a page table that shows what an address space maps.
     *
     * @param at the offset of the field that has its id
     * @param field the field's name
     * @return the page table
     * @throws ErrnoException ENOENT if there is no such page table
     */
    public Paging paging(int at, String field) throws ErrnoException {
        HwptPaging hwpt = get(at, field, HwptPaging.class);
        return new Paging(hwpt.domain(), hwpt.ioas().areas());
    }

    /**
     * Looks a guest's page table up, as {@link #get} does.
     *
     * @param at the offset of the field that has its id
     * @param field the field's name
     * @return what its driver made of it
     * @throws ErrnoException ENOENT if there is no nested page table of that id
     */
    public NestedDomain nested(int at, String field) throws ErrnoException {
        return get(at, field, HwptNested.class).domain();
    }

    /**
     * Writes the structure back, as much of it as the program has room for.
     *
     * @throws ErrnoException EFAULT if that is not possible
     */
    public void respond() throws ErrnoException {
        respond(0, Math.min(size, struct.capacity()));
    }

    /** Writes a part of the structure back. */
    void respond(int at, int bytes) throws ErrnoException {
        copyOut(address + at, MemorySegment.ofArray(struct.array()).asSlice(at, bytes));
    }

    /**
     * Reads what a pointer points to.
     *
     * @param from where in the program's memory
     * @param bytes how many
     * @return the bytes, in native order
     * @throws ErrnoException EFAULT if they cannot all be read
     */
    public ByteBuffer copyIn(long from, int bytes) throws ErrnoException {
        return copyIn(memory(), from, bytes);
    }

    static ByteBuffer copyIn(UserMemory memory, long from, int bytes) throws ErrnoException {
        byte[] to = new byte[bytes];
        if (UserMemory.isOutside(from, bytes) || memory.copyIn(from, MemorySegment.ofArray(to)) < bytes) {
            throw new ErrnoException(Errno.EFAULT);
        }
        return ByteBuffer.wrap(to).order(ByteOrder.nativeOrder());
    }

    /**
     * Writes where a pointer points to.
     *
     * @param to where in the program's memory
     * @param from what
     * @throws ErrnoException EFAULT if not all of it can be written
     */
    public void copyOut(long to, MemorySegment from) throws ErrnoException {
        if (UserMemory.isOutside(to, from.byteSize()) || memory().copyOut(from, to) < from.byteSize()) {
            throw new ErrnoException(Errno.EFAULT);
        }
    }

    /** Requires a field to be 0. */
    void reserved(int at, String field) throws ErrnoException {
        flags(at, field, 0);
    }

    /**
     * Requires a field to have no other bits.
     *
     * @param at its offset
     * @param field its name
     * @param allowed the bits that are known
     * @throws ErrnoException EOPNOTSUPP if others are set
     */
    public void flags(int at, String field, int allowed) throws ErrnoException {
        if ((u32(at) & ~allowed) != 0) {
            throw new ErrnoException(
                    Errno.EOPNOTSUPP, field, allowed == 0 ? "0" : "bits of 0x" + Integer.toHexString(allowed));
        }
    }

    /** Lets go of what it has looked up. */
    void end() {
        for (int i = held.size() - 1; i >= 0; i--) {
            objects().letGo(held.get(i));
        }
        held.clear();
    }
}
