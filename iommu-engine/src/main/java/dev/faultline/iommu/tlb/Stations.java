package dev.faultline.iommu.tlb;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * All {@link Station}s of an IOMMU: who has to be waited for before a frame may be used again.
 *
 * <p>Threads: any. A thread claims a station when it enters its first device and gives it back with its last; the station it
 * had before is tried first. Progress: {@link #claim} lock-free, {@link #await} waits, for as long as it was told.
 */
public final class Stations {
    private static final int SPINS = 200;
    private static final int YIELDS = 1000;
    private static final long NAP_NS = 50_000;

    /** How many stations were ever used; raised before such a station goes online for the first time. */
    private static final long USED_OFFSET = 0;

    private static final long STATIONS_OFFSET = CacheLine.BYTES;

    private final MemorySegment words;
    private final Station[] stations;

    @SuppressWarnings("ThreadLocalUsage") // one for each Iommu: a thread has a station in each
    private final ThreadLocal<@Nullable Station> last = new ThreadLocal<>();

    public Stations(MemorySegment words, int stations, InvalidationLog log) {
        this.words = words;
        this.stations = new Station[stations];
        for (int i = 0; i < stations; i++) {
            this.stations[i] = new Station(words, STATIONS_OFFSET + (long) i * CacheLine.BYTES, log);
        }
    }

    public static long wordsBytes(int stations) {
        return STATIONS_OFFSET + (long) stations * CacheLine.BYTES;
    }

    /** The calling thread's station, if it has entered a device. */
    public @Nullable Station current() {
        Station station = last.get();
        return station != null && Thread.currentThread().equals(station.owner.get()) ? station : null;
    }

    /** The calling thread's station, claimed if it has none. */
    public Station claim() {
        Thread me = Thread.currentThread();
        Station station = last.get();
        if (station != null && (me.equals(station.owner.get()) || station.owner.compareAndSet(null, me))) {
            return station;
        }
        for (int i = 0; i < stations.length; i++) {
            if (stations[i].owner.get() == null && stations[i].owner.compareAndSet(null, me)) {
                used(i + 1);
                last.set(stations[i]);
                return stations[i];
            }
        }
        throw new IllegalStateException("stations=" + stations.length
                + ": that many threads have entered devices; open the Iommu with more stations");
    }

    public void release(Station station) {
        station.owner.set(null);
    }

    /** Whether every station other than the caller's has published an epoch, or is offline. */
    public boolean reached(long epoch) {
        SharedWords.fullFence();
        int used = SharedWords.getIntAcquire(words, USED_OFFSET);
        for (int i = 0; i < used; i++) {
            if (stations[i].word() < epoch && !Thread.currentThread().equals(stations[i].owner.get())) {
                return false;
            }
        }
        return true;
    }

    /**
     * Waits until every station has published an epoch or is offline. The caller's own station counts as quiescent: it is
     * between accesses, for it is here. It goes offline meanwhile, because two handlers, each on a thread that steps devices,
     * may wait for each other; back online it obeys what it missed before its next access.
     *
     * @return null; or, when the limit has passed, the name of a thread that does not step
     */
    public @Nullable String await(long epoch, long limitNs) {
        Station own = current();
        boolean wasOnline = own != null && own.online();
        if (own != null) {
            if (own.inAccess()) {
                throw new IllegalStateException("unmapping inside step(): do it between steps");
            }
            own.goOffline();
        }
        try {
            // The epoch was advanced by an atomic step before. It must not be overtaken by the loads of the station
            // words: either a station that goes online is seen here, or it sees the epoch (Station, third point).
            SharedWords.fullFence();
            int used = SharedWords.getIntAcquire(words, USED_OFFSET);
            for (int i = 0; i < used; i++) {
                String stuck = awaitOne(stations[i], epoch, limitNs);
                if (stuck != null) {
                    return stuck;
                }
            }
            return null;
        } finally {
            if (own != null && wasOnline) {
                own.goOnline();
            }
        }
    }

    /** Checks before anything is changed that {@link #await} may be called here. */
    public void mayWait() {
        Station own = current();
        if (own != null && own.inAccess()) {
            throw new IllegalStateException("unmapping inside step(): do it between steps");
        }
    }

    private static @Nullable String awaitOne(Station station, long epoch, long limitNs) {
        for (int i = 0; i < SPINS; i++) {
            if (station.word() >= epoch) {
                return null;
            }
            Thread.onSpinWait();
        }
        long start = System.nanoTime();
        for (int i = 0; station.word() < epoch; i++) {
            if (System.nanoTime() - start > limitNs) {
                Thread owner = station.owner.get();
                return owner == null ? "?" : owner.getName();
            }
            pause(i);
        }
        return null;
    }

    /** One step of waiting for another thread that is expected to act soon. */
    @SuppressWarnings("ThreadPriorityCheck") // only a hint: progress is made by whoever is waited for
    public static void pause(int turn) {
        if (turn < YIELDS) {
            Thread.yield();
        } else {
            LockSupport.parkNanos(NAP_NS);
        }
    }

    private void used(int count) {
        while (true) {
            int used = SharedWords.getIntVolatile(words, USED_OFFSET);
            if (used >= count || SharedWords.compareAndSetInt(words, USED_OFFSET, used, count)) {
                return;
            }
        }
    }
}
