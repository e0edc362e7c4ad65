package dev.faultline.ring.explore;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.faultline.ring.explore.Program.AwaitNonZero;
import dev.faultline.ring.explore.Program.AwaitOthers;
import dev.faultline.ring.explore.Program.Fence;
import dev.faultline.ring.explore.Program.Jump;
import dev.faultline.ring.explore.Program.Load;
import dev.faultline.ring.explore.Program.MayDie;
import dev.faultline.ring.explore.Program.Order;
import dev.faultline.ring.explore.Program.Store;
import dev.faultline.ring.internal.EventWakeup;
import dev.faultline.ring.internal.Wakeup;
import java.io.IOException;
import java.io.InputStream;
import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassModel;
import java.lang.classfile.MethodModel;
import java.lang.classfile.instruction.FieldInstruction;
import java.lang.classfile.instruction.InvokeInstruction;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The sleep protocol and the gate of a lane in every interleaving of small programs: no wake-up is lost, no task is lost, never
 * two are inside. That each flaw put into the model is found says that it looks where it should; that the code has the steps of
 * the model, in their order, is read from its class files.
 */
class ExplorerTest {
    private static final int R0 = 0;
    private static final int R1 = 1;

    private static void assertGood(Explorer.Outcome outcome) {
        assertEquals(null, outcome.bad());
        assertTrue(outcome.states() > 50, () -> "states " + outcome.states());
    }

    private static void assertBad(Explorer.Outcome outcome, String what) {
        String bad = outcome.bad();
        assertNotNull(bad, () -> "not found in " + outcome.states() + " states");
        assertTrue(bad.startsWith(what), bad);
    }

    // ---- the machine ----

    private static Set<String> storeBuffers(boolean fence, Order store, Order load) {
        Set<String> outcomes = new TreeSet<>();
        Program[] programs = new Program[2];
        for (int t = 0; t < 2; t++) {
            Program p = new Program("t" + t);
            p.add(new Store(t, 1, store));
            if (fence) {
                p.add(new Fence());
            }
            p.add(new Load(R0, 1 - t, load)).jumpIfZero(R0, "none");
            p.add(new Store(2 + t, 1, Order.ORDERED)).label("none");
            programs[t] = p;
        }
        assertEquals(
                null,
                Explorer.explore(
                                4,
                                memory -> {
                                    outcomes.add(memory[2] + "" + memory[3]);
                                    return null;
                                },
                                programs)
                        .bad());
        return outcomes;
    }

    @Test
    void aStorePassesALaterLoadUnlessItIsKeptFromIt() {
        assertEquals(Set.of("00", "01", "10", "11"), storeBuffers(false, Order.ORDERED, Order.ORDERED));
        assertEquals(Set.of("00", "01", "10", "11"), storeBuffers(false, Order.VOLATILE, Order.ORDERED));
        assertEquals(Set.of("01", "10", "11"), storeBuffers(false, Order.VOLATILE, Order.VOLATILE));
        assertEquals(Set.of("01", "10", "11"), storeBuffers(true, Order.ORDERED, Order.ORDERED));
    }

    @Test
    void storesAreSeenInTheirOrder() {
        Program writer = new Program("writer");
        writer.add(new Store(0, 1, Order.ORDERED)).add(new Store(1, 1, Order.ORDERED));
        Program reader = new Program("reader");
        reader.add(new Load(R1, 1, Order.ORDERED)).jumpIfZero(R1, "end");
        reader.add(new Load(R0, 0, Order.ORDERED)).jumpUnlessZero(R0, "end");
        reader.add(new Store(2, 1, Order.ORDERED)).label("end");
        Function<int[], @Nullable String> check = memory -> memory[2] == 0 ? null : "the second without the first";
        assertEquals(null, Explorer.explore(3, check, writer, reader).bad());
    }

    // ---- sleeping ----

    private static final int ASLEEP = 0;
    private static final int SLEEPER = 1;
    private static final int FIRST_NEWS = 2;

