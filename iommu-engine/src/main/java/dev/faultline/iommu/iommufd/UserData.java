package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Data of a type that only a driver knows, where the program has put it: the kernel's {@code iommu_user_data}.
 *
 * <p>Threads: any. Lifetime: the command that brought it.
 *
 * <p>Ownership: the program's memory. Units: bytes. Errors: {@link ErrnoException}. Source: {@code struct iommu_user_data} of {@code
 * include/linux/iommu.h}, Linux 7.2.
 *
 * @param memory the program's
 * @param type as the program said
 * @param address where it is
 * @param length how many bytes the program gives
 */
public record UserData(UserMemory memory, int type, long address, int length) {
    /**
     * Reads a structure: what the program leaves off its end is zero.
     *
     * @param wanted its type
     * @param least bytes of its first released version
     * @param full bytes it has now
     * @return {@code full} bytes, in native order
     * @throws ErrnoException EINVAL if the type or the length is another, EFAULT if it cannot be read
     */
    public ByteBuffer read(int wanted, int least, int full) throws ErrnoException {
        check(wanted, least, full);
        byte[] bytes = new byte[full];
        if (UserMemory.isOutside(address, length)
                || memory.copyIn(address, MemorySegment.ofArray(bytes).asSlice(0, length)) < length) {
            throw new ErrnoException(Errno.EFAULT, "data_uptr", "memory that can be read");
        }
        return ByteBuffer.wrap(bytes).order(ByteOrder.nativeOrder());
    }

    /**
     * Writes a structure back, as much as there is room for.
     *
     * @param wanted its type
     * @param least bytes of its first released version
     * @param from what
     * @throws ErrnoException EINVAL if the type or the length is another, EFAULT if it cannot be written
     */
    public void write(int wanted, int least, byte[] from) throws ErrnoException {
        check(wanted, least, from.length);
        MemorySegment bytes = MemorySegment.ofArray(from).asSlice(0, length);
        if (UserMemory.isOutside(address, length) || memory.copyOut(bytes, address) < length) {
            throw new ErrnoException(Errno.EFAULT, "data_uptr", "memory that can be written");
        }
    }

    private void check(int wanted, int least, int full) throws ErrnoException {
        if (type != wanted) {
            throw new ErrnoException(Errno.EINVAL, "data_type", "0x" + Integer.toHexString(wanted));
        }
        if (Integer.compareUnsigned(length, least) < 0 || Integer.compareUnsigned(length, full) > 0) {
            throw new ErrnoException(Errno.EINVAL, "data_len", least + " to " + full);
        }
    }
}
