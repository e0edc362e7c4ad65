package dev.faultline.iommu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** An IOMMU in memory of the caller's. */
class OwnMemoryTest {
    private static final long BASE = 0x7000_0000L;
    private static final long PRESENT = 1;

    @TempDir
    Path folder;

    /** Pages and page tables lie in the file. It is larger than the machine may have room for, and nothing of it is touched but what is used. */
    @Test
    void tablesLieInASparseFile() throws IOException {
        long bytes = 8L << 30;
        Path path = folder.resolve("memory");
        long root;
        long page;
        try (FileChannel file = FileChannel.open(
                        path,
                        StandardOpenOption.CREATE_NEW,
                        StandardOpenOption.SPARSE,
                        StandardOpenOption.READ,
                        StandardOpenOption.WRITE);
                Arena arena = Arena.ofShared();
                Iommu iommu = Iommu.open(
                        IommuConfig.small().withFrames((int) (bytes / Frames.BYTES)),
                        file.map(MapMode.READ_WRITE, 0, bytes, arena))) {
            try (AddressSpace space = iommu.addressSpace(TableFormat.X86_4_LEVEL, null);
                    Device device = iommu.device(DeviceConfig.plain("d"))) {
                var _ = device.attach(space);
                assertTrue(space.zero(BASE));
                device.write(BASE + 8, MemorySegment.ofArray(new long[] {0x1234}));
                root = space.radix().root();
                page = space.radix().page(space.radix().entry(BASE));
            }
            assertEquals(iommu.frames().total(), iommu.frames().freeCount());
        }
        assertEquals(bytes, Files.size(path));
        try (FileChannel file = FileChannel.open(path, StandardOpenOption.READ);
                Arena arena = Arena.ofConfined()) {
            MemorySegment left = file.map(MapMode.READ_ONLY, 0, bytes, arena);
            assertEquals(PRESENT, left.get(ValueLayout.JAVA_LONG, root) & PRESENT, "the root table's first entry");
            assertEquals(0x1234, left.get(ValueLayout.JAVA_LONG, page + 8));
        }
    }

    @Test
    void memoryLiesAnywhereBelow2To52() {
        long base = (1L << 52) - 2L * Frames.BYTES;
        try (Arena arena = Arena.ofShared();
                Iommu iommu = Iommu.open(IommuConfig.small());
                Device device = iommu.device(DeviceConfig.plain("d"))) {
            MemorySegment far = arena.allocate(2L * Frames.BYTES, Frames.BYTES);
            iommu.addMemory(base, far);
            for (TableFormat format : new TableFormat[] {TableFormat.X86_4_LEVEL, TableFormat.VTD_SECOND_4_LEVEL}) {
                try (AddressSpace space = iommu.addressSpace(format, null)) {
                    var _ = device.attach(space);
                    assertTrue(space.map(BASE, base, 2L * Frames.BYTES, 3));
                    assertEquals(
                            base + Frames.BYTES + 8,
                            space.explain(BASE + Frames.BYTES + 8).physical());
                    for (int i = 0; i < 3; i++) {
                        device.write(BASE + Frames.BYTES + 8, MemorySegment.ofArray(new long[] {i + 5}));
                        assertEquals(i + 5, far.get(ValueLayout.JAVA_LONG, Frames.BYTES + 8));
                    }
                }
            }
        }
    }

    @Test
    void aProgramsMemoryKeepsOutOfWhatIsAddedByHand() {
        try (Arena arena = Arena.ofShared();
                Iommu iommu = Iommu.open(IommuConfig.small());
                AddressSpace space = iommu.addressSpace(TableFormat.X86_4_LEVEL, null);
                Device device = iommu.device(DeviceConfig.plain("d"))) {
            var _ = device.attach(space);
            for (int i = 0; i < 4; i++) {
                iommu.addMemory((1L << 40) + i * (1L << 22), arena.allocate(Frames.BYTES, Frames.BYTES));
                MemorySegment own = arena.allocate(1L << 21, 1L << 21);
                own.set(ValueLayout.JAVA_LONG, 8, i + 5);
                long at = BASE + i * (1L << 21);
                assertEquals(
                        AreaResult.DONE,
                        space.areas()
                                .map(new SegmentBacking(own), 0, own.byteSize(), 3, at)
                                .result());
                MemorySegment into = MemorySegment.ofArray(new long[1]);
                device.read(at + 8, into);
                assertEquals(i + 5, into.get(ValueLayout.JAVA_LONG, 0));
            }
            assertEquals(AreaResult.DONE, space.areas().unmapAll().result());
        }
    }

    @Test
    void memoryThatCannotBeUsedIsNamed() {
        IommuConfig config = IommuConfig.small().withFrames(16);
        long bytes = config.memoryBytes();
        try (Arena confined = Arena.ofConfined();
                Arena shared = Arena.ofShared()) {
            MemorySegment good = shared.allocate(bytes + 8, 8);
            for (MemorySegment bad : new MemorySegment[] {
                confined.allocate(bytes, 8),
                good,
                good.asSlice(1, bytes),
                good.asSlice(0, bytes).asReadOnly(),
                MemorySegment.ofArray(new byte[(int) bytes])
            }) {
                IllegalArgumentException e =
                        assertThrows(IllegalArgumentException.class, () -> Iommu.open(config, bad));
                assertTrue(String.valueOf(e.getMessage()).startsWith("memory="), e::getMessage);
            }
            Iommu.open(config, good.asSlice(8)).close();
            assertTrue(good.scope().isAlive(), "the caller's");
        }
    }
}
