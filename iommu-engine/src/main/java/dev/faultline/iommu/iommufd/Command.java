package dev.faultline.iommu.iommufd;

/**
 * A command of {@code /dev/iommu}.
 *
 * @param name as the kernel's header has it
 * @param number the whole of it
 * @param least the smallest structure that is taken, in bytes
 * @param full the whole structure
 * @param body what it does
 */
record Command(String name, int number, int least, int full, Body body) {
    /** What a command does. */
    @FunctionalInterface
    interface Body {
        /**
         * Runs the command.
         *
         * @return 0 or more, for the program
         * @throws ErrnoException if it is refused; then nothing of it is left, unless the command says so
         */
        int run(Call call) throws ErrnoException;
    }

    /** A command that gives nothing but success. */
    @FunctionalInterface
    interface Act {
        void run(Call call) throws ErrnoException;
    }

    static Command of(String name, int number, int least, int full, Act act) {
        return new Command(name, number, least, full, call -> {
            act.run(call);
            return 0;
        });
    }
}
