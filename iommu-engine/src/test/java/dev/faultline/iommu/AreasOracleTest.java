package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;

import dev.faultline.iommu.Areas.Mapped;
import dev.faultline.iommu.Areas.Unmapped;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** {@link Areas} against a model that keeps one cell for each 2 KiB of a small space and searches by counting. */
class AreasOracleTest {
    private static final int CELLS = 192;
    private static final int CELL = 2048;
    private static final int STEPS = 200_000;
    private static final int READ = 1;
    private static final int WRITE = 2;

    private final TestBacking plenty = new TestBacking(0x40_0000, 1 << 20, true);
    private final TestBacking readOnly = new TestBacking(0x80_0800, 1 << 20, false);

    /** What one address space should be. */
    private static final class Model {
        final int[] areaOf = new int[CELLS];
        final boolean[] reserved = new boolean[CELLS];
        final boolean[] allowed = new boolean[CELLS];
        final List<int[]> allowedRanges = new ArrayList<>();
        int nextArea = 1;
        int tables;
        boolean largePages = true;

        int alignment() {
            return largePages ? (tables > 0 ? CELL : 1) : Areas.PAGE_BYTES;
        }

        boolean overlaps(int first, int cells, boolean ofReserved) {
            for (int i = first; i < first + cells; i++) {
                if (i >= CELLS || (ofReserved ? reserved[i] : areaOf[i] != 0)) {
                    return true;
                }
            }
            return false;
        }

        AreaResult place(long memory, int cells, int[] out) {
            int power = Integer.highestOneBit(Math.max(1, cells * 2 - 1));
            int align = (int) Math.min((long) power * CELL, Long.lowestOneBit(memory)) / CELL;
            if (align * CELL < alignment()) {
                return AreaResult.REFUSED;
            }
            int offset = (int) (memory % Areas.PAGE_BYTES) / CELL;
            boolean everywhere = allowedRanges.isEmpty();
            int at = Areas.PAGE_BYTES / CELL;
            while (at < CELLS) {
                int end = at;
                while (end < CELLS && (everywhere || allowed[end])) {
                    end++;
                }
                if (end > at) {
                    int start = fit(at, end, cells, align, offset);
                    if (start >= 0 && placeIn(start, end, cells, align, offset, out)) {
                        return AreaResult.DONE;
                    }
                }
                at = end + 1;
            }
            return AreaResult.NO_SPACE;
        }

        private boolean placeIn(int from, int to, int cells, int align, int offset, int[] out) {
            int at = from;
            while (at < to) {
                int end = at;
                while (end < to && !reserved[end] && areaOf[end] == 0) {
                    end++;
                }
                int start = end > at ? fit(at, end, cells, align, offset) : -1;
                if (start >= 0) {
                    out[0] = start;
                    return true;
                }
                at = end + 1;
            }
            return false;
        }

        private static int fit(int from, int end, int cells, int align, int offset) {
            int start = from;
            while (start % align != 0) {
                start++;
            }
            start |= offset;
            return start + cells <= end ? start : -1;
        }
    }

    @Test
    void sameAsTheModel() {
        Random random = Seeds.random("AreasOracle");
        Areas areas = new Areas();
        Model model = new Model();
        Object outside = new Object();
        assertEquals(AreaResult.DONE, areas.reserve(outside, (long) CELLS * CELL, -1));
        List<ListTable> tables = new ArrayList<>();
        for (int step = 0; step < STEPS; step++) {
            String at = "step " + step;
            int first = random.nextInt(CELLS);
            int cells = 1 + random.nextInt(random.nextInt(10) == 0 ? 40 : 6);
            switch (random.nextInt(20)) {
                case 0, 1, 2, 3, 4 -> fixed(areas, model, random, first, cells, at);
                case 5, 6, 7, 8 -> placed(areas, model, random, cells, at);
                case 9, 10, 11, 12 -> unmap(areas, model, first, cells + random.nextInt(12), at);
                case 13, 14 -> copy(areas, model, random, first, cells, at);
                case 15 -> allow(areas, model, random, at);
                case 16 -> reserve(areas, model, random, first, cells, at);
                case 17 -> tables(areas, model, tables, random, at);
                case 18 -> option(areas, model, random, at);
                default -> {
                    if (random.nextInt(30) == 0) {
                        long mapped =
                                Arrays.stream(model.areaOf).filter(a -> a != 0).count() * CELL;
                        assertEquals(new Unmapped(AreaResult.DONE, mapped), areas.unmapAll(), at);
                        Arrays.fill(model.areaOf, 0);
                    }
                }
            }
            if (step % 64 == 0) {
                compare(areas, model, tables, at);
            }
        }
        compare(areas, model, tables, "end");
        tables.forEach(areas::leave);
        var _ = areas.unmapAll();
        assertEquals(0, plenty.reasons() + readOnly.reasons(), "held at the end");
    }

