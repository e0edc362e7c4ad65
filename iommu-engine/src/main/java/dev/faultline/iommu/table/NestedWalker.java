package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.PageFormat.LEAF;
import static dev.faultline.iommu.table.Translation.ALL_RIGHTS;
import static dev.faultline.iommu.table.Translation.ALL_WRITE;

import dev.faultline.iommu.table.Translation.Step;
import org.jspecify.annotations.Nullable;

/**
 * The walk through two stages: a first stage whose tables lie at addresses that the second translates.
 *
 * <p>Each entry of the first stage is read with the second stage's permission to read, each mark is set with its permission to
 * write (which makes that page dirty there), and at last the address is translated by the access's own rights. With four levels
 * each that is up to 24 reads. The size is the smaller of the two, the rights those of both.
 */
public final class NestedWalker extends Walk {
    private static final int PAGE_OFFSET_MASK = (1 << Translation.PAGE_SHIFT) - 1;
    private static final int ENTRY_LG2 = 3;

    final PageFormat first;
    final Walker second;
    /** The root's address, as the second stage's input. */
    final long root;

    private final Cuts cuts;
    private final long grantsAll;

    /**
     * @throws IllegalArgumentException if {@code first} is no first stage, {@code second} no second stage, or the root is not
     *     aligned to its size
     */
    public NestedWalker(PageFormat first, long root, Walker second) {
        this(first, root, second, new Cuts());
    }

    /** @param cuts is told of pages of the first stage that are kept in parts */
    NestedWalker(PageFormat first, long root, Walker second, Cuts cuts) {
        if (first.stage() != 1) {
            throw new IllegalArgumentException("first=" + first.title() + ": allowed formats of a first stage");
        }
        if (second.format.stage() != 2) {
            throw new IllegalArgumentException(
                    "second=" + second.format.title() + ": allowed formats of a second stage");
        }
        int rootBytes = Math.min(first.entries(first.topLevel) << ENTRY_LG2, PAGE_OFFSET_MASK + 1);
        if ((root & (rootBytes - 1)) != 0 || !second.canonical(root)) {
            throw new IllegalArgumentException("root=0x" + Long.toHexString(root) + ": allowed multiples of "
                    + rootBytes + " in the second stage's input, " + second.canonicalRule());
        }
        this.first = first;
        this.root = root;
        this.cuts = cuts;
        this.second = second;
        this.grantsAll = first.leaf(0, 0, Translation.RIGHTS, false);
    }

    /** Where a walk came to the last table of the first stage. Its user's alone. */
    public static final class LastTable {
        /** In the host's memory, and in the low bits the rights that the tables above it leave; 0 if no walk came there. */
        private long reached;

        /** What {@link #leafFrom} takes, and nothing from now on. */
        public long take() {
            long taken = reached;
            reached = 0;
            return taken;
        }
    }

    @Override
    public long walk(long address, int needed) {
        return walk(address, needed, null);
    }

    /**
     * The same, and where its last table is.
     *
     * @param last filled where the walk comes to a table of level 0
     */
    public long walk(long address, int needed, @Nullable LastTable last) {
        PageFormat format = first;
        if (!format.canonical(address)) {
            return Translation.fault(WalkFault.BEYOND_INPUT, 1, format.topLevel, Step.DATA, 0);
        }
        PhysicalMemory memory = second.memory;
        long table = root;
        int level = format.topLevel;
        long all = -1;
        long any = 0;
        while (true) {
            long at = format.slot(table, address, level);
            long host = second.walk(at, Translation.READ);
            if (host < 0) {
                return Translation.reason(host) == WalkFault.PAGE_OUTSIDE
                        ? Translation.fault(WalkFault.TABLE_READ, 1, level, Step.TABLE, at)
                        : Translation.inSecondStage(host, Step.TABLE, level, at);
            }
            if (level == 0 && last != null) {
                last.reached = Translation.page(host) | (format.rights(grantsAll, all, any) & ALL_RIGHTS);
            }
            long slot = Translation.page(host) | (at & PAGE_OFFSET_MASK);
            long entry = memory.entry(slot);
            int kind = format.classify(entry, level);
            if (kind < 0) {
                return Translation.fault(WalkFault.of(~kind), 1, level, Step.DATA, at);
            }
            boolean leaf = kind == LEAF;
            int rights = ALL_RIGHTS;
            if (leaf) {
                if (format.refusesUnaccessed(entry)) {
                    return Translation.fault(WalkFault.NOT_ACCESSED, 1, level, Step.DATA, at);
                }
                rights = format.rights(entry, all, any);
                if ((rights & needed) != needed || rights == 0) {
                    return Translation.fault(Walker.refusal(needed, rights), 1, level, Step.DATA, at);
                }
            }
            long marked = format.marked(entry, level, leaf, (needed & ALL_WRITE) != 0);
            if (marked != entry) {
                host = second.walk(at, Translation.WRITE);
                if (host < 0) {
                    return Translation.inSecondStage(host, Step.MARK, level, at);
                }
                if (!memory.replace(Translation.page(host) | (at & PAGE_OFFSET_MASK), entry, marked)) {
                    continue;
                }
            }
            if (leaf) {
                return data(marked, level, rights, address, needed);
            }
            all &= entry;
            any |= entry;
            table = format.tableAddress(entry);
            level--;
        }
    }

