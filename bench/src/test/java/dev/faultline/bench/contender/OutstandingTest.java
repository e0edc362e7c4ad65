package dev.faultline.bench.contender;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class OutstandingTest {

    private final Outstanding outstanding = Outstanding.of(2);

    @Test
    void holdsAsManyAsItsWindow() {
        int first = outstanding.open(0x1000);
        assertTrue(outstanding.hasRoom());
        int second = outstanding.open(0x2000);
        assertFalse(outstanding.hasRoom());
        assertEquals(2, outstanding.underWay());
        outstanding.answered(second, true);
        assertTrue(outstanding.hasRoom());
        outstanding.answered(first, true);
        assertEquals(0, outstanding.underWay());
        assertEquals(2, outstanding.answeredSoFar());
    }

    @Test
    void answersInAnyOrderFreeTheirOwnTag() {
        int first = outstanding.open(0x1000);
        int second = outstanding.open(0x2000);
        outstanding.answered(second, true);
        assertEquals(second, outstanding.open(0x3000));
        outstanding.answered(first, true);
        assertEquals(first, outstanding.open(0x4000));
    }

    @Test
    void anAnswerNobodyWaitsForIsRefused() {
        int tag = outstanding.open(0x1000);
        outstanding.answered(tag, true);
        assertThrows(IllegalStateException.class, () -> outstanding.answered(tag, true));
        assertThrows(IllegalStateException.class, () -> outstanding.answered(2, true));
        assertThrows(IllegalStateException.class, () -> outstanding.answered(-1, true));
    }

    @Test
    void anAnswerThatIsNoSuccessIsRefused() {
        int tag = outstanding.open(0x1000);
        assertThrows(IllegalStateException.class, () -> outstanding.answered(tag, false));
    }

    @Test
    void holdsAsManyAsAskedForWhateverItsSlots() {
        Outstanding three = Outstanding.of(3);
        for (int i = 0; i < 3; i++) {
            assertTrue(three.hasRoom());
            assertEquals(i, three.open(0x1000));
        }
        assertFalse(three.hasRoom());
        three.answered(0, true);
        assertEquals(3, three.open(0x1000));
    }

    @Test
    void aTableHoldsOneOrMore() {
        assertThrows(IllegalArgumentException.class, () -> Outstanding.of(0));
    }
}
