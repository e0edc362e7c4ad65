package dev.faultline.examples.replay;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** The shadow against plain arrays, and the backing store against the shadow. */
class MemoryTest {
    private static final long SEED = 42;

    @Test
    void theShadowIsWhatWasStoredByteForByte() {
        long deviceSeed = Scramble.deviceSeed(SEED, 1);
        Random random = new Random(SEED);
        MemorySegment buffer = MemorySegment.ofArray(new long[TraceAccess.PAGE_BYTES / Long.BYTES + 2]);
        MemorySegment[] oracle = new MemorySegment[3];
        for (int page = 0; page < oracle.length; page++) {
            oracle[page] = MemorySegment.ofArray(new byte[TraceAccess.PAGE_BYTES]);
            Scramble.fillPage(deviceSeed, page * 1000L, oracle[page], 0);
        }
        try (ShadowMemory shadow = new ShadowMemory(deviceSeed)) {
            for (int i = 0; i < 50_000; i++) {
                int page = random.nextInt(oracle.length);
                int bytes = 1 + random.nextInt(i % 100 == 0 ? TraceAccess.PAGE_BYTES : 40);
                int at = random.nextInt(TraceAccess.PAGE_BYTES - bytes + 1);
                long address = page * 1000L * TraceAccess.PAGE_BYTES + at;
                MemorySegment there = oracle[page].asSlice(at, bytes);
                if (random.nextBoolean()) {
                    shadow.store(address, bytes, Scramble.stored(deviceSeed, i), buffer, 3);
                    there.copyFrom(buffer.asSlice(3, bytes));
                } else {
                    MemorySegment.copy(there, 0, buffer, 5, bytes);
                    assertTrue(shadow.matches(address, bytes, buffer, 5));
                    int wrong = random.nextInt(bytes);
                    byte was = buffer.get(ValueLayout.JAVA_BYTE, 5 + wrong);
                    buffer.set(ValueLayout.JAVA_BYTE, 5 + wrong, (byte) (was ^ 1 << random.nextInt(8)));
                    assertFalse(shadow.matches(address, bytes, buffer, 5));
                }
                assertArrayEquals(there.toArray(ValueLayout.JAVA_BYTE), shadow.expected(address, bytes));
            }
            assertEquals(3, shadow.pages());
        }
    }

    @Test
    void aPageNeverWrittenBackReadsAsTheShadowExpects() {
        try (BackingStore store = new BackingStore(SEED);
                ShadowMemory shadow = new ShadowMemory(Scramble.deviceSeed(SEED, 2))) {
            long address = 0x7fff_1234_5000L;
            assertTrue(shadow.matches(address, TraceAccess.PAGE_BYTES, store.read(PageKey.of(2, address)), 0));
            assertFalse(shadow.matches(address, TraceAccess.PAGE_BYTES, store.read(PageKey.of(1, address)), 0));
            assertFalse(shadow.matches(
                    address, TraceAccess.PAGE_BYTES, store.read(PageKey.of(2, address + TraceAccess.PAGE_BYTES)), 0));
        }
    }

    @Test
    void aPageWrittenBackComesBackAsItWas() {
        try (BackingStore store = new BackingStore(SEED)) {
            for (int page = 0; page < 300; page++) {
                store.incoming().fill((byte) page);
                store.write(PageKey.of(3, page * 4096L));
            }
            store.incoming().fill((byte) 77);
            store.write(PageKey.of(3, 5 * 4096L));
            for (int page = 0; page < 300; page++) {
                long key = PageKey.of(3, page * 4096L);
                assertTrue(store.holds(key));
                assertEquals(page == 5 ? 77 : (byte) page, store.read(key).get(ValueLayout.JAVA_BYTE, 4095));
            }
            assertEquals(300, store.pages());
            assertFalse(store.holds(PageKey.of(4, 0)));
        }
    }

    @Test
    void keysKeepSpacesApart() {
        long key = PageKey.of(0xfffff, 0xffff_ffff_ffffL);
        assertEquals(0xfffff, PageKey.number(key));
        assertEquals(0xffff_ffff_ffff_f000L, PageKey.address(key));
        assertEquals(0x7fff_1234_5000L, PageKey.address(PageKey.of(1, 0x7fff_1234_5678L)));
        assertTrue(key > 0);
    }
}
