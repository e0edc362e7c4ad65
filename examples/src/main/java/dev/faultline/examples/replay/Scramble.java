package dev.faultline.examples.replay;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Where the replay's data comes from: values that only depend on seed, device and place, and that no two places share
 * by accident. The mixing is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
 */
final class Scramble {
    private static final long STEP = 0x9e3779b97f4a7c15L;

    private Scramble() {}

    static long mix(long z) {
        z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
        z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
        return z ^ z >>> 31;
    }

    /** What a device starts from, so that two devices never agree. */
    static long deviceSeed(long seed, int device) {
        return mix(seed + STEP * device);
    }

    /** What a store writes: eight bytes, repeated where it is wider. */
    static long stored(long deviceSeed, long sequence) {
        return mix(deviceSeed ^ STEP * sequence);
    }

    /** What a page holds before anything was stored there, as if read from the program's file. */
    static void fillPage(long deviceSeed, long page, MemorySegment into, long offset) {
        long z = mix(deviceSeed + page);
        for (int at = 0; at < TraceAccess.PAGE_BYTES; at += Long.BYTES) {
            z += STEP;
            into.set(ValueLayout.JAVA_LONG_UNALIGNED, offset + at, mix(z));
        }
    }
}
