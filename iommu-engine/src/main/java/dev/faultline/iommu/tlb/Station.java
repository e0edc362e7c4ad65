package dev.faultline.iommu.tlb;

import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * Where one thread that steps devices says which invalidations it has obeyed.
 *
 * <p>Its word is written by that thread and read by those who unmap: the epoch up to which all device TLBs of this thread
 * are purged and every access that began before is over; {@link #OFFLINE} while the thread is in no access at all.
 *
 * <ul>
 *   <li><b>Publishing an epoch</b> is a release: the loads and stores of finished accesses cannot sink below it, and they are
 *       all that the reader of the word wants to know about. Later accesses need no fence: they follow an acquire load of the
 *       same epoch, so their walks see the changed tables.
 *   <li><b>Going offline</b> is the same release.
 *   <li><b>Going online</b> needs a full fence: the store of the word must not be overtaken by the load of the epoch.
 *       Otherwise the one who unmaps could find the station offline, while the station, having loaded the epoch earlier,
 *       uses a translation that is gone.
 * </ul>
 */
public final class Station {
    /** What its thread steps. */
    public interface Stepped {
        /**
         * Forgets what was invalidated. No access is under way.
         *
         * @param epoch up to which
         */
        void obey(long epoch);

        /**
         * Runs what other threads have asked for.
         *
         * @return whether there was anything
         */
        boolean serve();
    }

    static final long OFFLINE = Long.MAX_VALUE;
    /** Online, and no epoch obeyed yet: epochs that are waited for begin at 1. */
    private static final long ARRIVING = 0;

    final AtomicReference<@Nullable Thread> owner = new AtomicReference<>();

    private final MemorySegment words;
    private final long offset;
    private final InvalidationLog log;
    private @Nullable Stepped[] devices = new @Nullable Stepped[4];
    private int count;
    private boolean online;
    private long published;
    private boolean inAccess;

    Station(MemorySegment words, long offset, InvalidationLog log) {
        this.words = words;
        this.offset = offset;
        this.log = log;
        SharedWords.setLongRelease(words, offset, OFFLINE);
    }

    /** The word, for others. */
    long word() {
        return SharedWords.getLongAcquire(words, offset);
    }

    public boolean online() {
        return online;
    }

    public boolean inAccess() {
        return inAccess;
    }

    public void inAccess(boolean now) {
        inAccess = now;
    }

    public boolean empty() {
        return count == 0;
    }

    public void add(Stepped device) {
        if (count == devices.length) {
            devices = Arrays.copyOf(devices, 2 * count);
        }
        devices[count++] = device;
        if (online) {
            device.obey(log.epoch());
        } else {
            goOnline();
        }
    }

    public void remove(Stepped device) {
        for (int i = 0; i < count; i++) {
            if (devices[i] == device) {
                devices[i] = devices[--count];
                devices[count] = null;
                break;
            }
        }
        if (count == 0) {
            goOffline();
        }
    }

    public void goOnline() {
        online = true;
        SharedWords.setLongOpaque(words, offset, ARRIVING);
        SharedWords.fullFence();
        publish(log.epoch());
    }

    public void goOffline() {
        online = false;
        SharedWords.setLongRelease(words, offset, OFFLINE);
    }

    /** A quiescent point: no access of this thread is under way. One acquire load unless pages went away. */
    public void quiesce() {
        long epoch = log.epoch();
        if (epoch != published) {
            publish(epoch);
        }
    }

    /** Runs what other threads want done on this thread's devices, while it waits for one of them. */
    public void serve() {
        for (int i = 0; i < count; i++) {
            Stepped device = devices[i];
            if (device != null) {
                boolean _ = device.serve();
            }
        }
    }

    private void publish(long epoch) {
        for (int i = 0; i < count; i++) {
            Stepped device = devices[i];
            if (device != null) {
                device.obey(epoch);
            }
        }
        published = epoch;
        SharedWords.setLongRelease(words, offset, epoch);
    }
}
