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
 * A page goes while a device may use it: its table entry is emptied, the IOTLB purged, the log told, and every station waited for.
 *
 * <p>Would catch: a translation that is filled in after the purge that should have met it; an entry of which one half is another
 * translation's; a log entry that is read before it is written; a station that is found offline, or quiescent, by one who unmaps
 * while its access still uses the page.
 */
public final class PageGoes {
    private static final int DOMAIN = 1;
    private static final long TAG = TlbTag.of(DOMAIN, TlbTag.NO_PASID);
    private static final long ADDRESS = 0x5000;
    private static final long TRANSLATION = 0x9000 | 1;

    private PageGoes() {}

    private static MemorySegment words(long bytes) {
        return MemorySegment.ofArray(new long[(int) (bytes / Long.BYTES)]);
    }

    /** A thread walks and fills the IOTLB while another takes the page away. */
    @JCStressTest
    @Outcome(id = "0", expect = Expect.ACCEPTABLE, desc = "nobody finds it afterwards")
    @Outcome(expect = Expect.FORBIDDEN, desc = "The IOTLB keeps a translation that is gone.")
    @State
    public static class FillAgainstPurge {
        private final Iotlb iotlb = new Iotlb(4);
        private final MemorySegment table = words(Long.BYTES);

        /** A table with one page. */
        public FillAgainstPurge() {
            SharedWords.putLong(table, 0, TRANSLATION);
        }

        /** Walks, and fills in what it has found. */
        @Actor
        public void filler() {
            long sequence = iotlb.sequence();
            long found = SharedWords.getLongAcquire(table, 0);
            if (found != 0) {
                boolean _ = iotlb.insert(TAG, ADDRESS, found, sequence);
            }
        }

        /** Empties the table's entry, and purges. */
        @Actor
        public void unmapper() {
            SharedWords.setLongRelease(table, 0, 0);
            iotlb.invalidate(DOMAIN, TlbTag.NO_PASID, ADDRESS, 0);
        }

        /** Looks it up. */
        @Arbiter
        public void after(I_Result r) {
            r.r1 = iotlb.lookup(TAG, ADDRESS) == 0 ? 0 : 1;
        }
    }

    /** One entry takes one translation after another while somebody looks both up. */
    @JCStressTest
    @Outcome(id = "[01], [01]", expect = Expect.ACCEPTABLE, desc = "found whole, or not at all")
    @Outcome(expect = Expect.FORBIDDEN, desc = "A key with another's translation.")
    @State
    public static class FillAgainstLookup {
        private static final long OTHER = 0x6000;
        private static final long OTHER_TRANSLATION = 0xa000 | 1;

        private final Iotlb iotlb = new Iotlb(4);

        /** A full set, so that what comes takes the place of something. */
        public FillAgainstLookup() {
            for (int page = 0x10; page < 0x14; page++) {
                boolean _ = iotlb.insert(TAG, (long) page << 12, (long) page << 12 | 1, iotlb.sequence());
            }
        }

        /** Fills by turns. */
        @Actor
        public void filler() {
            for (int i = 0; i < 4; i++) {
                boolean _ = iotlb.insert(TAG, ADDRESS, TRANSLATION, iotlb.sequence());
                iotlb.invalidate(DOMAIN, TlbTag.NO_PASID, ADDRESS, 0);
                boolean _ = iotlb.insert(TAG, OTHER, OTHER_TRANSLATION, iotlb.sequence());
                iotlb.invalidate(DOMAIN, Iotlb.ANY_PASID, OTHER, 0);
            }
        }

        /** Looks both up. */
        @Actor
        public void reader(II_Result r) {
            r.r1 = found(iotlb.lookup(TAG, ADDRESS), TRANSLATION);
            r.r2 = found(iotlb.lookup(TAG, OTHER), OTHER_TRANSLATION);
        }

        private static int found(long value, long right) {
            return value == 0 ? 0 : value == right ? 1 : -1;
        }
    }

    /** An invalidation is appended while a thread that steps devices reads the log. */
    @JCStressTest
    @Outcome(id = "0", expect = Expect.ACCEPTABLE, desc = "read -> append")
    @Outcome(id = "1", expect = Expect.ACCEPTABLE, desc = "append -> read")
    @Outcome(id = "2", expect = Expect.ACCEPTABLE, desc = "epoch -> read -> entry: forgets everything")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Told to forget something else.")
    @State
    public static class AppendAgainstRead {
        private final InvalidationLog log = new InvalidationLog(words(InvalidationLog.wordsBytes(16)), 16);

