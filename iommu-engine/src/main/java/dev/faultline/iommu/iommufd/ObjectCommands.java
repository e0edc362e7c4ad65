package dev.faultline.iommu.iommufd;

import java.util.List;

/** Commands on any object. */
final class ObjectCommands {
    private static final int ID = 4;

    private ObjectCommands() {}

    static List<Command> all() {
        return List.of(Command.of("IOMMU_DESTROY", 0x3b80, 8, 8, ObjectCommands::destroy));
    }

    private static void destroy(Call call) throws ErrnoException {
        call.objects().destroy(call.u32(ID));
    }
}
