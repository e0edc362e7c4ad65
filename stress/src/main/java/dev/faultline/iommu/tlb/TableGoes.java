package dev.faultline.iommu.tlb;

import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Arbiter;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.II_Result;
import org.openjdk.jcstress.infra.results.I_Result;

/**
 * A table goes, or a whole domain, while others fill caches and walk: the entry above is emptied, the caches invalidated, the log told, the stations waited for.
 *
 * <p>Would catch: an entry of the walk cache that is filled in after the invalidation that should have met it; a translation that a third thread
 * finds after the invalidation has returned; an invalidation among all entries that passes one by; a walk that stands in a table's frame when it is
 * used again.
 */
public final class TableGoes {
    private static final int DOMAIN = 1;
    private static final int PASID = 3;
    private static final long TAG = TlbTag.of(DOMAIN, PASID);
    private static final long ADDRESS = 0x4020_5000L;
    private static final int TABLE_SIZE = 9;
    private static final long TABLE = 0x9000 | 0x3f;
    private static final long TRANSLATION = 0x9000 | 1;

    private TableGoes() {}

    private static MemorySegment words(long bytes) {
        return MemorySegment.ofArray(new long[(int) (bytes / Long.BYTES)]);
    }

    /** A thread walks and fills the walk cache while another takes the table out of its place. */
    @JCStressTest
    @Outcome(id = "0", expect = Expect.ACCEPTABLE, desc = "nobody finds it afterwards")
    @Outcome(expect = Expect.FORBIDDEN, desc = "The walk cache keeps a table that is gone.")
    @State
    public static class FillAgainstReclaim {
        private final WalkCache cache = new WalkCache(4);
        private final MemorySegment above = words(Long.BYTES);

        /** A table in its place. */
        public FillAgainstReclaim() {
            SharedWords.putLong(above, 0, TABLE);
        }

        /** Walks, and fills in what it has come to. */
        @Actor
        public void filler() {
            long sequence = cache.sequence();
            long reached = SharedWords.getLongAcquire(above, 0);
            if (reached != 0) {
                boolean _ = cache.insert(DOMAIN, ADDRESS, TABLE_SIZE, reached, sequence);
            }
        }

        /** Takes the table out, and invalidates. */
        @Actor
        public void reclaimer() {
            SharedWords.setLongRelease(above, 0, 0);
            cache.invalidate(DOMAIN, ADDRESS, 0);
        }

        /** Looks it up. */
        @Arbiter
        public void after(I_Result r) {
            r.r1 = cache.lookup(DOMAIN, ADDRESS, TABLE_SIZE) == 0 ? 0 : 1;
        }
    }

    /** A thread walks and fills while another invalidates the domain among all entries, and looks once that has returned. */
    @JCStressTest
    @Outcome(id = "0, 0", expect = Expect.ACCEPTABLE, desc = "nothing is found, then or when all is over")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Found after the invalidation had returned.")
    @State
    public static class LookupAfterInvalidation {
        private static final int TABLE_WORD = 0;

        private final Iotlb iotlb = new Iotlb(4);
        private final MemorySegment memory = words(Long.BYTES);

        /** A table with one page. */
        public LookupAfterInvalidation() {
            SharedWords.putLong(memory, TABLE_WORD, TRANSLATION);
        }

        /** Walks, and fills in what it has found. */
        @Actor
        public void filler() {
            long sequence = iotlb.sequence();
            long found = SharedWords.getLongAcquire(memory, TABLE_WORD);
            if (found != 0) {
                boolean _ = iotlb.insert(TAG, ADDRESS, found, sequence);
            }
        }

        /** Empties the table, invalidates every PASID of the domain, and looks. */
        @Actor
        public void invalidator(II_Result r) {
            SharedWords.setLongRelease(memory, TABLE_WORD, 0);
            iotlb.invalidate(DOMAIN, Iotlb.ANY_PASID, 0, Iotlb.EVERYTHING);
            r.r1 = look();
        }

        /** Looks once more. */
        @Arbiter
        public void after(II_Result r) {
            r.r2 = look();
        }

        private int look() {
            return iotlb.lookup(TAG, ADDRESS) == 0 ? 0 : 1;
        }
    }

    /** A thread walks from the walk cache, twice, while another takes the table out and uses its frame for something else. */
    @JCStressTest
    @Outcome(id = "[012], 0", expect = Expect.ACCEPTABLE, desc = "not quiescent: the frame is not used again")
    @Outcome(id = "[012], 1", expect = Expect.ACCEPTABLE, desc = "quiescent: no walk stands in it any more")
    @Outcome(expect = Expect.FORBIDDEN, desc = "A walk has read a frame that was no table any more.")
    @State
    public static class WalkAgainstReclaim {
        private static final int ABOVE = 0;
        private static final int FRAME = 8;

        private final WalkCache cache = new WalkCache(4);
        private final MemorySegment memory = words(2L * Long.BYTES);
        private final InvalidationLog log = new InvalidationLog(words(InvalidationLog.wordsBytes(16)), 16);
        private final Stations stations = new Stations(words(Stations.wordsBytes(1)), 1, log);

        /** A table in its place, known to the walk cache. */
        public WalkAgainstReclaim() {
            SharedWords.putLong(memory, ABOVE, TABLE);
            boolean _ = cache.insert(DOMAIN, ADDRESS, TABLE_SIZE, TABLE, cache.sequence());
        }

        /** Steps. */
        @Actor
        public void stepper(II_Result r) {
            Station station = stations.claim();
            station.goOnline();
            int first = walk();
            station.quiesce();
            int second = walk();
            station.goOffline();
            stations.release(station);
            r.r1 = first < 0 || second < 0 ? -1 : first + second;
        }

        /** Reads the table that the cache or the entry above names: 1, 0 if there is none, -1 if it is no table any more. */
        private int walk() {
            long sequence = cache.sequence();
            long reached = cache.lookup(DOMAIN, ADDRESS, TABLE_SIZE);
            if (reached == 0) {
                reached = SharedWords.getLongAcquire(memory, ABOVE);
                if (reached == 0) {
                    return 0;
                }
                boolean _ = cache.insert(DOMAIN, ADDRESS, TABLE_SIZE, reached, sequence);
            }
            return SharedWords.getLongAcquire(memory, FRAME) == 0 ? 1 : -1;
        }

        /** Takes the table out, and uses its frame if nobody can stand in it any more. */
        @Actor
        public void reclaimer(II_Result r) {
            SharedWords.setLongRelease(memory, ABOVE, 0);
            cache.invalidate(DOMAIN, ADDRESS, 0);
            long epoch = log.append(DOMAIN, Iotlb.ANY_PASID, ADDRESS, 0);
            if (stations.reached(epoch)) {
                SharedWords.setLongRelease(memory, FRAME, 1);
                r.r2 = 1;
            }
        }
    }
}
