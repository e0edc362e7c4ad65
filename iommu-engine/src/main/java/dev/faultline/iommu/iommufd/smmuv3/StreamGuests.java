package dev.faultline.iommu.iommufd.smmuv3;

import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.iommufd.GuestEvents;
import dev.faultline.iommu.iommufd.GuestFormat;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Commands and event records, as guests of Linux give and get them. */
final class StreamGuests implements GuestFormat {
    /** Page sizes up to this many bits are told as sizes; what is larger is everything. */
    private static final int MOST_SIZE = Command.EVERYTHING - 1;

    @Override
    public int type() {
        return Smmuv3.TYPE;
    }

    @Override
    public int invalidationType() {
        return Smmuv3.TYPE;
    }

    @Override
    public int invalidationBytes() {
        return Command.BYTES;
    }

    @Override
    public int eventBytes() {
        return EventRecord.BYTES;
    }

    /** As a driver of the guest's does it: the descriptors, the SMMU's TLB, then the device's. */
    @Override
    public byte[] forgetAll(long virtualId) {
        return bytes(
                Command.withStream(Command.CFGI_CD_ALL, virtualId),
                new Command(Command.TLBI_NSNH_ALL, 0),
                Command.atcInvalidate(virtualId, 0, Command.EVERYTHING));
    }

    @Override
    public byte[] forget(long virtualId, long address, long pages) {
        // The smallest aligned power of two that holds all of it.
        long differs = address >>> 12 ^ (address >>> 12) + pages - 1;
        int size = Long.SIZE - Long.numberOfLeadingZeros(differs);
        return bytes(
                Command.tlbInvalidate(address, pages),
                size > MOST_SIZE
                        ? Command.atcInvalidate(virtualId, 0, Command.EVERYTHING)
                        : Command.atcInvalidate(virtualId, address & -4096L << size, size));
    }

    private static byte[] bytes(Command... commands) {
        ByteBuffer all = ByteBuffer.allocate(commands.length * Command.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        for (Command each : commands) {
            all.putLong(each.first()).putLong(each.second());
        }
        return all.array();
    }

    @Override
    public GuestEvents.Event event(int sequence, ByteBuffer data) {
        EventRecord record = EventRecord.read(data);
        AccessResult why = switch (record.number()) {
            case EventRecord.STREAM_DISABLED -> AccessResult.BLOCKED;
            case EventRecord.BAD_SUBSTREAM -> AccessResult.NOT_ATTACHED;
            case EventRecord.TRANSLATION, EventRecord.ACCESS, EventRecord.PERMISSION -> AccessResult.NO_PAGE_REQUESTS;
            default -> AccessResult.TABLE_ERROR;
        };
        return new GuestEvents.Event(sequence, record.stream(), record.substream(), record.third(), why);
    }
}
