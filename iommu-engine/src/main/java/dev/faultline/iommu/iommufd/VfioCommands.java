package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import java.util.List;

/** The command that names the address space of VFIO's older interface, which is not emulated itself. */
final class VfioCommands {
    private static final int IOAS_ID = 4;
    private static final int OP = 8;
    private static final int RESERVED = 10;

    private static final int GET = 0;
    private static final int SET = 1;
    private static final int CLEAR = 2;

    private VfioCommands() {}

    static List<Command> all() {
        return List.of(Command.of("IOMMU_VFIO_IOAS", 0x3b88, 12, 12, VfioCommands::ioas));
    }

    private static void ioas(Call call) throws ErrnoException {
        if (call.u16(RESERVED) != 0) {
            throw new ErrnoException(Errno.EOPNOTSUPP, "__reserved", "0");
        }
        Options options = call.context().options();
        switch (call.u16(OP)) {
            case GET -> {
                Ioas named = options.vfio();
                if (named == null || !call.objects().tryUse(named)) {
                    throw new ErrnoException(Errno.ENODEV, "op", "SET first");
                }
                call.put32(IOAS_ID, named.id());
                call.objects().unuse(named);
                call.respond();
            }
            case SET -> options.vfio(call.get(IOAS_ID, "ioas_id", Ioas.class));
            case CLEAR -> options.vfio(null);
            default -> throw new ErrnoException(Errno.EOPNOTSUPP, "op", "0, 1, 2");
        }
    }
}
