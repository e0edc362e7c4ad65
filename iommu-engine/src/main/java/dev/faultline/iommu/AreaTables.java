package dev.faultline.iommu;

import dev.faultline.iommu.HiddenAreas.Hidden;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The tables that show the areas of an {@link Areas}, all the same. The first that joined is the first to show an area and the last to
 * hide it, so nothing of an area is shown anywhere that the first does not show.
 *
 * <p>Threads: those that show and hide areas, different ones at once; one alone while tables come and go. Its {@link Areas} sees to that.
 * Nothing here waits for devices; what was hidden goes to {@link HiddenAreas}.
 */
final class AreaTables {
    private final List<AreaTable> tables = new ArrayList<>();
    private final HiddenAreas hidden;

    AreaTables(HiddenAreas hidden) {
        this.hidden = hidden;
    }

    boolean isEmpty() {
        return tables.isEmpty();
    }

    boolean has(AreaTable table) {
        return tables.contains(table);
    }

    void add(AreaTable table) {
        tables.add(table);
    }

    /** One less, which shows none of the areas any more. */
    void remove(AreaTable table, Collection<Area> areas) {
        tables.remove(table);
        areas.forEach(area -> hide(area, table));
    }

    /** The largest of the smallest pages of the tables; 1 without tables. */
    long largestSmallestPage() {
        return tables.stream()
                .mapToLong(table -> Long.lowestOneBit(table.pageSizes()))
                .max()
                .orElse(1);
    }

    /**
     * Shows an area in no table any more.
     *
     * @param left whether nobody is going to wait for it
     * @return null if none showed it
     */
    @Nullable
    Hidden hideAll(Area area, boolean left) {
        if (!area.shown) {
            return null;
        }
        tables.reversed().forEach(table -> table.hide(area));
        return hidden(area, List.copyOf(tables), left);
    }

    /** Shows an area no more in a table that is none of these by now. */
    private void hide(Area area, AreaTable table) {
        if (area.shown) {
            table.hide(area);
            if (tables.isEmpty()) {
                var _ = hidden(area, List.of(table), true);
            } else {
                var _ = hidden.add(area, List.of(table), false, true);
            }
        }
    }

    private Hidden hidden(Area area, List<AreaTable> by, boolean left) {
        boolean holds = area.held;
        area.held = false;
        area.shown = false;
        return hidden.add(area, by, holds, left);
    }

    /** Shows areas in all tables, or none of them in any. */
    AreaResult showAll(List<Area> made) {
        AreaResult result = AreaResult.REFUSED;
        try {
            result = show(made);
            return result;
        } finally {
            if (result != AreaResult.DONE) {
                for (Area area : made) {
                    var _ = hideAll(area, true);
                }
            }
        }
    }

    private AreaResult show(List<Area> made) {
        for (Area area : made) {
            AreaResult result = tables.isEmpty() ? AreaResult.DONE : hold(area);
            for (int i = 0; result == AreaResult.DONE && i < tables.size(); i++) {
                result = show(tables.get(i), area);
            }
            if (result != AreaResult.DONE) {
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

    /** Shows areas in a table that is not one of these yet, or none of them. */
    AreaResult fill(AreaTable table, Collection<Area> areas) {
        List<Area> begun = new ArrayList<>();
        AreaResult result = AreaResult.REFUSED;
        try {
            result = fill(table, areas, begun);
            return result;
        } finally {
            if (result != AreaResult.DONE) {
                begun.forEach(area -> hide(area, table));
            }
        }
    }

    private static AreaResult fill(AreaTable table, Collection<Area> areas, List<Area> begun) {
        for (Area area : areas) {
            AreaResult result = area.shown ? AreaResult.DONE : hold(area);
            if (result == AreaResult.DONE) {
                begun.add(area);
                result = show(table, area);
            }
            if (result != AreaResult.DONE) {
                return result;
            }
        }
        return AreaResult.DONE;
    }
}
