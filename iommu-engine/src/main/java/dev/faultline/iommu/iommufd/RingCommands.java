package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.ring.CommandHandler;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Commands of {@code /dev/iommu} on a fault queue's ring: sent with {@link FaultConsumer#command}, they are done in order with the
 * answers to the same device, so that one submit can map a page, have devices forget what was there, and answer.
 *
 * <p>The payload is the command's structure as {@code ioctl} takes it. What is completed is 0 or more if it was done, else the
 * negative error number; of an invalidation see {@link #INVALIDATE}.
 *
 * <p>Threads: that of the ring's producer, which is the one that steps the device.
 *
 * <p>Ownership: the context's whose queue it is. Units: bytes, pages of 4096. Errors: negative error numbers as values. Source: the
 * commands are those of {@code include/uapi/linux/iommufd.h}, Linux 7.2; rings are not the kernel's.
 */
public final class RingCommands implements CommandHandler {
    /** {@code IOMMU_IOAS_MAP}, 40 bytes, at a fixed address. Completed with 0. */
    public static final int MAP = FaultConsumer.FIRST_COMMAND + 0x05;

    /** {@code IOMMU_IOAS_UNMAP}, 24 bytes. Completed with the pages of 4 KiB that were unmapped, at most 2^31 - 1. */
    public static final int UNMAP = FaultConsumer.FIRST_COMMAND + 0x06;

    /**
     * {@code IOMMU_HWPT_INVALIDATE}, 32 bytes: an array of any length that lies in the program's memory. Completed with the number of
     * entries if all were done; else it is negative, and {@link #done} and {@link #errno} say how many were done and why the next was
     * not.
     *
     * <p>With 8 bytes more, an address, it goes on after an entry that is refused: an error number of 4 bytes for each entry, 0 for those
     * done, is written there, and it is completed with the number of those done.
     */
    public static final int INVALIDATE = FaultConsumer.FIRST_COMMAND + 0x0d;

    private static final int FIRST_REQUEST = 0x3b80;
    private static final int ERRNO_BITS = 12;

    private static final int MAP_FLAGS = 4;
    private static final int MAP_FIXED = 1;
    private static final int UNMAP_LENGTH = 16;
    private static final int INVALIDATE_ERRORS = 32;

    private final Context context;

    RingCommands(Context context) {
        this.context = context;
    }

    /**
     * How many entries of an invalidation were done.
     *
     * @param value what it was completed with
     * @return 0 or more
     */
    public static int done(int value) {
        return value < 0 ? -value >> ERRNO_BITS : value;
    }

    /**
     * Why the entry after those done was refused, or the whole command.
     *
     * @param value what it was completed with
     * @return an error number, 0 if all were done
     */
    public static int errno(int value) {
        return value < 0 ? -value & ((1 << ERRNO_BITS) - 1) : 0;
    }

    @Override
    public int command(int opcode, MemorySegment payload, int bytes) {
        try {
            return switch (opcode) {
                case MAP -> {
                    Call call = call(opcode, payload, bytes, 0);
                    if ((call.u32(MAP_FLAGS) & MAP_FIXED) == 0) {
                        throw new ErrnoException(Errno.EINVAL, "flags", "FIXED_IOVA");
                    }
                    yield run(opcode, call);
                }
                case UNMAP -> {
                    Call call = call(opcode, payload, bytes, 0);
                    int _ = run(opcode, call);
                    yield Math.clamp(call.u64(UNMAP_LENGTH) >>> 12, 0, Integer.MAX_VALUE);
                }
                case INVALIDATE ->
                    bytes == INVALIDATE_ERRORS + Long.BYTES
                            ? invalidateEach(payload)
                            : invalidate(call(opcode, payload, bytes, 0));
                default -> throw new ErrnoException(Errno.EOPNOTSUPP, "opcode", "MAP, UNMAP, INVALIDATE");
            };
        } catch (ErrnoException e) {
            return -e.errno();
        }
    }

    /** The structure in a payload; nothing is written back. */
    private Call call(int opcode, MemorySegment payload, int bytes, int more) throws ErrnoException {
        Command command = command(opcode);
        if (bytes != command.full() + more) {
            throw new ErrnoException(Errno.EINVAL, "size", command.full() + " bytes of payload");
        }
        byte[] struct = payload.asSlice(0, command.full()).toArray(ValueLayout.JAVA_BYTE);
        return new Call(context, 0, 0, struct);
    }

    private Command command(int opcode) {
        return context.commands().command(FIRST_REQUEST + opcode - FaultConsumer.FIRST_COMMAND);
    }

    private int run(int opcode, Call call) throws ErrnoException {
        return Commands.run(command(opcode), call);
    }

    private int invalidate(Call call) {
        InvalidationEntries entries = InvalidateCommands.entries(call);
        try {
            InvalidateCommands.run(call, entries);
            return entries.done();
        } catch (ErrnoException e) {
            // Where a driver failed before it counted, all are told to be done, and none is.
            int done = entries.done() < entries.count() ? entries.done() : 0;
            return -(done << ERRNO_BITS | e.errno());
        } finally {
            call.end();
        }
    }

    private int invalidateEach(MemorySegment payload) throws ErrnoException {
        Call call = call(INVALIDATE, payload, INVALIDATE_ERRORS + Long.BYTES, Long.BYTES);
        long to = payload.get(ValueLayout.JAVA_LONG_UNALIGNED, INVALIDATE_ERRORS);
        try {
            InvalidateCommands.check(call);
            InvalidateCommands.Target target = InvalidateCommands.target(call);
            int[] errors = new int[InvalidateCommands.entries(call).count()];
            int done = 0;
            for (int next = 0; next < errors.length; next++) {
                try {
                    target.invalidate(InvalidateCommands.entries(call, next, 1));
                    done++;
                } catch (ErrnoException e) {
                    errors[next] = e.errno();
                }
            }
            MemorySegment told = MemorySegment.ofArray(errors);
            if (UserMemory.isOutside(to, told.byteSize()) || call.memory().copyOut(told, to) < told.byteSize()) {
                throw new ErrnoException(Errno.EFAULT);
            }
            return done;
        } finally {
            call.end();
        }
    }
}
