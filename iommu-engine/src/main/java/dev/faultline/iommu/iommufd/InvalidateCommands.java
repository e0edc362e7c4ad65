package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import java.util.List;

/** Commands: a guest's invalidations. */
final class InvalidateCommands {
    /** The kernel's bounds: entries in a call, and bytes of one. */
    static final int MOST_ENTRIES = 1 << 19;

    private static final int MOST_ENTRY_BYTES = 4096;

    private static final int HWPT_ID = 4;
    private static final int DATA_UPTR = 8;
    private static final int DATA_TYPE = 16;
    private static final int ENTRY_LEN = 20;
    private static final int ENTRY_NUM = 24;
    private static final int RESERVED = 28;

    private InvalidateCommands() {}

    static List<Command> all() {
        return List.of(Command.of("IOMMU_HWPT_INVALIDATE", 0x3b8d, 32, 32, InvalidateCommands::invalidate));
    }

    /** Says how many were done also where it fails. */
    private static void invalidate(Call call) throws ErrnoException {
        InvalidationEntries entries = entries(call);
        try {
            run(call, entries);
        } finally {
            call.put32(ENTRY_NUM, entries.done());
            call.respond();
        }
    }

    /** The program's array. */
    static InvalidationEntries entries(Call call) {
        return entries(call, 0, call.u32(ENTRY_NUM));
    }

    /** Some entries of the program's array. */
    static InvalidationEntries entries(Call call, int from, int count) {
        int length = call.u32(ENTRY_LEN);
        return new InvalidationEntries(
                call.memory(), call.u32(DATA_TYPE), call.u64(DATA_UPTR) + (long) from * length, length, count);
    }

    /** Refuses what is wrong before any entry is looked at. */
    static void check(Call call) throws ErrnoException {
        call.reserved(RESERVED, "__reserved");
        if (call.u32(ENTRY_NUM) != 0) {
            if (call.u64(DATA_UPTR) == 0) {
                throw new ErrnoException(Errno.EINVAL, "data_uptr", "an address");
            }
            if (call.u32(ENTRY_LEN) == 0 || Integer.compareUnsigned(call.u32(ENTRY_LEN), MOST_ENTRY_BYTES) > 0) {
                throw new ErrnoException(Errno.EINVAL, "entry_len", "1 to " + MOST_ENTRY_BYTES);
            }
            if (Integer.compareUnsigned(call.u32(ENTRY_NUM), MOST_ENTRIES) > 0) {
                throw new ErrnoException(Errno.EINVAL, "entry_num", "0 to " + MOST_ENTRIES);
            }
        }
    }

    static void run(Call call, InvalidationEntries entries) throws ErrnoException {
        check(call);
        target(call).invalidate(entries);
    }

    /** What takes invalidations. */
    @FunctionalInterface
    interface Target {
        void invalidate(InvalidationEntries entries) throws ErrnoException;
    }

    /** The object whose id the command has. */
    static Target target(Call call) throws ErrnoException {
        return switch (call.get(HWPT_ID, "hwpt_id", IommufdObject.class)) {
            case HwptNested nested -> nested.domain()::invalidate;
            case Viommu viommu -> viommu.driver()::invalidate;
            default ->
                throw new ErrnoException(Errno.EINVAL, "hwpt_id", "the id of a nested page table or of a vIOMMU");
        };
    }
}
