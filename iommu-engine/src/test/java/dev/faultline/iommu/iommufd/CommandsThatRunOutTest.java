package dev.faultline.iommu.iommufd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ffm.Errno;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

/**
 * Every command, with everything it takes refused once, the first thing first: it says so, and leaves nothing. The same command goes
 * well then, with the ids, descriptors and all else that a program gets where nothing is ever refused.
 */
class CommandsThatRunOutTest {
    private static final int TEST = 0x3ba0;
    private static final int ARENA = (int) Program.ARENA;
    private static final int HIGH = (int) (Program.ARENA >>> 32);
    private static final int PAGES = ARENA + 0x4000;

    private static final int[][] COMMANDS = {
        {0x3b81, 12, 0, 0},
        {0x3b81, 12, 0, 0},
        {0x3b82, 24, 1, 1, 0, ARENA, HIGH},
        {0x3b82, 24, 1, 0, 0, 0, 0},
        {0x3b85, 40, 7, 1, 0, PAGES, HIGH, 0x2000, 0, 0x200_0000, 0},
        {0x3b85, 40, 6, 1, 0, PAGES, HIGH, 0x1000, 0, 0, 0},
        {0x3b83, 40, 7, 2, 1, 0x1000, 0, 0x300_0000, 0, 0x200_0000, 0},
        test(12, 2, 0, 0, 0, 0, 4),
        {0x3b8e, 16, 0, 0, 0},
        {0x3b89, 48, 9, 4, 2, 0, 0, 0, 0, 0, 0, 0, 0},
        {0x3b89, 48, 12, 4, 7, 0, 0, 0xdead, 8, ARENA, HIGH, 6, 0},
        {0x3b89, 48, 10, 4, 2, 0, 0, 0, 0, 0, 0, 0, 0},
        test(10, 3, 0, 8),
        test(18, 3, 0, 5, 8),
        test(19, 3, 0, 5, 9),
        {0x3b90, 40, 0, 0xdeadbeef, 4, 7, 0, 0, 0, 0, 0},
        {0x3b89, 48, 4, 4, 5, 0, 0, 0xdead, 8, ARENA, HIGH, 6, 0},
        {0x3b91, 24, 5, 4, 0, 0x99, 0},
        {0x3b93, 32, 0, 5, 0xbeefbeef, 4, 0, 0, 0},
        {0x3b94, 40, 0, 5, 0xdeadbeef, 0, 0, 0x300_0000, 0, 0x1000, 0},
        test(5, 1, 0, 0, 1),
        test(15, 0, 0, 4, 0, 1, 3, 0x1000, 0),
        {0x3b8b, 16, 1, 9, 0},
        {0x3b8c, 48, 9, 0, 0, 0x300_0000, 0, 0x1000, 0, 0x1000, 0, ARENA, HIGH},
        {0x3b8a, 40, 0, 4, 8, ARENA, HIGH, 0, 0, 0, 0},
        {0x3b84, 32, 1, 2, 0, ARENA + 0x100, HIGH, 0, 0},
        {0x3b87, 24, 1, 1, 1, 0, 0},
        {0x3b86, 24, 1, 0x200_0000, 0, 0x2000, 0},
        test(20, 3, 0, 5),
        test(10, 3, 0, 2),
        {0x3b81, 12, 0, 0},
    };

    private static int[] test(int... words) {
        int[] all = new int[19];
        all[0] = TEST;
        all[1] = 72;
        System.arraycopy(words, 0, all, 2, words.length);
        return all;
    }

    private static int give(Program program, int[] command) {
        program.arena.set(ValueLayout.JAVA_LONG, 0, 0x1000);
        program.arena.set(ValueLayout.JAVA_LONG, 8, 0x3fff_ffff);
        return program.ioctl(command[0], Arrays.copyOfRange(command, 1, command.length));
    }

    @Test
    void itSaysSoAndLeavesNothing() {
        int refused = 0;
        try (Program lucky = new Program();
                Program unlucky = new Program()) {
            for (int[] command : COMMANDS) {
                String what = Integer.toHexString(command[0]) + Arrays.toString(command);
                assertEquals(0, give(lucky, command), what);
                for (int nth = 0; ; nth++) {
                    int[] left = {nth};
                    unlucky.calls.allocations().gate(asked -> {
                        if (left[0]-- == 0) {
                            throw new ErrnoException(Errno.ENOMEM);
                        }
                    });
                    int result = give(unlucky, command);
                    unlucky.calls.allocations().gate(asked -> {});
                    if (left[0] >= 0) {
                        assertEquals(0, result, what);
                        break;
                    }
                    assertEquals(-Errno.ENOMEM, result, what + ", refused number " + nth);
                    refused++;
                }
                for (int i = 1; i < command.length; i++) {
                    assertEquals(lucky.word(i - 1), unlucky.word(i - 1), what + ", word " + (i - 1));
                }
            }
        }
        int all = refused;
        assertTrue(refused > COMMANDS.length / 2, () -> "refused " + all);
    }
}
