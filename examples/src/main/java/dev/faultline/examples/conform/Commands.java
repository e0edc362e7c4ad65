package dev.faultline.examples.conform;

import java.util.HashMap;
import java.util.Map;

/**
 * What a replay has to know of the commands: their numbers and sizes where a recording leaves them out, and where some fields are.
 *
 * <p>Source: {@code include/uapi/linux/iommufd.h} and {@code drivers/iommu/iommufd/iommufd_test.h}, Linux 7.2.
 */
final class Commands {
    static final int FIRST = 0x3b80;
    static final int IOVA_RANGES = 0x3b84;
    static final int HWPT_ALLOC = 0x3b89;
    static final int GET_HW_INFO = 0x3b8a;
    static final int GET_DIRTY_BITMAP = 0x3b8c;
    static final int HWPT_INVALIDATE = 0x3b8d;
    static final int FAULT_QUEUE_ALLOC = 0x3b8e;
    static final int VIOMMU_ALLOC = 0x3b90;
    static final int VEVENTQ_ALLOC = 0x3b93;
    static final int TEST = 0x3ba0;

    static final int TEST_BYTES = 72;
    static final int TEST_MOCK_DOMAIN = 2;
    static final int TEST_CREATE_ACCESS = 5;
    static final int TEST_MOCK_DOMAIN_FLAGS = 12;
    static final int TEST_CHECK_IOTLB = 14;
    static final int TEST_TRIGGER_IOPF = 15;
    static final int TEST_CHECK_DEV_CACHE = 16;
    static final int TEST_TRIGGER_VEVENT = 17;

    private record Command(String name, int bytes) {}

    /** In the order of their numbers. */
    private static final Command[] COMMANDS = {
        new Command("DESTROY", 8),
        new Command("IOAS_ALLOC", 12),
        new Command("IOAS_ALLOW_IOVAS", 24),
        new Command("IOAS_COPY", 40),
        new Command("IOAS_IOVA_RANGES", 32),
        new Command("IOAS_MAP", 40),
        new Command("IOAS_UNMAP", 24),
        new Command("OPTION", 24),
        new Command("VFIO_IOAS", 12),
        new Command("HWPT_ALLOC", 48),
        new Command("GET_HW_INFO", 40),
        new Command("HWPT_SET_DIRTY_TRACKING", 16),
        new Command("HWPT_GET_DIRTY_BITMAP", 48),
        new Command("HWPT_INVALIDATE", 32),
        new Command("FAULT_QUEUE_ALLOC", 16),
        new Command("IOAS_MAP_FILE", 40),
        new Command("VIOMMU_ALLOC", 40),
        new Command("VDEVICE_ALLOC", 24),
        new Command("IOAS_CHANGE_PROCESS", 8),
        new Command("VEVENTQ_ALLOC", 32),
        new Command("HW_QUEUE_ALLOC", 40),
    };

    private static final Map<String, Integer> NUMBERS = new HashMap<>();

    static {
        for (int i = 0; i < COMMANDS.length; i++) {
            NUMBERS.put("IOMMU_" + COMMANDS[i].name, FIRST + i);
        }
    }

    private Commands() {}

    /** The number of a command's name, or 0. */
    static int number(String name) {
        return name.startsWith("IOMMU_TEST_") ? TEST : NUMBERS.getOrDefault(name, 0);
    }

    /** The full size of a command's structure, or 0 for a number that is no command's. */
    static int bytes(int request) {
        int index = request - FIRST;
        return request == TEST ? TEST_BYTES : index >= 0 && index < COMMANDS.length ? COMMANDS[index].bytes : 0;
    }
}
