package dev.faultline.stress;

import dev.faultline.ffm.SharedWords;
import java.lang.foreign.MemorySegment;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.IJ_Result;

/** A word written before a release store is seen by whoever sees that store by an acquire load. */
@JCStressTest
@Outcome(id = "0, 0", expect = Expect.ACCEPTABLE, desc = "Looked before anything was written.")
@Outcome(id = "0, 42", expect = Expect.ACCEPTABLE, desc = "Written, not published yet.")
@Outcome(id = "1, 42", expect = Expect.ACCEPTABLE, desc = "Published.")
@Outcome(expect = Expect.FORBIDDEN, desc = "Published before it was written.")
@State
public class SharedWordsPublish {

    private static final long INDEX = 0;
    private static final long VALUE = 8;

    private final MemorySegment memory = MemorySegment.ofArray(new long[2]);

    /** Made by jcstress, once for each run of the two actors. */
    public SharedWordsPublish() {}

    /** Writes, then publishes. */
    @Actor
    public void producer() {
        SharedWords.putLong(memory, VALUE, 42);
        SharedWords.setIntRelease(memory, INDEX, 1);
    }

    /**
     * Looks for the publication, then at the value.
     *
     * @param r what was seen
     */
    @Actor
    public void consumer(IJ_Result r) {
        r.r1 = SharedWords.getIntAcquire(memory, INDEX);
        r.r2 = SharedWords.getLong(memory, VALUE);
    }
}
