package dev.faultline.iommu;

import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.iommu.table.Leaf;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Arbiter;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.III_Result;

/**
 * An address space of two page tables, in which a handler maps or unmaps a page while a program maps or unmaps an area over it. The first
 * table decides whose the place is, by one compare-and-set; the second follows.
 *
 * <p>Would catch: a page or an area in one table and not in the other; both, or parts of an area; one that is said to be there and is not.
 */
public final class PageAgainstArea {
    private static final long ADDRESS = 0x7000_0000L;
    private static final long PAGE = 4096;
    /** The page lies in the middle of the area, so that a part of that is there when the two meet. */
    private static final long AREA = ADDRESS - PAGE;

    private static final long AREA_BYTES = 3 * PAGE;

    /** jcstress makes many states at once, of which each has two page tables. */
    private static final int FRAMES = 1 << 17;

    private static final Iommu IOMMU =
            Iommu.open(IommuConfig.small().withFrames(FRAMES).withIotlbEntries(4));
    private static final long FRAME = IOMMU.frames().allocate();
    private static final Backing MEMORY = IOMMU.memory(0, AREA_BYTES);

    private static final int NOTHING = 0;
    private static final int THE_PAGE = 1;
    private static final int THE_AREA = 2;
    private static final int TORN = -1;

    private PageAgainstArea() {}

    /** What all do. */
    public abstract static class Tables {
        private final AddressSpace space = IOMMU.addressSpace(TableFormat.X86_4_LEVEL, null);
        private final PageTable other = space.addTable(TableFormat.ARM_4K_STAGE_1, null);

        /** Two tables without mappings. */
        protected Tables() {}

        final int mapsPage() {
            return space.map(ADDRESS, FRAME, PAGE, PageFaultLayout.PERM_READ) ? 1 : 0;
        }

        final int unmapsPage() {
            return space.unmap(ADDRESS, PAGE) ? 1 : 0;
        }

        final int mapsArea() {
            return space.areas()
                                    .map(MEMORY, 0, AREA_BYTES, PageFaultLayout.PERM_READ, AREA)
                                    .result()
                            == AreaResult.DONE
                    ? 1
                    : 0;
        }

        final int unmapsArea() {
            return space.areas().unmap(AREA, AREA_BYTES).result() == AreaResult.DONE ? 1 : 0;
        }

        /** What both tables say at the end, and nothing any more. */
        final int atTheEnd() {
            int first = said(space.table());
            int second = said(other);
            space.close();
            return first == second ? first : TORN;
        }

        private static int said(PageTable table) {
            int before = at(table, AREA);
            int here = at(table, ADDRESS);
            int after = at(table, ADDRESS + PAGE);
            if (before == here && here == after) {
                return here;
            }
            return here == THE_PAGE && before == NOTHING && after == NOTHING ? THE_PAGE : TORN;
        }

        private static int at(PageTable table, long address) {
            Leaf leaf = new Leaf();
            if (!((EngineTable) table.areas()).radix().look(address, leaf)) {
                return NOTHING;
            }
            long expected = leaf.isOfRange() ? address - AREA : FRAME;
            return leaf.physical() != expected ? TORN : leaf.isOfRange() ? THE_AREA : THE_PAGE;
        }
    }

    /** Both come. */
    @JCStressTest
    @Outcome(id = "1, 0, 1", expect = Expect.ACCEPTABLE, desc = "the page was first")
    @Outcome(id = "0, 1, 2", expect = Expect.ACCEPTABLE, desc = "the area was first")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Torn, or said to be there and not there.")
    @State
    public static class BothCome extends Tables {
        /** One more. */
        public BothCome() {}

        /** Maps a page. */
        @Actor
        public void handler(III_Result r) {
            r.r1 = mapsPage();
        }

        /** Maps an area. */
        @Actor
        public void program(III_Result r) {
            r.r2 = mapsArea();
        }

        /** Looks. */
        @Arbiter
        public void after(III_Result r) {
            r.r3 = atTheEnd();
        }
    }

    /** The area goes while a page comes. */
    @JCStressTest
    @Outcome(id = "0, 1, 0", expect = Expect.ACCEPTABLE, desc = "the page was too early")
    @Outcome(id = "1, 1, 1", expect = Expect.ACCEPTABLE, desc = "the area was gone from the first table")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Torn, or said to be there and not there.")
    @State
    public static class AreaGoes extends Tables {
        /** One more, with an area. */
        public AreaGoes() {
            int _ = mapsArea();
        }

        /** Maps a page. */
        @Actor
        public void handler(III_Result r) {
            r.r1 = mapsPage();
        }

        /** Unmaps the area. */
        @Actor
        public void program(III_Result r) {
            r.r2 = unmapsArea();
        }

        /** Looks. */
        @Arbiter
        public void after(III_Result r) {
            r.r3 = atTheEnd();
        }
    }

    /** The page goes while an area comes. */
    @JCStressTest
    @Outcome(id = "1, 0, 0", expect = Expect.ACCEPTABLE, desc = "the area was too early")
    @Outcome(id = "1, 1, 2", expect = Expect.ACCEPTABLE, desc = "the page was gone from both tables")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Torn, or said to be there and not there.")
    @State
    public static class PageGoes extends Tables {
        /** One more, with a page. */
        public PageGoes() {
            int _ = mapsPage();
        }

        /** Unmaps the page. */
        @Actor
        public void handler(III_Result r) {
            r.r1 = unmapsPage();
        }

        /** Maps an area. */
        @Actor
        public void program(III_Result r) {
            r.r2 = mapsArea();
        }

        /** Looks. */
        @Arbiter
        public void after(III_Result r) {
            r.r3 = atTheEnd();
        }
    }
}
