package dev.faultline.ring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

/**
 * Random calls on a fault queue and on a plain model of it, side by side. The seed is in every failure; give it again with
 * {@code -Dfaultline.seed=N}.
 */
class FaultQueueModelTest {
    private static final int STEPS = 60_000;
    private static final int ENTRIES = 12;
    private static final int LARGEST = 3;
    private static final int ALLOCATION = 9;

    /** A group as the model knows it. */
    private static final class Group {
        final int index;
        final List<Long> addresses = new ArrayList<>();
        long tag;
        int cookie;
        boolean answered;

        /** A later group was given to the consumer in the same slot. */
        boolean superseded;

        Group(int index) {
            this.index = index;
        }
    }

    /** Something the consumer has sent and the producer has not taken. */
    private record Sent(char what, long userData, int count, Group group, boolean invalid) {}

    private final long seed = Long.getLong("faultline.seed", System.nanoTime());
    private final Random random = new Random(seed);
    private final List<String> told = new ArrayList<>();
    private final List<String> expectedTold = new ArrayList<>();
    private final List<String> seen = new ArrayList<>();
    private final List<String> expectedSeen = new ArrayList<>();

    private final Deque<Sent> staged = new ArrayDeque<>();
    private final Deque<Sent> submitted = new ArrayDeque<>();
    private final Deque<Sent> fromOutside = new ArrayDeque<>();
    private final Deque<Long> reads = new ArrayDeque<>();
    private final Deque<Group> waiting = new ArrayDeque<>();
    private final Deque<Object> completions = new ArrayDeque<>();
    private final Map<Integer, Group> assembling = new HashMap<>();
    private final List<Group> delivered = new ArrayList<>();
    private final Map<Group, Long> given = new LinkedHashMap<>();
    private final List<Integer> spent = new ArrayList<>();
    private int posted;
    private long nextTag;
    private int nextIndex;
    private long raised;
    private long requests;
    private long answered;
    private long revoked;
    private long dropped;

    @Test
    void behavesAsThePlainModel() {
        try (FaultQueue queue = FaultQueue.open(
                QueueConfig.of(ENTRIES).withLargestGroup(LARGEST).withDeadlineNs(0))) {
            FaultProducer producer = queue.producer(ALLOCATION, (tag, code) -> told.add(tag + " " + code));
            FaultConsumer consumer = queue.consumer();
            assertTrue(producer.enter());
            consumer.poll((userData, group) -> {}, 1);
            for (int step = 0; step < STEPS; step++) {
                switch (random.nextInt(16)) {
                    case 0, 1 -> post(consumer);
                    case 2, 3, 4 -> raise(producer, true);
                    case 5 -> raise(producer, false);
                    case 6, 7, 8 -> pollProducer(producer);
                    case 9, 10 -> pollConsumer(consumer);
                    case 11, 12 -> answer(consumer, random.nextBoolean());
                    case 13 -> answerFromOutside(consumer);
                    case 14 -> {
                        if (random.nextInt(10) == 0) {
                            cancel(consumer);
                        }
                    }
                    default -> {
                        if (random.nextInt(20) == 0) {
                            revoke(producer);
                        } else {
                            answerNobody(consumer);
                        }
                    }
                }
                assertEquals(expectedTold, told, this::failed);
                assertEquals(expectedSeen, seen, this::failed);
                told.clear();
                expectedTold.clear();
                seen.clear();
                expectedSeen.clear();
                if (step % 64 == 0) {
                    compare(queue.accounting());
                }
            }
            compare(queue.accounting());
            assertTrue(raised > 1_000 && answered > 500 && revoked > 0, this::failed);
            producer.leave();
            producer.close();
            Accounting a = queue.accounting();
            assertTrue(a.balanced() && a.outstanding() == 0, () -> failed() + " " + a);
        }
    }

    private String failed() {
        return "seed=" + seed;
    }

    private void compare(Accounting a) {
        assertEquals(requests, a.requests(), this::failed);
        assertEquals(raised, a.raised(), this::failed);
        assertEquals(answered, a.answered(), this::failed);
        assertEquals(revoked, a.autoAnswered(), this::failed);
        assertEquals(dropped, a.dropped(), this::failed);
        assertEquals(assembling.size() + waiting.size() + delivered.size(), a.outstanding(), this::failed);
        assertTrue(a.balanced(), () -> failed() + " " + a);
    }

