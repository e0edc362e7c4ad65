package dev.faultline.iommu;

import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ring.FaultProducer;
import java.util.List;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Arbiter;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.III_Result;

/**
 * A device that has a reserved region is attached while somebody maps a page there. Each looks for the other after it has done its own
 * part, and takes it back if it finds it.
 *
 * <p>Would catch: a page that is mapped in a region that is reserved; a mapping that is said to be there and is not, or the other way
 * round.
 */
public final class RegionReserved {
    private static final long ADDRESS = 0x7000_0000L;
    private static final long PAGE = 4096;
    /** jcstress makes many states at once, of which each has a page table. */
    private static final int FRAMES = 1 << 17;

    private static final Iommu IOMMU =
            Iommu.open(IommuConfig.small().withFrames(FRAMES).withIotlbEntries(4));
    private static final long FRAME = IOMMU.frames().allocate();
    private static final Device DEVICE = IOMMU.device(DeviceConfig.plain("stress"));

    private RegionReserved() {}

    /** What both do. */
    public abstract static class Both {
        private final AddressSpace space = IOMMU.addressSpace(TableFormat.X86_4_LEVEL, null);

        /** An address space without mappings. */
        protected Both() {}

        /** Maps; 1 if it says that it has. */
        final int maps(long bytes) {
            try {
                return space.map(ADDRESS, FRAME, bytes, PageFaultLayout.PERM_READ) ? 1 : -1;
            } catch (IllegalArgumentException reserved) {
                return 0;
            }
        }

        /** Reserves, as an attachment does; 1 if it has. */
        final int reserves() {
            Attachment owner = new Attachment(0, DEVICE, space.table(), FaultProducer.NO_PASID, null);
            ReservedRegion region = new ReservedRegion(ADDRESS, ADDRESS + PAGE - 1, ReservedRegion.Kind.RESERVED);
            try {
                space.reserve(owner, List.of(region));
                return 1;
            } catch (IllegalStateException mapped) {
                return 0;
            }
        }

        /** What is there now, and nothing any more. */
        final int mappedAtTheEnd() {
            int mapped = space.isMapped(ADDRESS) ? 1 : 0;
            space.close();
            return mapped;
        }
    }

    /** One page, which goes the short way. */
    @JCStressTest
    @Outcome(id = "1, 0, 1", expect = Expect.ACCEPTABLE, desc = "map -> reserve")
    @Outcome(id = "0, 1, 0", expect = Expect.ACCEPTABLE, desc = "reserve -> map")
    @Outcome(id = "0, 0, 0", expect = Expect.ACCEPTABLE, desc = "each finds the other, and gives up")
    @Outcome(
            expect = Expect.FORBIDDEN,
            desc = "A page in a reserved region, or one that is said to be there and is not.")
    @State
    public static class AgainstAPage extends Both {
        /** One more. */
        public AgainstAPage() {}

        /** Maps. */
        @Actor
        public void mapper(III_Result r) {
            r.r1 = maps(PAGE);
        }

        /** Reserves. */
        @Actor
        public void reserver(III_Result r) {
            r.r2 = reserves();
        }

        /** Looks. */
        @Arbiter
        public void after(III_Result r) {
            r.r3 = mappedAtTheEnd();
        }
    }

    /** Two pages, of which the region touches one. */
    @JCStressTest
    @Outcome(id = "1, 0, 1", expect = Expect.ACCEPTABLE, desc = "map -> reserve")
    @Outcome(id = "0, 1, 0", expect = Expect.ACCEPTABLE, desc = "reserve -> map")
    @Outcome(id = "0, 0, 0", expect = Expect.ACCEPTABLE, desc = "each finds the other, and gives up")
    @Outcome(
            expect = Expect.FORBIDDEN,
            desc = "A page in a reserved region, or one that is said to be there and is not.")
    @State
    public static class AgainstARange extends Both {
        /** One more. */
        public AgainstARange() {}

        /** Maps. */
        @Actor
        public void mapper(III_Result r) {
            r.r1 = maps(2 * PAGE);
        }

        /** Reserves. */
        @Actor
        public void reserver(III_Result r) {
            r.r2 = reserves();
        }

        /** Looks. */
        @Arbiter
        public void after(III_Result r) {
            r.r3 = mappedAtTheEnd();
        }
    }
}
