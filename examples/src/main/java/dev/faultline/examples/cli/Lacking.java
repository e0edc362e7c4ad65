package dev.faultline.examples.cli;

import java.util.Objects;

/** The machine lacks something that was asked for. Immutable. */
public final class Lacking extends Exception {
    private static final long serialVersionUID = 1L;

    private final String what;
    private final String remedy;

    /**
     * Says what, and what to do about it.
     *
     * @param what the thing that is lacking
     * @param why how that showed
     * @param remedy what to do
     */
    public Lacking(String what, String why, String remedy) {
        super(what + ": " + why + "; " + remedy);
        this.what = what;
        this.remedy = remedy;
    }

    @Override
    public String getMessage() {
        return Objects.requireNonNull(super.getMessage());
    }

    /**
     * What is lacking.
     *
     * @return the thing
     */
    public String what() {
        return what;
    }

    /**
     * What to do about it.
     *
     * @return a phrase
     */
    public String remedy() {
        return remedy;
    }
}
