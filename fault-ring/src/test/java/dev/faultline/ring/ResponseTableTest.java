package dev.faultline.ring;

import static dev.faultline.ring.ResponseTable.NONE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** The queue of open groups against a plain one, while groups are answered in any order and slots are used over and over. */
class ResponseTableTest {
    private static final int SLOTS = 13;
    private static final LaneLayout LAYOUT = LaneLayout.of(QueueConfig.of(32).withLanes(1), SLOTS, 0);

    @Test
    void theOldestOpenGroupStaysFirstHoweverManyComeAndGo() {
        long seed = Long.getLong("faultline.seed", System.nanoTime());
        Random random = new Random(seed);
        ArrayDeque<Integer> open = new ArrayDeque<>();
        ArrayDeque<Integer> waiting = new ArrayDeque<>();
        long now = 0;
        try (ResponseTable table = ResponseTable.of(LAYOUT, Cookies.of(1, SLOTS), 0)) {
            for (int step = 0; step < 200_000; step++) {
                int kind = random.nextInt(6);
                if (kind < 3 && table.hasFree()) {
                    now++;
                    if (waiting.isEmpty() && random.nextBoolean()) {
                        open.add(table.addDelivered(step, 1, now));
                    } else {
                        int slot = table.takeAssembling();
                        table.addRequest(slot, 0, step, 0, 1, 0, 0, 0, 0, 0);
                        table.unlinkAssembling(slot);
                        table.addWaiting(slot, now);
                        open.add(table.cookie(slot));
                        waiting.add(table.cookie(slot));
                    }
                } else if (kind == 3 && !waiting.isEmpty()) {
                    table.setDelivered(table.firstWaiting());
                    waiting.remove();
                } else if (kind == 4) {
                    // Seldom the oldest, so that it holds up the others.
                    List<Integer> some = new ArrayList<>(open);
                    some.removeAll(waiting);
                    if (some.size() > 1 || (!some.isEmpty() && random.nextInt(50) == 0)) {
                        int cookie = some.get(random.nextInt(Math.min(1, some.size() - 1), some.size()));
                        int slot = table.delivered(cookie);
                        assertNotEquals(NONE, slot, "seed=" + seed);
                        table.free(slot);
                        assertEquals(NONE, table.delivered(cookie));
                        open.remove(cookie);
                    }
                } else if (kind == 5 && random.nextInt(10) == 0) {
                    now += 10;
                    table.stamp(now, 5);
                    long stamped = now;
                    table.forEachOpen(slot -> assertTrue(table.raisedAtNs(slot) <= stamped));
                }
                List<Integer> all = new ArrayList<>();
                table.forEachOpen(slot -> all.add(table.cookie(slot)));
                assertEquals(waitingNewestFirstThenDelivered(waiting, open), all, "seed=" + seed + " step=" + step);
                assertEquals(!waiting.isEmpty(), table.firstWaiting() != NONE, "seed=" + seed);
                assertEquals(!waiting.isEmpty(), table.hasWaiting());
                if (!waiting.isEmpty()) {
                    assertEquals(waiting.peek(), table.cookie(table.firstWaiting()), "seed=" + seed);
                }
                if (random.nextInt(8) == 0 && !open.isEmpty()) {
                    assertEquals(open.peek(), table.cookie(table.firstOpen()), "seed=" + seed);
                }
                assertEquals(open.size(), table.outstanding());
                assertEquals(open.size(), table.used());
            }
        }
    }

    private static List<Integer> waitingNewestFirstThenDelivered(Deque<Integer> waiting, Deque<Integer> open) {
        List<Integer> order = new ArrayList<>(waiting.reversed());
        order.addAll(open);
        order.subList(waiting.size(), order.size()).removeAll(waiting);
        return order;
    }

    @Test
    void aGroupAgesFromTheReadingOfTheClockAfterItWasWhole() {
        try (ResponseTable table = ResponseTable.of(LAYOUT, Cookies.of(1, SLOTS), 0)) {
            table.stamp(1_000, 100);
            int early = table.delivered(table.addDelivered(1, 1, 1_000));
            table.stamp(1_050, 100);
            assertEquals(1_000, table.raisedAtNs(early), "the last reading was not long ago");
            int late = table.delivered(table.addDelivered(2, 1, 1_050));
            table.stamp(9_000, 100);
            assertEquals(1_000, table.raisedAtNs(early));
            assertEquals(9_000, table.raisedAtNs(late));
        }
    }

    @Test
    void theNewestCookieIsKnownAcrossTheWrap() {
        Cookies cookies = Cookies.of(1, SLOTS);
        int last = cookies.startingAfter(-1, 3, 0);
        try (ResponseTable table = ResponseTable.of(LAYOUT, cookies, last)) {
            int newest = last;
            for (int i = 0; i < 100; i++) {
                int cookie = table.addDelivered(i, 1, 0);
                assertNotEquals(0, cookie);
                table.free(table.delivered(cookie));
                newest = cookie;
            }
            assertEquals(newest, table.newestCookie());
            assertTrue(newest > 0 && newest < 1 << 20, "has gone round");
            assertFalse(table.hasWaiting());
        }
    }
}
