package dev.faultline.examples.replay;

import java.util.Arrays;

/**
 * A map from page keys to small numbers: open addressing over two arrays, nothing boxed.
 *
 * <p>Threads: one. Memory: grows with the entries, never shrinks; only growing allocates. Keys are 0 or more.
 */
final class PageIndex {
    /** What {@link #get} and {@link #remove} say for a key that is not there. */
    static final int NONE = -1;

    private static final long EMPTY = -1;

    private long[] keys;
    private int[] values;
    private int mask;
    private int size;

    /**
     * Makes an empty map.
     *
     * @param expected entries it takes without growing
     */
    PageIndex(int expected) {
        allocate(Math.max(16, Integer.highestOneBit(Math.max(1, expected)) << 2));
    }

    int size() {
        return size;
    }

    int get(long key) {
        for (int at = slot(key); ; at = at + 1 & mask) {
            long found = keys[at];
            if (found == key) {
                return values[at];
            }
            if (found == EMPTY) {
                return NONE;
            }
        }
    }

    /** Adds a key that is not there yet. */
    void add(long key, int value) {
        if (size + 1 > keys.length / 2) {
            grow();
        }
        int at = slot(key);
        while (keys[at] != EMPTY) {
            assert keys[at] != key : "key=" + key + " is there already";
            at = at + 1 & mask;
        }
        keys[at] = key;
        values[at] = value;
        size++;
    }

    int remove(long key) {
        int at = slot(key);
        while (keys[at] != key) {
            if (keys[at] == EMPTY) {
                return NONE;
            }
            at = at + 1 & mask;
        }
        int value = values[at];
        size--;
        // A probe must find no hole before its key: whatever may stand in the hole moves into it.
        for (int next = at + 1 & mask; keys[next] != EMPTY; next = next + 1 & mask) {
            int home = slot(keys[next]);
            if ((next - home & mask) >= (next - at & mask)) {
                keys[at] = keys[next];
                values[at] = values[next];
                at = next;
            }
        }
        keys[at] = EMPTY;
        return value;
    }

    private int slot(long key) {
        return (int) Scramble.mix(key) & mask;
    }

    private void grow() {
        long[] oldKeys = keys;
        int[] oldValues = values;
        allocate(oldKeys.length * 2);
        size = 0;
        for (int i = 0; i < oldKeys.length; i++) {
            if (oldKeys[i] != EMPTY) {
                add(oldKeys[i], oldValues[i]);
            }
        }
    }

    private void allocate(int length) {
        keys = new long[length];
        Arrays.fill(keys, EMPTY);
        values = new int[length];
        mask = length - 1;
    }
}
