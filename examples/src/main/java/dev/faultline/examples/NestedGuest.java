package dev.faultline.examples;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Access;
import dev.faultline.iommu.AccessResult;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.iommufd.GuestDevice;
import dev.faultline.iommu.iommufd.GuestEvents;
import dev.faultline.iommu.iommufd.GuestIommu;
import dev.faultline.iommu.iommufd.Iommufd;
import dev.faultline.iommu.iommufd.IommufdException;
import dev.faultline.iommu.iommufd.UserAddressSpace;
import dev.faultline.iommu.iommufd.UserAttachment;
import dev.faultline.iommu.iommufd.UserDevice;
import dev.faultline.iommu.iommufd.UserFaultQueue;
import dev.faultline.iommu.iommufd.UserPageTable;
import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultConsumer;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultProducer;
import dev.faultline.ring.Result;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.OptionalLong;

/**
 * A guest with an IOMMU of its own, on {@code /dev/iommu}: its manager maps the guest's memory as a second stage, the guest keeps a first
 * stage in that memory. A device of the guest's meets a page that is not there; the manager hands the fault to the guest under the id the
 * guest knows the device by; the guest mends its table, answers, and the device goes on. Then the guest takes the page away and has the
 * device forget it, by the same id.
 *
 * <p>Threads: one. Units: bytes.
 */
public final class NestedGuest {
    private static final int PAGE = 4096;
    private static final int GUEST_PAGES = 64;

    /** What the guest calls its network card, and an id that it has no device by. */
    private static final long CARD = 0x99;

    private static final long FOREIGN = 0x9;

    private static final long ADDRESS = 0x7000_1000L;

    private final StringBuilder told = new StringBuilder();
    private final Guest guest;
    private final GuestIommu iommu;
    private final UserDevice card;
    private final FaultConsumer faults;
    private int handled;

    private NestedGuest(Guest guest, GuestIommu iommu, UserDevice card, FaultConsumer faults) {
        this.guest = guest;
        this.iommu = iommu;
        this.card = card;
        this.faults = faults;
    }

    // ---- the guest ----

    /** What runs in the guest: its memory, the page table it keeps there, and its driver for the card. */
    private static final class Guest {
        static final long ROOT = PAGE;

        private static final int LEVELS = 4;
        private static final int PRESENT_WRITABLE_USER = 7;
        private static final long FRAME = 0x000f_ffff_ffff_f000L;

        final MemorySegment memory;
        private long nextFree = ROOT + PAGE;

        Guest(MemorySegment memory) {
            this.memory = memory;
        }

        private long newPage() {
            long page = nextFree;
            nextFree += PAGE;
            var _ = memory.asSlice(page, PAGE).fill((byte) 0);
            return page;
        }

        /** Where the last entry for an address is; tables on the way are made. */
        private long entry(long address) {
            long table = ROOT;
            for (int level = LEVELS; level > 1; level--) {
                long at = table + index(address, level) * Long.BYTES;
                long entry = memory.get(ValueLayout.JAVA_LONG, at);
                if (entry == 0) {
                    entry = newPage() | PRESENT_WRITABLE_USER;
                    memory.set(ValueLayout.JAVA_LONG, at, entry);
                }
                table = entry & FRAME;
            }
            return table + index(address, 1) * Long.BYTES;
        }

        private static long index(long address, int level) {
            return address >>> (12 + 9 * (level - 1)) & 511;
        }

        /** The page at an address, or 0. */
        long page(long address) {
            return memory.get(ValueLayout.JAVA_LONG, entry(address)) & FRAME;
        }

        /** Brings a page for the card; anybody else's fault is none of this guest's. */
        Answer fault(long device, long address) {
            if (device != CARD) {
                return Answer.INVALID;
            }
            memory.set(ValueLayout.JAVA_LONG, entry(address), newPage() | PRESENT_WRITABLE_USER);
            return Answer.SUCCESS;
        }

        void unmap(long address) {
            memory.set(ValueLayout.JAVA_LONG, entry(address), 0);
        }
    }

    // ---- the manager ----

    /** Which of the guest's devices a fault names, and the guest's answer to it. */
    private void handle(FaultGroup group) {
        OptionalLong device = iommu.virtualId(group.device());
        Answer answer = device.isEmpty() ? Answer.INVALID : guest.fault(device.getAsLong(), group.address(0));
        if (faults.answerAndRepost(group.cookie(), answer) != Result.OK) {
            throw new IllegalStateException("the answer was refused");
        }
        handled++;
    }

