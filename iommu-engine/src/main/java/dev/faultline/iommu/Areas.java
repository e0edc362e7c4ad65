package dev.faultline.iommu;

import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.iommu.HiddenAreas.Hidden;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The map of an address space: which memory lies at which addresses, shown by every {@link AreaTable} that joined. What may be
 * mapped where follows from reserved ranges, which belong to whoever has them; from allowed ranges, which bind automatic placement
 * only; and from the alignment, which is the largest that a table or a user asks for. Linux calls it an I/O page table.
 *
 * <p>Threads: any. It is a control path, so it takes locks: a short one round each look and change, and one that many hold together
 * while areas are shown and hidden, and that a table's coming or going needs for itself. None is held while devices are waited for, so
 * a thread that has entered one may call this between two accesses; mapping waits for no device. Ownership: it
 * owns no memory, and holds what is mapped until no device uses it. Units: bytes; addresses are 64 bits, unsigned. Errors:
 * {@link AreaResult}; nothing is thrown for what a program can do wrong. {@link QuiescenceTimeout} is thrown for a thread that does not step:
 * then what was asked for is done, but memory that its device may use is held until it has let go. Source: the rules are those of Linux, {@code drivers/iommu/iommufd/io_pagetable.c}.
 */
public final class Areas {
    /** The system's page: what memory is held in, and what an alignment is at most. */
    public static final int PAGE_BYTES = 4096;

    private static final int ASKED_AT_MOST = 100;

    /** A part of some memory, to be mapped. */
    record Piece(Backing backing, long offset, long bytes) {}

    /**
     * How a mapping ended.
     *
     * @param result {@link AreaResult#DONE} or why nothing is mapped
     * @param address where it is; as it was asked for if there is no mapping
     */
    public record Mapped(AreaResult result, long address) {}

    /**
     * How unmapping ended.
     *
     * @param result {@link AreaResult#DONE} or why it stopped
     * @param bytes what is mapped no more, in either case
     */
    public record Unmapped(AreaResult result, long bytes) {}

    /** Gets areas one after the other. */
    @FunctionalInterface
    public interface Visitor {
        /**
         * An area.
         *
         * @param area one of those asked for
         * @param first the first address of it that is asked for
         * @param last the last one
         * @return {@link AreaResult#DONE} to go on
         */
        AreaResult visit(Area area, long first, long last);
    }

    /** Shared by those that show and hide areas, alone for who changes {@link #shownBy}. Devices are waited for without it. */
    private final ReentrantReadWriteLock shown = new ReentrantReadWriteLock();

    // Guarded by this.
    private final TreeMap<Long, Area> areas = new TreeMap<>(Long::compareUnsigned);
    private final AreaRanges ranges = new AreaRanges();
    private final IdentityHashMap<AreaUser, AtomicInteger> users = new IdentityHashMap<>();
    private boolean largePages = true;
    private long alignment = 1;

    /** How many areas there are. Written under the lock; a stale 0 is as if the area came later. */
    private volatile int count;

    /** Changed with both locks; read with either. */
    private final AreaTables shownBy;

    private final HiddenAreas hidden = new HiddenAreas();

    /** All addresses, nothing mapped. */
    public Areas() {
        shownBy = new AreaTables(hidden);
    }

    // Mapping.

    /**
     * Maps memory at an address.
     *
     * @param backing the memory
     * @param offset where in it, from the beginning of its first page
     * @param bytes how much of it
     * @param access {@link PageFaultLayout#PERM_READ}, {@link PageFaultLayout#PERM_WRITE} or both
     * @param address where
     * @return REFUSED, WRAPS, RESERVED, TAKEN, DENIED, or what holding or showing it said
     */
    public Mapped map(Backing backing, long offset, long bytes, int access, long address) {
        return insert(List.of(new Piece(backing, offset, bytes)), bytes, access, address, false);
    }

    /**
     * Maps memory where there is room.
     *
     * @param backing the memory
     * @param offset where in it, from the beginning of its first page
     * @param bytes how much of it
     * @param access {@link PageFaultLayout#PERM_READ}, {@link PageFaultLayout#PERM_WRITE} or both
     * @return as {@link #map}, and NO_SPACE
     */
    public Mapped place(Backing backing, long offset, long bytes, int access) {
        return insert(List.of(new Piece(backing, offset, bytes)), bytes, access, 0, true);
    }

