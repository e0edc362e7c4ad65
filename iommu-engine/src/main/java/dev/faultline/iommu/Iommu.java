package dev.faultline.iommu;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ffm.Region;
import dev.faultline.iommu.tlb.InvalidationLog;
import dev.faultline.iommu.tlb.Iotlb;
import dev.faultline.iommu.tlb.Stations;
import dev.faultline.iommu.tlb.TlbTag;
import dev.faultline.iommu.tlb.WalkCache;
import dev.faultline.ring.FaultQueue;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.jspecify.annotations.Nullable;

/**
 * An emulated IOMMU: physical memory, address spaces whose page tables lie in it, and devices that translate through them.
 *
 * <p>Threads: any; none is created, devices are stepped by the caller's. Ownership: it owns its memory, unless that is the caller's; closing it closes the
 * devices and address spaces made from it, not the fault queues. Progress: making and closing things takes locks and waits
 * a bounded time; what devices and handlers do does not. Units: bytes, nanoseconds.
 */
public final class Iommu implements AutoCloseable {
    private record Pending(long epoch, long page) {}

    /** Never started: any thread but the one that has confined a segment. */
    private static final Thread OTHER_THREAD = Thread.ofPlatform().unstarted(() -> {});

    private final IommuConfig config;
    /** Null if the memory is the caller's. */
    private final @Nullable Region memory;

    private final Region control;
    private final Frames frames;
    private final BorrowedMemory borrowed;
    private final Iotlb iotlb;
    private final WalkCache walkCache;
    private final InvalidationLog log;
    private final Stations stations;
    private final Invalidations invalidations;
    private final PageRequestQueue pageRequests;

    /** Frames that a thread may still use: unmapped, but the wait for that thread ran out. */
    private final Queue<Pending> pending = new ConcurrentLinkedQueue<>();

    private final List<AddressSpace> spaces = new ArrayList<>();
    /** Those that are not an address space's. */
    private final List<PageTable> tables = new ArrayList<>();

    /** The numbers of both, 1 or more: used again once the caches have nothing left of them. */
    private final BitSet domains = new BitSet();

    private final List<Device> devices = new ArrayList<>();
    private Counters retired = Counters.ZERO;
    private int nextId = 1;
    private boolean closed;

    private Iommu(IommuConfig config, @Nullable Region memory, MemorySegment physical) {
        this.config = config;
        this.memory = memory;
        long framesBytes = CacheLine.alignUp(Frames.wordsBytes(config.memoryBytes() / Frames.BYTES));
        long logBytes = InvalidationLog.wordsBytes(config.logEntries());
        long stationsBytes = Stations.wordsBytes(config.stations());
        this.control = Region.allocate(framesBytes + logBytes + stationsBytes);
        MemorySegment words = control.segment();
        this.pageRequests = new PageRequestQueue(config.pageRequestEntries());
        this.frames = new Frames(physical, words.asSlice(0, framesBytes));
        this.borrowed = new BorrowedMemory(frames.physical());
        this.iotlb = new Iotlb(config.iotlbEntries());
        this.walkCache = new WalkCache(config.iotlbEntries());
        this.log = new InvalidationLog(words.asSlice(framesBytes, logBytes), config.logEntries());
        this.stations = new Stations(words.asSlice(framesBytes + logBytes, stationsBytes), config.stations(), log);
        this.invalidations = new Invalidations(iotlb, walkCache, log, stations, config.limitNs());
    }

    /**
     * Makes an IOMMU.
     *
     * @param config how
     * @return the IOMMU, without address spaces and devices
     */
    public static Iommu open(IommuConfig config) {
        Region memory = Region.allocate(config.memoryBytes());
        try {
            return new Iommu(config, memory, memory.segment());
        } catch (RuntimeException | Error e) {
            memory.close();
            throw e;
        }
    }

    /**
     * Makes an IOMMU whose physical memory is the caller's: a mapped file, say. A sparse file takes no more room than the pages and
     * page tables that were written, however large it is.
     *
     * @param config how; {@code memoryBytes} is the size of {@code memory}
     * @param memory can be written, lies at a multiple of 8, and may be used by all threads; the caller's, open until the IOMMU is closed
     * @return the IOMMU, without address spaces and devices
     * @throws IllegalArgumentException if {@code memory} is not as it has to be
     */
    public static Iommu open(IommuConfig config, MemorySegment memory) {
        if (memory.byteSize() != config.memoryBytes()
                || memory.isReadOnly()
                || memory.maxByteAlignment() < Long.BYTES
                || !memory.isAccessibleBy(OTHER_THREAD)) {
            throw new IllegalArgumentException("memory=" + memory + ": allowed memoryBytes=" + config.memoryBytes()
                    + " bytes that can be written, at a multiple of 8, shared by threads");
        }
        return new Iommu(config, null, memory);
    }

