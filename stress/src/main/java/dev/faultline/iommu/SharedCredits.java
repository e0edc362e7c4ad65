package dev.faultline.iommu;

import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Arbiter;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.III_Result;
import org.openjdk.jcstress.infra.results.II_Result;

/**
 * The page request interface that a physical function and its virtual ones share, used by threads that step different functions.
 *
 * <p>Would catch: more requests unanswered than were allocated; a credit that is lost, or given back twice, round a reset; a change of
 * one flag that undoes that of another.
 */
public final class SharedCredits {
    private static final Device PHYSICAL = Iommu.open(IommuConfig.small()).device(DeviceConfig.pri("stress"));
    private static final int ALLOCATION = 2;

    private SharedCredits() {}

    private static PageRequestInterface shared() {
        PageRequestInterface made = new PageRequestInterface(PHYSICAL, ALLOCATION, false);
        made.share();
        return made;
    }

    /** Two functions ask for more than there is. */
    @JCStressTest
    @Outcome(id = "1, 0, 2", expect = Expect.ACCEPTABLE, desc = "the one has them")
    @Outcome(id = "0, 1, 2", expect = Expect.ACCEPTABLE, desc = "the other has them")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Both have them, or nobody, or they are not counted.")
    @State
    public static class TakeAgainstTake {
        private final PageRequestInterface pri = shared();

        /** Takes all. */
        @Actor
        public void one(III_Result r) {
            r.r1 = pri.take(ALLOCATION, 0) ? 1 : 0;
        }

        /** Takes all. */
        @Actor
        public void other(III_Result r) {
            r.r2 = pri.take(ALLOCATION, 0) ? 1 : 0;
        }

        /** Counts. */
        @Arbiter
        public void after(III_Result r) {
            r.r3 = pri.outstanding();
        }
    }

    /** A function asks and is answered while another does. */
    @JCStressTest
    @Outcome(id = "[01], [01], 0", expect = Expect.ACCEPTABLE, desc = "everything is back")
    @Outcome(expect = Expect.FORBIDDEN, desc = "A credit is lost, or one is there twice.")
    @State
    public static class AskAndAnswer {
        private final PageRequestInterface pri = shared();

        private int asks(int messages) {
            int asked = 0;
            for (int i = 0; i < 3; i++) {
                if (pri.take(messages, 0)) {
                    asked = pri.outstanding() > ALLOCATION ? -1 : 1;
                    pri.give(messages, 0);
                }
            }
            return asked;
        }

        /** Asks for one page at a time. */
        @Actor
        public void one(III_Result r) {
            r.r1 = asks(1);
        }

        /** Asks for two. */
        @Actor
        public void other(III_Result r) {
            r.r2 = asks(ALLOCATION);
        }

        /** Counts. */
        @Arbiter
        public void after(III_Result r) {
            r.r3 = pri.outstanding();
        }
    }

    /** A function is answered while the interface is reset: the credit comes back once. */
    @JCStressTest
    @Outcome(id = "0, 1", expect = Expect.ACCEPTABLE, desc = "by the answer, or by the reset")
    @Outcome(id = "1, 1", expect = Expect.FORBIDDEN, desc = "A request of before the reset is still counted.")
    @Outcome(expect = Expect.FORBIDDEN, desc = "A credit is there twice.")
    @State
    public static class AnswerAgainstReset {
        private final PageRequestInterface pri = shared();

        /** One request is unanswered. */
        public AnswerAgainstReset() {
            if (!pri.take(1, 0)) {
                throw new AssertionError("no credit");
            }
        }

        /** Is answered, and asks again under what it knew. */
        @Actor
        public void function() {
            pri.give(1, 0);
            if (pri.take(1, 0)) {
                pri.give(1, 0);
            }
        }

        /** Resets. */
        @Actor
        public void driver() {
            pri.forget();
        }

        /** Counts. */
        @Arbiter
        public void after(II_Result r) {
            r.r1 = pri.outstanding();
            r.r2 = pri.resets();
        }
    }

    /** One function is told a failure while another is answered for a group it does not have. */
    @JCStressTest
    @Outcome(id = "1, 1", expect = Expect.ACCEPTABLE, desc = "both are there")
    @Outcome(expect = Expect.FORBIDDEN, desc = "One has undone the other.")
    @State
    public static class FailAgainstUnexpected {
        private final PageRequestInterface pri = shared();

        /** Is told a failure. */
        @Actor
        public void one() {
            pri.fail();
        }

        /** Is answered for nothing. */
        @Actor
        public void other() {
            pri.unexpected();
        }

        /** Looks. */
        @Arbiter
        public void after(II_Result r) {
            int status = pri.status();
            r.r1 = (status & PageRequestInterface.RESPONSE_FAILURE) != 0 ? 1 : 0;
            r.r2 = (status & PageRequestInterface.UNEXPECTED_GROUP) != 0 ? 1 : 0;
        }
    }

    /** A function is told a failure while the interface is reset. It stays enabled, and nobody misses that something has changed. */
    @JCStressTest
    @Outcome(id = "0, 1, 1", expect = Expect.ACCEPTABLE, desc = "fail -> reset")
    @Outcome(id = "1, 1, 1", expect = Expect.ACCEPTABLE, desc = "reset -> fail")
    @Outcome(expect = Expect.FORBIDDEN, desc = "Disabled, or a change that functions do not see.")
    @State
    public static class FailAgainstRestart {
        private final PageRequestInterface pri = shared();
        private final int before = pri.flags();

        /** Is told a failure. */
        @Actor
        public void function() {
            pri.fail();
        }

        /** Resets, and leaves it enabled. */
        @Actor
        public void driver() {
            pri.restart(true);
        }

        /** Looks. */
        @Arbiter
        public void after(III_Result r) {
            r.r1 = PageRequestInterface.failed(pri.flags()) ? 1 : 0;
            r.r2 = pri.control();
            r.r3 = pri.flags() != before ? 1 : 0;
        }
    }
}
