package dev.faultline.bench.contender;

import dev.faultline.ffm.CacheLine;
import dev.faultline.ring.Answer;
import dev.faultline.ring.FaultGroup;
import dev.faultline.ring.FaultQueue;

/** Says LATER to each group, and answers the oldest of those it holds beyond a number. */
final class LateResponder extends QueueResponder.Alone {

    private final int held;
    private final int[] cookies;
    private final int mask;
    private int taken;
    private int answered;

    /**
     * A responder that holds nothing yet.
     *
     * @param queue whose consumer it is
     * @param held how many groups it leaves open
     */
    LateResponder(FaultQueue queue, int held) {
        super(queue);
        this.held = held;
        this.cookies = new int[CacheLine.ceilingPowerOfTwo(held + 1)];
        this.mask = cookies.length - 1;
    }

    @Override
    public void group(long userData, FaultGroup group) {
        if (read(group) != Answer.SUCCESS) {
            throw new IllegalStateException("a request for no access: " + group);
        }
        int cookie = group.cookie();
        expectOk(consumer().answerAndRepost(cookie, Answer.LATER));
        cookies[taken++ & mask] = cookie;
        if (taken - answered > held) {
            expectOk(consumer().answer(cookies[answered++ & mask], Answer.SUCCESS));
        }
    }
}
