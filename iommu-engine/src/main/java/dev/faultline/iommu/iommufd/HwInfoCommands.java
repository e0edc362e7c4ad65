package dev.faultline.iommu.iommufd;

import java.util.List;

/** Commands: what a driver tells of its hardware. */
final class HwInfoCommands {
    private HwInfoCommands() {}

    static List<Command> all() {
        return List.of();
    }
}