        /** Appends. */
        @Actor
        public void unmapper() {
            long _ = log.append(DOMAIN, Iotlb.ANY_PASID, ADDRESS, 0);
        }

        /** Reads up to the epoch. */
        @Actor
        public void stepper(I_Result r) {
            log.read(0, log.epoch(), new InvalidationLog.Reader() {
                @Override
                public void forget(int domain, int pasid, long address, int size) {
                    r.r1 = domain == DOMAIN && pasid == Iotlb.ANY_PASID && address == ADDRESS && size == 0 ? 1 : -1;
                }

                @Override
                public void forgetEverything() {
                    r.r1 = 2;
                }
            });
        }
    }

    /** A thread goes online, makes two accesses, and goes offline, while another takes the page away and uses it again. */
    @JCStressTest
    @Outcome(id = "[012], 0", expect = Expect.ACCEPTABLE, desc = "not quiescent: the page is not used again")
    @Outcome(id = "[012], 1", expect = Expect.ACCEPTABLE, desc = "quiescent: no access finds the page any more")
    @Outcome(expect = Expect.FORBIDDEN, desc = "An access has used the page after it was given away.")
    @State
    public static class AccessAgainstUnmap {
        private static final int TABLE = 0;
        private static final int PAGE = 8;

        private final MemorySegment memory = words(2L * Long.BYTES);
        private final InvalidationLog log = new InvalidationLog(words(InvalidationLog.wordsBytes(16)), 16);
        private final Stations stations = new Stations(words(Stations.wordsBytes(1)), 1, log);

        /** A page that is there and belongs to the device. */
        public AccessAgainstUnmap() {
            SharedWords.putLong(memory, TABLE, 1);
        }

        /** Steps. */
        @Actor
        public void stepper(II_Result r) {
            Station station = stations.claim();
            station.goOnline();
            int used = access();
            station.quiesce();
            int again = access();
            station.goOffline();
            stations.release(station);
            r.r1 = used < 0 || again < 0 ? -1 : used + again;
        }

        /** Uses the page if it is there: 1, 0 if not, -1 if it was somebody else's by then. */
        private int access() {
            if (SharedWords.getLongAcquire(memory, TABLE) == 0) {
                return 0;
            }
            return SharedWords.getLongAcquire(memory, PAGE) == 0 ? 1 : -1;
        }

        /** Takes the page, and gives it away if nobody can use it any more. */
        @Actor
        public void unmapper(II_Result r) {
            SharedWords.setLongRelease(memory, TABLE, 0);
            long epoch = log.append(DOMAIN, Iotlb.ANY_PASID, ADDRESS, 0);
            if (stations.reached(epoch)) {
                SharedWords.setLongRelease(memory, PAGE, 1);
                r.r2 = 1;
            }
        }
    }

    /** A thread goes online and uses the page, and stays in its access, while another takes the page away. */
    @JCStressTest
    @Outcome(
            id = "0, 0",
            expect = Expect.ACCEPTABLE,
            desc = "online -> empty -> access: nothing is there, and it is waited for")
    @Outcome(id = "0, 1", expect = Expect.ACCEPTABLE, desc = "unmap -> online, or the epoch was seen")
    @Outcome(id = "1, 0", expect = Expect.ACCEPTABLE, desc = "online -> access -> unmap: it is waited for")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Uses the page, and is not waited for.")
    @State
    public static class OnlineAgainstUnmap {
        private final MemorySegment table = words(Long.BYTES);
        private final InvalidationLog log = new InvalidationLog(words(InvalidationLog.wordsBytes(16)), 16);
        private final Stations stations = new Stations(words(Stations.wordsBytes(1)), 1, log);

        /** A table with one page. */
        public OnlineAgainstUnmap() {
            SharedWords.putLong(table, 0, 1);
        }

        /** Goes online, and looks for the page. */
        @Actor
        public void stepper(II_Result r) {
            stations.claim().goOnline();
            r.r1 = (int) SharedWords.getLongAcquire(table, 0);
        }

        /** Takes the page, and sees whether anybody has to be waited for. */
        @Actor
        public void unmapper(II_Result r) {
            SharedWords.setLongRelease(table, 0, 0);
            r.r2 = stations.reached(log.append(DOMAIN, Iotlb.ANY_PASID, ADDRESS, 0)) ? 1 : 0;
        }
    }
}
