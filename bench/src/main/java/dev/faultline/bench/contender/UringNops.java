package dev.faultline.bench.contender;

import dev.faultline.ffm.IoUring;
import org.jspecify.annotations.Nullable;

/**
 * No-ops in batches of 32 through {@link IoUring}: entries are prepared, submitted and waited for by one call, their completions read. The same
 * as {@code uring_nop.c}.
 */
final class UringNops extends OneThread {
    private static final int BATCH = 32;

    private @Nullable IoUring ring;
    private long number;

    /** The thread that uses the ring opens it. */
    private IoUring ring() {
        IoUring now = ring;
        if (now == null) {
            now = IoUring.open(BATCH, 2 * BATCH);
            ring = now;
        }
        return now;
    }

    @Override
    public int request(int roundTrips) {
        IoUring to = ring();
        int done = 0;
        while (done < roundTrips) {
            done += batch(to);
        }
        return done;
    }

    private int batch(IoUring to) {
        long expected = 0;
        boolean prepared = true;
        for (int i = 0; i < BATCH; i++) {
            expected += number;
            prepared &= to.nop(number++);
        }
        int taken = to.submitAndWait(BATCH, -1);
        int ready = to.ready();
        long seen = 0;
        for (int i = 0; i < ready; i++) {
            seen += to.userData(i) + (to.result(i) & 0xffff_ffffL);
        }
        to.advance(ready);
        if (!prepared || taken != BATCH || ready != BATCH || seen != expected) {
            throw new IllegalStateException(
                    "taken=" + taken + ", ready=" + ready + ", seen=" + seen + ", expected=" + expected);
        }
        return ready;
    }

    @Override
    public void end() {}

    @Override
    public void close() {
        if (ring != null) {
            ring.close();
        }
    }
}
