package dev.faultline.ring;

/**
 * What a lane looked like at one moment: copied by the thread inside it, which has no time to lose, and put into words by the one
 * that asked.
 */
final class LaneDump {
    /** Cookie and state, size and device, age in nanoseconds, PASID and group index, address. */
    static final int WORDS = 5;

    private static final String[] STATE_NAMES = {"free", "assembling", "waiting", "delivered", "answered", "answered"};

    private final int lane;
    private final int allocation;
    private final int reads;
    private final long[] groups;

    /**
     * What was seen.
     *
     * @param lane the lane's number
     * @param allocation its slots
     * @param reads its posted reads
     * @param groups {@link #WORDS} words for each slot in use
     */
    LaneDump(int lane, int allocation, int reads, long[] groups) {
        this.lane = lane;
        this.allocation = allocation;
        this.reads = reads;
        this.groups = groups;
    }

    String text() {
        StringBuilder text = new StringBuilder("lane ")
                .append(lane)
                .append(": ")
                .append(groups.length / WORDS)
                .append(" of ")
                .append(allocation)
                .append(" slots used, ")
                .append(reads)
                .append(" reads posted\n");
        for (int i = 0; i < groups.length; i += WORDS) {
            int state = high(groups[i]);
            text.append("  cookie 0x")
                    .append(Integer.toHexString((int) groups[i]))
                    .append(' ')
                    .append(STATE_NAMES[state]);
            if (state == ResponseTable.WAITING || state == ResponseTable.DELIVERED) {
                text.append(", age ").append(groups[i + 2] / 1_000).append(" us");
            }
            text.append(", device ")
                    .append(high(groups[i + 1]))
                    .append(", requests ")
                    .append((int) groups[i + 1]);
            if (state == ResponseTable.ASSEMBLING || state == ResponseTable.WAITING) {
                text.append(", pasid ")
                        .append((int) groups[i + 3])
                        .append(", group ")
                        .append(high(groups[i + 3]))
                        .append(", first 0x")
                        .append(Long.toHexString(groups[i + 4]));
            }
            text.append('\n');
        }
        return text.toString();
    }

    private static int high(long word) {
        return (int) (word >>> 32);
    }
}