    /**
     * Makes an empty address space. Its root table takes a frame.
     *
     * @param format of its page table
     * @param queue where faults of its devices go; null if they are to fail
     * @return the address space
     * @throws OutOfFrames if no frame is free
     */
    public synchronized AddressSpace addressSpace(TableFormat format, @Nullable FaultQueue queue) {
        requireOpen();
        int domain = freeDomain();
        AddressSpace space = new AddressSpace(this, format.facts(), domain, queue);
        domains.set(domain);
        spaces.add(space);
        return space;
    }

    /**
     * Makes a page table of a guest: a first stage whose root and tables lie in the guest's memory, which a parent translates. The
     * guest writes its tables where a device would, and has to tell changes by {@link PageTable#invalidate}. Faults of either stage
     * go to its queue.
     *
     * @param parent of an address space in the format of a second stage, without fault queue
     * @param first the format of a first stage
     * @param guestRoot where its root table is, as the parent's input
     * @param queue where faults of its devices go; null if they are to fail
     * @return the page table
     * @throws IllegalArgumentException if the formats are of other stages, the parent is of another kind or of another IOMMU or has a fault queue, or
     *     the root is not a page of its input
     */
    public synchronized PageTable nested(
            PageTable parent, TableFormat first, long guestRoot, @Nullable FaultQueue queue) {
        requireOpen();
        requireParent(parent);
        int domain = freeDomain();
        return opened(PageTable.nested(this, domain, parent, first.facts(), guestRoot, queue));
    }

    /**
     * Makes what a guest's SMMUv3 says of a device: every PASID's tables at once, if it translates. The guest's stream table entry, context
     * descriptors and first stages lie in its memory, which a parent translates; the guest has to tell changes by {@link
     * Invalidations#context} and others. It is attached to devices as a whole.
     *
     * @param parent of an address space in the format of a second stage, without fault queue
     * @param entry the guest's
     * @param queue where faults of its devices go, those of the second stage too; null if they are to fail
     * @return the page table
     * @throws IllegalArgumentException if the parent is of another kind or has a fault queue, or is of another IOMMU
     */
    public synchronized PageTable stream(PageTable parent, StreamEntry entry, @Nullable FaultQueue queue) {
        requireOpen();
        requireParent(parent);
        return opened(PageTable.stream(this, freeDomain(), parent, entry, queue));
    }

    private void requireParent(PageTable parent) {
        parent.requireOf(this);
        if (parent.queue() != null) {
            throw new IllegalArgumentException(
                    "parent.queue()=" + parent.queue() + ": allowed none, faults go to the nested page table's");
        }
    }

    /**
     * Makes a page table by which every address is the physical address, with every right.
     *
     * @return the page table
     */
    public synchronized PageTable identity() {
        requireOpen();
        return opened(PageTable.identity(this, freeDomain()));
    }

    /**
     * Makes a page table by which no address is translated: accesses end {@link AccessResult#BLOCKED}.
     *
     * @return the page table
     */
    public synchronized PageTable blocked() {
        requireOpen();
        return opened(PageTable.blocked(this, freeDomain()));
    }

    /**
     * Makes a page table that is kept elsewhere: devices are attached to it and their faults go to its queue, but what it translates is
     * nothing this engine looks at. For drivers of models without memory.
     *
     * @param kind what it stands for: {@link PageTable.Kind#PAGING} or {@link PageTable.Kind#NESTED}
     * @param queue where faults of its devices go; null if they are to fail
     * @return the page table
     * @throws IllegalArgumentException if {@code kind} is another
     */
    public synchronized PageTable tableElsewhere(PageTable.Kind kind, @Nullable FaultQueue queue) {
        if (kind != PageTable.Kind.PAGING && kind != PageTable.Kind.NESTED) {
            throw new IllegalArgumentException("kind=" + kind + ": allowed PAGING, NESTED");
        }
        requireOpen();
        return opened(PageTable.elsewhere(this, kind, freeDomain(), queue));
    }

    /**
     * Adds physical memory, beside that of {@link #frames}: a guest's, or a device's. It is addressed, not handed out.
     *
     * @param base its physical address: a multiple of 4096, and it ends below 2^52
     * @param added whole pages that can be written; the caller's, open until this IOMMU is closed
     * @throws IllegalArgumentException if it lies over other memory, or is not as it has to be
     */
    public void addMemory(long base, MemorySegment added) {
        frames.physical().add(base, added);
    }

