package dev.faultline.bench.lab;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class QuantilesTest {

    @Test
    void medianOfAnOddCountIsTheMiddle() {
        assertEquals(2, Quantiles.of(3, 1, 2).median());
    }

    @Test
    void medianOfAnEvenCountIsHalfWayBetweenTheMiddleTwo() {
        assertEquals(2.5, Quantiles.of(4, 1, 3, 2).median());
    }

    @Test
    void quartilesLieOnTheLineBetweenTheirNeighbours() {
        Quantiles quantiles = Quantiles.of(10, 20, 30, 40);
        assertEquals(17.5, quantiles.lowerQuartile());
        assertEquals(32.5, quantiles.upperQuartile());
    }

    @Test
    void oneFigureIsAllItsQuantiles() {
        Quantiles quantiles = Quantiles.of(7);
        assertEquals(7, quantiles.lowerQuartile());
        assertEquals(7, quantiles.median());
        assertEquals(7, quantiles.upperQuartile());
    }

    @Test
    void oneWildFigureDoesNotMoveTheMedianFar() {
        assertEquals(3, Quantiles.of(1, 2, 3, 4, 1_000_000).median());
    }

    @Test
    void noFigureHasNoQuantile() {
        assertThrows(IllegalArgumentException.class, Quantiles::of);
    }

    @Test
    void leavesTheFiguresAsTheyWere() {
        double[] figures = {3, 1, 2};
        assertEquals(2, Quantiles.of(figures).median());
        assertEquals(3, figures[0]);
    }
}
