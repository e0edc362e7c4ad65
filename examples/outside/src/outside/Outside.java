package outside;

import dev.faultline.ffm.Region;
import dev.faultline.ffm.SharedWords;

/** Uses the installed artifacts as anybody would. */
public final class Outside {

    private Outside() {}

    /**
     * Publishes a value, looks for it, and says how it was started.
     *
     * @param args none
     */
    public static void main(String[] args) {
        Module library = Region.class.getModule();
        try (Region region = Region.allocate(64)) {
            SharedWords.putLong(region.segment(), 8, 42);
            SharedWords.setIntRelease(region.segment(), 0, 1);
            if (SharedWords.getIntAcquire(region.segment(), 0) != 1 || SharedWords.getLong(region.segment(), 8) != 42) {
                throw new AssertionError("what was published was not seen");
            }
        }
        System.out.println("outside: good on the " + (library.isNamed() ? "module path, " + library : "class path"));
    }
}
