package dev.faultline.iommu;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;

/**
 * The tables that show the areas of an {@link Areas}, all the same.
 *
 * <p>Threads: those that show and hide areas, different ones at once; one alone while tables come and go. Its {@link Areas} sees to that.
 */
final class AreaTables {
    private final List<AreaTable> tables = new ArrayList<>();

    boolean isEmpty() {
        return tables.isEmpty();
    }

    boolean has(AreaTable table) {
        return tables.contains(table);
    }

    void add(AreaTable table) {
        tables.add(table);
    }

    /** One less; what no table shows is held no more. */
    void remove(AreaTable table, Collection<Area> areas) {
        tables.remove(table);
        if (tables.isEmpty()) {
            areas.stream().filter(area -> area.shown).forEach(AreaTables::letGo);
        }
    }

    /** The largest of the smallest pages of the tables; 1 without tables. */
    long largestSmallestPage() {
        return tables.stream()
                .mapToLong(table -> Long.lowestOneBit(table.pageSizes()))
                .max()
                .orElse(1);
    }

    /** Shows an area in no table any more, and holds it no more. */
    void hideAll(Area area) {
        hideAndLetGo(area, tables.size());
    }

    /** Shows areas in all tables, or none of them in any. */
    AreaResult showAll(List<Area> made) {
        if (tables.isEmpty()) {
            return AreaResult.DONE;
        }
        for (int i = 0; i < made.size(); i++) {
            Area area = made.get(i);
            AreaResult result = hold(area);
            for (int t = 0; result == AreaResult.DONE && t < tables.size(); t++) {
                result = show(tables.get(t), area);
                if (result != AreaResult.DONE) {
                    hideAndLetGo(area, t);
                }
            }
            if (result != AreaResult.DONE) {
                for (int before = 0; before < i; before++) {
                    hideAndLetGo(made.get(before), tables.size());
                }
                return result;
            }
        }
        return AreaResult.DONE;
    }

    private static AreaResult show(AreaTable table, Area area) {
        return area.backing().isRevoked() ? AreaResult.DONE : table.show(area);
    }

    private static AreaResult hold(Area area) {
        if (!area.backing().isRevoked()) {
            AreaResult result = area.backing().hold(area.firstPage(), area.lastPage());
            if (result != AreaResult.DONE) {
                return result;
            }
            area.held = true;
        }
        area.shown = true;
        return AreaResult.DONE;
    }

    /** From the first tables of the list. */
    private void hideAndLetGo(Area area, int count) {
        for (int i = 0; i < count; i++) {
            tables.get(i).hide(area);
        }
        letGo(area);
    }

    private static void letGo(Area area) {
        if (area.held) {
            area.backing().release(area.firstPage(), area.lastPage());
            area.held = false;
        }
        area.shown = false;
    }

    /** Shows areas in a table that is not one of these yet, or none of them. */
    AreaResult fill(AreaTable table, Collection<Area> areas) {
        List<Area> done = new ArrayList<>();
        for (Area area : areas) {
            AreaResult result = area.shown ? AreaResult.DONE : hold(area);
            if (result == AreaResult.DONE) {
                result = show(table, area);
                done.add(area);
            }
            if (result != AreaResult.DONE) {
                for (Area undo : done) {
                    table.hide(undo);
                    if (tables.isEmpty()) {
                        letGo(undo);
                    }
                }
                return result;
            }
        }
        return AreaResult.DONE;
    }
}
