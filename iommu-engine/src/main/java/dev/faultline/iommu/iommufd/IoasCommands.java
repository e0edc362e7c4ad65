package dev.faultline.iommu.iommufd;

import java.util.List;

/** Commands on address spaces. */
final class IoasCommands {
    private static final int FLAGS = 4;
    private static final int OUT_IOAS_ID = 8;

    private IoasCommands() {}

    static List<Command> all() {
        return List.of(Command.of("IOMMU_IOAS_ALLOC", 0x3b81, 12, 12, IoasCommands::alloc));
    }

    private static void alloc(Call call) throws ErrnoException {
        call.flags(FLAGS, "flags", 0);
        call.context().create(new Ioas(), made -> {
            call.put32(OUT_IOAS_ID, made.id());
            call.respond();
        });
    }
}
