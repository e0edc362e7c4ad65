package dev.faultline.ring;

import java.lang.foreign.MemorySegment;

/**
 * Does what a consumer asks of the engine behind a lane, with {@link FaultConsumer#command}.
 *
 * <p>Threads: the one that uses the producer, or one that looks after the lane while nobody does; one at a time. Commands and
 * answers of a consumer come in its order: a device hears of an answer after the commands before it are done. Errors: a handler
 * that throws has its command completed {@link Result#REFUSED}, which is logged. It must not call the producer.
 */
@FunctionalInterface
public interface CommandHandler {
    /** Knows no command. */
    CommandHandler NONE = (opcode, payload, bytes) -> {
        throw new UnsupportedOperationException("opcode=" + opcode + ": this producer takes no commands");
    };

    /**
     * Does a command.
     *
     * @param opcode 64 to 255
     * @param payload read-only, aligned to 8 bytes, valid until this method returns; what lies beyond {@code bytes} is scrap
     * @param bytes how many bytes of the payload were sent, a multiple of 4
     * @return handed to the consumer with the command's completion
     */
    int command(int opcode, MemorySegment payload, int bytes);
}
