package dev.faultline.ring;

import com.google.errorprone.annotations.CheckReturnValue;
import dev.faultline.ffm.IoUring;
import java.lang.foreign.MemorySegment;

/**
 * The requests a {@link UringDrive} makes on its descriptor, and their completions; see {@link IoUring}, whose words these are.
 *
 * <p>Threads: the consumer's.
 */
interface UringCalls {
    /** Prepares a read from the descriptor; false if the ring is full. */
    @CheckReturnValue
    boolean read(MemorySegment buffer, int bytes, long userData);

    /** Prepares a write to the descriptor; false if the ring is full. */
    @CheckReturnValue
    boolean write(MemorySegment buffer, int bytes, long userData);

    /** Prepares a poll of the descriptor; false if the ring is full. */
    @CheckReturnValue
    boolean poll(int events, long userData);

    /** Prepares a poll of another descriptor; false if the ring is full. */
    @CheckReturnValue
    boolean pollOther(int other, int events, long userData);

    @CheckReturnValue
    boolean cancel(long target, long userData);

    @CheckReturnValue
    boolean cancelAll(long userData);

    @CheckReturnValue
    int submitAndWait(int atLeast, long timeoutNs);

    boolean hasNews();

    int ready();

    long userData(int i);

    int result(int i);

    void advance(int n);

    void close();

    /**
     * The kernel's. The descriptor is the ring's first registered one.
     *
     * @param ring the ring
     * @param isSocket whether the descriptor is one, for which io_uring has requests of their own
     */
    record Linux(IoUring ring, boolean isSocket) implements UringCalls {
        @Override
        public boolean read(MemorySegment buffer, int bytes, long userData) {
            return isSocket
                    ? ring.receive(0, IoUring.FIXED_FILE, buffer, bytes, userData)
                    : ring.read(0, IoUring.FIXED_FILE, buffer, bytes, userData);
        }

        @Override
        public boolean write(MemorySegment buffer, int bytes, long userData) {
            return isSocket
                    ? ring.send(0, IoUring.FIXED_FILE, buffer, bytes, userData)
                    : ring.write(0, IoUring.FIXED_FILE, buffer, bytes, userData);
        }

        @Override
        public boolean poll(int events, long userData) {
            return ring.poll(0, IoUring.FIXED_FILE, events, userData);
        }

        @Override
        public boolean pollOther(int other, int events, long userData) {
            return ring.poll(other, 0, events, userData);
        }

        @Override
        public boolean cancel(long target, long userData) {
            return ring.cancel(target, userData);
        }

        @Override
        public boolean cancelAll(long userData) {
            return ring.cancelAll(userData);
        }

        @Override
        public int submitAndWait(int atLeast, long timeoutNs) {
            return ring.submitAndWait(atLeast, timeoutNs);
        }

        @Override
        public boolean hasNews() {
            return ring.hasNews();
        }

        @Override
        public int ready() {
            return ring.ready();
        }

        @Override
        public long userData(int i) {
            return ring.userData(i);
        }

        @Override
        public int result(int i) {
            return ring.result(i);
        }

        @Override
        public void advance(int n) {
            ring.advance(n);
        }

        @Override
        public void close() {
            ring.close();
        }
    }
}
