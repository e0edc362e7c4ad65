package dev.faultline.examples.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class FaultlineTest {

    @Test
    void helpIsGood() {
        assertEquals(0, Faultline.run("--help"));
    }

    @Test
    void anUnknownOptionIsBadInput() {
        assertEquals(2, Faultline.run("--no-such-option"));
    }
}
