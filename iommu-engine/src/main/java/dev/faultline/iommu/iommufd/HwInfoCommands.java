package dev.faultline.iommu.iommufd;

import dev.faultline.ffm.Errno;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Commands: what a driver tells of its hardware. */
final class HwInfoCommands {
    private static final int FLAGS = 4;
    private static final int DEV_ID = 8;
    private static final int DATA_LEN = 12;
    private static final int DATA_UPTR = 16;
    private static final int DATA_TYPE = 24;
    private static final int OUT_MAX_PASID_LOG2 = 28;
    private static final int RESERVED = 29;
    private static final int OUT_CAPABILITIES = 32;

    private static final int FLAG_INPUT_TYPE = 1;
    private static final int CAPABILITY_DIRTY_TRACKING = 1;
    private static final int CAPABILITY_NO_ATS = 8;

    /** Zeros are written in pieces of so many. */
    private static final int PIECE = 4096;

    private HwInfoCommands() {}

    static List<Command> all() {
        return List.of(Command.of("IOMMU_GET_HW_INFO", 0x3b8a, 32, 40, HwInfoCommands::get));
    }

    private static void get(Call call) throws ErrnoException {
        call.flags(FLAGS, "flags", FLAG_INPUT_TYPE);
        for (int i = 0; i < 3; i++) {
            if (call.u8(RESERVED + i) != 0) {
                throw new ErrnoException(Errno.EOPNOTSUPP, "__reserved", "0");
            }
        }
        boolean typed = (call.u32(FLAGS) & FLAG_INPUT_TYPE) != 0;
        DriverDevice device = call.get(DEV_ID, "dev_id", DeviceObject.class).device();
        HardwareInfo info = device.hardwareInfo(typed ? call.u32(DATA_TYPE) : HardwareInfo.DEFAULT);
        write(call, info);
        call.put32(DATA_TYPE, info.type());
        call.put32(DATA_LEN, info.length());
        call.put64(
                OUT_CAPABILITIES,
                (device.tracksDirty() ? CAPABILITY_DIRTY_TRACKING : 0) | (device.hasAts() ? 0 : CAPABILITY_NO_ATS));
        call.put8(OUT_MAX_PASID_LOG2, device.pasids() == 0 ? 0 : 31 - Integer.numberOfLeadingZeros(device.pasids()));
        call.respond();
    }

    /** As much as there is room for; what there is more room for is zeroed. */
    private static void write(Call call, HardwareInfo info) throws ErrnoException {
        long room = Integer.toUnsignedLong(call.u32(DATA_LEN));
        long to = call.u64(DATA_UPTR);
        int given = (int) Math.min(room, info.length());
        if (given > 0) {
            call.copyOut(to, MemorySegment.ofArray(info.data(given)));
        }
        MemorySegment zeros = MemorySegment.ofArray(new byte[PIECE]);
        for (long at = given; at < room; at += PIECE) {
            call.copyOut(to + at, zeros.asSlice(0, Math.min(PIECE, room - at)));
        }
    }
}