    /** A sleeper, and wakers that each publish a number of times. */
    private static Explorer.Outcome sleep(int wakers, int times, Set<SleepModel.Flaw> flaws) {
        SleepModel wakeup = new SleepModel(ASLEEP, SLEEPER, flaws);
        Program[] programs = new Program[wakers + 1];
        Program sleeper = new Program("sleeper");
        // Takes what each waker has published, one after another; sleeps while there is nothing new.
        for (int waker = 0; waker < wakers; waker++) {
            for (int time = 1; time <= times; time++) {
                String again = sleeper.fresh("again");
                String found = sleeper.fresh("found");
                String gone = sleeper.fresh("gone");
                int news = FIRST_NEWS + waker * times + time - 1;
                sleeper.label(again);
                sleeper.add(new Load(R0, news, Order.ORDERED)).jumpUnlessZero(R0, gone);
                if (flaws.contains(SleepModel.Flaw.ANNOUNCES_AFTER_THE_LOOK)) {
                    sleeper.add(new Load(R0, news, Order.ORDERED)).jumpUnlessZero(R0, found);
                    wakeup.announce(sleeper);
                } else {
                    wakeup.announce(sleeper);
                    if (!flaws.contains(SleepModel.Flaw.SLEEPER_LOOKS_ONCE)) {
                        sleeper.add(new Load(R0, news, Order.ORDERED)).jumpUnlessZero(R0, found);
                    }
                }
                wakeup.sleep(sleeper);
                sleeper.add(new Jump(again));
                sleeper.label(found);
                wakeup.cancel(sleeper);
                sleeper.label(gone);
            }
        }
        programs[0] = sleeper;
        for (int waker = 0; waker < wakers; waker++) {
            Program p = new Program("waker" + waker);
            for (int time = 0; time < times; time++) {
                p.add(new Store(FIRST_NEWS + waker * times + time, 1, Order.ORDERED));
                wakeup.signal(p, 0);
            }
            programs[waker + 1] = p;
        }
        return Explorer.explore(FIRST_NEWS + wakers * times, memory -> null, programs);
    }

    @Test
    void noWakeUpIsLost() {
        assertGood(sleep(1, 1, Set.of()));
        assertGood(sleep(1, 3, Set.of()));
        assertGood(sleep(2, 1, Set.of()));
        assertGood(sleep(2, 2, Set.of()));
        assertGood(sleep(3, 1, Set.of()));
    }

    @ParameterizedTest
    @EnumSource(SleepModel.Flaw.class)
    void everyFlawOfSleepingIsFound(SleepModel.Flaw flaw) {
        assertBad(sleep(2, 2, EnumSet.of(flaw)), "sleeper waits for ever");
    }

    // ---- the gate ----

    private static @Nullable String tasksRun(int[] memory, int tasks) {
        if (memory[GateModel.RUNS] != tasks) {
            return "tasks run " + memory[GateModel.RUNS] + " of " + tasks;
        }
        return memory[GateModel.INSIDE] == 0 ? null : "somebody is still inside: " + memory[GateModel.INSIDE];
    }

    /** Enters, polls and sleeps until there is news, leaves. */
    private static Program owner(GateModel gate, int me) {
        Program p = new Program("owner" + me);
        gate.enter(p, me, "refused");
        p.label("poll");
        gate.runTasks(p);
        p.add(new Load(R0, GateModel.NEWS, Order.ORDERED)).jumpUnlessZero(R0, "leave");
        gate.wakeup.announce(p);
        p.add(new Load(R0, GateModel.NEWS, Order.ORDERED)).jumpUnlessZero(R0, "cancel");
        gate.hasTasks(p, "sleep");
        p.label("cancel");
        gate.wakeup.cancel(p);
        p.add(new Jump("poll")).label("sleep");
        gate.wakeup.sleep(p);
        p.add(new Jump("poll")).label("leave");
        gate.leave(p, me);
        return p.label("refused");
    }

    /** Enters if it can, polls once, leaves. */
    private static Program passer(GateModel gate, int me, boolean mayDie) {
        Program p = new Program("passer" + me);
        gate.enter(p, me, "refused");
        if (mayDie) {
            p.add(new MayDie(GateModel.DEAD + me, GateModel.HERE));
        }
        gate.runTasks(p);
        if (mayDie) {
            p.add(new MayDie(GateModel.DEAD + me, GateModel.HERE));
        }
        gate.leave(p, me);
        return p.label("refused");
    }

    private static Program requester(GateModel gate, int me) {
        Program p = new Program("requester" + me);
        gate.request(p, me);
        return p;
    }

    /** Has something done inside, waits until it is, and publishes news. */
    private static Program caller(GateModel gate, int me) {
        Program p = new Program("caller" + me);
        gate.request(p, me);
        p.add(new AwaitNonZero(GateModel.RAN, 2));
        p.add(new Store(GateModel.NEWS, 1, Order.ORDERED));
        gate.signal(p);
        return p;
    }

    private static Program waker(GateModel gate, int me) {
        Program p = new Program("waker" + me);
        p.add(new Store(GateModel.NEWS, 1, Order.ORDERED));
        gate.signal(p);
        return p;
    }