    private void fixed(Areas areas, Model model, Random random, int first, int cells, String at) {
        boolean write = random.nextBoolean();
        TestBacking memory = random.nextInt(4) == 0 ? readOnly : plenty;
        long offset = (long) random.nextInt(64) * CELL + (memory.origin() == memory.start() ? 0 : CELL);
        int access = write ? READ | WRITE : READ;
        Mapped got = areas.map(memory, offset, (long) cells * CELL, access, (long) first * CELL);
        AreaResult expected;
        int alignment = model.alignment();
        if ((cells * CELL) % alignment != 0 || (first * CELL) % alignment != 0) {
            expected = AreaResult.REFUSED;
        } else if (model.overlaps(first, cells, true)) {
            expected = AreaResult.RESERVED;
        } else if (model.overlaps(first, cells, false)) {
            expected = AreaResult.TAKEN;
        } else if (write && memory == readOnly) {
            expected = AreaResult.DENIED;
        } else if (offset % Areas.PAGE_BYTES % alignment != 0) {
            expected = AreaResult.REFUSED;
        } else {
            expected = AreaResult.DONE;
            Arrays.fill(model.areaOf, first, first + cells, model.nextArea++);
        }
        assertEquals(new Mapped(expected, (long) first * CELL), got, at);
    }

    private void placed(Areas areas, Model model, Random random, int cells, String at) {
        long offset = (long) random.nextInt(64) * CELL;
        Mapped got = areas.place(plenty, offset, (long) cells * CELL, READ);
        int[] place = {0};
        AreaResult expected = (cells * CELL) % model.alignment() != 0
                ? AreaResult.REFUSED
                : model.place(plenty.origin() + offset, cells, place);
        if (expected == AreaResult.DONE && offset % Areas.PAGE_BYTES % model.alignment() != 0) {
            expected = AreaResult.REFUSED;
        }
        assertEquals(expected, got.result(), at);
        if (expected == AreaResult.DONE) {
            assertEquals((long) place[0] * CELL, got.address(), at);
            Arrays.fill(model.areaOf, place[0], place[0] + cells, model.nextArea++);
        }
    }

    private static void unmap(Areas areas, Model model, int first, int cells, String at) {
        Unmapped got = areas.unmap((long) first * CELL, (long) cells * CELL);
        long bytes = 0;
        AreaResult expected = AreaResult.DONE;
        int end = first + cells;
        for (int i = first; i < Math.min(end, CELLS); i++) {
            int area = model.areaOf[i];
            if (area == 0) {
                continue;
            }
            int from = i;
            while (from > 0 && model.areaOf[from - 1] == area) {
                from--;
            }
            int to = i;
            while (to < CELLS && model.areaOf[to] == area) {
                to++;
            }
            if (from < first || to > end) {
                expected = AreaResult.NOT_MAPPED;
                break;
            }
            Arrays.fill(model.areaOf, from, to, 0);
            bytes += (long) (to - from) * CELL;
        }
        if (expected == AreaResult.DONE && bytes == 0) {
            expected = AreaResult.NOT_MAPPED;
        }
        assertEquals(new Unmapped(expected, bytes), got, at);
    }

    private void copy(Areas areas, Model model, Random random, int first, int cells, String at) {
        int to = random.nextInt(CELLS);
        AreaCopy copy = areas.copy((long) first * CELL, (long) cells * CELL);
        boolean whole = first + cells <= CELLS;
        for (int i = first; whole && i < first + cells; i++) {
            whole = model.areaOf[i] != 0;
        }
        assertEquals(whole ? AreaResult.DONE : AreaResult.NOT_MAPPED, copy.result(), at);
        long offset = -1;
        Area source = areas.find((long) first * CELL);
        if (source != null) {
            offset = source.offsetOf((long) first * CELL);
        }
        Mapped got = copy.map(areas, READ, (long) to * CELL);
        int alignment = model.alignment();
        if (!whole) {
            assertEquals(AreaResult.NOT_MAPPED, got.result(), at);
        } else if ((cells * CELL) % alignment != 0 || (to * CELL) % alignment != 0) {
            assertEquals(AreaResult.REFUSED, got.result(), at);
        } else if (model.overlaps(to, cells, true)) {
            assertEquals(AreaResult.RESERVED, got.result(), at);
        } else if (model.overlaps(to, cells, false)) {
            assertEquals(AreaResult.TAKEN, got.result(), at);
        } else if (got.result() == AreaResult.DONE) {
            Area copied = areas.find((long) to * CELL);
            assertNotNull(copied, at);
            assertEquals(offset, copied.offsetOf((long) to * CELL), at);
            // Each part of the source is an area of its own.
            int before = 0;
            for (int i = 0; i < cells; i++) {
                int area = model.areaOf[first + i];
                if (area != before) {
                    model.nextArea++;
                    before = area;
                }
                model.areaOf[to + i] = model.nextArea;
            }
            model.nextArea++;
        } else {
            assertEquals(AreaResult.REFUSED, got.result(), at);
            assertEquals(Areas.PAGE_BYTES, alignment, at);
        }
    }

