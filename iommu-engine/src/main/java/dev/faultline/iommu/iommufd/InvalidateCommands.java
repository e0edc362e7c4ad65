package dev.faultline.iommu.iommufd;

import java.util.List;

/** Commands: invalidation. */
final class InvalidateCommands {
    private InvalidateCommands() {}

    static List<Command> all() {
        return List.of();
    }
}
