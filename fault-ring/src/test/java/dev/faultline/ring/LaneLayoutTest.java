package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What the header of a lane says, and what is made of one that was written by somebody else. */
class LaneLayoutTest {
    private static final LaneLayout LAYOUT =
            LaneLayout.of(QueueConfig.of(32).withLargestGroup(4).withLanes(3), 20, 2);

    @Test
    void theHeaderSaysEverything() {
        try (Region region = Region.allocate(LAYOUT.bytes())) {
            assertThrows(IllegalArgumentException.class, () -> LaneLayout.readFrom(region.segment()));
            LAYOUT.writeTo(region.segment());
            assertEquals(LAYOUT, LaneLayout.readFrom(region.segment()));
        }
    }

    @Test
    void whatTheConsumerWritesHasPagesOfItsOwn() {
        assertEquals(0, LAYOUT.submissionsOffset() % 4096);
        assertTrue(LAYOUT.submissionsOffset() >= LAYOUT.revokedCookiesOffset() + 20 * 4);
        assertTrue(LAYOUT.revokedCookiesOffset() >= LAYOUT.buffersOffset() + (32 + 65) * 4 * 40);
        assertTrue(LAYOUT.buffersOffset() >= LaneLayout.COMPLETIONS_OFFSET + (32 + 65) * 64);
        assertEquals(
                CacheLine.alignUp(LAYOUT.submissionsOffset() + 273 * 8),
                LAYOUT.bytes(),
                "80 for answers, 192 for the rest, and the one that stays free");
    }

    @ParameterizedTest
    @CsvSource({
        "0,  123, magic=0x454e414c0000007b: allowed 0x454e414c544c4146; this is no lane",
        "8,  2, 'version=2 in the header of a lane: allowed 1 to 1'",
        "12, 0, 'largestGroup=0 in the header of a lane: allowed 1 to 2048'",
        "12, 2049, 'largestGroup=2049 in the header of a lane: allowed 1 to 2048'",
        "16, -1, 'allocation=-1 in the header of a lane: allowed 1 to 4194304'",
        "20, 65, 'completions=65 in the header of a lane: allowed 66 to 1048641'",
        "24, 271, 'submissions=271 in the header of a lane: allowed 273 to 273'",
        "28, 4097, 'lanes=4097 in the header of a lane: allowed 1 to 4096'",
        "32, 3, 'lane=3 in the header of a lane: allowed 0 to 2'",
        "12, 2048, 'bytes=26880: the lane''s header asks for 7956736'",
    })
    void aHeaderThatCannotBeIsRefused(int offset, int value, String message) {
        try (Region region = Region.allocate(LAYOUT.bytes())) {
            MemorySegment memory = region.segment();
            LAYOUT.writeTo(memory);
            SharedWords.putInt(memory, offset, value);
            assertEquals(
                    message,
                    assertThrows(IllegalArgumentException.class, () -> LaneLayout.readFrom(memory))
                            .getMessage());
        }
    }

    @Test
    void memoryTooSmallForAHeaderIsRefused() {
        try (Region region = Region.allocate(128)) {
            assertEquals(
                    "bytes=128: a lane has 384 or more",
                    assertThrows(IllegalArgumentException.class, () -> LaneLayout.readFrom(region.segment()))
                            .getMessage());
        }
    }
}
