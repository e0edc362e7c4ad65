package dev.faultline.iommu.iommufd;

import java.util.List;

/** Commands on fault queues. */
final class FaultQueueCommands {
    private static final int FLAGS = 4;
    private static final int OUT_FAULT_ID = 8;
    private static final int OUT_FAULT_FD = 12;

    private FaultQueueCommands() {}

    static List<Command> all() {
        return List.of(Command.of("IOMMU_FAULT_QUEUE_ALLOC", 0x3b8e, 16, 16, FaultQueueCommands::alloc));
    }

    private static void alloc(Call call) throws ErrnoException {
        call.flags(FLAGS, "flags", 0);
        Context context = call.context();
        context.create(
                new FaultObject(),
                fault -> context.process().descriptors().open(fd -> {
                    call.put32(OUT_FAULT_ID, fault.id());
                    call.put32(OUT_FAULT_FD, fd);
                    call.respond();
                    return new FaultDescriptor(context, fault);
                }));
    }
}
