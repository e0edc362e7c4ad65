package dev.faultline.stress;

import dev.faultline.ring.internal.Wakeup;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/** Sees whether the announcement of a sleeper stands, which a {@link Wakeup} keeps to itself. */
public final class Asleep {
    private static final VarHandle ASLEEP = find();

    private Asleep() {}

    private static VarHandle find() {
        try {
            return MethodHandles.privateLookupIn(Wakeup.class, MethodHandles.lookup())
                    .findVarHandle(Wakeup.class, "asleep", boolean.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    /**
     * Whether somebody has announced to sleep and nobody has woken them.
     *
     * @param wakeup the wake-up
     * @return true while a sleeper would stay asleep
     */
    public static boolean isAsleep(Wakeup wakeup) {
        return (boolean) ASLEEP.getVolatile(wakeup);
    }
}
