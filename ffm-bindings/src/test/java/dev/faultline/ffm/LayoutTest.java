package dev.faultline.ffm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;

class LayoutTest {
    /** The kernel's structure, written down a second time so that a slip in the constants shows. */
    private static final StructLayout PGFAULT = MemoryLayout.structLayout(
            ValueLayout.JAVA_INT.withName("flags"),
            ValueLayout.JAVA_INT.withName("dev_id"),
            ValueLayout.JAVA_INT.withName("pasid"),
            ValueLayout.JAVA_INT.withName("grpid"),
            ValueLayout.JAVA_INT.withName("perm"),
            ValueLayout.JAVA_INT.withName("__reserved"),
            ValueLayout.JAVA_LONG.withName("addr"),
            ValueLayout.JAVA_INT.withName("length"),
            ValueLayout.JAVA_INT.withName("cookie"));

    private static final StructLayout PAGE_RESPONSE =
            MemoryLayout.structLayout(ValueLayout.JAVA_INT.withName("cookie"), ValueLayout.JAVA_INT.withName("code"));

    private static long offset(StructLayout layout, String field) {
        return layout.byteOffset(PathElement.groupElement(field));
    }

    @Test
    void aFaultRecordIsTheKernels40Bytes() {
        assertEquals(40, PageFaultLayout.SIZE);
        assertEquals(PGFAULT.byteSize(), PageFaultLayout.SIZE);
        assertEquals(8, PGFAULT.byteAlignment());
        assertEquals(offset(PGFAULT, "flags"), PageFaultLayout.FLAGS_OFFSET);
        assertEquals(offset(PGFAULT, "dev_id"), PageFaultLayout.DEVICE_OFFSET);
        assertEquals(offset(PGFAULT, "pasid"), PageFaultLayout.PASID_OFFSET);
        assertEquals(offset(PGFAULT, "grpid"), PageFaultLayout.GROUP_OFFSET);
        assertEquals(offset(PGFAULT, "perm"), PageFaultLayout.PERM_OFFSET);
        assertEquals(offset(PGFAULT, "__reserved"), PageFaultLayout.RESERVED_OFFSET);
        assertEquals(offset(PGFAULT, "addr"), PageFaultLayout.ADDRESS_OFFSET);
        assertEquals(offset(PGFAULT, "length"), PageFaultLayout.LENGTH_OFFSET);
        assertEquals(offset(PGFAULT, "cookie"), PageFaultLayout.COOKIE_OFFSET);
        assertEquals(1, PageFaultLayout.FLAG_PASID_VALID);
        assertEquals(2, PageFaultLayout.FLAG_LAST_PAGE);
        assertEquals(1, PageFaultLayout.PERM_READ);
        assertEquals(2, PageFaultLayout.PERM_WRITE);
        assertEquals(4, PageFaultLayout.PERM_EXEC);
        assertEquals(8, PageFaultLayout.PERM_PRIV);
    }

    @Test
    void anAnswerIsTheKernels8Bytes() {
        assertEquals(8, PageResponseLayout.SIZE);
        assertEquals(PAGE_RESPONSE.byteSize(), PageResponseLayout.SIZE);
        assertEquals(offset(PAGE_RESPONSE, "cookie"), PageResponseLayout.COOKIE_OFFSET);
        assertEquals(offset(PAGE_RESPONSE, "code"), PageResponseLayout.CODE_OFFSET);
        assertEquals(0, PageResponseLayout.CODE_SUCCESS);
        assertEquals(1, PageResponseLayout.CODE_INVALID);
    }

    @Test
    void aWrittenRecordHasTheBytesTheKernelGave() {
        assertEquals(ByteOrder.LITTLE_ENDIAN, ByteOrder.nativeOrder());
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment memory = arena.allocate(PageFaultLayout.SIZE * 3L, 8);
            memory.fill((byte) 0x5a);
            PageFaultLayout.write(memory, PageFaultLayout.SIZE, 3, 3, 1, 2, 3, 0xdead_beafL, 0, 1);
            byte[] written =
                    memory.asSlice(PageFaultLayout.SIZE, PageFaultLayout.SIZE).toArray(ValueLayout.JAVA_BYTE);
            // Recorded from Linux 7.2.12: flags 3, device 3, PASID 1, group 2, read and write, 0xdeadbeaf, cookie 1.
            assertEquals(
                    "030000000300000001000000020000000300000000000000afbeadde000000000000000001000000",
                    HexFormat.of().formatHex(written));
            assertEquals((byte) 0x5a, memory.get(ValueLayout.JAVA_BYTE, PageFaultLayout.SIZE - 1));
            assertEquals((byte) 0x5a, memory.get(ValueLayout.JAVA_BYTE, PageFaultLayout.SIZE * 2L));
        }
    }

    @Test
    void everyFieldKeepsAllItsBits() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment a = arena.allocate(PageFaultLayout.SIZE, 8);
            MemorySegment b = arena.allocate(PageFaultLayout.SIZE, 8);
            PageFaultLayout.write(a, 0, -1, 0x8000_0001, 0xfffff, 511, 15, -2L, 0x7fff_ffff, 0x8000_0000);
            PageFaultLayout.copy(a, 0, b, 0);
            assertEquals(-1L, a.mismatch(b));
            assertEquals(-1, SharedWords.getInt(b, PageFaultLayout.FLAGS_OFFSET));
            assertEquals(0x8000_0001, SharedWords.getInt(b, PageFaultLayout.DEVICE_OFFSET));
            assertEquals(0xfffff, SharedWords.getInt(b, PageFaultLayout.PASID_OFFSET));
            assertEquals(511, SharedWords.getInt(b, PageFaultLayout.GROUP_OFFSET));
            assertEquals(15, SharedWords.getInt(b, PageFaultLayout.PERM_OFFSET));
            assertEquals(0, SharedWords.getInt(b, PageFaultLayout.RESERVED_OFFSET));
            assertEquals(-2L, SharedWords.getLong(b, PageFaultLayout.ADDRESS_OFFSET));
            assertEquals(0x7fff_ffff, SharedWords.getInt(b, PageFaultLayout.LENGTH_OFFSET));
            assertEquals(0x8000_0000, SharedWords.getInt(b, PageFaultLayout.COOKIE_OFFSET));
            assertTrue(PageFaultLayout.SIZE % 8 == 0);
        }
    }
}
