package dev.faultline.iommu.table;

import static dev.faultline.iommu.table.PageFormat.LEAF;
import static dev.faultline.iommu.table.Translation.ALL_RIGHTS;
import static dev.faultline.iommu.table.Translation.ALL_WRITE;

import dev.faultline.iommu.table.Translation.Step;

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
    }

    @Override
    public long walk(long address, int needed) {
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

    private long data(long leaf, int level, int granted, long address, int needed) {
        PageFormat format = first;
        long between = format.leafAddress(leaf, level) | (address & ((1L << format.shift(level)) - 1));
        long host = second.walk(between, needed);
        if (host < 0) {
            return Translation.inSecondStage(host, Step.DATA, 0, between);
        }
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
