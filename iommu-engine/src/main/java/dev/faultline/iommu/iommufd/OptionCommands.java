package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Areas;
import java.util.List;

/** Commands: options. The answer is the value alone. */
final class OptionCommands {
    private static final int OPTION_ID = 4;
    private static final int OP = 8;
    private static final int RESERVED = 10;
    private static final int OBJECT_ID = 12;
    private static final int VALUE = 16;

    private static final int RLIMIT_MODE = 0;
    private static final int HUGE_PAGES = 1;

    private static final int SET = 0;
    private static final int GET = 1;

    private OptionCommands() {}

    static List<Command> all() {
        return List.of(Command.of("IOMMU_OPTION", 0x3b87, 24, 24, OptionCommands::option));
    }

    private static void option(Call call) throws ErrnoException {
        if (call.u16(RESERVED) != 0) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "__reserved", "0");
        }
        switch (call.u32(OPTION_ID)) {
            case RLIMIT_MODE -> rlimitMode(call);
            case HUGE_PAGES -> hugePages(call);
            default -> throw new ErrnoException(Errno.EOPNOTSUPP, "option_id", "RLIMIT_MODE (0), HUGE_PAGES (1)");
        }
        call.respond(VALUE, Long.BYTES);
    }

    private static void rlimitMode(Call call) throws ErrnoException {
        call.reserved(OBJECT_ID, "object_id");
        Context context = call.context();
        switch (call.u16(OP)) {
            case GET -> call.put64(VALUE, context.options().rlimitMode());
            case SET -> {
                if (!context.objects().isEmpty()) {
                    throw new ErrnoException(Errno.EBUSY, "option_id", "RLIMIT_MODE before any object is made");
                }
                requireBit(call);
                context.options().rlimitMode(call.u64(VALUE));
            }
            default -> throw unknownOp();
        }
    }

    private static void hugePages(Call call) throws ErrnoException {
        Areas areas = call.get(OBJECT_ID, "object_id", Ioas.class).areas();
        switch (call.u16(OP)) {
            case GET -> call.put64(VALUE, areas.largePages() ? 1 : 0);
            case SET -> {
                requireBit(call);
                AreaErrno.require(areas.largePages(call.u64(VALUE) == 1), "val64");
            }
            default -> throw unknownOp();
        }
    }

    private static void requireBit(Call call) throws ErrnoException {
        if ((call.u64(VALUE) & ~1L) != 0) {
            throw new ErrnoException(Errno.EINVAL, "val64", "0 or 1");
        }
    }

    private static ErrnoException unknownOp() {
        return new ErrnoException(Errno.EOPNOTSUPP, "op", "SET (0), GET (1)");
    }
}