    private static Explorer.Outcome gate(int tasks, Program... programs) {
        return Explorer.explore(GateModel.WORDS, memory -> tasksRun(memory, tasks), programs);
    }

    private static Explorer.Outcome ownerAndCaller(Set<GateModel.Flaw> flaws) {
        GateModel gate = new GateModel(2, 1, flaws);
        return gate(1, owner(gate, 0), caller(gate, 1));
    }

    private static Explorer.Outcome ownerRequesterWaker(Set<GateModel.Flaw> flaws) {
        GateModel gate = new GateModel(3, 1, flaws);
        return gate(1, owner(gate, 0), requester(gate, 1), waker(gate, 2));
    }

    private static Explorer.Outcome twoPassersAndARequester(Set<GateModel.Flaw> flaws) {
        GateModel gate = new GateModel(3, 1, flaws);
        return gate(1, passer(gate, 0, false), passer(gate, 1, false), requester(gate, 2));
    }

    private static Explorer.Outcome passerAndTwoRequesters(Set<GateModel.Flaw> flaws) {
        GateModel gate = new GateModel(3, 2, flaws);
        return gate(2, passer(gate, 0, false), requester(gate, 1), requester(gate, 2));
    }

    private static Explorer.Outcome visitorAndRequesters(Set<GateModel.Flaw> flaws) {
        GateModel gate = new GateModel(3, 2, flaws);
        Program visitor = new Program("visitor");
        gate.visitOnce(visitor, 0);
        return gate(2, visitor, requester(gate, 1), requester(gate, 2));
    }

    /** One that may die inside, one that comes after, one that requests; at last the keeper, who looks after the lane. */
    private static Explorer.Outcome death(Set<GateModel.Flaw> flaws) {
        GateModel gate = new GateModel(4, 1, flaws);
        Program keeper = new Program("keeper");
        keeper.add(new AwaitOthers());
        gate.visitOnce(keeper, 3);
        Program dying = passer(gate, 0, true);
        return Explorer.explore(
                GateModel.WORDS,
                memory -> tasksRun(memory, 1),
                dying,
                passer(gate, 1, false),
                requester(gate, 2),
                keeper);
    }

    @Test
    void neverTwoAreInsideAndNothingIsLost() {
        assertGood(ownerAndCaller(Set.of()));
        assertGood(ownerRequesterWaker(Set.of()));
        assertGood(twoPassersAndARequester(Set.of()));
        assertGood(passerAndTwoRequesters(Set.of()));
        assertGood(visitorAndRequesters(Set.of()));
    }

    @Test
    void whereNobodySleepsNoSignalIsNeeded() {
        Set<GateModel.Flaw> silent = EnumSet.of(GateModel.Flaw.REQUESTS_WITHOUT_SIGNAL);
        assertGood(twoPassersAndARequester(silent));
        assertGood(passerAndTwoRequesters(silent));
        assertGood(visitorAndRequesters(silent));
        assertGood(death(silent));
    }

    @Test
    void aThreadThatDiesInsideIsAsGoodAsGone() {
        assertGood(death(Set.of()));
    }

    @ParameterizedTest
    @EnumSource(GateModel.Flaw.class)
    void everyFlawOfTheGateIsFound(GateModel.Flaw flaw) {
        Set<GateModel.Flaw> flaws = EnumSet.of(flaw);
        switch (flaw) {
            case ENTERS_WITHOUT_COMPARE_AND_SET -> assertBad(twoPassersAndARequester(flaws), "threads inside=2");
            case LEAVES_WITHOUT_LOOKING_FOR_TASKS, OPENS_BY_RELEASE ->
                assertBad(passerAndTwoRequesters(flaws), "tasks run ");
            case SIGNALS_WITHOUT_FENCE -> assertBad(ownerRequesterWaker(flaws), "owner0 waits for ever");
            case REQUESTS_WITHOUT_SIGNAL -> assertBad(ownerAndCaller(flaws), "owner0 waits for ever; caller1 waits");
            case REQUESTS_WITHOUT_VISIT -> assertBad(passerAndTwoRequesters(flaws), "tasks run ");
            case FOLLOWS_THE_DEAD_WITHOUT_COMPARE_AND_SET -> assertBad(death(flaws), "threads inside=2");
        }
    }

    // ---- the code has the model's steps ----