    /**
     * The leaf in a table that a walk came to, if the rest of the walk needs nothing of the tables above it.
     *
     * @param reached what {@link LastTable} said
     * @return the entry; 0 if it is none, refuses the access, or has to be marked: then the whole walk says what becomes of it
     */
    public long leafFrom(long reached, long address, int needed) {
        PageFormat format = first;
        long entry = second.memory.entry(format.slot(Translation.page(reached), address, 0));
        if (format.classify(entry, 0) != LEAF || format.refusesUnaccessed(entry)) {
            return 0;
        }
        int rights = Translation.rights(reached) & format.rights(entry, -1, 0);
        boolean granted = (rights & needed) == needed && rights != 0;
        return granted && format.marked(entry, 0, true, (needed & ALL_WRITE) != 0) == entry ? entry : 0;
    }

    /** What a leaf that {@link #leafFrom} gave makes of the address: an input of the second stage. */
    public long between(long leaf, long address) {
        return first.leafAddress(leaf, 0) | (address & PAGE_OFFSET_MASK);
    }

    /**
     * What both stages say together.
     *
     * @param reached what {@link #leafFrom} was given
     * @param leaf what it gave
     * @param host the second stage's translation of {@link #between}
     * @return a translation, or a fault if no right is left
     */
    public long composed(long reached, long leaf, long address, long host) {
        int granted = Translation.rights(reached) & first.rights(leaf, -1, 0);
        return composed(leaf, 0, granted, address, between(leaf, address), host);
    }

    /** The second stage by itself. */
    public Walker second() {
        return second;
    }

    /** log2 of the bytes that a table of level 0 of the first stage is for. */
    public int lastTableShift() {
        return first.shift(1);
    }

    private long data(long leaf, int level, int granted, long address, int needed) {
        long between = first.leafAddress(leaf, level) | (address & ((1L << first.shift(level)) - 1));
        long host = second.walk(between, needed);
        if (host < 0) {
            return Translation.inSecondStage(host, Step.DATA, 0, between);
        }
        return composed(leaf, level, granted, address, between, host);
    }

    private long composed(long leaf, int level, int granted, long address, long between, long host) {
        PageFormat format = first;
        int rights = (format.writesUnmarked(leaf) ? granted : granted & ~ALL_WRITE) & Translation.rights(host);
        if (rights == 0) {
            return Translation.inSecondStage(
                    Translation.fault(WalkFault.NO_READ, 2, 0, Step.DATA, 0), Step.DATA, 0, between);
        }
        int whole = format.leafSizeLg2(leaf, level, address);
        int size = Math.min(whole, Translation.sizeLg2(host));
        if (size < whole) {
            cuts.note(whole);
        }
        return Translation.of(host, rights, size);
    }

    @Override
    public boolean canonical(long address) {
        return first.canonical(address);
    }

    @Override
    public String canonicalRule() {
        return first.canonicalRule();
    }

    @Override
    public WalkTrail trail(long address) {
        return WalkTrail.nested(this, address);
    }
}