    /**
     * What is mapped in a range, to be mapped elsewhere too.
     *
     * @param first the first address
     * @param bytes how much
     * @return what was found, or why it can not be copied
     */
    public AreaCopy copy(long first, long bytes) {
        List<Piece> pieces = new ArrayList<>();
        AreaResult result = visit(first, bytes, (area, from, to) -> {
            pieces.add(new Piece(area.backing(), area.offsetOf(from), to - from + 1));
            return AreaResult.DONE;
        });
        return new AreaCopy(result, pieces, bytes);
    }

    Mapped insert(List<Piece> pieces, long bytes, int access, long wanted, boolean anywhere) {
        if ((access & (PageFaultLayout.PERM_READ | PageFaultLayout.PERM_WRITE)) == 0
                || (access & ~(PageFaultLayout.PERM_READ | PageFaultLayout.PERM_WRITE)) != 0) {
            return new Mapped(AreaResult.REFUSED, wanted);
        }
        hidden.sweep();
        try {
            return insertAndShow(pieces, bytes, access, wanted, anywhere);
        } finally {
            hidden.sweep();
        }
    }

    private Mapped insertAndShow(List<Piece> pieces, long bytes, int access, long wanted, boolean anywhere) {
        List<Area> made = new ArrayList<>();
        long address = wanted;
        shown.readLock().lock();
        try {
            synchronized (this) {
                AreaResult result = bytes == 0 || (bytes & (alignment - 1)) != 0 ? AreaResult.REFUSED : AreaResult.DONE;
                if (result == AreaResult.DONE && anywhere) {
                    Piece first = pieces.getFirst();
                    Mapped found = ranges.place(first.backing.origin() + first.offset, bytes, alignment, areas);
                    result = found.result;
                    address = found.address;
                } else if (result == AreaResult.DONE) {
                    result = check(address, bytes);
                }
                long at = address;
                for (Piece piece : pieces) {
                    if (result != AreaResult.DONE) {
                        break;
                    }
                    result = checkMemory(piece, access);
                    if (result == AreaResult.DONE) {
                        Area area = new Area(at, at + piece.bytes - 1, access, piece.backing, piece.offset);
                        areas.put(at, area);
                        count = areas.size();
                        made.add(area);
                        at += piece.bytes;
                    }
                }
                if (result != AreaResult.DONE) {
                    forget(made);
                    return new Mapped(result, wanted);
                }
            }
            AreaResult result = AreaResult.REFUSED;
            try {
                result = shownBy.showAll(made);
            } finally {
                synchronized (this) {
                    if (result == AreaResult.DONE) {
                        made.forEach(area -> area.settled = true);
                    } else {
                        forget(made);
                    }
                }
            }
            return new Mapped(result, result == AreaResult.DONE ? address : wanted);
        } finally {
            shown.readLock().unlock();
        }
    }

    private void forget(List<Area> gone) {
        gone.forEach(area -> areas.remove(area.first()));
        count = areas.size();
    }

    private AreaResult checkMemory(Piece piece, int access) {
        if (piece.offset < 0 || piece.bytes < 0 || piece.offset > piece.backing.bytes() - piece.bytes) {
            return AreaResult.UNREACHABLE;
        }
        if ((access & PageFaultLayout.PERM_WRITE) != 0 && !piece.backing.writable()) {
            return AreaResult.DENIED;
        }
        return (piece.offset % PAGE_BYTES & (alignment - 1)) == 0 ? AreaResult.DONE : AreaResult.REFUSED;
    }

    private AreaResult check(long address, long bytes) {
        if ((address & (alignment - 1)) != 0) {
            return AreaResult.REFUSED;
        }
        long last = address + bytes - 1;
        if (Long.compareUnsigned(last, address) < 0) {
            return AreaResult.WRAPS;
        }
        if (ranges.isReserved(address, last)) {
            return AreaResult.RESERVED;
        }
        return isMapped(address, last) ? AreaResult.TAKEN : AreaResult.DONE;
    }

    // Unmapping.

    /**
     * Unmaps every area in a range. One that the range would cut stops it, and those before it are gone then. When it returns no device
     * uses what is mapped no more.
     *
     * @param first the first address
     * @param bytes how far
     * @throws QuiescenceTimeout if a thread has entered a device and does not step. What was in the range is unmapped; called again, this
     *     waits again
     * @return REFUSED for an empty range, WRAPS, NOT_MAPPED for one that would be cut or if nothing was there, BUSY, or NOT_LET_GO
     */
    public Unmapped unmap(long first, long bytes) {
        if (bytes == 0) {
            return new Unmapped(AreaResult.REFUSED, 0);
        }
        long last = first + bytes - 1;
        if (Long.compareUnsigned(last, first) < 0) {
            return new Unmapped(AreaResult.WRAPS, 0);
        }
        Unmapped done = remove(first, last);
        return done.result == AreaResult.DONE && done.bytes == 0 ? new Unmapped(AreaResult.NOT_MAPPED, 0) : done;
    }

