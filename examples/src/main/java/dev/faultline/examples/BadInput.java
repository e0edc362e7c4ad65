package dev.faultline.examples;

import java.util.Objects;

/**
 * Something the user gave cannot be used: an option, a file, a line of a file.
 *
 * <p>The message is one line that names the field, its value, what is wrong and what is allowed. Immutable; any thread.
 */
public final class BadInput extends Exception {
    private static final long serialVersionUID = 1L;

    private final String field;
    private final String value;
    private final String allowed;

    /**
     * Describes what cannot be used.
     *
     * @param field the option or argument, as the user writes it
     * @param value what was given
     * @param problem what is wrong with it
     * @param allowed what would have been right
     */
    public BadInput(String field, String value, String problem, String allowed) {
        super(field + (value.isEmpty() ? "" : " " + value) + ": " + problem + "; allowed: " + allowed);
        this.field = field;
        this.value = value;
        this.allowed = allowed;
    }

    @Override
    public String getMessage() {
        return Objects.requireNonNull(super.getMessage());
    }

    /**
     * The option or argument.
     *
     * @return as the user writes it
     */
    public String field() {
        return field;
    }

    /**
     * What was given.
     *
     * @return the value, empty where there is none
     */
    public String value() {
        return value;
    }

    /**
     * What would have been right.
     *
     * @return a phrase
     */
    public String allowed() {
        return allowed;
    }
}
