package dev.faultline.iommu.iommufd;

import java.util.List;

/** Commands: dirty tracking. */
final class DirtyCommands {
    private DirtyCommands() {}

    static List<Command> all() {
        return List.of();
    }
}
