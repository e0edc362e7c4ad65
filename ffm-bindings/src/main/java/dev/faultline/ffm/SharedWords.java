package dev.faultline.ffm;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;

/**
 * Access to words that threads share, one method for each strength of ordering, named as the JDK names them.
 *
 * <p>Threads: stateless; the ordering of each access is the method's name. Units: offsets in bytes from the start of the
 * segment, a multiple of the word's size. Errors: what {@link VarHandle} throws: {@link IndexOutOfBoundsException} beyond
 * the segment, {@link IllegalStateException} once it was freed, {@link IllegalArgumentException} for a misaligned offset.
 *
 * <p>This is the only class of the project that names a {@link VarHandle}, so that every ordering in the code is a method
 * name which can be searched for. In words:
 *
 * <ul>
 *   <li><b>plain</b> ({@code get}, {@code put}): for words only one thread touches, or that a stronger access publishes.
 *   <li><b>opaque</b>: the access happens, once, whole; nothing is said of other words. For counters read from outside.
 *   <li><b>acquire / release</b>: what was written before the release is seen after the acquire that reads its value.
 *   <li><b>volatile</b>: acquire or release, and in one total order with all other volatile accesses.
 *   <li>{@link #fullFence}: no access moves across it in either direction. Only this stops a store from being overtaken
 *       by a later load of another word.
 * </ul>
 */
public final class SharedWords {
    private static final VarHandle INT = ValueLayout.JAVA_INT.varHandle().withInvokeExactBehavior();
    private static final VarHandle LONG = ValueLayout.JAVA_LONG.varHandle().withInvokeExactBehavior();

    private SharedWords() {}

    /**
     * Reads a word, plain.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @return the word
     */
    public static int getInt(MemorySegment segment, long offset) {
        return (int) INT.get(segment, offset);
    }

    /**
     * Writes a word, plain.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @param value the new word
     */
    public static void putInt(MemorySegment segment, long offset, int value) {
        INT.set(segment, offset, value);
    }

    /**
     * Reads a word, opaque.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @return the word
     */
    public static int getIntOpaque(MemorySegment segment, long offset) {
        return (int) INT.getOpaque(segment, offset);
    }

    /**
     * Writes a word, opaque.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @param value the new word
     */
    public static void setIntOpaque(MemorySegment segment, long offset, int value) {
        INT.setOpaque(segment, offset, value);
    }

    /**
     * Reads a word, acquire.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @return the word
     */
    public static int getIntAcquire(MemorySegment segment, long offset) {
        return (int) INT.getAcquire(segment, offset);
    }

    /**
     * Writes a word, release.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @param value the new word
     */
    public static void setIntRelease(MemorySegment segment, long offset, int value) {
        INT.setRelease(segment, offset, value);
    }

    /**
     * Reads a word, volatile.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @return the word
     */
    public static int getIntVolatile(MemorySegment segment, long offset) {
        return (int) INT.getVolatile(segment, offset);
    }

    /**
     * Writes a word, volatile.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @param value the new word
     */
    public static void setIntVolatile(MemorySegment segment, long offset, int value) {
        INT.setVolatile(segment, offset, value);
    }

    /**
     * Adds to a word as one step, volatile.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @param delta what to add
     * @return the word before
     */
    public static int getAndAddInt(MemorySegment segment, long offset, int delta) {
        return (int) INT.getAndAdd(segment, offset, delta);
    }

    /**
     * Replaces a word as one step, volatile.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @param value the new word
     * @return the word before
     */
    public static int getAndSetInt(MemorySegment segment, long offset, int value) {
        return (int) INT.getAndSet(segment, offset, value);
    }

    /**
     * Replaces a word if it still is what the caller expects, as one step, volatile.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @param expected what the word has to be
     * @param value the new word
     * @return whether it was replaced
     */
    public static boolean compareAndSetInt(MemorySegment segment, long offset, int expected, int value) {
        return INT.compareAndSet(segment, offset, expected, value);
    }

    /**
     * Reads a word, plain.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @return the word
     */
    public static long getLong(MemorySegment segment, long offset) {
        return (long) LONG.get(segment, offset);
    }

    /**
     * Writes a word, plain.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @param value the new word
     */
    public static void putLong(MemorySegment segment, long offset, long value) {
        LONG.set(segment, offset, value);
    }

    /**
     * Reads a word, opaque.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @return the word
     */
    public static long getLongOpaque(MemorySegment segment, long offset) {
        return (long) LONG.getOpaque(segment, offset);
    }

    /**
     * Writes a word, opaque.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @param value the new word
     */
    public static void setLongOpaque(MemorySegment segment, long offset, long value) {
        LONG.setOpaque(segment, offset, value);
    }

    /**
     * Reads a word, acquire.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @return the word
     */
    public static long getLongAcquire(MemorySegment segment, long offset) {
        return (long) LONG.getAcquire(segment, offset);
    }

    /**
     * Writes a word, release.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @param value the new word
     */
    public static void setLongRelease(MemorySegment segment, long offset, long value) {
        LONG.setRelease(segment, offset, value);
    }

    /**
     * Reads a word, volatile.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @return the word
     */
    public static long getLongVolatile(MemorySegment segment, long offset) {
        return (long) LONG.getVolatile(segment, offset);
    }

    /**
     * Writes a word, volatile.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @param value the new word
     */
    public static void setLongVolatile(MemorySegment segment, long offset, long value) {
        LONG.setVolatile(segment, offset, value);
    }

    /**
     * Adds to a word as one step, volatile.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @param delta what to add
     * @return the word before
     */
    public static long getAndAddLong(MemorySegment segment, long offset, long delta) {
        return (long) LONG.getAndAdd(segment, offset, delta);
    }

    /**
     * Replaces a word as one step, volatile.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @param value the new word
     * @return the word before
     */
    public static long getAndSetLong(MemorySegment segment, long offset, long value) {
        return (long) LONG.getAndSet(segment, offset, value);
    }

    /**
     * Replaces a word if it still is what the caller expects, as one step, volatile.
     *
     * @param segment the memory
     * @param offset bytes from its start
     * @param expected what the word has to be
     * @param value the new word
     * @return whether it was replaced
     */
    public static boolean compareAndSetLong(MemorySegment segment, long offset, long expected, long value) {
        return LONG.compareAndSet(segment, offset, expected, value);
    }

    /** Lets no access before it, of any kind, be reordered with any access after it. */
    public static void fullFence() {
        VarHandle.fullFence();
    }
}
