package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Whatever a program calls, it gets a result or an error number, and leaves nothing when it goes. */
class CallFuzzTest {
    private static final long CALLS_OF_A_PROCESS = 1_000;

    private static void fuzz(long seed, long count) {
        try (CallFuzzer fuzzer = new CallFuzzer(seed)) {
            fuzzer.run(count, CALLS_OF_A_PROCESS);
            assertTrue(fuzzer.refused() < count * 9 / 10, () -> fuzzer + ": refused " + fuzzer.refused());
        }
    }

    @Test
    @Timeout(value = 5, unit = TimeUnit.MINUTES, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
    void aMillionCalls() {
        for (long seed = 1; seed <= 10; seed++) {
            fuzz(seed, 100_000);
        }
    }

    @Test
    @Tag("slow")
    @Timeout(value = 4, unit = TimeUnit.HOURS, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
    void aHundredMillionCalls() {
        for (long seed = 100; seed < 200; seed++) {
            fuzz(seed, 1_000_000);
        }
    }
}
