package dev.faultline.iommu.iommufd;

import java.util.List;

/** Commands: options. */
final class OptionCommands {
    private OptionCommands() {}

    static List<Command> all() {
        return List.of();
    }
}