    // ---- each call, on both
    // ---------------------------------------------------------------------------------------------

    private void post(FaultConsumer consumer) {
        int count = 1 + random.nextInt(3);
        long userData = random.nextInt(3);
        Result result = consumer.post(userData, count);
        if (posted + count > ENTRIES) {
            assertEquals(Result.FULL, result, this::failed);
            return;
        }
        assertEquals(Result.OK, result, this::failed);
        posted += count;
        staged.add(new Sent('p', userData, count, new Group(0), false));
    }

    private void raise(FaultProducer producer, boolean last) {
        Integer open = assembling.isEmpty() || random.nextInt(3) == 0
                ? null
                : List.copyOf(assembling.keySet()).get(random.nextInt(assembling.size()));
        int index = open == null ? ++nextIndex : open;
        long tag = ++nextTag;
        long address = tag << 12;
        Result result = producer.raise(tag, 1, index & 7, index, address, 1, last);
        producer.flush();
        Group group = assembling.get(index);
        if (group == null) {
            if (assembling.size() + waiting.size() + delivered.size() == ALLOCATION) {
                assertEquals(Result.FULL, result, this::failed);
                return;
            }
            group = new Group(index);
            raised++;
        }
        requests++;
        if (group.addresses.size() == LARGEST) {
            assertEquals(Result.SHORT_BUFFER, result, this::failed);
            assembling.remove(index);
            dropped++;
            return;
        }
        assertEquals(Result.OK, result, this::failed);
        group.addresses.add(address);
        group.tag = tag;
        if (last) {
            assembling.remove(index);
            waiting.add(group);
            deliver();
        } else {
            assembling.put(index, group);
        }
    }

    private void deliver() {
        while (!waiting.isEmpty() && !reads.isEmpty()) {
            Group group = waiting.remove();
            completions.add(Map.entry(reads.remove(), group));
            delivered.add(group);
        }
    }

    private void pollProducer(FaultProducer producer) {
        int before = expectedTold.size();
        while (!fromOutside.isEmpty()) {
            take(fromOutside.remove());
        }
        while (!submitted.isEmpty()) {
            take(submitted.remove());
        }
        deliver();
        assertEquals(expectedTold.size() - before, producer.poll(), this::failed);
    }

    private void take(Sent sent) {
        switch (sent.what) {
            case 'p' -> {
                for (int i = 0; i < sent.count; i++) {
                    reads.add(sent.userData);
                }
            }
            case 'c' -> {
                int n = reads.size();
                reads.removeIf(userData -> sent.count == 1 || userData == sent.userData);
                completions.add(sent.userData + " CANCELLED " + (n - reads.size()));
            }
            default -> {
                if (sent.count == 1) {
                    reads.add(sent.userData);
                }
                if (delivered.remove(sent.group)) {
                    sent.group.answered = true;
                    answered++;
                    expectedTold.add(sent.group.tag + (sent.invalid ? " INVALID" : " SUCCESS"));
                }
            }
        }
    }

    private void submitModel() {
        submitted.addAll(staged);
        staged.clear();
    }

    private void pollConsumer(FaultConsumer consumer) {
        if (random.nextInt(4) == 0) {
            consumer.submit();
            submitModel();
            return;
        }
        submitModel();
        int limit = 1 + random.nextInt(5);
        Map<Integer, Long> cookies = new HashMap<>();
        int n = consumer.poll(
                new CompletionHandler() {
                    @Override
                    public void group(long userData, FaultGroup group) {
                        StringBuilder text = new StringBuilder(userData + " group " + group.groupIndex());
                        for (int i = 0; i < group.size(); i++) {
                            text.append(' ').append(group.address(i));
                        }
                        seen.add(text.toString());
                        cookies.put(group.groupIndex(), (long) group.cookie());
                    }

                    @Override
                    public void ended(long userData, Result why, int reads) {
                        seen.add(userData + " " + why + " " + reads);
                    }
                },
                limit);
        int expected = Math.min(limit, completions.size());
        assertEquals(expected, n, this::failed);
        for (int i = 0; i < expected; i++) {
            Object completion = completions.remove();
            if (completion instanceof Map.Entry<?, ?> e && e.getValue() instanceof Group group) {
                posted--;
                StringBuilder text = new StringBuilder(e.getKey() + " group " + group.index);
                group.addresses.forEach(address -> text.append(' ').append(address));
                expectedSeen.add(text.toString());
                group.cookie = cookies.getOrDefault(group.index, 0L).intValue();
                Cookies made = Cookies.of(16, ALLOCATION);
                for (Group earlier : given.keySet()) {
                    if (made.slot(earlier.cookie) == made.slot(group.cookie)) {
                        assertTrue(earlier.answered, this::failed);
                        earlier.superseded = true;
                    }
                }
                given.put(group, (Long) e.getKey());
            } else {
                String text = (String) completion;
                posted -= Integer.parseInt(text.substring(text.lastIndexOf(' ') + 1));
                expectedSeen.add(text);
            }
        }
    }

