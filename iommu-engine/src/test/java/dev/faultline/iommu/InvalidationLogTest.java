package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Region;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class InvalidationLogTest {
    private static final int ENTRIES = 16;

    private final Region words = Region.allocate(InvalidationLog.wordsBytes(ENTRIES));
    private final InvalidationLog log = new InvalidationLog(words.segment(), ENTRIES);

    @AfterEach
    void free() {
        words.close();
    }

    @Test
    void readsBackWhatWasAppendedAndSaysWhatIsGone() {
        assertEquals(0, log.epoch());
        assertEquals(InvalidationLog.UNREADABLE, log.read(0), "claimed and not written yet looks like this");
        for (int i = 0; i < ENTRIES + 3; i++) {
            assertEquals(i + 1, log.append(InvalidationLog.page(7, (long) i << 12)));
        }
        assertEquals(ENTRIES + 3, log.epoch());
        for (int i = 0; i < ENTRIES + 3; i++) {
            long expected = i < 3 ? InvalidationLog.UNREADABLE : InvalidationLog.page(7, (long) i << 12);
            assertEquals(expected, log.read(i));
        }
    }

    @Test
    void tellsAPageFromAWholeSpace() {
        long whole = InvalidationLog.wholeSpace(TlbKey.MAX_SPACES - 1);
        assertTrue(InvalidationLog.isWholeSpace(whole));
        assertEquals(TlbKey.MAX_SPACES - 1, InvalidationLog.space(whole));
        long page = InvalidationLog.page(9, 0xffff_ffff_ffff_f000L);
        assertEquals(9, InvalidationLog.space(page));
        assertEquals(TlbKey.ofPasid(3, 0xffff_ffff_ffff_f000L), TlbKey.ofPasidPage(3, page));
    }
}
