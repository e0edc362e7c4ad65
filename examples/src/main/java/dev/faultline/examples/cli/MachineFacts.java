package dev.faultline.examples.cli;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/**
 * What a figure was measured on.
 *
 * @param cpu model, as the kernel names it
 * @param cores processors this process may use
 * @param kernel name and release
 * @param jdk vendor and version
 * @param flags the options the Java runtime was started with
 */
public record MachineFacts(String cpu, int cores, String kernel, String jdk, List<String> flags) {
    /**
     * Looks.
     *
     * @return the facts of this process
     */
    public static MachineFacts read() {
        return new MachineFacts(
                cpuModel(),
                Runtime.getRuntime().availableProcessors(),
                System.getProperty("os.name") + " " + System.getProperty("os.version"),
                System.getProperty("java.vendor") + " " + Runtime.version(),
                ManagementFactory.getRuntimeMXBean().getInputArguments());
    }

    /**
     * As the envelope has it.
     *
     * @return a JSON object
     */
    public ObjectNode json() {
        ObjectNode node = JsonNodeFactory.instance
                .objectNode()
                .put("cpu", cpu)
                .put("cores", cores)
                .put("kernel", kernel)
                .put("jdk", jdk);
        flags.forEach(node.putArray("flags")::add);
        return node;
    }

    private static String cpuModel() {
        try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
            return lines.filter(l -> l.startsWith("model name"))
                    .map(l -> l.substring(l.indexOf(':') + 1).strip())
                    .findFirst()
                    .orElse(System.getProperty("os.arch"));
        } catch (IOException e) {
            return System.getProperty("os.arch");
        }
    }
}
