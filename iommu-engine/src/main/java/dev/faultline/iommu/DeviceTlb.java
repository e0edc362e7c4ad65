package dev.faultline.iommu;

import java.util.Arrays;

/**
 * The translations one device keeps to itself, keyed by PASID and page, as a PCIe function with ATS does. Only an
 * invalidation takes an entry out before a newer one needs its place: a changed page table alone leaves it in use.
 *
 * <p>Threads: the one that has entered the device.
 */
final class DeviceTlb {
    private static final int WAYS = 4;

    private final long[] keys;
    private final long[] values;
    private final byte[] turns;
    private final int setMask;

    DeviceTlb(int entries) {
        keys = new long[entries];
        values = new long[entries];
        turns = new byte[entries / WAYS];
        setMask = entries / WAYS - 1;
    }

    /** A translation, or 0. */
    long lookup(long key) {
        int at = (TlbKey.hash(key) & setMask) * WAYS;
        for (int end = at + WAYS; at < end; at++) {
            if (keys[at] == key) {
                return values[at];
            }
        }
        return 0;
    }

    void insert(long key, long value) {
        int set = TlbKey.hash(key) & setMask;
        int start = set * WAYS;
        int target = -1;
        for (int at = start; at < start + WAYS; at++) {
            if (keys[at] == key) {
                target = at;
                break;
            }
            if (keys[at] == 0) {
                target = at;
            }
        }
        if (target < 0) {
            target = start + (turns[set]++ & (WAYS - 1));
        }
        keys[target] = key;
        values[target] = value;
    }

    void remove(long key) {
        int at = (TlbKey.hash(key) & setMask) * WAYS;
        for (int end = at + WAYS; at < end; at++) {
            if (keys[at] == key) {
                keys[at] = 0;
            }
        }
    }

    void removePasid(int pasid) {
        long key = TlbKey.ofPasid(pasid, 0);
        for (int at = 0; at < keys.length; at++) {
            if ((keys[at] & ~TlbKey.PAGE_NUMBER_MASK) == key) {
                keys[at] = 0;
            }
        }
    }

    void clear() {
        Arrays.fill(keys, 0);
    }
}
