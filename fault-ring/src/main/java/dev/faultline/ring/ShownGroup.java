package dev.faultline.ring;

import dev.faultline.ffm.PaddedBefore;
import java.lang.foreign.MemorySegment;

/** What a {@link FaultGroup} shows just now. Written for each group, so it has cache lines of its own. */
abstract class ShownGroup extends PaddedBefore {
    MemorySegment memory = MemorySegment.NULL;
    long base;
    int size;
    int cookie;
    long raisedAtNs;
}
