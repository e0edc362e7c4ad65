package dev.faultline.iommu.iommufd;

import java.util.List;

/** Commands: vIOMMUs, vDEVICEs, vEVENTQs and HW queues. */
final class ViommuCommands {
    private ViommuCommands() {}

    static List<Command> all() {
        return List.of();
    }
}
