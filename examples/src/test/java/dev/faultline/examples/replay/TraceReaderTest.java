package dev.faultline.examples.replay;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.examples.BadInput;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TraceReaderTest {

    @TempDir
    Path folder;

    @Test
    void readsTheFourKinds() throws Exception {
        assertEquals(
                List.of("3 401ab70 3", "0 1fff000758 8", "1 1fff000750 8", "2 4026e70 4"),
                read("I  0401ab70,3\n L 1fff000758,8\n S 1fff000750,8\n M 04026E70,4\n"));
    }

    @Test
    void passesOverValgrindsWordsAndEmptyLines() throws Exception {
        String words = "==17== Lackey, an example Valgrind tool\n==17== " + "x".repeat(200_000) + "\n\n";
        assertEquals(List.of("3 10 1", "0 20 2"), read(words + "I  10,1\n==17== \n L 20,2\n" + words + "==17== end"));
    }

    @Test
    void acceptsCarriageReturnsAndAMissingLastNewline() throws Exception {
        assertEquals(List.of("3 10 1", "0 20 2"), read("==1== a\r\n\r\nI  10,1\r\n L 20,2"));
        assertEquals(List.of("0 20 2"), read(" L 20,2\r"));
    }

    @Test
    void acceptsTheWholeRange() throws Exception {
        assertEquals(
                List.of("0 0 1", "0 ffffffffffff 1", "1 fffffffff000 4096"),
                read(" L 0,1\n L 0000ffffffffffff,1\n S fffffffff000,4096\n"));
    }

    @Test
    void streamsInSmallPiecesAcrossBufferEnds() throws Exception {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < 20_000; i++) {
            text.append(" L ").append(Integer.toHexString(i * 8)).append(",8\n");
        }
        byte[] bytes = text.toString().getBytes(StandardCharsets.US_ASCII);
        InputStream dripping = new ByteArrayInputStream(bytes) {
            @Override
            public int read(byte[] b, int off, int len) {
                return super.read(b, off, Math.min(len, 7));
            }
        };
        TraceReader reader = new TraceReader(dripping, "drips");
        for (int i = 0; i < 20_000; i++) {
            assertTrue(reader.next());
            assertEquals(i * 8L, TraceAccess.address(reader.access()));
            assertEquals(i + 1, reader.line());
        }
        assertFalse(reader.next());
        assertFalse(reader.next());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "X  10,1",
                "I 10,1",
                "  L 10,1",
                " L 10",
                " L ,1",
                " L 10,",
                " L 10,x",
                " L 0x10,1",
                " L 10,1 ",
                " L 10,1,2",
                " L 10;1",
                "L 10,1",
                "I",
                " ",
                "=",
                "{}",
                "I\t 10,1",
                " L 10,1\rx",
                " L -10,1",
                " L 10,-1"
            })
    void refusesALineThatIsNoAccess(String line) {
        BadInput e = assertThrows(BadInput.class, () -> read("I  10,1\n==2== \n" + line + "\nI  10,1\n"));
        assertEquals("TRACE", e.field());
        assertEquals("test line 3", e.value());
        assertTrue(e.getMessage().contains("allowed: \"I  addr,size\""), e.getMessage());
        assertEquals(1, e.getMessage().lines().count(), e.getMessage());
    }

    @ParameterizedTest
    @CsvSource({
        "' L 1000000000000,1', address out of range",
        "' L ffffffffffff,2', address out of range",
        "' L ffffffffffffffffffffffff,1', address out of range",
        "' L 10,0', size out of range",
        "' L 10,4097', size out of range",
        "' L 10,99999999999999', size out of range"
    })
    void refusesWhatIsOutOfRange(String line, String problem) {
        BadInput e = assertThrows(BadInput.class, () -> read(line + "\n"));
        assertTrue(e.getMessage().startsWith("TRACE test line 1: " + problem), e.getMessage());
    }

    @Test
    void refusesAnOverlongLine() {
        BadInput e = assertThrows(BadInput.class, () -> read(" L " + "0".repeat(100_000) + ",1\n"));
        assertTrue(e.getMessage().contains("line 1: longer than 256 bytes"), e.getMessage());
        assertTrue(e.getMessage().length() < 300, e.getMessage());
    }

    @Test
    void saysWhatBinaryRubbishIsWithoutPrintingIt() {
        BadInput e = assertThrows(BadInput.class, () -> read("\u0000\u001b[31m\u0007rubbish"));
        assertTrue(e.getMessage().contains("\"??[31m?rubbish\""), e.getMessage());
    }

    @Test
    void readsPlainAndGzipFiles() throws Exception {
        Path plain = Files.writeString(folder.resolve("t"), "I  10,1\n");
        Path packed = Files.write(folder.resolve("no-suffix"), gzip("I  10,1\n L 20,2\n"));
        assertEquals(List.of("3 10 1"), readFile(plain));
        assertEquals(List.of("3 10 1", "0 20 2"), readFile(packed));
    }

    @Test
    void readsGzipMembersOneAfterTheOther() throws Exception {
        ByteArrayOutputStream both = new ByteArrayOutputStream();
        both.write(gzip("I  10,1\n"));
        both.write(gzip(" L 20,2\n"));
        assertEquals(List.of("3 10 1", "0 20 2"), readFile(Files.write(folder.resolve("two.gz"), both.toByteArray())));
    }

    @Test
    void anEmptyFileHasNoAccess() throws Exception {
        assertEquals(List.of(), readFile(Files.write(folder.resolve("empty"), new byte[0])));
        assertEquals(List.of(), readFile(Files.write(folder.resolve("empty.gz"), gzip(""))));
        assertEquals(List.of(), readFile(Files.writeString(folder.resolve("one"), "\n")));
    }

    @Test
    void refusesGzipCutShortAnywhere() throws Exception {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < 300; i++) {
            text.append(" L ").append(Long.toHexString(Scramble.mix(i) >>> 20)).append(",8\n");
        }
        byte[] whole = gzip(text.toString());
        for (int length : new int[] {2, 3, 9, 10, 11, whole.length / 2, whole.length - 9, whole.length - 1}) {
            Path cut = Files.write(folder.resolve("cut.gz"), Arrays.copyOf(whole, length));
            BadInput e = assertThrows(BadInput.class, () -> readFile(cut), "length " + length);
            assertTrue(e.getMessage().contains("too early"), e.getMessage());
        }
    }

    @Test
    void refusesDamagedGzip() throws Exception {
        byte[] whole = gzip("I  10,1\n".repeat(1000));
        whole[whole.length - 6] ^= 1;
        Path damaged = Files.write(folder.resolve("damaged.gz"), whole);
        BadInput e = assertThrows(BadInput.class, () -> readFile(damaged));
        assertTrue(e.getMessage().contains("damaged"), e.getMessage());
        whole[2] = 7;
        Path header = Files.write(folder.resolve("header.gz"), whole);
        assertTrue(assertThrows(BadInput.class, () -> readFile(header))
                .getMessage()
                .contains("damaged"));
    }

    @Test
    void refusesWhatIsNoFile() {
        assertTrue(assertThrows(BadInput.class, () -> TraceInput.file(folder.resolve("none")))
                .getMessage()
                .contains("no such file"));
        assertTrue(assertThrows(BadInput.class, () -> TraceInput.file(folder))
                .getMessage()
                .contains("is a directory"));
    }

    @Test
    void theBundledTraceIsARealRun() throws Exception {
        long accesses = 0;
        PageIndex pages = new PageIndex(1000);
        try (TraceInput input = TraceInput.bundled()) {
            assertFalse(input.isFaultStream());
            TraceReader reader = new TraceReader(input.text(), input.name());
            while (reader.next()) {
                accesses++;
                long page = TraceAccess.address(reader.access()) / TraceAccess.PAGE_BYTES;
                if (pages.get(page) == PageIndex.NONE) {
                    pages.add(page, 0);
                }
            }
            assertEquals(input.sizeBytes(), input.consumedBytes());
        }
        assertEquals(3_383_373, accesses);
        assertEquals(556, pages.size());
    }

    private static List<String> read(String text) throws BadInput, IOException {
        return drain(new TraceReader(new ByteArrayInputStream(text.getBytes(StandardCharsets.ISO_8859_1)), "test"));
    }

    private static List<String> readFile(Path path) throws BadInput, IOException {
        try (TraceInput input = TraceInput.file(path)) {
            return drain(new TraceReader(input.text(), input.name()));
        }
    }

    private static List<String> drain(TraceReader reader) throws BadInput, IOException {
        List<String> all = new ArrayList<>();
        while (reader.next()) {
            long access = reader.access();
            all.add(TraceAccess.kind(access) + " " + Long.toHexString(TraceAccess.address(access)) + " "
                    + TraceAccess.bytes(access));
        }
        return all;
    }

    private static byte[] gzip(String text) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (GZIPOutputStream gzip = new GZIPOutputStream(out)) {
            gzip.write(text.getBytes(StandardCharsets.US_ASCII));
        }
        return out.toByteArray();
    }
}
