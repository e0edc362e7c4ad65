package dev.faultline.ring.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What the two kinds of ring promise, for several capacities and at an offset in their memory. */
class RingTest {
    private static final long BASE = 3L * CacheLine.BYTES;
    private static final long TAKEN = CacheLine.BYTES;

    /** More laps than a stamp can tell apart. */
    private static final int LAPS = 70_000;

    private static Region region(int capacity) {
        return Region.allocate(BASE + (long) capacity * Stamps.ENTRY_BYTES);
    }

    private static WordWriter wordWriter(Region region, int capacity) {
        return WordWriter.of(region.segment(), BASE, capacity, region.segment(), TAKEN);
    }

    private static WordReader wordReader(Region region, int capacity) {
        return WordReader.of(region.segment(), BASE, capacity, region.segment(), TAKEN);
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 3, 8, 65})
    void entriesComeOutInOrderOverManyLaps(int capacity) {
        try (Region region = region(capacity)) {
            MemorySegment memory = region.segment();
            EntryWriter writer = EntryWriter.of(memory, BASE, capacity);
            EntryReader reader = EntryReader.of(memory, BASE, capacity);
            long written = 0;
            long read = 0;
            for (int round = 0; written < (long) LAPS * capacity; round++) {
                int n = 1 + round % (capacity - 1);
                for (int i = 0; i < n; i++) {
                    assertEquals(BASE + (written % capacity) * 64, writer.next());
                    assertEquals(written % capacity, writer.index());
                    SharedWords.putLong(memory, writer.next() + 56, ~written);
                    writer.stage(1 + (written & 0xff_ffff));
                    written++;
                }
                assertEquals(n, writer.staged());
                assertEquals(0, reader.next(), "nothing is seen before it is published");
                assertTrue(writer.publish());
                assertFalse(writer.publish());
                assertEquals(0, writer.staged());
                for (int i = 0; i < n; i++) {
                    assertEquals(1 + (read & 0xff_ffff), reader.next());
                    assertEquals(read % capacity, reader.index());
                    assertEquals(~read, SharedWords.getLong(memory, reader.entry() + 56));
                    reader.advance();
                    read++;
                }
                assertEquals(0, reader.next());
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 3, 8, 67})
    void wordsComeOutInOrderOverManyLaps(int capacity) {
        try (Region region = region(capacity)) {
            WordWriter writer = wordWriter(region, capacity);
            WordReader reader = wordReader(region, capacity);
            long written = 0;
            long read = 0;
            for (int round = 0; written < (long) LAPS * capacity; round++) {
                int n = 1 + round % (capacity - 1);
                assertTrue(writer.hasRoom(n));
                for (int i = 0; i < n; i++) {
                    writer.stage(Stamps.LOW_MASK - (written++ & 0xff_ffff));
                }
                assertEquals(n, writer.staged());
                assertEquals(0, reader.next(), "nothing is seen before it is published");
                writer.publish();
                assertEquals(0, writer.staged());
                for (int i = 0; i < n; i++) {
                    assertEquals(Stamps.LOW_MASK - (read++ & 0xff_ffff), reader.next());
                    reader.advance();
                }
                assertEquals(0, reader.next());
                reader.release();
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 4, 16})
    void aFullRingOfWordsHasNoRoomUntilWordsAreGivenBack(int room) {
        try (Region region = region(room + 1)) {
            WordWriter writer = wordWriter(region, room + 1);
            WordReader reader = wordReader(region, room + 1);
            assertFalse(writer.hasRoom(room + 1));
            for (int i = 1; i <= room; i++) {
                assertTrue(writer.hasRoom(1));
                writer.stage(i);
            }
            assertEquals(room, writer.staged());
            assertFalse(writer.hasRoom(1));
            writer.publish();
            for (int i = 1; i <= room; i++) {
                assertEquals(i, reader.next());
                reader.advance();
            }
            assertFalse(writer.hasRoom(1), "passed is not given back");
            reader.release();
            assertTrue(writer.hasRoom(room));
            assertFalse(writer.hasRoom(room + 1));
        }
    }

    @Test
    void aPeerThatScribblesOverItsWordStopsAnEndAndLeadsItNowhere() {
        int capacity = 8;
        for (long bad : new long[] {-1, Long.MIN_VALUE, Long.MAX_VALUE, 1L << 40, 9, 1_000}) {
            try (Region region = region(capacity)) {
                WordWriter writer = wordWriter(region, capacity);
                for (int i = 1; i < capacity; i++) {
                    assertTrue(writer.hasRoom(1));
                    writer.stage(1);
                }
                writer.publish();
                SharedWords.setLongRelease(region.segment(), TAKEN, bad);
                assertFalse(writer.hasRoom(1), () -> "taken " + bad);
            }
        }
        try (Region region = region(capacity)) {
            EntryReader reader = EntryReader.of(region.segment(), BASE, capacity);
            for (long bad : new long[] {-1, Long.MIN_VALUE, Long.MAX_VALUE, 1, 2L << 48, 1L << 48}) {
                SharedWords.setLongRelease(region.segment(), BASE, bad);
                assertEquals(0, reader.next(), () -> "stamp 0x" + Long.toHexString(bad));
            }
        }
    }

    @Test
    void aRingHasToLieInsideItsMemory() {
        try (Region region = Region.allocate(256)) {
            MemorySegment memory = region.segment();
            for (int capacity : new int[] {Integer.MIN_VALUE, -1, 0, 1, 5, Integer.MAX_VALUE}) {
                IllegalArgumentException refused =
                        assertThrows(IllegalArgumentException.class, () -> EntryWriter.of(memory, 0, capacity));
                assertEquals(
                        "capacity=" + capacity + ", base=0: allowed 2 or more, and what lies, aligned to 128,"
                                + " inside 256 bytes",
                        refused.getMessage());
            }
            assertThrows(IllegalArgumentException.class, () -> EntryReader.of(memory, 64, 2));
            assertThrows(IllegalArgumentException.class, () -> WordReader.of(memory, -128, 2, memory, 0));
            assertThrows(IllegalArgumentException.class, () -> WordWriter.of(memory, 0, 33, memory, 0));
        }
    }

    @Test
    void twoThreadsPassAMillionEntriesOnCreditGivenBackInWords() throws Exception {
        int capacity = 64;
        int credit = capacity - 1;
        long count = 1_000_000;
        try (Region region = region(capacity);
                Region back = region(capacity)) {
            MemorySegment memory = region.segment();
            EntryReader reader = EntryReader.of(memory, BASE, capacity);
            WordWriter credits = wordWriter(back, capacity);
            Thread thread = Thread.ofPlatform().start(() -> {
                EntryWriter writer = EntryWriter.of(memory, BASE, capacity);
                WordReader given = wordReader(back, capacity);
                long free = credit;
                for (long i = 0; i < count; ) {
                    for (; given.next() != 0; given.advance()) {
                        free += given.next();
                    }
                    given.release();
                    if (free == 0) {
                        writer.publish();
                        Thread.onSpinWait();
                        continue;
                    }
                    free--;
                    for (int word = 1; word < 8; word++) {
                        SharedWords.putLong(memory, writer.next() + word * 8L, i + word);
                    }
                    writer.stage(1 + i);
                    if (++i % 16 == 0) {
                        writer.publish();
                    }
                }
                writer.publish();
            });
            int owed = 0;
            for (long i = 0; i < count; ) {
                if (reader.next() == 0) {
                    if (owed > 0 && credits.hasRoom(1)) {
                        credits.stage(owed);
                        credits.publish();
                        owed = 0;
                    }
                    Thread.onSpinWait();
                    continue;
                }
                assertEquals(1 + i, reader.next());
                for (int word = 1; word < 8; word++) {
                    assertEquals(i + word, SharedWords.getLong(memory, reader.entry() + word * 8L));
                }
                reader.advance();
                owed++;
                i++;
            }
            thread.join();
            assertEquals(0, reader.next());
        }
    }
}
