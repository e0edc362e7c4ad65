package dev.faultline.bench.contender;

import static dev.faultline.bench.contender.EngineLoop.ACCESS_BYTES;
import static dev.faultline.bench.contender.EngineLoop.FIRST_ADDRESS;
import static dev.faultline.bench.contender.EngineLoop.PAGE_BYTES;

import dev.faultline.ffm.PaddedBefore;
import dev.faultline.ffm.Region;
import dev.faultline.iommu.table.Allocator;
import dev.faultline.iommu.table.PhysicalMemory;
import dev.faultline.iommu.table.RadixTable;
import dev.faultline.iommu.table.Taken;
import dev.faultline.iommu.table.Translation;
import dev.faultline.iommu.table.X86FirstStage;
import dev.faultline.iommu.tlb.Iotlb;
import dev.faultline.iommu.tlb.TlbTag;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;

/**
 * The faults of {@link EngineLoop} delivered as the kernel delivers them: an object for each group, a list under a lock for those that wait to
 * be read, a mutex round every read and write, a map from cookie to group, and a list under a lock for the responses. Tables, IOTLB, walks
 * and mappings are the engine's. There is no device around it: no TLB of its own, no order of accesses, no credits, no counters, no
 * deadlines. Both ends spin, as those of the engine's loop do, where a kernel's reader would sleep.
 */
final class ListLoop implements Contest {
    private static final int OUTPUT_BITS = 40;
    private static final int PAGE_LG2 = 12;
    private static final int IOTLB_ENTRIES = 1024;
    private static final int READ_GROUPS = 64;
    private static final int RECORD_WORDS = 5;
    private static final int ADDRESS_WORD = 3;
    private static final int COOKIE_WORD = 4;
    private static final long TAG = TlbTag.of(1, TlbTag.NO_PASID);
    private static final long TABLE_FRAMES = 64;

    /** A fault and its answer. */
    private static final class Group {
        private final long address;
        private final int access;
        private long cookie;
        private boolean isGranted;

        Group(long address, int access) {
            this.address = address;
            this.access = access;
        }
    }

    /** A list under a lock, whose other end looks for news before it takes the lock. */
    private static final class Waiting extends PaddedBefore {
        private final ReentrantLock lock = new ReentrantLock();
        private final ArrayDeque<Group> groups = new ArrayDeque<>();
        private final AtomicLong added = new AtomicLong();
        private long taken;

        void add(Group group) {
            lock.lock();
            try {
                groups.addLast(group);
                added.setRelease(added.getPlain() + 1);
            } finally {
                lock.unlock();
            }
        }

        boolean isEmpty() {
            return added.getAcquire() == taken;
        }

        /** The first, where {@link #isEmpty} has said that there is one. */
        Group take() {
            lock.lock();
            try {
                taken++;
                return groups.removeFirst();
            } finally {
                lock.unlock();
            }
        }
    }

    private final int window;
    private final int pages;
    private final Region memory;
    private final PhysicalMemory physical;
    private final RadixTable table;
    private final Iotlb iotlb = new Iotlb(IOTLB_ENTRIES);
    private final Taken unmapped = new Taken();
    private final Arena arena = Arena.ofShared();
    private final MemorySegment buffer = arena.allocate(ACCESS_BYTES, ACCESS_BYTES);

    private final Waiting delivered = new Waiting();
    private final Waiting responses = new Waiting();
    private final ReentrantLock mutex = new ReentrantLock();
    private final Map<Long, Group> answerable = new HashMap<>();
    private long lastCookie;

    private int nextPage;

    ListLoop(int window) {
        this.window = window;
        this.pages = EngineLoop.pages(window);
        this.memory = Region.allocate((TABLE_FRAMES + pages) * PAGE_BYTES);
        this.physical = new PhysicalMemory(memory.segment());
        RadixTable made = RadixTable.make(new X86FirstStage(OUTPUT_BITS), physical, new Allocator() {
            private long next;

            @Override
            public long allocate() {
                return next < TABLE_FRAMES ? next++ * PAGE_BYTES : -1;
            }

            @Override
            public void free(long address) {
                // All go with the memory.
            }
        });
        if (made == null) {
            throw new IllegalStateException("no frame for a root");
        }
        this.table = made;
    }