    /**
     * Unmaps everything.
     *
     * @return DONE also if nothing was mapped; BUSY or NOT_LET_GO
     * @throws QuiescenceTimeout as {@link #unmap}
     */
    public Unmapped unmapAll() {
        return remove(0, -1);
    }

    private Unmapped remove(long from, long last) {
        List<Hidden> gone = new ArrayList<>();
        Unmapped done = null;
        try {
            done = hide(from, last, gone);
        } finally {
            if (done == null) {
                hidden.leave(gone);
            }
        }
        long owed = hidden.letGo(from, last, gone);
        hidden.sweep();
        return new Unmapped(done.result, done.bytes + owed);
    }

    /**
     * Takes every area out of a range, and waits for no device.
     *
     * @param gone gets what has to be let go
     */
    Unmapped hide(long from, long last, List<Hidden> gone) {
        long first = from;
        long bytes = 0;
        int asked = 0;
        while (true) {
            Area area;
            boolean askUsers;
            shown.readLock().lock();
            try {
                synchronized (this) {
                    area = firstIn(first, last);
                    if (area == null) {
                        return new Unmapped(AreaResult.DONE, bytes);
                    }
                    if (!area.settled || area.locks > 0) {
                        return new Unmapped(AreaResult.BUSY, bytes);
                    }
                    if (Long.compareUnsigned(area.first(), first) < 0 || Long.compareUnsigned(area.last(), last) > 0) {
                        return new Unmapped(AreaResult.NOT_MAPPED, bytes);
                    }
                    asked = area.first() == first ? asked : 0;
                    askUsers = area.pins > 0;
                    if (askUsers) {
                        area.leaving = true;
                    } else {
                        area.settled = false;
                    }
                }
                if (!askUsers) {
                    takeAway(area, gone);
                    bytes += area.bytes();
                }
            } finally {
                shown.readLock().unlock();
            }
            if (askUsers) {
                first = area.first();
                tellUsers(area);
                if (++asked > ASKED_AT_MOST) {
                    return new Unmapped(AreaResult.NOT_LET_GO, bytes);
                }
            } else if (Long.compareUnsigned(area.last(), last) >= 0) {
                return new Unmapped(AreaResult.DONE, bytes);
            } else {
                first = area.last() + 1;
            }
        }
    }

    private void takeAway(Area area, List<Hidden> gone) {
        Hidden now = shownBy.hideAll(area, false);
        if (now != null) {
            gone.add(now);
        }
        synchronized (this) {
            forget(List.of(area));
        }
    }

    /** Waits for what {@link #hide} took out. */
    void letGo(long first, long last, List<Hidden> gone) {
        var _ = hidden.letGo(first, last, gone);
    }

    // Tables.

    /**
     * Makes a table show what is mapped, from now on.
     *
     * @param table one that joined nothing
     * @return REFUSED if its smallest page is larger than the system's; IN_USE if an area is not aligned for it, or an area or an
     *     allowed range lies outside of its aperture; or what holding or showing an area said
     */
    public AreaResult join(AreaTable table) {
        AreaResult joined = alone(() -> {
            long smallest;
            synchronized (this) {
                smallest = Math.max(Long.lowestOneBit(table.pageSizes()), alignment);
                AreaResult result = admit(table, smallest);
                if (result != AreaResult.DONE) {
                    release(table);
                    return result;
                }
            }
            AreaResult result = AreaResult.REFUSED;
            try {
                result = shownBy.fill(table, areas.values());
            } finally {
                synchronized (this) {
                    if (result == AreaResult.DONE) {
                        alignment = smallest;
                        shownBy.add(table);
                    } else {
                        release(table);
                    }
                }
            }
            return result;
        });
        hidden.sweep();
        return joined;
    }

