package dev.faultline.bench.contender;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class ContenderTest {

    @ParameterizedTest
    @EnumSource
    void isFoundByItsName(Kind kind) {
        Contender contender = kind.at(1);
        assertEquals(contender, Contender.of(contender.key()));
        assertTrue(contender.pieceRoundTrips() > 0);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "queue",
                "queue.w",
                "queue.w0",
                "queue.w3",
                "queue.w-1",
                "queue.w99999999",
                "nobody.w1",
                "queue.park.w8"
            })
    void anotherNameIsRefused(String key) {
        String said = assertThrows(IllegalArgumentException.class, () -> Contender.of(key))
                .toString();
        assertTrue(said.contains("allowed"), said);
    }
}