    /** An access of the card, with everything that has to happen until it ends. */
    private AccessResult access(Access access, long address, byte[] bytes) {
        MemorySegment buffer = MemorySegment.ofArray(bytes);
        var engine = card.engine();
        if (engine.start(access, address, buffer, 0, bytes.length, FaultProducer.NO_PASID, 1) != Result.OK) {
            throw new IllegalStateException("the card is busy");
        }
        AccessResult[] ended = new AccessResult[1];
        while (engine.poll((tag, result) -> ended[0] = result) == 0) {
            boolean moved = engine.step();
            moved |= faults.poll((userData, group) -> handle(group), 16) > 0;
            if (!moved) {
                boolean _ = engine.await(1_000_000);
            }
        }
        return ended[0];
    }

    private void write() {
        byte[] hello = "hello from the card".getBytes(StandardCharsets.US_ASCII);
        AccessResult written = access(Access.WRITE, ADDRESS, hello);
        long page = guest.page(ADDRESS);
        byte[] there = guest.memory.asSlice(page, hello.length).toArray(ValueLayout.JAVA_BYTE);
        told.append("write: " + written + " after " + handled + " fault, the guest's page 0x" + Long.toHexString(page)
                + " holds \"" + new String(there, StandardCharsets.US_ASCII) + "\"\n");
    }

    private void takeAway() {
        guest.unmap(ADDRESS);
        try {
            iommu.invalidate(FOREIGN, ADDRESS, PAGE);
        } catch (IommufdException e) {
            told.append("invalidate by an id it has no device by: " + Errno.name(e.errno()) + "\n");
        }
        iommu.invalidate(CARD, ADDRESS, PAGE);
        byte[] read = new byte[16];
        AccessResult again = access(Access.READ, ADDRESS, read);
        told.append("invalidate by its own id, and read: " + again + " after " + handled + " faults, "
                + (read[0] == 0 ? "zeros of a new page\n" : "the old page\n"));
    }

    private void withoutFaultQueue(GuestEvents events) {
        AccessResult refused = access(Access.READ, 0xdead_0000L, new byte[16]);
        GuestEvents.Event event = events.read();
        if (event == null) {
            throw new IllegalStateException("no event");
        }
        told.append("without fault queue: " + refused + ", event " + event.sequence() + ": device 0x"
                + Long.toHexString(event.virtualId()) + ", address 0x" + Long.toHexString(event.address()) + "\n");
    }

    /** The whole story; what happened, a line each. */
    @SuppressWarnings("try") // the guest's device works without being named
    static String run() {
        try (Arena arena = Arena.ofConfined();
                Iommufd iommufd = Iommufd.open();
                UserDevice card = iommufd.device(DeviceConfig.pri("card"));
                UserAddressSpace space = iommufd.addressSpace();
                UserPageTable parent = space.pageTable(card).nestParent().make();
                GuestIommu iommu = parent.guestIommu(card);
                GuestDevice known = iommu.device(card, CARD);
                GuestEvents events = iommu.events(16);
                UserFaultQueue queue = iommufd.faultQueue();
                FaultConsumer faults = queue.consumer();
                UserPageTable asking =
                        iommu.nested(card).firstStage(Guest.ROOT).faults(queue).make();
                UserPageTable silent = iommu.nested(card).firstStage(Guest.ROOT).make();
                UserAttachment attached = card.attach(asking)) {
            Guest guest = new Guest(arena.allocate((long) GUEST_PAGES * PAGE, PAGE));
            space.map(0, guest.memory);
            NestedGuest story = new NestedGuest(guest, iommu, card, faults);
            if (faults.post(1, 4) != Result.OK || !card.engine().enter()) {
                throw new IllegalStateException("somebody else uses the card");
            }
            try {
                story.write();
                story.takeAway();
                attached.replace(silent);
                story.withoutFaultQueue(events);
            } finally {
                card.engine().leave();
            }
            return story.told.toString();
        }
    }

    /**
     * Runs the guest to the end and says what happened.
     *
     * @param args none
     */
    public static void main(String[] args) {
        System.out.print(run());
    }
}