    /** What a method does to shared words, in the order of its byte code. */
    private static Map<String, List<String>> stepsOf(Class<?> type) throws IOException {
        ClassModel model;
        try (InputStream in = type.getResourceAsStream(type.getSimpleName() + ".class")) {
            model = ClassFile.of().parse(Objects.requireNonNull(in).readAllBytes());
        }
        Map<String, List<String>> all = new TreeMap<>();
        for (MethodModel method : model.methods()) {
            List<String> steps = new ArrayList<>();
            method.code()
                    .ifPresent(code -> code.forEach(element -> {
                        if (element instanceof FieldInstruction field) {
                            String name = field.name().stringValue();
                            if (List.of("asleep", "sleeper", "wakeup").contains(name)) {
                                steps.add((field.opcode().name().startsWith("PUT") ? "put " : "get ") + name);
                            }
                        } else if (element instanceof InvokeInstruction call) {
                            String owner = call.owner().asInternalName();
                            owner = owner.substring(owner.lastIndexOf('/') + 1);
                            if (List.of(
                                                    "SharedWords",
                                                    "LockSupport",
                                                    "LinuxCalls",
                                                    "AtomicReference",
                                                    "MpscUnboundedVarHandleArrayQueue")
                                            .contains(owner)
                                    || (owner.equals("Thread") && call.name().equalsString("isAlive"))
                                    || owner.equals("Wakeup")
                                    || (owner.equals(type.getSimpleName())
                                            && !call.name().equalsString("<init>"))) {
                                steps.add(call.name().stringValue());
                            }
                        }
                    }));
            all.put(method.methodName().stringValue() + method.methodType().stringValue(), steps);
        }
        return all;
    }

    private static void assertSteps(Map<String, List<String>> code, String method, String... steps) {
        assertEquals(
                List.of(steps),
                code.get(method),
                method + " differs from the model: change the model with it, then this line");
    }

    @Test
    void theCodeSleepsAsTheModel() throws IOException {
        Map<String, List<String>> code = stepsOf(Wakeup.class);
        assertSteps(code, "announce()V", "put sleeper", "put asleep", "fullFence");
        assertSteps(code, "cancel()V", "put asleep");
        assertSteps(code, "sleep(J)V", "get asleep", "park", "put asleep");
        assertSteps(code, "park(J)V", "parkNanos");
        assertSteps(code, "signal()V", "fullFence", "signalFenced");
        assertSteps(code, "signalFenced()V", "get asleep", "put asleep", "wake");
        assertSteps(code, "wake()V", "get sleeper", "unpark");
    }

    /** An eventfd is a permit as {@code unpark}'s is: it stays until it is taken. All else is inherited. */
    @Test
    void theCodeSleepsOnAnEventfdAsTheModel() throws IOException {
        Map<String, List<String>> code = stepsOf(EventWakeup.class);
        assertSteps(code, "park(J)V", "milliseconds", "poll", "take", "free");
        assertSteps(code, "take()V", "read");
        assertSteps(code, "wake()V", "write");
        assertSteps(code, "write()V", "write");
        assertSteps(code, "clear()V", "cancel", "take");
        for (String inherited : List.of("announce()V", "cancel()V", "sleep(J)V", "signal()V", "signalFenced()V")) {
            assertEquals(null, code.get(inherited), inherited);
        }
    }

    @Test
    void theCodeEntersAsTheModel() throws Exception {
        Map<String, List<String>> code = stepsOf(Class.forName("dev.faultline.ring.LaneGate"));
        String task = "(Ljava/lang/Runnable;)V";
        assertSteps(code, "enter()Z", "compareAndExchange", "put wakeup", "isAlive", "compareAndSet");
        assertSteps(code, "leave()V", "put wakeup", "set", "visit");
        assertSteps(code, "hasTasks()Z", "isEmpty");
        assertSteps(code, "runTasks()V", "poll");
        assertSteps(code, "request" + task, "offer", "signal", "visit");
        // The store of a finally stands twice in the byte code.
        assertSteps(code, "visit" + task, "open", "runTasks", "set", "set", "visit");
        assertSteps(code, "visit()V", "hasTasks", "open", "runTasks", "set", "set");
        assertSteps(code, "open()Z", "compareAndExchange", "isAlive", "compareAndSet");
        assertSteps(code, "signal()V", "fullFence", "get wakeup", "signalFenced");
    }

    @Test
    void theSharedWordsAreVolatile() throws Exception {
        for (String field : List.of("asleep", "sleeper")) {
            assertTrue(Modifier.isVolatile(Wakeup.class.getDeclaredField(field).getModifiers()));
        }
        assertTrue(Modifier.isVolatile(Class.forName("dev.faultline.ring.LaneGate")
                .getDeclaredField("wakeup")
                .getModifiers()));
    }
}
