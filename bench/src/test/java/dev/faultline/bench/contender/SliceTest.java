package dev.faultline.bench.contender;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class SliceTest {

    @Test
    void comesBackFromItsLine() {
        Slice slice = new Slice(1, 2, 3, Slice.UNKNOWN, 5, 6, 7, 8);
        assertEquals(slice, Slice.parse(slice.line()));
    }

    @Test
    void anotherLineIsRefused() {
        assertThrows(IllegalArgumentException.class, () -> Slice.parse("ready"));
        assertThrows(IllegalArgumentException.class, () -> Slice.parse("slice round_trips=1"));
        assertThrows(IllegalArgumentException.class, () -> Slice.parse("slice round_trips"));
    }
}
