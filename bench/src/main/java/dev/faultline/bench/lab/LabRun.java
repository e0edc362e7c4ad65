package dev.faultline.bench.lab;

import dev.faultline.bench.contender.Contender;
import dev.faultline.bench.contender.Gauge;
import dev.faultline.bench.contender.Slice;
import dev.faultline.ffm.LinuxCalls;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Runs a plan: contenders take turns, a slice at a time, with a slice of the yardstick before and after each.
 *
 * <p>Threads: one calls {@link #run}; {@link #measured} and {@link #stop} may be called from any.
 *
 * <p>Lifetime: when {@code run} has returned, or {@code stop} was called, no process is left.
 *
 * <p>Panels come one after the other, and all of them again with each fresh set of processes, so that no panel has a bad minute for
 * itself. The yardstick's slice after one contender is the slice before the next.
 */
public final class LabRun {

    /** Rounds tried for each pair that is wanted, before the run is content with fewer. */
    private static final int MOST_TRIES = 8;

    private static final int WARM_UP_SLICE_MS = 100;
    private static final int NOTHING_TO_MEASURE = Integer.MAX_VALUE;
    private static final int ANY_CPU = -1;
    private static final int LEAST_CPUS = 2;
    private static final long GRACE_MS = 100;
    private static final long NS_PER_MS = 1_000_000;

    private final LabPlan plan;
    private final Consumer<String> progress;
    private final Random order;
    private final List<Integer> cpus;
    private final int cores;

    private final Object lock = new Object();
    private final List<PlacedSlice> slices = new ArrayList<>();
    private final Map<Gauge, List<Double>> figures = new EnumMap<>(Gauge.class);
    private final Map<String, String> failures = new HashMap<>();
    private final Map<String, String> absences = new HashMap<>();
    private final Map<Contender, ContenderProcess> processes = new LinkedHashMap<>();
    private final CPrograms programs = new CPrograms();
    private @Nullable ContenderProcess reading;
    private int jvms;
    private boolean isStopped;

    /**
     * A run that has not begun.
     *
     * @param plan what it is to do
     * @param progress told, in words, what is going on
     */
    public LabRun(LabPlan plan, Consumer<String> progress) {
        this.plan = plan;
        this.progress = progress;
        this.order = new Random(plan.seed());
        List<Integer> allowed = allowedCpus();
        cpus = allowed.size() < LEAST_CPUS ? List.of() : allowed;
        cores = cpus.isEmpty() ? Runtime.getRuntime().availableProcessors() : cpus.size();
    }

    private static List<Integer> allowedCpus() {
        if (LinuxCalls.missing().isPresent()) {
            return List.of();
        }
        try (LinuxCalls calls = LinuxCalls.open()) {
            return IntStream.of(calls.affinity()).boxed().toList();
        }
    }

    /** A core for each of so many threads, or any. */
    private List<Integer> cpus(int threads) {
        return cpus.isEmpty() ? Collections.nCopies(threads, ANY_CPU) : cpus.subList(0, threads);
    }

    /**
     * Whether each hot thread has a core of its own.
     *
     * @return false if they go where the scheduler puts them
     */
    public boolean isPinned() {
        return !cpus.isEmpty();
    }

    /**
     * Everything measured so far.
     *
     * @return a copy
     */
    public Measured measured() {
        synchronized (lock) {
            return Measured.of(slices, figures, failures, absences, jvms);
        }
    }

    /** Ends all processes; {@link #run} returns soon after. */
    public void stop() {
        synchronized (lock) {
            isStopped = true;
            processes.values().forEach(ContenderProcess::kill);
            if (reading != null) {
                reading.kill();
            }
        }
    }

    private boolean isStopped() {
        synchronized (lock) {
            return isStopped;
        }
    }

    /**
     * Measures, until every ratio has its slices, the tries are used up or the time is over.
     *
     * @throws InterruptedException if the caller is interrupted
     */
    public void run() throws InterruptedException {
        long startNs = System.nanoTime();
        List<Set<Contender>> panels = plan.panels();
        int contenders = plan.contenders().size();
        try (programs) {
            for (Contender contender : plan.contenders()) {
                if (contender.kind().hotThreads() > cores) {
                    absent(
                            contender,
                            "cores=" + cores + ", needed=" + contender.kind().hotThreads());
                }
                contender.kind().missing().ifPresent(why -> absent(contender, why));
            }
            for (int jvm = 1; jvm <= plan.jvms(); jvm++) {
                synchronized (lock) {
                    jvms = jvm;
                }
                start(Set.of(Contender.PINGPONG));
                int turns = 0;
                for (Set<Contender> panel : panels) {
                    // A panel that is done early leaves its time to those after it.
                    turns += panel.size();
                    double share = (jvm - 1 + (double) turns / contenders) / plan.jvms();
                    run(panel, jvm, startNs + (long) (share * plan.limitMs() * NS_PER_MS));
                }
                killAll();
            }
            for (Gauge gauge : plan.gauges()) {
                read(gauge);
            }
        } finally {
            killAll();
        }
    }

    private void run(Set<Contender> panel, int jvm, long untilNs) throws InterruptedException {
        int each = Math.ceilDiv(plan.slices(), plan.jvms());
        int wanted = Math.ceilDiv(plan.slices() * jvm, plan.jvms());
        start(panel);
        for (int round = 0; goesOn(panel) && pairs(panel) < wanted && round < MOST_TRIES * each; round++) {
            if (round >= each && System.nanoTime() - untilNs >= 0) {
                break;
            }
            round(panel);
        }
        progress.accept("process " + jvm + " of " + plan.jvms() + ", "
                + panel.iterator().next().key() + " and others: " + Math.min(pairs(panel), wanted) + " of " + wanted
                + " pairs kept");
        kill(panel);
    }

    private void absent(Contender contender, String why) {
        synchronized (lock) {
            absences.put(contender.key(), why);
        }
    }

    /** Reads a gauge as often as it takes, while nothing else runs. */
    private void read(Gauge gauge) throws InterruptedException {
        if (isStopped()) {
            return;
        }
        progress.accept(gauge.key());
        try (ContenderProcess process = ContenderProcess.start(gauge)) {
            synchronized (lock) {
                reading = process;
                if (isStopped) {
                    process.kill();
                }
            }
            process.awaitReady();
            for (int i = 0; i < Math.min(plan.slices(), Ratio.NEEDED_SLICES); i++) {
                double figure = process.sample(gauge.sampleMs());
                synchronized (lock) {
                    figures.computeIfAbsent(gauge, each -> new ArrayList<>()).add(figure);
                }
            }
        } catch (ContenderProcess.Failed e) {
            fail(gauge.key(), e);
        }
    }

    private boolean goesOn(Set<Contender> panel) {
        synchronized (lock) {
            return !isStopped
                    && processes.containsKey(Contender.PINGPONG)
                    && !Collections.disjoint(processes.keySet(), panel);
        }
    }

    /** Pairs of the panel's ratio that has fewest; a ratio that lost a contender is not waited for. */
    private int pairs(Set<Contender> panel) {
        Measured measured = measured();
        return plan.ratios().stream()
                .filter(ratio -> panel.containsAll(ratio.contenders()))
                .filter(ratio -> !ratio.contenders().isEmpty() && Ratio.missing(ratio, measured) == null)
                .mapToInt(ratio -> Ratio.pairs(ratio, measured))
                .min()
                .orElse(NOTHING_TO_MEASURE);
    }

    /** Starts all at once, and warms up one after the other. */
    private void start(Set<Contender> contenders) throws InterruptedException {
        Map<Contender, ContenderProcess> started = new LinkedHashMap<>();
        for (Contender contender : contenders) {
            synchronized (lock) {
                if (isStopped || failures.containsKey(contender.key()) || absences.containsKey(contender.key())) {
                    continue;
                }
            }
            try {
                ContenderProcess process =
                        ContenderProcess.start(contender, cpus(contender.kind().hotThreads()), programs);
                started.put(contender, process);
                synchronized (lock) {
                    processes.put(contender, process);
                    if (isStopped) {
                        process.kill();
                    }
                }
            } catch (CPrograms.Absent e) {
                absent(contender, String.valueOf(e.getMessage()));
            } catch (ContenderProcess.Failed e) {
                fail(contender, e);
            }
        }
        for (Map.Entry<Contender, ContenderProcess> entry : started.entrySet()) {
            try {
                entry.getValue().awaitReady();
            } catch (ContenderProcess.Failed e) {
                fail(entry.getKey(), e);
            }
        }
        for (Map.Entry<Contender, ContenderProcess> entry : started.entrySet()) {
            try {
                for (int doneMs = 0;
                        doneMs < plan.warmUpMs() && isRunning(entry.getKey());
                        doneMs += WARM_UP_SLICE_MS) {
                    Slice ignored = entry.getValue().run(WARM_UP_SLICE_MS);
                    assert ignored.roundTrips() > 0;
                }
            } catch (ContenderProcess.Failed e) {
                fail(entry.getKey(), e);
            }
        }
    }

    private boolean isRunning(Contender contender) {
        synchronized (lock) {
            return !isStopped && processes.containsKey(contender);
        }
    }

    private void round(Set<Contender> panel) throws InterruptedException {
        ContenderProcess yardstick = processes.get(Contender.PINGPONG);
        if (yardstick == null) {
            return;
        }
        List<Map.Entry<Contender, ContenderProcess>> turns = new ArrayList<>(List.copyOf(processes.entrySet()));
        turns.removeIf(turn -> !panel.contains(turn.getKey()));
        Collections.shuffle(turns, order);
        int round = nextRound();
        try {
            Slice before = yardstick.run(plan.sliceMs());
            for (Map.Entry<Contender, ContenderProcess> turn : turns) {
                Slice slice;
                try {
                    slice = turn.getValue().run(plan.sliceMs());
                } catch (ContenderProcess.Failed e) {
                    fail(turn.getKey(), e);
                    continue;
                }
                Slice after = yardstick.run(plan.sliceMs());
                synchronized (lock) {
                    slices.add(new PlacedSlice(turn.getKey(), round, slice, before, after));
                }
                before = after;
            }
        } catch (ContenderProcess.Failed e) {
            fail(Contender.PINGPONG, e);
        }
    }

    private int nextRound() {
        synchronized (lock) {
            return slices.isEmpty() ? 0 : slices.getLast().round() + 1;
        }
    }

    private void fail(Contender contender, ContenderProcess.Failed why) throws InterruptedException {
        fail(contender.key(), why);
        kill(Set.of(contender));
    }

    private void fail(String key, ContenderProcess.Failed why) throws InterruptedException {
        // Ctrl-C reaches the contenders too, and perhaps sooner.
        Thread.sleep(GRACE_MS);
        if (isStopped()) {
            return;
        }
        progress.accept(key + " " + why.getMessage());
        synchronized (lock) {
            failures.put(key, String.valueOf(why.getMessage()));
        }
    }

    private void kill(Collection<Contender> contenders) {
        synchronized (lock) {
            for (Contender contender : contenders) {
                ContenderProcess process = processes.remove(contender);
                if (process != null) {
                    process.kill();
                }
            }
        }
    }

    private void killAll() {
        synchronized (lock) {
            kill(List.copyOf(processes.keySet()));
        }
    }
}
