package dev.faultline.ffm;

/** Calls that are refused while this is open. Tests that use it do not run beside each other. */
final class Refused implements AutoCloseable {
    private Refused() {}

    static Refused calls(String list) {
        System.setProperty(Refusal.PROPERTY, list);
        return new Refused();
    }

    @Override
    public void close() {
        System.clearProperty(Refusal.PROPERTY);
    }
}