    private AreaResult admit(AreaTable table, long smallest) {
        if (smallest > PAGE_BYTES || smallest <= 0) {
            return AreaResult.REFUSED;
        }
        if (smallest != alignment && !isAligned(smallest)) {
            return AreaResult.IN_USE;
        }
        AreaResult below = table.firstAddress() == 0 ? AreaResult.DONE : reserve(table, 0, table.firstAddress() - 1);
        return below != AreaResult.DONE || table.lastAddress() == -1
                ? below
                : reserve(table, table.lastAddress() + 1, -1);
    }

    /**
     * Makes a table show nothing any more. When it returns no device uses what it showed.
     *
     * @param table one that joined
     * @throws QuiescenceTimeout if a thread has entered a device and does not step. The table has left; called again, this waits again
     */
    public void leave(AreaTable table) {
        var _ = alone(() -> {
            if (!shownBy.has(table)) {
                return AreaResult.NOT_MAPPED;
            }
            synchronized (this) {
                shownBy.remove(table, areas.values());
                release(table);
                alignment = neededAlignment();
            }
            return AreaResult.DONE;
        });
        hidden.letGo(table);
        hidden.sweep();
    }

    /**
     * Shows no more what has been revoked. When it returns no device uses it.
     *
     * @throws QuiescenceTimeout if a thread has entered a device and does not step. It is shown no more; called again, this waits again
     */
    public void hideRevoked() {
        var _ = alone(() -> {
            for (Area area : areas.values()) {
                if (area.held && area.backing().isRevoked()) {
                    var _ = shownBy.hideAll(area, true);
                    area.shown = true;
                }
            }
            return AreaResult.DONE;
        });
        hidden.letGo();
    }

    /** Does something while no area comes or goes. */
    private AreaResult alone(Supplier<AreaResult> change) {
        shown.writeLock().lock();
        try {
            return change.get();
        } finally {
            shown.writeLock().unlock();
        }
    }

    private AreaResult aloneAndLocked(Supplier<AreaResult> change) {
        return alone(() -> {
            synchronized (this) {
                return change.get();
            }
        });
    }

    // Ranges.

    /**
     * What may be mapped at all: what is not reserved.
     *
     * @return ranges, sorted
     */
    public synchronized List<IovaRange> ranges() {
        return ranges.holes();
    }

    /**
     * What addresses and lengths have to be multiples of.
     *
     * @return a power of two, 1 to {@link #PAGE_BYTES}
     */
    public synchronized long alignment() {
        return alignment;
    }

    /**
     * Says where automatic placement may go, in place of what was said before. What is mapped elsewhere stays.
     *
     * @param wanted none for everywhere; each of two addresses or more, and none over another
     * @return REFUSED for a range that is none of these, IN_USE for one that reaches into a reserved range
     */
    public synchronized AreaResult allow(List<IovaRange> wanted) {
        return ranges.allow(wanted);
    }

    /**
     * Keeps mappings out of a range.
     *
     * @param owner whose range it is
     * @param first the first address
     * @param last the last one
     * @return IN_USE if something is mapped there, or it is allowed
     */
    public synchronized AreaResult reserve(Object owner, long first, long last) {
        return isMapped(first, last) ? AreaResult.IN_USE : ranges.reserve(owner, first, last);
    }

    /**
     * Reserves no more for somebody.
     *
     * @param owner whose ranges they are
     */
    public synchronized void release(Object owner) {
        ranges.release(owner);
    }

    // Pages.

    /**
     * Whether areas may be shown by pages larger than the system's.
     *
     * @return true unless it was forbidden
     */
    public synchronized boolean largePages() {
        return largePages;
    }

    /**
     * Permits or forbids pages larger than the system's.
     *
     * @param permitted which
     * @return forbidding: REFUSED if a table shows an area already, IN_USE if an area is not aligned to the system's page
     */
    public AreaResult largePages(boolean permitted) {
        return aloneAndLocked(() -> {
            if (!permitted && largePages && !shownBy.isEmpty() && !areas.isEmpty()) {
                return AreaResult.REFUSED;
            }
            if (!permitted && largePages && alignment < PAGE_BYTES && !isAligned(PAGE_BYTES)) {
                return AreaResult.IN_USE;
            }
            largePages = permitted;
            alignment = neededAlignment();
            return AreaResult.DONE;
        });
    }

    private long neededAlignment() {
        long needed = largePages ? 1 : PAGE_BYTES;
        needed = Math.max(needed, shownBy.largestSmallestPage());
        for (AreaUser user : users.keySet()) {
            needed = Math.max(needed, user.alignment());
        }
        return needed;
    }