    /**
     * Makes a page table that shows what a program maps: it joins an {@link Areas}, by {@link PageTable#areas}.
     *
     * @param format of the page table
     * @param queue where faults of its devices go; null if they are to fail
     * @return the page table, of nothing
     * @throws OutOfFrames if no frame is free
     */
    public synchronized PageTable pageTable(TableFormat format, @Nullable FaultQueue queue) {
        requireOpen();
        return opened(new EngineTable(this, format.facts(), freeDomain(), queue, null).table());
    }

    /** A page table beside another of an address space. */
    synchronized EngineTable sibling(TableFormat format, @Nullable FaultQueue queue, AddressSpace space) {
        requireOpen();
        EngineTable made = new EngineTable(this, format.facts(), freeDomain(), queue, space);
        domains.set(made.table().domain());
        return made;
    }

    /** The number of a page table that is closed. */
    synchronized void freeDomain(int domain) {
        domains.clear(domain);
    }

    /**
     * Physical memory, to be mapped as a range.
     *
     * @param physical where it begins
     * @param bytes how much
     * @return the memory, which stays whose it is
     * @throws IllegalArgumentException if no memory is there
     */
    public Backing memory(long physical, long bytes) {
        if (bytes <= 0
                || !frames.physical().contains(physical)
                || !frames.physical().contains(physical + bytes - 1)) {
            throw new IllegalArgumentException("physical=0x" + Long.toHexString(physical) + ": allowed where there are "
                    + bytes + " bytes of memory");
        }
        return new PhysicalBacking(frames.physical(), physical, bytes, true);
    }

    private int freeDomain() {
        int domain = domains.nextClearBit(1);
        if (domain > TlbTag.MAX_DOMAINS) {
            throw new IllegalStateException(
                    "page tables open=" + domains.cardinality() + ": allowed " + TlbTag.MAX_DOMAINS);
        }
        return domain;
    }

    private PageTable opened(PageTable table) {
        domains.set(table.domain());
        tables.add(table);
        return table;
    }

    /**
     * Makes a device, attached to nothing.
     *
     * @param deviceConfig how
     * @return the device
     * @throws IllegalArgumentException if another device has its id or its requester id
     */
    public Device device(DeviceConfig deviceConfig) {
        return device(deviceConfig, null);
    }

    synchronized Device device(DeviceConfig deviceConfig, @Nullable Device physical) {
        requireOpen();
        int id = deviceConfig.id();
        if (id == DeviceConfig.ANY_ID) {
            while (hasId(nextId)) {
                nextId++;
            }
            id = nextId++;
        } else if (hasId(id)) {
            throw new IllegalArgumentException("id=" + id + ": allowed any that no other device has");
        }
        int requester = deviceConfig.requester();
        if (requester == DeviceConfig.ANY_ID) {
            requester = physical == null ? RequesterId.of(0, 1, 0) : physical.requester() + 1;
            while (requester <= RequesterId.LARGEST && hasRequester(requester)) {
                requester++;
            }
            Limits.inRange("requester", requester, 0, RequesterId.LARGEST);
        } else if (hasRequester(requester)) {
            throw new IllegalArgumentException(
                    "requester=" + RequesterId.text(requester) + ": allowed any that no other device has");
        }
        Device device = new Device(this, deviceConfig, id, requester, physical);
        devices.add(device);
        return device;
    }

    /**
     * The physical memory.
     *
     * @return the frames
     */
    public Frames frames() {
        return frames;
    }

    /**
     * Where page requests go through.
     *
     * @return the queue of all its devices
     */
    public PageRequestQueue pageRequests() {
        return pageRequests;
    }

    /**
     * A Page Request message arrives from the wire. What a function sends for its own accesses comes by itself; this is for what others put on
     * the wire in its name, or in nobody's.
     *
     * @param requester who it says it is from
     * @param body header bytes 08h to 0Fh: 0 R, 1 W, 2 L, 11:3 index, 63:12 page
     * @param pasid from its PASID prefix, or {@link dev.faultline.ring.FaultProducer#NO_PASID}
     * @param execute the prefix's Execute Requested
     * @param privileged the prefix's Privileged Mode Requested
     * @return the body of the PRG Response that goes back at once, 40:32 index, 47:44 code, 63:48 the requester: INVALID where no device has the
     *     requester id and the message is the last of its group; else 0. A device's own response comes to it as every other
     * @throws IllegalArgumentException if {@code requester} or {@code pasid} is out of range
     * @throws IllegalStateException if another thread has entered the device and does not step it within the limit
     */
    public long pageRequest(int requester, long body, int pasid, boolean execute, boolean privileged) {
        Limits.inRange("requester", requester, 0, RequesterId.LARGEST);
        PageRequest request = PageRequest.ofWire(body, pasid, execute, privileged);
        Device from;
        synchronized (this) {
            requireOpen();
            from = devices.stream()
                    .filter(device -> device.requester() == requester)
                    .findFirst()
                    .orElse(null);
        }
        if (from != null) {
            from.send(request);
            return 0;
        }
        return pageRequests.answersStranger(request)
                ? PageRequest.responseToWire(requester, request.index(), ResponseCode.INVALID)
                : 0;
    }