    private void answer(FaultConsumer consumer, boolean repost) {
        if (given.isEmpty()) {
            return;
        }
        Group group = List.copyOf(given.keySet()).get(random.nextInt(given.size()));
        boolean invalid = random.nextBoolean();
        Answer code = invalid ? Answer.INVALID : Answer.SUCCESS;
        Result result = repost ? consumer.answerAndRepost(group.cookie, code) : consumer.answer(group.cookie, code);
        long userData = given.getOrDefault(group, 0L);
        given.remove(group);
        assertEquals(group.answered ? Result.STALE : Result.OK, result, this::failed);
        spent.add(group.cookie);
        boolean reposted = repost && !group.superseded && posted < ENTRIES;
        if (reposted) {
            posted++;
        }
        if (reposted || !group.answered) {
            staged.add(new Sent('a', userData, reposted ? 1 : 0, group, invalid));
        }
        assertEquals(Result.STALE, consumer.answer(group.cookie, code), this::failed);
    }

    private void answerFromOutside(FaultConsumer consumer) {
        if (given.isEmpty()) {
            return;
        }
        Group group = List.copyOf(given.keySet()).get(random.nextInt(given.size()));
        assertEquals(
                group.answered ? Result.STALE : Result.OK, consumer.answer(group.cookie, Answer.LATER), this::failed);
        if (group.answered) {
            given.remove(group);
            return;
        }
        given.remove(group);
        assertEquals(Result.OK, consumer.answerLater(group.cookie, Answer.INVALID), this::failed);
        assertEquals(Result.STALE, consumer.answerLater(group.cookie, Answer.SUCCESS), this::failed);
        fromOutside.add(new Sent('a', 0, 0, group, true));
    }

    private void cancel(FaultConsumer consumer) {
        boolean all = random.nextBoolean();
        long userData = all ? 0 : random.nextInt(3);
        assertEquals(Result.OK, all ? consumer.cancelAll() : consumer.cancel(userData), this::failed);
        staged.add(new Sent('c', userData, all ? 1 : 0, new Group(0), false));
    }

    private void answerNobody(FaultConsumer consumer) {
        int cookie = spent.isEmpty() || random.nextBoolean()
                ? random.nextInt() | 0x0100_0000
                : spent.get(random.nextInt(spent.size()));
        for (Group group : given.keySet()) {
            if (group.cookie == cookie) {
                return;
            }
        }
        assertEquals(Result.STALE, consumer.answer(cookie, Answer.SUCCESS), this::failed);
        assertEquals(Result.STALE, consumer.answerLater(cookie, Answer.SUCCESS), this::failed);
    }

    private void revoke(FaultProducer producer) {
        // What has been answered counts before what is revoked.
        while (!fromOutside.isEmpty()) {
            take(fromOutside.remove());
        }
        while (!submitted.isEmpty()) {
            take(submitted.remove());
        }
        int before = expectedTold.size();
        // The kernel's order: what no read has taken first, the newest first, then what was delivered.
        List<Group> open = new ArrayList<>(waiting.reversed());
        open.addAll(delivered);
        int n = 0;
        for (Group group : open) {
            if (group.tag % 3 == 0) {
                group.answered = true;
                delivered.remove(group);
                waiting.remove(group);
                revoked++;
                n++;
                expectedTold.add(group.tag + " INVALID");
            }
        }
        assembling.values().removeIf(group -> {
            if (group.tag % 3 == 0) {
                dropped++;
                return true;
            }
            return false;
        });
        assertTrue(before <= expectedTold.size());
        assertEquals(n, producer.revoke(tag -> tag % 3 == 0, AutoAnswer.DETACH), this::failed);
    }
}
