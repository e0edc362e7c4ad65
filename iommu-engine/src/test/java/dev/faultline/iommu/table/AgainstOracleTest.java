package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.Translation.EXECUTE;
import static dev.faultline.iommu.table.Translation.READ;
import static dev.faultline.iommu.table.Translation.WRITE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.iommu.Seeds;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** A million seeded operations on each format, against a plain picture of what is mapped where. */
class AgainstOracleTest {
    private static final int OPERATIONS = 1_000_000;
    private static final int FRAMES = 4096;
    private static final int SMALL = 12;
    private static final int LARGE = 21;
    private static final long SMALL_BYTES = 1L << SMALL;
    private static final int PER_LARGE = 1 << (LARGE - SMALL);
    private static final int REGION_PAGES = 4 * PER_LARGE;
    private static final long REGION_BYTES = REGION_PAGES * SMALL_BYTES;

    /** What is mapped in one stretch of addresses, page by page. */
    private static final class Picture {
        final long base;
        final long[] page = new long[REGION_PAGES];
        final byte[] rights = new byte[REGION_PAGES];
        final byte[] sizeLg2 = new byte[REGION_PAGES];
        final boolean[] dirty = new boolean[REGION_PAGES];

        Picture(long base) {
            this.base = base;
        }

        int start(int i) {
            return i & -(1 << (sizeLg2[i] - SMALL));
        }

        int end(int i) {
            return start(i) + (1 << (sizeLg2[i] - SMALL)) - 1;
        }

        boolean free(int i, int pages) {
            for (int j = i; j < i + pages; j++) {
                if (sizeLg2[j] != 0) {
                    return false;
                }
            }
            return true;
        }

        void map(int i, long physical, int lg2, int with) {
            for (int j = 0; j < 1 << (lg2 - SMALL); j++) {
                page[i + j] = physical + j * SMALL_BYTES;
                rights[i + j] = (byte) with;
                sizeLg2[i + j] = (byte) lg2;
                dirty[i + j] = false;
            }
        }
    }

    static Stream<PageFormat> formats() {
        return Formats.all();
    }

    @ParameterizedTest
    @MethodSource("formats")
    void agrees(PageFormat format) {
        Random random = Seeds.random("AgainstOracleTest " + format.title() + " " + format.inputBits);
        TestMemory memory = new TestMemory(FRAMES);
        try (memory) {
            RadixTable table = memory.table(format);
            long half = 1L << (format.inputBits - 1);
            Picture[] pictures = {
                new Picture(0),
                new Picture(0x4000_0000 - REGION_BYTES / 2),
                new Picture((format.signExtended ? half : 2 * half) - REGION_BYTES),
                new Picture(format.signExtended ? -half : half),
            };
            Taken taken = new Taken();
            for (int n = 0; n < OPERATIONS; n++) {
                Picture picture = pictures[random.nextInt(pictures.length)];
                int dice = random.nextInt(256);
                if (dice < 90) {
                    map(table, picture, random, taken);
                } else if (dice < 92) {
                    mapLarge(table, picture, random, taken);
                } else if (dice < 94) {
                    mapRange(table, picture, random, taken);
                } else if (dice < 150) {
                    unmap(table, picture, random, 1 + random.nextInt(3), taken);
                } else if (dice < 152) {
                    unmap(table, picture, random, random.nextInt(REGION_PAGES), taken);
                } else if (dice < 156) {
                    protect(table, picture, random, taken);
                } else if (dice < 160) {
                    next(table, picture, random);
                } else {
                    translate(table, picture, random);
                }
                table.free(taken);
                taken.clear();
            }
            for (Picture picture : pictures) {
                for (int i = 0; i < REGION_PAGES; i++) {
                    assertEquals(picture.sizeLg2[i], table.mappedLg2(picture.base + i * SMALL_BYTES));
                }
                table.prune(picture.base, picture.base + REGION_BYTES - 1, taken);
            }
            table.free(taken);
            table.close();
        }
    }

    private static int anyRights(Random random) {
        return READ | (random.nextBoolean() ? WRITE : 0) | (random.nextBoolean() ? EXECUTE : 0);
    }

    private static void map(RadixTable table, Picture picture, Random random, Taken taken) {
        int i = random.nextInt(REGION_PAGES);
        long physical = random.nextInt(FRAMES) * SMALL_BYTES;
        int rights = anyRights(random);
        RadixTable.Outcome expected = picture.free(i, 1) ? RadixTable.Outcome.DONE : RadixTable.Outcome.IN_USE;
        assertEquals(expected, table.map(picture.base + i * SMALL_BYTES, physical, SMALL, rights, false, taken));
        if (expected == RadixTable.Outcome.DONE) {
            picture.map(i, physical, SMALL, rights);
        }
    }

    private static void mapLarge(RadixTable table, Picture picture, Random random, Taken taken) {
        int i = random.nextInt(REGION_PAGES / PER_LARGE) * PER_LARGE;
        if (random.nextBoolean()) {
            unmapExactly(table, picture, i, i + PER_LARGE - 1, taken);
        }
        long physical = (long) random.nextInt(FRAMES / PER_LARGE) << LARGE;
        int rights = anyRights(random);
        RadixTable.Outcome expected = picture.free(i, PER_LARGE) ? RadixTable.Outcome.DONE : RadixTable.Outcome.IN_USE;
        assertEquals(expected, table.map(picture.base + i * SMALL_BYTES, physical, LARGE, rights, false, taken));
        if (expected == RadixTable.Outcome.DONE) {
            picture.map(i, physical, LARGE, rights);
        }
    }