    /**
     * Makes TLBs forget.
     *
     * @return the same for the life of this
     */
    public Invalidations invalidations() {
        return invalidations;
    }

    /**
     * How it was made.
     *
     * @return the configuration
     */
    public IommuConfig config() {
        return config;
    }

    /**
     * What all its devices have done, closed ones included.
     *
     * @return the sum
     */
    public synchronized Counters counters() {
        Counters sum = retired;
        for (Device device : devices) {
            sum = sum.plus(device.counters());
        }
        return sum;
    }

    /**
     * Closes the devices, then the page tables, then the address spaces, then frees the memory. Each step waits a bounded time.
     *
     * @throws IllegalStateException if a thread neither steps nor leaves a device, or frames were allocated directly and not
     *     freed. In the first case the memory is not freed: a leak is reported, memory in use is never unmapped.
     */
    @Override
    public void close() {
        List<Device> openDevices;
        List<AddressSpace> openSpaces;
        List<PageTable> openTables;
        synchronized (this) {
            if (closed) {
                return;
            }
            closed = true;
            openDevices = List.copyOf(devices);
            openSpaces = List.copyOf(spaces);
            openTables = List.copyOf(tables);
        }
        IllegalStateException stuck = null;
        for (Device device : openDevices) {
            stuck = attempt(device::close, stuck);
        }
        for (PageTable table : openTables) {
            stuck = attempt(table::close, stuck);
        }
        for (AddressSpace space : openSpaces) {
            stuck = attempt(space::close, stuck);
        }
        reclaim();
        if (stuck != null || !pending.isEmpty()) {
            throw new IllegalStateException(
                    "memory of " + config.memoryBytes() + " bytes is still in use and stays", stuck);
        }
        long lost = frames.total() - frames.freeCount();
        control.close();
        if (memory != null) {
            memory.close();
        }
        if (lost != 0) {
            throw new IllegalStateException(lost + " frames were not freed");
        }
    }

    BorrowedMemory borrowed() {
        return borrowed;
    }

    WalkCache walkCache() {
        return walkCache;
    }

    Iotlb iotlb() {
        return iotlb;
    }

    InvalidationLog log() {
        return log;
    }

    Stations stations() {
        return stations;
    }

    /** Frees a frame once every station has published an epoch. */
    void reclaimLater(long epoch, long page) {
        pending.add(new Pending(epoch, page));
    }

    void reclaim() {
        if (pending.isEmpty()) {
            return;
        }
        int n = pending.size();
        for (int i = 0; i < n; i++) {
            Pending next = pending.poll();
            if (next == null) {
                return;
            }
            if (stations.reached(next.epoch)) {
                frames.free(next.page);
            } else {
                pending.add(next);
            }
        }
    }

    /** Waits until every thread that has entered a device has obeyed an invalidation. */
    void await(long epoch) {
        String stuck = stations.await(epoch, config.limitNs());
        if (stuck != null) {
            throw new QuiescenceTimeout(stuck, config.limitNs());
        }
    }

    synchronized void closed(PageTable table) {
        if (tables.remove(table)) {
            domains.clear(table.domain());
        }
    }

    synchronized boolean holds(AddressSpace space) {
        return spaces.contains(space);
    }

    synchronized void closed(AddressSpace space) {
        if (spaces.remove(space)) {
            domains.clear(space.number());
        }
    }

    synchronized void closed(Device device) {
        if (devices.remove(device)) {
            retired = retired.plus(device.counters());
        }
    }

    private void requireOpen() {
        if (closed) {
            throw new IllegalStateException("the Iommu is closed");
        }
    }

    private boolean hasId(int id) {
        return devices.stream().anyMatch(d -> d.id() == id);
    }

    private boolean hasRequester(int requester) {
        return devices.stream().anyMatch(d -> d.requester() == requester);
    }

    private static @Nullable IllegalStateException attempt(Runnable step, @Nullable IllegalStateException before) {
        try {
            step.run();
            return before;
        } catch (IllegalStateException e) {
            if (before == null) {
                return e;
            }
            before.addSuppressed(e);
            return before;
        }
    }
}
