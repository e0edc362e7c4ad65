package dev.faultline.iommu.iommufd;

import java.util.List;

/** Commands that make page tables. */
final class HwptCommands {
    private HwptCommands() {}

    static List<Command> all() {
        return List.of();
    }
}
