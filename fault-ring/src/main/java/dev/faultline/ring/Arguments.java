package dev.faultline.ring;

import org.jspecify.annotations.Nullable;

/** Refuses what nobody may give, by an exception that names the field, its value and what is allowed. */
final class Arguments {
    private Arguments() {}

    static void notNull(String field, @Nullable Object value, String allowed) {
        if (value == null) {
            throw new NullPointerException(field + "=null: allowed " + allowed);
        }
    }

    static void notBelow(String field, long value, long least) {
        if (value < least) {
            throw new IllegalArgumentException(field + "=" + value + ": allowed " + least + " or more");
        }
    }
}
