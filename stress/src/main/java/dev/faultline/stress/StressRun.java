package dev.faultline.stress;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.openjdk.jcstress.JCStress;
import org.openjdk.jcstress.Options;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.infra.StateCase;
import org.openjdk.jcstress.infra.Status;
import org.openjdk.jcstress.infra.collectors.DiskReadCollector;
import org.openjdk.jcstress.infra.collectors.InProcessCollector;
import org.openjdk.jcstress.infra.collectors.TestResult;
import org.openjdk.jcstress.infra.runners.TestList;

/**
 * Runs jcstress, and holds it to more than it holds itself to: every test that was asked for has been run, every run has ended as
 * it should, and has seen something. jcstress alone ends well where it finds no test or too few cores, and where a run could not
 * be started.
 */
public final class StressRun {
    private StressRun() {}

    /**
     * Runs.
     *
     * @param args jcstress's own
     */
    public static void main(String[] args) throws Exception {
        Options options = new Options(args);
        if (!options.parse()) {
            System.exit(2);
        }
        // Throws if an outcome was forbidden, or a test has thrown.
        new JCStress(options).run();
        Map<String, List<TestResult>> results = new TreeMap<>();
        InProcessCollector collector = new InProcessCollector();
        if (Files.exists(Path.of(options.getResultFile()))) {
            DiskReadCollector reader = new DiskReadCollector(options.getResultFile(), collector);
            reader.dump();
            reader.close();
        }
        for (TestResult result : collector.getTestResults()) {
            results.computeIfAbsent(result.getName(), name -> new ArrayList<>()).add(result);
        }
        List<String> bad = new ArrayList<>();
        Pattern filter = Pattern.compile(options.getTestFilter());
        int tests = 0;
        for (String test : new TreeSet<>(TestList.tests())) {
            if (filter.matcher(test).find()) {
                tests++;
                check(test, results.getOrDefault(test, List.of()), bad);
            }
        }
        if (tests == 0) {
            bad.add("no test matches -t " + options.getTestFilter());
        }
        if (!bad.isEmpty()) {
            throw new AssertionError("jcstress was not run as it should:\n  " + String.join("\n  ", bad));
        }
    }

    private static void check(String test, List<TestResult> results, List<String> bad) {
        if (results.isEmpty()) {
            bad.add(test + ": not run");
        }
        long samples = 0;
        for (TestResult result : results) {
            if (result.status() != Status.NORMAL) {
                bad.add(test + ": " + result.status() + " " + result.getMessages() + result.getVmErr());
            }
            samples += result.getTotalCount();
        }
        if (samples == 0) {
            bad.add(test + ": no sample");
        }
        for (StateCase outcome : TestList.getInfo(test).cases()) {
            boolean seen = results.stream()
                    .anyMatch(result -> result.getStateKeys().stream().anyMatch(outcome::matches));
            if (outcome.expect() == Expect.ACCEPTABLE && !seen) {
                System.out.println("not seen this time: " + test + " [" + outcome.matchPattern() + "]");
            }
        }
    }
}
