package dev.faultline.ffm;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Binds functions of the C library, the one place of the project that links native code.
 *
 * <p>Threads: stateless. Every function is bound with its errno captured. None is bound as {@link Linker.Option#critical}: a
 * critical call keeps every other thread from its safepoint until it returns, and of the calls here those on a hot path ({@code
 * read}, {@code write}, {@code poll}, {@code io_uring_enter}) may wait in the kernel, even where they are asked not to; what
 * would be gained is 2 to 4 % of an empty {@code io_uring_enter}.
 */
final class CLibrary {
    /** Where the errno of a call goes. */
    static final MemoryLayout CAPTURE = Linker.Option.captureStateLayout();

    /** For functions without variable arguments. */
    static final int FIXED = -1;

    private CLibrary() {}

    /**
     * Why functions of the C library cannot be called here.
     *
     * @param names the functions that are wanted
     * @return the reason and its remedy, or empty
     */
    static Optional<String> missing(String... names) {
        Optional<String> abi = Abi.missing();
        if (abi.isPresent()) {
            return abi;
        }
        Module module = CLibrary.class.getModule();
        if (!module.isNativeAccessEnabled()) {
            return Optional.of("native access is off: start java with --enable-native-access="
                    + (module.isNamed() ? module.getName() : "ALL-UNNAMED"));
        }
        for (String name : names) {
            if (Linker.nativeLinker().defaultLookup().find(name).isEmpty()) {
                return Optional.of("the C library has no " + name);
            }
        }
        return Optional.empty();
    }

    /**
     * Binds a function.
     *
     * @param name its name
     * @param firstVariable which argument is the first of {@code ...} in its C declaration, or {@link #FIXED}; C passes those
     *     its own way on some architectures
     * @param type its result and arguments
     * @return a handle whose first argument takes the errno
     */
    @SuppressWarnings("restricted") // this is the one place that links native code
    static MethodHandle bind(String name, int firstVariable, FunctionDescriptor type) {
        Linker linker = Linker.nativeLinker();
        MemorySegment function = linker.defaultLookup().find(name).orElseThrow();
        List<Linker.Option> options = new ArrayList<>();
        options.add(Linker.Option.captureCallState("errno"));
        if (firstVariable != FIXED) {
            options.add(Linker.Option.firstVariadicArg(firstVariable));
        }
        return linker.downcallHandle(function, type, options.toArray(new Linker.Option[0]));
    }
}
