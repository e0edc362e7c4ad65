package dev.faultline.ring.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a ring promises, for several capacities and at an offset in its memory; the other end is played by the test. */
class RingTest {
    private static final long BASE = 3L * CacheLine.BYTES;

    private static Region region(int capacity) {
        return Region.allocate(BASE + RingLayout.bytes(capacity));
    }

    @Test
    void everyWordIsWhereThePictureSays() {
        assertEquals(64, RingLayout.ENTRY_BYTES);
        assertEquals(0, RingLayout.TAIL_OFFSET);
        assertEquals(128, RingLayout.HEAD_OFFSET);
        assertEquals(256, RingLayout.ENTRIES_OFFSET);
        assertEquals(256 + 128, RingLayout.bytes(1), "rounded up, so that what follows is on lines of its own");
        assertEquals(256 + 8 * 64, RingLayout.bytes(8));
        assertEquals(
                "capacity=6: allowed a power of two",
                assertThrows(IllegalArgumentException.class, () -> RingLayout.bytes(6))
                        .getMessage());
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 8, 64})
    void entriesComeOutInOrderOverManyLaps(int capacity) {
        try (Region region = region(capacity)) {
            EntryWriter writer = new EntryWriter(region.segment(), BASE, capacity);
            EntryReader reader = new EntryReader(region.segment(), BASE, capacity);
            long written = 0;
            long read = 0;
            for (int lap = 0; lap < 1_000; lap++) {
                int n = 1 + lap % capacity;
                for (int i = 0; i < n; i++) {
                    long entry = writer.claim();
                    assertEquals(BASE + RingLayout.ENTRIES_OFFSET + (written % capacity) * 64, entry);
                    SharedWords.putLong(region.segment(), entry, written);
                    SharedWords.putLong(region.segment(), entry + 56, ~written);
                    written++;
                }
                assertEquals(n, writer.staged());
                assertEquals(-1, reader.next(), "nothing is seen before it is published");
                assertTrue(writer.publish());
                assertFalse(writer.publish());
                for (int i = 0; i < n; i++) {
                    assertTrue(reader.isReady());
                    assertEquals(read % capacity, reader.index());
                    long entry = reader.next();
                    assertEquals(read, SharedWords.getLong(region.segment(), entry));
                    assertEquals(~read, SharedWords.getLong(region.segment(), entry + 56));
                    reader.advance();
                    read++;
                }
                assertEquals(-1, reader.next());
                reader.release();
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 4, 16})
    void aFullRingRefusesUntilEntriesAreGivenBack(int capacity) {
        try (Region region = region(capacity)) {
            EntryWriter writer = new EntryWriter(region.segment(), BASE, capacity);
            EntryReader reader = new EntryReader(region.segment(), BASE, capacity);
            for (int i = 0; i < capacity; i++) {
                assertTrue(writer.claim() >= 0);
            }
            assertEquals(-1, writer.claim());
            assertTrue(writer.publish());
            for (int i = 0; i < capacity; i++) {
                assertTrue(reader.next() >= 0);
                reader.advance();
            }
            assertEquals(-1, writer.claim(), "passed is not given back");
            reader.release();
            for (int i = 0; i < capacity; i++) {
                assertTrue(writer.claim() >= 0);
            }
            assertEquals(-1, writer.claim());
            assertEquals(capacity, writer.headSeen());
            assertEquals(2L * capacity, writer.position());
        }
    }

    @Test
    void aPeerThatScribblesOverItsWordStopsAnEndAndLeadsItNowhere() {
        int capacity = 8;
        for (long bad : new long[] {-1, Long.MIN_VALUE, Long.MAX_VALUE, 1L << 40, 9, 1_000}) {
            try (Region region = region(capacity)) {
                EntryReader reader = new EntryReader(region.segment(), BASE, capacity);
                SharedWords.setLongRelease(region.segment(), BASE + RingLayout.TAIL_OFFSET, bad);
                assertEquals(-1, reader.next(), () -> "tail " + bad);
                assertFalse(reader.isReady());
            }
            try (Region region = region(capacity)) {
                EntryWriter writer = new EntryWriter(region.segment(), BASE, capacity);
                for (int i = 0; i < capacity; i++) {
                    assertTrue(writer.claim() >= 0);
                }
                writer.publish();
                SharedWords.setLongRelease(region.segment(), BASE + RingLayout.HEAD_OFFSET, bad);
                assertEquals(-1, writer.claim(), () -> "head " + bad);
            }
        }
    }

    @Test
    void twoThreadsPassAMillionEntries() throws Exception {
        int capacity = 64;
        long count = 1_000_000;
        try (Region region = region(capacity)) {
            EntryReader reader = new EntryReader(region.segment(), BASE, capacity);
            Thread thread = Thread.ofPlatform().start(() -> {
                EntryWriter writer = new EntryWriter(region.segment(), BASE, capacity);
                for (long i = 0; i < count; ) {
                    long entry = writer.claim();
                    if (entry < 0) {
                        writer.publish();
                        Thread.onSpinWait();
                        continue;
                    }
                    for (int word = 0; word < 8; word++) {
                        SharedWords.putLong(region.segment(), entry + word * 8L, i + word);
                    }
                    if (++i % 16 == 0) {
                        writer.publish();
                    }
                }
                writer.publish();
            });
            for (long i = 0; i < count; ) {
                long entry = reader.next();
                if (entry < 0) {
                    reader.release();
                    Thread.onSpinWait();
                    continue;
                }
                for (int word = 0; word < 8; word++) {
                    assertEquals(i + word, SharedWords.getLong(region.segment(), entry + word * 8L));
                }
                reader.advance();
                i++;
            }
            thread.join();
        }
    }
}