    @Override
    public void prepare() {
        long end = FIRST_ADDRESS + pages * PAGE_BYTES;
        long left = table.unmap(FIRST_ADDRESS, end - 1, unmapped, pages);
        if (left != 0 || unmapped.pages() != nextPage) {
            throw new IllegalStateException("unmapped=" + unmapped.pages() + " after faults=" + nextPage);
        }
        unmapped.clear();
        iotlb.invalidate(Iotlb.ANY_DOMAIN, Iotlb.ANY_PASID, 0, Iotlb.EVERYTHING);
        nextPage = 0;
    }

    @Override
    public int request(int roundTrips) {
        int finished = nextPage;
        int target = nextPage + roundTrips;
        while (finished < target) {
            while (nextPage < target && nextPage - finished < window) {
                long address = FIRST_ADDRESS + nextPage * PAGE_BYTES;
                nextPage++;
                if (translate(address) > 0) {
                    throw new IllegalStateException("mapped already: address=" + address);
                }
                delivered.add(new Group(address, Translation.READ));
            }
            if (responses.isEmpty()) {
                Thread.onSpinWait();
            }
            while (!responses.isEmpty()) {
                Group group = responses.take();
                long translation = translate(group.address);
                if (!group.isGranted || translation <= 0) {
                    throw new IllegalStateException("not mapped: address=" + group.address);
                }
                physical.read(Translation.page(translation), buffer, 0, ACCESS_BYTES);
                finished++;
            }
        }
        return roundTrips;
    }

    private long translate(long address) {
        long found = iotlb.lookup(TAG, address);
        if (Translation.grants(found, Translation.READ)) {
            return found;
        }
        long sequence = iotlb.sequence();
        long walked = table.walk(address, Translation.READ);
        if (!Translation.isFault(walked)) {
            boolean _ = iotlb.insert(TAG, address, walked, sequence);
        }
        return walked;
    }

    @Override
    public void end() {}

    @Override
    public void respond(StopFlag stop) {
        long[] records = new long[READ_GROUPS * RECORD_WORDS];
        while (true) {
            int read = read(records);
            for (int i = 0; i < read; i++) {
                long address = records[i * RECORD_WORDS + ADDRESS_WORD];
                long frame = (TABLE_FRAMES << PAGE_LG2) + (address - FIRST_ADDRESS);
                if (table.place(address, frame, Translation.RIGHTS) != RadixTable.Outcome.DONE) {
                    throw new IllegalStateException("mapped already: address=" + address);
                }
            }
            if (read > 0) {
                write(records, read);
            } else if (stop.isRaised()) {
                return;
            } else {
                Thread.onSpinWait();
            }
        }
    }

    /** Takes what is there, up to a full buffer, and gives each group a cookie. */
    private int read(long[] into) {
        if (delivered.isEmpty()) {
            return 0;
        }
        int n = 0;
        mutex.lock();
        try {
            while (n < READ_GROUPS && !delivered.isEmpty()) {
                Group group = delivered.take();
                group.cookie = ++lastCookie;
                answerable.put(group.cookie, group);
                int at = n * RECORD_WORDS;
                into[at] = 0;
                into[at + 1] = 1;
                into[at + 2] = group.access;
                into[at + ADDRESS_WORD] = group.address;
                into[at + COOKIE_WORD] = group.cookie;
                n++;
            }
        } finally {
            mutex.unlock();
        }
        return n;
    }

    /** Answers by cookie. */
    private void write(long[] records, int n) {
        mutex.lock();
        try {
            for (int i = 0; i < n; i++) {
                Group group = answerable.remove(records[i * RECORD_WORDS + COOKIE_WORD]);
                if (group == null) {
                    throw new IllegalStateException("no group with that cookie: i=" + i);
                }
                group.isGranted = true;
                responses.add(group);
            }
        } finally {
            mutex.unlock();
        }
    }

    @Override
    public void close() {
        table.close();
        arena.close();
        memory.close();
    }
}
