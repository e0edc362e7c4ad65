package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Errno;
import dev.faultline.iommu.Access;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.ring.Accounting;
import dev.faultline.ring.FaultQueue;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Stream table entries, descriptors, tables and commands of any kind from a guest: error numbers at most, and nothing is left of them. */
class SmmuFuzzTest {
    private static final int ROUNDS = 25;
    private static final int STEPS = 150;
    private static final int DATA = 64;
    private static final Set<Integer> REFUSALS = Set.of(0, -Errno.EIO, -Errno.EINVAL, -Errno.EOPNOTSUPP, -Errno.EBUSY);

    private static final int[] OPS = {0x05, 0x06, 0x10, 0x11, 0x12, 0x13, 0x30, 0x40};

    @Test
    void nothingThatAGuestSaysIsMoreThanAnErrorNumber() throws Exception {
        long seed = System.nanoTime();
        System.out.println("SmmuFuzzTest seed " + seed);
        Random random = new Random(seed);
        for (int round = 0; round < ROUNDS; round++) {
            DeviceConfig config = switch (random.nextInt(3)) {
                case 0 -> DeviceConfig.plain("d");
                case 1 -> DeviceConfig.stalling("d");
                default -> DeviceConfig.pri("d");
            };
            StreamGuest guest = new StreamGuest(config.withPasidBits(6).withRetryLimit(2));
            guest.knownAs(0x99);
            attach(guest, guest.stream(Program.FAULT_ID_VALID, StreamGuest.ABORT, 0));
            FaultQueue queue =
                    Objects.requireNonNull(guest.bound.domain(0)).table().queue();
            for (int page = 0; page < DATA; page++) {
                for (int i = 0; i < 512; i++) {
                    guest.put(page, i, word(random));
                }
            }
            for (int step = 0; step < STEPS; step++) {
                step(guest, random);
            }
            guest.bound.detach(0);
            Accounting faults = Objects.requireNonNull(queue).accounting();
            assertEquals(
                    faults.raised(),
                    faults.answered() + faults.autoAnswered() + faults.dropped() + faults.outstanding());
            assertEquals(0, faults.outstanding());
            // Closing the driver fails if a frame is not given back.
            guest.close();
        }
    }

    /** A word of a table or descriptor that leads somewhere more often than not. */
    private static long word(Random random) {
        long page = StreamGuest.ipa(random.nextInt(DATA + 8));
        long context = random.nextInt(64) | 1L << 30 | 1L << 31 | 5L << 32 | 1L << 41 | 3L << 45;
        return switch (random.nextInt(6)) {
            case 0 -> random.nextLong();
            case 1, 2 -> page | random.nextInt(4096) | (long) random.nextInt(1024) << 51;
            case 3 -> page | 3 | 1 << 10 | 1 << 6;
            case 4 -> context | (random.nextLong() & (0xffffL << 48 | 7L << 42));
            default -> 0;
        };
    }

    private static long streamWord(Random random) {
        long config = random.nextInt(4) == 0 ? random.nextInt(8) : 5;
        return 1
                | config << 1
                | (long) random.nextInt(4) << 4
                | StreamGuest.ipa(random.nextInt(DATA))
                | (random.nextInt(4) == 0 ? random.nextLong() : 0)
                | (long) random.nextInt(8) << 59;
    }

    private static void step(StreamGuest guest, Random random) {
        switch (random.nextInt(6)) {
            case 0 -> {
                long second = random.nextInt(3) | (random.nextBoolean() ? StreamGuest.ATS : 0);
                int flags = random.nextBoolean() ? Program.FAULT_ID_VALID : 0;
                int made = guest.allocStream(
                        flags, guest.viommu, streamWord(random), random.nextInt(8) == 0 ? random.nextLong() : second);
                assertTrue(made == 0 || made == -Errno.EIO, () -> Errno.name(-made));
                if (made == 0) {
                    attach(guest, guest.p.word(4));
                }
            }
            case 1 -> {
                long[] words = new long[2 * (1 + random.nextInt(8))];
                for (int i = 0; i < words.length; i += 2) {
                    long op = random.nextInt(8) == 0 ? random.nextInt(256) : OPS[random.nextInt(OPS.length)];
                    long id = random.nextInt(6) == 0 ? random.nextInt() : 0x99;
                    words[i] = op | id << 32 | (long) random.nextInt(1 << 20) << 11;
                    words[i + 1] = random.nextBoolean() ? random.nextLong() : (long) random.nextInt(1 << 21) << 12;
                }
                int result = guest.invalidate(words);
                assertTrue(REFUSALS.contains(result), () -> Errno.name(-result));
                assertTrue(guest.p.done() <= words.length / 2);
                assertEquals(result == 0, guest.p.done() == words.length / 2);
            }
            case 2 -> guest.put(random.nextInt(DATA), random.nextInt(512), word(random));
            default -> {
                long address = random.nextInt(4) == 0
                        ? random.nextLong() & ~0xfff
                        : (long) random.nextInt(1 << 10) << (12 + 9 * random.nextInt(3));
                var _ = guest.access(
                        random.nextBoolean() ? Access.READ : Access.WRITE,
                        address,
                        random.nextInt(70) - 3 < 0 ? StreamGuest.NO_PASID : random.nextInt(70),
                        new long[1],
                        () -> {
                            int[] group = guest.group();
                            if (group.length > 0) {
                                guest.answer(group[9], random.nextInt(2));
                            }
                        });
            }
        }
    }

    private static void attach(StreamGuest guest, int table) {
        int before = guest.attached;
        try {
            if (before == 0) {
                var _ = guest.bound.attach(0, table);
            } else {
                var _ = guest.bound.replace(0, table);
                assertEquals(0, guest.p.destroy(before));
            }
            guest.attached = table;
        } catch (ErrnoException e) {
            throw new AssertionError(e);
        }
    }
}