    private boolean isAligned(long to) {
        for (Area area : areas.values()) {
            if (((area.first() | area.bytes() | area.offsetOf(area.first()) % PAGE_BYTES) & (to - 1)) != 0) {
                return false;
            }
        }
        return true;
    }

    // Users.

    /**
     * Tells somebody from now on of areas that go.
     *
     * @param user who has not been added, or has been removed as often
     * @return IN_USE if an area is not aligned for it
     */
    public AreaResult add(AreaUser user) {
        return aloneAndLocked(() -> {
            if (user.alignment() > alignment && !isAligned(user.alignment())) {
                return AreaResult.IN_USE;
            }
            users.computeIfAbsent(user, _ -> new AtomicInteger()).incrementAndGet();
            alignment = neededAlignment();
            return AreaResult.DONE;
        });
    }

    /**
     * Tells somebody nothing more.
     *
     * @param user who was added, and has nothing pinned
     */
    public void remove(AreaUser user) {
        var _ = aloneAndLocked(() -> {
            AtomicInteger count = users.get(user);
            if (count != null && count.decrementAndGet() == 0) {
                users.remove(user);
            }
            alignment = neededAlignment();
            return AreaResult.DONE;
        });
    }

    private void tellUsers(Area area) {
        List<AreaUser> now;
        synchronized (this) {
            now = List.copyOf(users.keySet());
        }
        now.forEach(user -> user.unmapping(area.first(), area.last()));
    }

    // Looking.

    /**
     * The area at an address.
     *
     * @param address which
     * @return null if nothing is mapped there, or it is just being made or taken away
     */
    public synchronized @Nullable Area find(long address) {
        Map.Entry<Long, Area> at = areas.floorEntry(address);
        Area area = at == null ? null : at.getValue();
        return area != null && area.settled && Long.compareUnsigned(area.last(), address) >= 0 ? area : null;
    }

    /** An area that is mapped in a range, or null: one volatile load while there is none anywhere. */
    @Nullable
    Area overlapping(long first, long last) {
        if (count == 0) {
            return null;
        }
        synchronized (this) {
            Area area = firstIn(first, last);
            while (area != null && !area.settled) {
                boolean more = Long.compareUnsigned(area.last(), last) < 0;
                area = more ? firstIn(area.last() + 1, last) : null;
            }
            return area;
        }
    }

    /**
     * All areas.
     *
     * @return those that are mapped now, in the order of their addresses
     */
    public synchronized List<Area> all() {
        return List.copyOf(areas.values());
    }

    /**
     * Whether all that is mapped is of files, which belong to no process.
     *
     * @return BUSY if an area is just being made or taken away, REFUSED if one is of something else
     */
    public synchronized AreaResult onlyFiles() {
        for (Area area : areas.values()) {
            if (!area.settled) {
                return AreaResult.BUSY;
            }
            if (!area.backing().isFile()) {
                return AreaResult.REFUSED;
            }
        }
        return AreaResult.DONE;
    }

    /**
     * Goes through a range, area by area, with nothing between them. Nothing is mapped or unmapped meanwhile.
     *
     * @param first the first address
     * @param bytes how far
     * @param visitor gets the areas, and calls nothing of this that waits
     * @return what the visitor said if it was not DONE; REFUSED for an empty range, WRAPS, NOT_MAPPED where there is a hole
     */
    public synchronized AreaResult visit(long first, long bytes, Visitor visitor) {
        if (bytes == 0) {
            return AreaResult.REFUSED;
        }
        long last = first + bytes - 1;
        if (Long.compareUnsigned(last, first) < 0) {
            return AreaResult.WRAPS;
        }
        long at = first;
        while (true) {
            Area area = find(at);
            if (area == null) {
                return AreaResult.NOT_MAPPED;
            }
            boolean end = Long.compareUnsigned(area.last(), last) >= 0;
            AreaResult result = visitor.visit(area, at, end ? last : area.last());
            if (result != AreaResult.DONE || end) {
                return result;
            }
            at = area.last() + 1;
        }
    }

    private @Nullable Area firstIn(long first, long last) {
        Map.Entry<Long, Area> at = areas.floorEntry(first);
        if (at == null || Long.compareUnsigned(at.getValue().last(), first) < 0) {
            at = areas.higherEntry(first);
        }
        return at == null || Long.compareUnsigned(at.getKey(), last) > 0 ? null : at.getValue();
    }

    private boolean isMapped(long first, long last) {
        return firstIn(first, last) != null;
    }
}