    private static void mapRange(RadixTable table, Picture picture, Random random, Taken taken) {
        int i = random.nextInt(REGION_PAGES);
        int pages = 1 + random.nextInt(REGION_PAGES - i);
        // Half of them with addresses that agree below 2 MiB, so that large pages fit.
        long physical = (random.nextBoolean() ? i % PER_LARGE : random.nextInt(PER_LARGE)) * SMALL_BYTES;
        int rights = anyRights(random);
        long done = table.mapPages(picture.base + i * SMALL_BYTES, physical, pages * SMALL_BYTES, rights, -1L, taken);
        int at = i;
        while (at < i + pages) {
            long to = physical + (at - i) * SMALL_BYTES;
            boolean large = at % PER_LARGE == 0 && to % (1L << LARGE) == 0 && i + pages - at >= PER_LARGE;
            if (!picture.free(at, large ? PER_LARGE : 1)) {
                break;
            }
            picture.map(at, to, large ? LARGE : SMALL, rights);
            at += large ? PER_LARGE : 1;
        }
        assertEquals((at - i) * SMALL_BYTES, done);
    }

    private static void unmap(RadixTable table, Picture picture, Random random, int most, Taken taken) {
        int i = random.nextInt(REGION_PAGES);
        unmapExactly(table, picture, i, Math.min(REGION_PAGES - 1, i + most), taken);
    }

    private static void unmapExactly(RadixTable table, Picture picture, int first, int last, Taken taken) {
        long from = picture.base + first * SMALL_BYTES;
        long to = picture.base + (last + 1) * SMALL_BYTES - 1;
        int before = taken.pages();
        assertEquals(0, table.unmap(from, to, taken, Integer.MAX_VALUE));
        int seen = before;
        for (int i = first; i <= last; i++) {
            if (picture.sizeLg2[i] != 0 && picture.start(i) >= first && picture.end(i) <= last) {
                int end = picture.end(i);
                assertEquals(picture.base + i * SMALL_BYTES, taken.address(seen));
                assertEquals(picture.page[i], taken.page(seen));
                assertEquals(picture.sizeLg2[i], taken.sizeLg2(seen));
                seen++;
                Arrays.fill(picture.sizeLg2, i, end + 1, (byte) 0);
                i = end;
            }
        }
        assertEquals(seen, taken.pages());
        table.prune(from, to, taken);
        assertEquals(seen, taken.pages(), "tables only");
    }

    private static void protect(RadixTable table, Picture picture, Random random, Taken taken) {
        int first = random.nextInt(REGION_PAGES);
        int last = Math.min(REGION_PAGES - 1, first + random.nextInt(PER_LARGE));
        int rights = anyRights(random);
        assertEquals(
                RadixTable.Outcome.DONE,
                table.protect(
                        picture.base + first * SMALL_BYTES,
                        picture.base + (last + 1) * SMALL_BYTES - 1,
                        rights,
                        taken));
        for (int i = first; i <= last; i++) {
            if (picture.sizeLg2[i] != 0 && (picture.start(i) < first || picture.end(i) > last)) {
                int start = picture.start(i);
                Arrays.fill(picture.sizeLg2, start, start + PER_LARGE, (byte) SMALL);
            }
            picture.rights[i] = (byte) rights;
        }
    }

    private static void next(RadixTable table, Picture picture, Random random) {
        int first = random.nextInt(REGION_PAGES);
        int last = first + random.nextInt(REGION_PAGES - first);
        int found = first;
        while (found <= last && picture.sizeLg2[found] == 0) {
            found++;
        }
        assertEquals(
                found > last ? -1 : (found - first) * SMALL_BYTES,
                table.nextMapped(picture.base + first * SMALL_BYTES, picture.base + (last + 1) * SMALL_BYTES - 1));
    }

    private static void translate(RadixTable table, Picture picture, Random random) {
        PageFormat format = table.format();
        int i = random.nextInt(REGION_PAGES);
        long address = picture.base + i * SMALL_BYTES + random.nextInt((int) SMALL_BYTES);
        int needed = random.nextBoolean() ? WRITE : READ;
        long word = table.walk(address, needed);
        if (picture.sizeLg2[i] == 0) {
            assertEquals(WalkFault.NOT_PRESENT, Translation.reason(word));
            return;
        }
        int rights = picture.rights[i];
        if ((rights & needed) == 0) {
            assertTrue(word < 0);
            assertEquals(WalkFault.NO_WRITE, Translation.reason(word));
            return;
        }
        boolean marks = format.marked(format.leaf(0, 0, READ | WRITE, false), 0, true, true)
                != format.marked(format.leaf(0, 0, READ | WRITE, false), 0, true, false);
        if (needed == WRITE) {
            Arrays.fill(picture.dirty, picture.start(i), picture.end(i) + 1, true);
        }
        assertTrue(word > 0, () -> table.walker().trail(address).end());
        assertEquals(picture.page[i], Translation.page(word));
        assertEquals(picture.sizeLg2[i], Translation.sizeLg2(word));
        int write = marks && !picture.dirty[i] ? 0 : rights & WRITE;
        assertEquals(READ | write, Translation.rights(word) & (READ | WRITE));
    }
}
