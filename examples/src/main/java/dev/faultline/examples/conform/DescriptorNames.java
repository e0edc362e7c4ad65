package dev.faultline.examples.conform;

import java.util.HashMap;
import java.util.Map;

/**
 * What a recording calls its descriptors: the name an {@code open} gives, {@code fault}, {@code fault2} and so on for what a
 * command returns, or the number itself.
 *
 * <p>Threads: one.
 */
final class DescriptorNames {
    private static final int NONE = -1;

    private final Map<String, Integer> numbers = new HashMap<>();
    private int context = NONE;

    /** Names what the recording has named; a call that failed here leaves a name for no descriptor. */
    void open(String name, long result) {
        numbers.put(name, result < 0 ? NONE : (int) result);
    }

    /** Remembers a descriptor of {@code /dev/iommu}, which was opened or used just now. */
    void context(int number) {
        context = number;
    }

    /** Names the descriptor that a command returned: the first of its kind whose name is free. */
    void returned(String kind, int number) {
        String name = kind;
        for (int i = 2; numbers.containsKey(name); i++) {
            name = kind + i;
        }
        numbers.put(name, number);
    }

    /** The number of a name; one that no descriptor has for a name that is not known. */
    int number(String name) {
        Integer number = numbers.get(name);
        if (number != null) {
            return number;
        }
        return !name.isEmpty() && name.length() < 9 && name.chars().allMatch(c -> c >= '0' && c <= '9')
                ? Integer.parseInt(name)
                : NONE;
    }

    /** The descriptor of {@code /dev/iommu} opened or used last. */
    int context() {
        return context;
    }

    /** Forgets every name of a descriptor. */
    void closed(int number) {
        numbers.values().removeIf(n -> n == number);
        if (context == number) {
            context = numbers.getOrDefault("iommu", NONE);
        }
    }
}
