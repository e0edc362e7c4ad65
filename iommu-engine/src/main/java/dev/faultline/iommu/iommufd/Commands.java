package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.QuiescenceTimeout;
import dev.faultline.ring.UserMemory;
import java.lang.foreign.MemorySegment;
import java.util.Collection;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The commands by number, and what is looked at before one runs, in the kernel's order.
 *
 * <p>Threads: any; immutable. Source: {@code iommufd_fops_ioctl}, Linux 7.2.
 */
final class Commands {
    private static final int BASE = 0x80;
    private static final int NUMBER = 0xff;

    /** A structure is looked at no further; the kernel has no bound. */
    private static final int MOST_BYTES = 1 << 20;

    /** Bytes beyond a structure are looked at in pieces of so many. */
    private static final int PIECE = 4096;

    private static final List<Command> KERNEL = Stream.of(
                    ObjectCommands.all(),
                    IoasCommands.all(),
                    OptionCommands.all(),
                    VfioCommands.all(),
                    HwptCommands.all(),
                    DirtyCommands.all(),
                    FaultQueueCommands.all(),
                    ViommuCommands.all(),
                    InvalidateCommands.all(),
                    HwInfoCommands.all())
            .flatMap(Collection::stream)
            .toList();

    /** By the last eight bits, less {@link #BASE}. */
    private final @Nullable Command[] byNumber;

    /** The kernel's, and those a driver adds. */
    Commands(List<Command> more) {
        List<Command> all = Stream.concat(KERNEL.stream(), more.stream()).toList();
        byNumber = new @Nullable
                Command
                [all.stream().mapToInt(command -> index(command.number())).max().orElse(0) + 1];
        for (Command command : all) {
            byNumber[index(command.number())] = command;
        }
    }

    /** A command that there is. */
    Command command(int request) {
        Command command = byNumber[index(request)];
        if (command == null) {
            throw new IllegalArgumentException(
                    "request=0x" + Integer.toHexString(request) + ": allowed a command's number");
        }
        return command;
    }

    private static int index(int request) {
        return (request & NUMBER) - BASE;
    }

    /** Runs a command of a program: its answer, 0 or more. */
    int run(Context context, int request, long address) throws ErrnoException {
        int index = index(request);
        if (index < 0 || index >= byNumber.length) {
            throw unknown();
        }
        UserMemory memory = context.process().memory();
        int size = Call.copyIn(memory, address, Integer.BYTES).getInt(0);
        Command command = byNumber[index];
        if (command == null || command.number() != request) {
            throw unknown();
        }
        if (Integer.compareUnsigned(size, command.least()) < 0) {
            throw new ErrnoException(Errno.EINVAL, "size", command.least() + " or more");
        }
        int full = command.full();
        if (Integer.compareUnsigned(size, full) > 0) {
            requireZeros(memory, address + full, Integer.toUnsignedLong(size) - full);
        }
        byte[] struct = new byte[full];
        int given = Integer.compareUnsigned(size, full) < 0 ? size : full;
        if (memory.copyIn(address, MemorySegment.ofArray(struct).asSlice(0, given)) < given) {
            throw new ErrnoException(Errno.EFAULT);
        }
        return run(command, new Call(context, address, given, struct));
    }

    static int run(Command command, Call call) throws ErrnoException {
        try {
            return command.body().run(call);
        } catch (QuiescenceTimeout e) {
            throw new ErrnoException(Errno.EBUSY, "device", "one that is stepped: " + e.getMessage());
        } finally {
            call.end();
        }
    }

    private static ErrnoException unknown() {
        return new ErrnoException(Errno.ENOTTY);
    }

    /** What this kernel does not know has to be zero. */
    private static void requireZeros(UserMemory memory, long from, long count) throws ErrnoException {
        if (UserMemory.isOutside(from, count)) {
            throw new ErrnoException(Errno.EFAULT);
        }
        byte[] piece = new byte[PIECE];
        for (long at = 0; at < count; at += PIECE) {
            if (at >= MOST_BYTES) {
                throw tooBig();
            }
            int wanted = (int) Math.min(PIECE, count - at);
            long there = memory.copyIn(from + at, MemorySegment.ofArray(piece).asSlice(0, wanted));
            for (int i = 0; i < there; i++) {
                if (piece[i] != 0) {
                    throw tooBig();
                }
            }
            if (there < wanted) {
                throw new ErrnoException(Errno.EFAULT);
            }
        }
    }

    private static ErrnoException tooBig() {
        return new ErrnoException(Errno.E2BIG, "size", "no more than the structure, or zeros after it");
    }
}
