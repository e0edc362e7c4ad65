package dev.faultline.examples.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine.TypeConversionException;

class DurationOptionTest {

    @ParameterizedTest
    @CsvSource({"0s, 0", "7ns, 7", "250us, 250000", "500ms, 500000000", "10s, 10000000000", "2m, 120000000000"})
    void readsAndWritesEachUnit(String text, long ns) {
        assertEquals(ns, new DurationOption().convert(text).toNanos());
        assertEquals(text.equals("2m") ? "120s" : text, DurationOption.format(ns));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "10", "s", "-1s", "1.5s", "10 s", "1h", "9999999999999999s"})
    void refusesEverythingElse(String text) {
        assertThrows(TypeConversionException.class, () -> new DurationOption().convert(text));
    }
}
