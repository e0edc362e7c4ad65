package dev.faultline.iommu;

import dev.faultline.iommu.table.NestedWalker;
import dev.faultline.iommu.table.PageFormat;
import dev.faultline.iommu.table.PlainWalk;
import dev.faultline.iommu.table.Walk;
import dev.faultline.iommu.table.Walker;
import dev.faultline.iommu.tlb.Iotlb;
import dev.faultline.iommu.tlb.TlbTag;
import dev.faultline.ring.FaultQueue;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * What a device translates through: the mappings of an {@link AddressSpace}, a guest's tables over such, every address as it is, or
 * none. The kernel's HWPT.
 *
 * <p>Threads: any. Ownership: one of an address space goes with it; who makes another closes it, and an address space that is a
 * parent is closed after those nested in it. Progress: translating is lock-free; {@link #invalidate} and {@link #close} wait a
 * bounded time for threads that have entered devices. Units: bytes.
 */
public final class PageTable implements AutoCloseable {
    /** What it translates by. */
    public enum Kind {
        /** The mappings of an address space. */
        PAGING,
        /** A guest's tables, a first stage, whose addresses are those of a parent. */
        NESTED,
        /** An address is the physical address, with every right. */
        IDENTITY,
        /** No address is translated. */
        BLOCKED
    }

    /** A range of so many input bits is everything. */
    private static final int WHOLE_LG2 = 48;

    private final Iommu iommu;
    private final Kind kind;
    private final int domain;
    private final Walk walk;
    private final @Nullable FaultQueue queue;
    private final @Nullable AddressSpace space;
    private final @Nullable PageTable parent;
    /** What it is made of, if it shows areas or pages: set before anybody knows of it. */
    private @Nullable EngineTable engine;

    private final SpaceAttachments attachments = new SpaceAttachments();

    /** Those nested in this one: told when its mappings change. */
    private volatile PageTable[] nested = {};

    private boolean closed;

    /** Its tables are freed. */
    private boolean gone;

    private PageTable(
            Iommu iommu,
            Kind kind,
            int domain,
            Walk walk,
            @Nullable FaultQueue queue,
            @Nullable AddressSpace space,
            @Nullable PageTable parent) {
        this.iommu = iommu;
        this.kind = kind;
        this.domain = domain;
        this.walk = walk;
        this.queue = queue;
        this.space = space;
        this.parent = parent;
    }

    static PageTable paging(
            Iommu iommu, int domain, EngineTable table, @Nullable FaultQueue queue, @Nullable AddressSpace space) {
        PageTable made = new PageTable(iommu, Kind.PAGING, domain, table.radix().walker(), queue, space, null);
        made.engine = table;
        return made;
    }

    /** What may fail fails before the parent knows of it. */
    static PageTable nested(
            Iommu iommu, int domain, PageTable parent, PageFormat first, long guestRoot, @Nullable FaultQueue queue) {
        if (!(parent.walk instanceof Walker below)) {
            throw new IllegalArgumentException("parent=" + parent.kind + ": allowed PAGING");
        }
        return nested(iommu, domain, parent, new NestedWalker(first, guestRoot, below), queue);
    }

    /** As the device of a guest's with SMMUv3 has it. */
    static PageTable stream(Iommu iommu, int domain, PageTable parent, StreamEntry entry, @Nullable FaultQueue queue) {
        if (!(parent.walk instanceof Walker below) || below.format().stage() != 2) {
            throw new IllegalArgumentException(
                    "parent=" + parent + ": allowed PAGING, in the format of a second stage");
        }
        return nested(iommu, domain, parent, entry.walk(below), queue);
    }

    private static PageTable nested(Iommu iommu, int domain, PageTable parent, Walk walk, @Nullable FaultQueue queue) {
        PageTable made = new PageTable(iommu, Kind.NESTED, domain, walk, queue, null, parent);
        parent.adopt(made);
        return made;
    }

    static PageTable identity(Iommu iommu, int domain) {
        PlainWalk walk = PlainWalk.identity(iommu.frames().physical());
        return new PageTable(iommu, Kind.IDENTITY, domain, walk, null, null, null);
    }

    static PageTable blocked(Iommu iommu, int domain) {
        PlainWalk walk = PlainWalk.blocked(iommu.frames().physical());
        return new PageTable(iommu, Kind.BLOCKED, domain, walk, null, null, null);
    }

    static PageTable elsewhere(Iommu iommu, Kind kind, int domain, @Nullable FaultQueue queue) {
        PlainWalk walk = PlainWalk.blocked(iommu.frames().physical());
        return new PageTable(iommu, kind, domain, walk, queue, null, null);
    }

    /**
     * What it translates by.
     *
     * @return its kind
     */
    public Kind kind() {
        return kind;
    }

    /**
     * Its tag in the TLBs.
     *
     * @return a number that no other open page table of the {@link Iommu} has
     */
    public int domain() {
        return domain;
    }

    /**
     * Where faults of its devices go.
     *
     * @return null if they fail
     */
    public @Nullable FaultQueue queue() {
        return queue;
    }

    /**
     * Whose mappings it shows.
     *
     * @return null unless it is {@link Kind#PAGING}, and not kept elsewhere
     */
    public @Nullable AddressSpace space() {
        return space;
    }

    /**
     * How it shows what an {@link Areas} maps.
     *
     * @return what joins it
     * @throws IllegalStateException unless it is {@link Kind#PAGING}
     */
    public AreaTable areas() {
        if (engine == null) {
            throw new IllegalStateException("kind=" + kind + ": allowed PAGING");
        }
        return engine;
    }

    /**
     * What devices have written to through it.
     *
     * @return always the same
     * @throws IllegalStateException if it is not {@link Kind#PAGING}, or an address space's, which keeps account of its pages itself
     */
    public DirtyMarks dirty() {
        if (engine == null || space != null) {
            throw new IllegalStateException("kind=" + kind + ": allowed PAGING, of no address space");
        }
        return engine.dirty();
    }

    /**
     * What it is nested in.
     *
     * @return null unless it is {@link Kind#NESTED}
     */
    public @Nullable PageTable parent() {
        return parent;
    }

    /**
     * What the tables say about an address, step by step, for people.
     *
     * @param address any
     * @return the steps, whose {@code toString} is several lines
     */
    public Explanation explain(long address) {
        PageTable of = parent == null ? this : parent;
        return of.space == null ? Explanation.of(walk.trail(address)) : of.space.explainOver(walk, address);
    }

    /**
     * Makes devices forget what they know of a range, after the guest changed its tables. When it returns no access begun before
     * still uses what they said.
     *
     * @param address the first address, a multiple of 4096
     * @param bytes a positive multiple of 4096; {@link Long#MAX_VALUE} is everything
     * @throws IllegalStateException if it is not {@link Kind#NESTED}: others have nothing that a guest could change
     * @throws IllegalArgumentException if the range is not one of whole pages
     * @throws QuiescenceTimeout if a thread has entered a device and does not step
     */
    public void invalidate(long address, long bytes) {
        if (kind != Kind.NESTED) {
            throw new IllegalStateException("kind=" + kind + ": allowed NESTED");
        }
        int size = Iotlb.EVERYTHING;
        if (bytes != Long.MAX_VALUE) {
            if (address % Frames.BYTES != 0) {
                throw new IllegalArgumentException(
                        "address=0x" + Long.toHexString(address) + ": allowed multiples of 4096");
            }
            if (bytes <= 0 || bytes % Frames.BYTES != 0) {
                throw new IllegalArgumentException(
                        "bytes=" + bytes + ": allowed positive multiples of 4096, or Long.MAX_VALUE");
            }
            // The smallest naturally aligned range that holds all of it.
            long differs = address ^ (address + bytes - 1);
            int lg2 = Math.max(Frames.SHIFT, Long.SIZE - Long.numberOfLeadingZeros(differs));
            size = lg2 < WHOLE_LG2 ? lg2 - Frames.SHIFT : Iotlb.EVERYTHING;
        }
        iommu.stations().mayWait();
        iommu.await(forget(address, size));
    }

    /**
     * Detaches every device and makes them forget. One of an address space goes with that.
     *
     * @throws IllegalStateException if it is an address space's, or a thread has entered a device attached here and does not step
     *     it; then the call may be made again
     */
    @Override
    public void close() {
        if (engine != null) {
            closePaging(engine);
            return;
        }
        synchronized (this) {
            closed = true;
        }
        detachAll();
        var _ = forget(0, Iotlb.EVERYTHING);
        if (parent != null) {
            parent.disown(this);
        }
        iommu.closed(this);
    }

    private void closePaging(EngineTable of) {
        if (space != null) {
            if (space.table() == this) {
                throw new IllegalStateException("kind=PAGING: close its address space");
            }
            space.remove(of);
            return;
        }
        retire();
        iommu.await(forget(0, Iotlb.EVERYTHING));
        synchronized (this) {
            if (!gone) {
                gone = true;
                of.close();
                iommu.closed(this);
            }
        }
    }

    @Override
    public String toString() {
        return kind + " page table " + domain;
    }

    /** Whether what it translates may differ from PASID to PASID, as a first stage may. */
    boolean knowsPasids() {
        return kind == Kind.NESTED
                || (walk instanceof Walker walker && walker.format().stage() == 1);
    }

    Walk walk() {
        return walk;
    }

    /** Its addresses and its number mean nothing to another IOMMU. */
    void requireOf(Iommu other) {
        if (iommu != other) {
            throw new IllegalArgumentException(this + " of another Iommu: allowed those of the same");
        }
    }

    synchronized void add(Attachment attachment) {
        if (closed) {
            throw new IllegalStateException(this + " is closed");
        }
        attachments.add(attachment);
    }

    void remove(Attachment attachment) {
        attachments.remove(attachment);
    }

    boolean wants(long key) {
        return attachments.wants(key);
    }

    /** Admits no attachment any more, and ends those that are. */
    void retire() {
        synchronized (this) {
            closed = true;
        }
        PageTable[] children = nested;
        if (children.length > 0) {
            throw new IllegalStateException(
                    children.length + " page tables are nested in " + this + ": close them first");
        }
        detachAll();
    }

    /**
     * Tells the IOTLB and the device TLBs to forget a range, here and in all that is nested in this.
     *
     * @return the epoch that has to be waited for
     */
    long forget(long address, int size) {
        int pasid = attachments.withPasid() || walk.everyPasid() ? Iotlb.ANY_PASID : TlbTag.NO_PASID;
        iommu.iotlb().invalidate(domain, pasid, address, size);
        long epoch = iommu.log().append(domain, Iotlb.ANY_PASID, address, size);
        for (PageTable child : nested) {
            // Which of the guest's addresses led to this range is known to nobody.
            epoch = child.forget(0, Iotlb.EVERYTHING);
        }
        return epoch;
    }

    /** What is nested in this. */
    PageTable[] nested() {
        return nested;
    }

    private void detachAll() {
        for (Attachment attachment : attachments.all()) {
            attachment.detach();
        }
    }

    private synchronized void adopt(PageTable child) {
        if (closed) {
            throw new IllegalStateException(this + " is closed");
        }
        PageTable[] now = nested;
        PageTable[] more = Arrays.copyOf(now, now.length + 1);
        more[now.length] = child;
        nested = more;
    }

    private synchronized void disown(PageTable child) {
        nested = Arrays.stream(nested).filter(n -> n != child).toArray(PageTable[]::new);
    }
}