    private static void allow(Areas areas, Model model, Random random, String at) {
        List<IovaRange> ranges = new ArrayList<>();
        List<int[]> cells = new ArrayList<>();
        int count = random.nextInt(4);
        for (int i = 0; i < count; i++) {
            int first = random.nextInt(CELLS);
            int length = random.nextInt(60) + 1;
            cells.add(new int[] {first, Math.min(CELLS, first + length)});
            ranges.add(new IovaRange((long) first * CELL, (long) Math.min(CELLS, first + length) * CELL - 1));
        }
        boolean[] now = new boolean[CELLS];
        boolean overlap = false;
        boolean clash = false;
        for (int[] range : cells) {
            for (int i = range[0]; i < range[1]; i++) {
                overlap |= now[i];
                now[i] = true;
                clash |= model.reserved[i];
            }
        }
        AreaResult expected = overlap ? AreaResult.REFUSED : clash ? AreaResult.IN_USE : AreaResult.DONE;
        assertEquals(expected, areas.allow(ranges), at);
        if (expected == AreaResult.DONE) {
            System.arraycopy(now, 0, model.allowed, 0, CELLS);
            model.allowedRanges.clear();
            model.allowedRanges.addAll(cells);
        }
    }

    private static void reserve(Areas areas, Model model, Random random, int first, int cells, String at) {
        if (random.nextBoolean()) {
            Object owner = "all";
            areas.release(owner);
            Arrays.fill(model.reserved, false);
            return;
        }
        int end = Math.min(CELLS, first + cells);
        boolean clash = false;
        for (int i = first; i < end; i++) {
            clash |= model.areaOf[i] != 0 || model.allowed[i];
        }
        AreaResult expected = clash ? AreaResult.IN_USE : AreaResult.DONE;
        assertEquals(expected, areas.reserve("all", (long) first * CELL, (long) end * CELL - 1), at);
        if (expected == AreaResult.DONE) {
            Arrays.fill(model.reserved, first, end, true);
        }
    }

    private static void tables(Areas areas, Model model, List<ListTable> tables, Random random, String at) {
        if (!tables.isEmpty() && random.nextBoolean()) {
            ListTable leaving = tables.remove(random.nextInt(tables.size()));
            areas.leave(leaving);
            assertEquals(List.of(), leaving.shown(), at);
        } else if (tables.size() < 3) {
            ListTable joining = new ListTable(CELL);
            assertEquals(AreaResult.DONE, areas.join(joining), at);
            tables.add(joining);
        }
        model.tables = tables.size();
    }

    private static void option(Areas areas, Model model, Random random, String at) {
        boolean permitted = random.nextInt(3) != 0;
        boolean mapped = Arrays.stream(model.areaOf).anyMatch(a -> a != 0);
        AreaResult got = areas.largePages(permitted);
        if (permitted || !model.largePages) {
            assertEquals(AreaResult.DONE, got, at);
        } else if (model.tables > 0 && mapped) {
            assertEquals(AreaResult.REFUSED, got, at);
        } else if (mapped) {
            // Whether memory is aligned, the model does not know.
            if (got != AreaResult.DONE) {
                assertEquals(AreaResult.IN_USE, got, at);
                return;
            }
        }
        if (got == AreaResult.DONE) {
            model.largePages = permitted;
        }
    }

    private static void compare(Areas areas, Model model, List<ListTable> tables, String at) {
        assertEquals(model.alignment(), areas.alignment(), at);
        for (int i = 0; i < CELLS; i++) {
            Area area = areas.find((long) i * CELL);
            if (model.areaOf[i] == 0) {
                assertNull(area, at);
            } else {
                assertNotNull(area, at);
                boolean starts = i == 0 || model.areaOf[i - 1] != model.areaOf[i];
                assertEquals(starts, area.first() == (long) i * CELL, at);
            }
        }
        for (ListTable table : tables) {
            assertEquals(areas.all(), table.shown(), at);
        }
        List<IovaRange> holes = new ArrayList<>();
        for (int i = 0; i < CELLS; i++) {
            if (!model.reserved[i]) {
                int from = i;
                while (i < CELLS && !model.reserved[i]) {
                    i++;
                }
                holes.add(new IovaRange((long) from * CELL, (long) i * CELL - 1));
            }
        }
        assertEquals(holes, areas.ranges(), at);
    }
}
