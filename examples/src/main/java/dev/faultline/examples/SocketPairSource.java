package dev.faultline.examples;

import dev.faultline.ffm.IoUring;
import dev.faultline.ffm.LinuxCalls;
import dev.faultline.ffm.PageFaultLayout;
import dev.faultline.ffm.PageResponseLayout;
import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;
import dev.faultline.iommu.AddressSpace;
import dev.faultline.iommu.Device;
import dev.faultline.iommu.DeviceConfig;
import dev.faultline.iommu.Iommu;
import dev.faultline.iommu.IommuConfig;
import dev.faultline.iommu.TableFormat;
import dev.faultline.ring.Answer;
import dev.faultline.ring.DescriptorConsumer;
import dev.faultline.ring.FaultHandler;
import dev.faultline.ring.FaultQueue;
import dev.faultline.ring.FaultWorker;
import dev.faultline.ring.PageMapper;
import dev.faultline.ring.QueueConfig;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.IntFunction;

/**
 * One handler, several sources: first the emulated IOMMU raises the faults, then the far end of a socket pair does, which
 * speaks as the kernel's fault descriptor: 40 bytes ask, 8 bytes answer. The near end is driven by system calls, then by io_uring.
 *
 * <p>Threads: the caller's, and a worker for each source. Needs Linux and native access.
 */
public final class SocketPairSource {
    private static final int PAGE_BYTES = 4096;
    private static final long ADDRESS = 0x7000_0000L;
    private static final int LAST_AND_PASID = PageFaultLayout.FLAG_LAST_PAGE | PageFaultLayout.FLAG_PASID_VALID;

    private SocketPairSource() {}

    /**
     * Raises a hundred faults on each source and prints what became of them.
     *
     * @param args none
     */
    public static void main(String[] args) {
        System.out.println(emulator(100));
        System.out.println("system calls: " + socketPair(100, end -> DescriptorConsumer.open(end, 16, 1)));
        System.out.println(IoUring.missing()
                .orElseGet(() -> "io_uring: " + socketPair(100, end -> DescriptorConsumer.openUring(end, 16, 1))));
    }

    /** The handler, which does not know where its faults come from. */
    static FaultHandler demandZero(PageMapper pages) {
        return group -> {
            for (int i = 0; i < group.size(); i++) {
                boolean _ = pages.zero(group.address(i)); // false: there already
            }
            return Answer.SUCCESS;
        };
    }

    @SuppressWarnings("try") // the worker works without being named
    static String emulator(int faults) {
        try (Iommu iommu = Iommu.open(IommuConfig.small());
                FaultQueue queue = FaultQueue.open(QueueConfig.of(16));
                AddressSpace space = iommu.addressSpace(TableFormat.X86_4_LEVEL, queue);
                Device device = iommu.device(DeviceConfig.pri("disk"));
                FaultWorker worker = queue.consumer().run(demandZero(space))) {
            var _ = device.attach(space, 1);
            MemorySegment word = MemorySegment.ofArray("block".getBytes(StandardCharsets.UTF_8));
            for (int i = 0; i < faults; i++) {
                device.write(ADDRESS + (long) i * PAGE_BYTES, word, 1);
            }
            return "emulator: " + space.mappedPages() + " pages; " + queue.accounting();
        }
    }

    @SuppressWarnings("try") // the worker is closed twice, which does nothing
    static String socketPair(int faults, IntFunction<DescriptorConsumer> source) {
        Pages pages = new Pages();
        LinuxCalls linux = LinuxCalls.open();
        int[] ends = new int[2];
        check("socketpair", linux.socketpair(LinuxCalls.SOCK_SEQPACKET, ends));
        try (DescriptorConsumer consumer = source.apply(ends[0]);
                FaultWorker worker = consumer.run(demandZero(pages));
                Region region = Region.allocate(PageFaultLayout.SIZE + PageResponseLayout.SIZE)) {
            MemorySegment record = region.segment().asSlice(0, PageFaultLayout.SIZE);
            MemorySegment answer = region.segment().asSlice(PageFaultLayout.SIZE, PageResponseLayout.SIZE);
            for (int i = 0; i < faults; i++) {
                int cookie = i + 1;
                long address = ADDRESS + (long) i * PAGE_BYTES;
                PageFaultLayout.write(
                        record, 0, LAST_AND_PASID, 1, 1, i, PageFaultLayout.PERM_WRITE, address, 0, cookie);
                check("write", linux.write(ends[1], record, PageFaultLayout.SIZE));
                check("read", linux.read(ends[1], answer, PageResponseLayout.SIZE));
                if (SharedWords.getInt(answer, PageResponseLayout.COOKIE_OFFSET) != cookie
                        || SharedWords.getInt(answer, PageResponseLayout.CODE_OFFSET)
                                != PageResponseLayout.CODE_SUCCESS) {
                    throw new IllegalStateException("group " + i + " was not answered as it should be");
                }
            }
            worker.close(); // the last answer is counted after it was sent
            return pages.mapped.size() + " pages; " + consumer.accounting();
        } finally {
            check("close", linux.close(ends[0]));
            check("close", linux.close(ends[1]));
        }
    }

    private static void check(String call, long result) {
        if (result < 0) {
            throw new IllegalStateException(call + ": errno " + -result);
        }
    }

    /** Whose memory lies behind the socket is its other end's business: this only notes what was asked for. */
    private static final class Pages implements PageMapper {
        private final Set<Long> mapped = ConcurrentHashMap.newKeySet();

        @Override
        public boolean map(long address, MemorySegment page, int access) {
            return zero(address);
        }

        @Override
        public boolean zero(long address) {
            return mapped.add(address & -PAGE_BYTES);
        }

        @Override
        public boolean unmap(long address, long bytes) {
            boolean any = false;
            for (long at = address; at < address + bytes; at += PAGE_BYTES) {
                any |= mapped.remove(at & -PAGE_BYTES);
            }
            return any;
        }
    }
}
