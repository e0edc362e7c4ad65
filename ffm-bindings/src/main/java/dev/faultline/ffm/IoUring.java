package dev.faultline.ffm;

import com.google.errorprone.annotations.CheckReturnValue;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * An io_uring of the kernel, for one thread: entries are prepared in the submission ring, taken by the kernel in {@link #submit}
 * or {@link #submitAndWait}, and end as completions that are looked at in place.
 *
 * <p>Threads: {@link #open} may be called by any; everything else by one platform thread, the first that submits. Requests
 * belong to that thread: when it ends, the kernel cancels them. A ring of {@link #openForAnyThread} may be used by several
 * threads one after the other, and so by virtual ones. Ownership: descriptors and buffers that entries name are the caller's, and
 * a buffer has to stay until its request has completed, or until {@link #close} by the owner has returned. Progress: only
 * {@link #submitAndWait} waits; a request that would wait is carried on by the kernel. Nothing is allocated once the ring is open.
 * Units: nanoseconds, bytes. Errors: what the kernel refuses is a negative errno, of a call or in a completion; misuse throws.
 * Source: {@code io_uring(7)}, {@code include/uapi/linux/io_uring.h}.
 *
 * <p>The words both sides use, all of 32 bits and counting up without end:
 *
 * <pre>
 * word       written by  read by   published by      a stale value costs
 * SQ tail    this side   kernel    release, enter    an entry is taken with the next enter
 * CQ tail    kernel      this side acquire           a completion is seen at the next look
 * CQ head    this side   kernel    release           the kernel thinks the ring full, and keeps a completion back
 * SQ flags   kernel      this side opaque: a hint    work or completions kept back are fetched by the next enter with a look
 * </pre>
 *
 * <p>The SQ head is not read: without a thread of the kernel's own entries are taken in enter only, which says how many.
 */
public final class IoUring extends IoUringCompletions implements AutoCloseable {
    /** An entry's flag: {@code fd} is an index into the {@linkplain #registerFiles registered files}. */
    public static final int FIXED_FILE = IoUringLayout.SQE_FIXED_FILE;

    /** An entry's flag: makes a completion only if it fails. */
    public static final int SKIP_SUCCESS = IoUringLayout.SQE_CQE_SKIP_SUCCESS;

    /** The largest submission ring. */
    public static final int MOST_SUBMISSIONS = 32768;

    /** The largest completion ring. */
    public static final int MOST_COMPLETIONS = 65536;

    /** How many files can be registered. */
    public static final int MOST_FILES = IoUringLayout.SYNC_CANCEL_BYTES / Integer.BYTES;

    /** A completion's flag: a socket has more to receive. */
    public static final int SOCKET_NOT_EMPTY = 1 << 2;

    private static final long NANOS = 1_000_000_000L;
    private static final long CLOSE_NS = NANOS;
    static final int MSG_NOSIGNAL = 0x4000;
    private static final int ARGUMENT = 0;
    private static final int TIMESPEC = 32;
    private static final int SCRATCH = 64;
    private static final int ARGUMENTS_BYTES = SCRATCH + IoUringLayout.SYNC_CANCEL_BYTES;

    /** Entries prepared so far; those before {@link #sqHead} the kernel has taken. */
    private int sqTail;

    private int sqHead;
    private boolean enabled;

    private final IoUringCalls calls;
    private final LinuxCalls linux;
    private final MemoryCalls memoryCalls;
    private final IoUringMemory memory;
    private final MemorySegment ring;
    private final MemorySegment sqes;
    private final MemorySegment arguments;
    private final long argumentAddress;
    private final int fd;
    private final int sqEntries;
    private final long sqTailAt;
    private final boolean oneThread;
    private final List<String> limits;

    /** What enter takes for the ring: its descriptor, or an index into the thread's registered ones. */
    private int enterFd;

    private int enterFlags;
    private @Nullable Thread owner;
    private boolean closed;

    private IoUring(
            IoUringCalls calls,
            LinuxCalls linux,
            MemoryCalls memoryCalls,
            IoUringSetup.Made made,
            IoUringMemory memory,
            boolean oneThread) {
        super(memory);
        this.calls = calls;
        this.linux = linux;
        this.memoryCalls = memoryCalls;
        this.memory = memory;
        this.oneThread = oneThread;
        this.fd = made.fd();
        this.enterFd = fd;
        this.limits = new ArrayList<>(made.limits());
        this.ring = memory.ring;
        this.sqes = memory.sqes;
        this.sqEntries = memory.sqEntries;
        this.sqTailAt = memory.sqTailAt;
        // Freed by the collector, so that its address can be given away without holding it; see IoUringCalls.
        this.arguments = Arena.ofAuto().allocate(ARGUMENTS_BYTES, 16);
        this.argumentAddress = arguments.address() + ARGUMENT;
        SharedWords.putLong(arguments, ARGUMENT + IoUringLayout.GETEVENTS_ARG_TS, arguments.address() + TIMESPEC);
    }

    /**
     * Opens a ring for one platform thread.
     *
     * @param submissions entries that can be prepared before they are submitted, 1 to {@link #MOST_SUBMISSIONS}; rounded up to a
     *     power of two
     * @param completions how many the kernel can put down before it keeps some back, {@code submissions} to
     *     {@link #MOST_COMPLETIONS}; rounded up to a power of two
     * @return the ring
     * @throws IllegalArgumentException if a number is out of its range
     * @throws UnsupportedOperationException if this machine gives none; the message is that of {@link #missing}
     */
    public static IoUring open(int submissions, int completions) {
        return open(submissions, completions, true);
    }

    /**
     * Opens a ring that threads may use one after the other, and virtual threads, whose carriers the kernel takes for them. It
     * costs more, as it lacks what {@code SINGLE_ISSUER}, {@code DEFER_TASKRUN} and a registered descriptor save. Its owner is
     * whoever uses it now.
     *
     * @param submissions as for {@link #open}
     * @param completions as for {@link #open}
     * @return the ring
     * @throws IllegalArgumentException if a number is out of its range
     * @throws UnsupportedOperationException if this machine gives none; the message is that of {@link #missing}
     */
    public static IoUring openForAnyThread(int submissions, int completions) {
        return open(submissions, completions, false);
    }

    private static IoUring open(int submissions, int completions, boolean oneThread) {
        if (submissions < 1 || submissions > MOST_SUBMISSIONS) {
            throw new IllegalArgumentException("submissions=" + submissions + ": allowed 1 to " + MOST_SUBMISSIONS);
        }
        if (completions < submissions || completions > MOST_COMPLETIONS) {
            throw new IllegalArgumentException("completions=" + completions + ": allowed " + submissions
                    + ", which is submissions, to " + MOST_COMPLETIONS);
        }
        CallState.require(IoUringCalls.missing());
        LinuxCalls linux = LinuxCalls.open();
        MemoryCalls memoryCalls = MemoryCalls.open();
        int fd = -1;
        try {
            IoUringCalls calls = new IoUringCalls();
            IoUringSetup.Made made = IoUringSetup.make(calls, linux, submissions, completions, oneThread);
            fd = made.fd();
            return new IoUring(calls, linux, memoryCalls, made, IoUringMemory.map(memoryCalls, made), oneThread);
        } catch (RuntimeException | Error e) {
            if (fd >= 0) {
                int _ = linux.close(fd);
            }
            memoryCalls.close();
            linux.close();
            throw e;
        }
    }

    /**
     * Why there is no io_uring here. Looked at anew each time.
     *
     * @return the reason and its remedy, or empty if {@link #open} works
     */
    public static Optional<String> missing() {
        try (IoUring _ = open(1, 2)) {
            return Optional.empty();
        } catch (UnsupportedOperationException e) {
            return Optional.of(String.valueOf(e.getMessage()));
        }
    }

    /**
     * What this kernel's io_uring lacks of what the ring would use, and what each costs. Complete once something was submitted.
     *
     * @return a sentence each, none if nothing is missing
     */
    public List<String> limits() {
        return List.copyOf(limits);
    }

    /**
     * The size of the submission ring.
     *
     * @return entries
     */
    public int submissions() {
        return sqEntries;
    }

    /**
     * The ring's descriptor: readable in {@code poll(2)} and {@code epoll(7)} while there are completions.
     *
     * @return the descriptor, which the ring closes
     */
    public int descriptor() {
        return fd;
    }

    /**
     * Registers files, so that entries with {@link #FIXED_FILE} need not look their descriptor up. Once for a ring.
     *
     * @param fds descriptors, 1 to {@link #MOST_FILES}; an entry names one by its index
     * @return 0 or a negative errno: {@link Errno#EBUSY} if it was done before
     * @throws IllegalArgumentException if there are none or more
     */
    @CheckReturnValue
    public int registerFiles(int... fds) {
        if (fds.length < 1 || fds.length > MOST_FILES) {
            throw new IllegalArgumentException("fds.length=" + fds.length + ": allowed 1 to " + MOST_FILES);
        }
        if (closed) {
            throw new IllegalStateException("Already closed");
        }
        begin();
        for (int i = 0; i < fds.length; i++) {
            SharedWords.putInt(arguments, SCRATCH + 4L * i, fds[i]);
        }
        return checked(register(IoUringLayout.REGISTER_FILES, fds.length));
    }

    private int register(int operation, int count) {
        return calls.register(fd, operation, arguments.asSlice(SCRATCH), count);
    }

    // ---- entries ----

    /**
     * How many entries can be prepared now.
     *
     * @return entries, 0 if the ring is full until the next submit
     */
    public int room() {
        return sqEntries - (sqTail - sqHead);
    }

    /**
     * Prepares a no-op.
     *
     * @param userData comes back with the completion
     * @return false if the ring is full, and nothing was prepared: submit, and try again
     */
    @CheckReturnValue
    public boolean nop(long userData) {
        return entry(IoUringLayout.OP_NOP, 0, -1, 0, 0, 0, 0, userData);
    }

    /**
     * Prepares a {@code read(2)}, at the file's own position.
     *
     * @param fd a descriptor, or the index of a registered one
     * @param flags {@link #FIXED_FILE}, {@link #SKIP_SUCCESS}, 0
     * @param buffer native memory of at least {@code bytes}
     * @param bytes how many at most
     * @param userData comes back with the completion, whose result is the bytes read or a negative errno
     * @return false if the ring is full, and nothing was prepared
     * @throws IllegalArgumentException if {@code buffer} lies on the heap
     * @throws IndexOutOfBoundsException if {@code buffer} is smaller than {@code bytes}
     */
    @CheckReturnValue
    public boolean read(int fd, int flags, MemorySegment buffer, int bytes, long userData) {
        return entry(IoUringLayout.OP_READ, flags, fd, -1, address(buffer, bytes), bytes, 0, userData);
    }

    /**
     * Prepares a {@code write(2)}, at the file's own position.
     *
     * @param fd a descriptor, or the index of a registered one
     * @param flags {@link #FIXED_FILE}, {@link #SKIP_SUCCESS}, 0
     * @param buffer native memory of at least {@code bytes}
     * @param bytes how many at most
     * @param userData comes back with the completion, whose result is the bytes written or a negative errno
     * @return false if the ring is full, and nothing was prepared
     * @throws IllegalArgumentException if {@code buffer} lies on the heap
     * @throws IndexOutOfBoundsException if {@code buffer} is smaller than {@code bytes}
     */
    @CheckReturnValue
    public boolean write(int fd, int flags, MemorySegment buffer, int bytes, long userData) {
        return entry(IoUringLayout.OP_WRITE, flags, fd, -1, address(buffer, bytes), bytes, 0, userData);
    }

    /**
     * Prepares a {@code recv(2)}: what {@link #read} does on a socket, in less time.
     *
     * @param fd a socket, or the index of a registered one
     * @param flags {@link #FIXED_FILE}, {@link #SKIP_SUCCESS}, 0
     * @param buffer native memory of at least {@code bytes}
     * @param bytes how many at most
     * @param userData comes back with the completion, whose result is the bytes received or a negative errno
     * @return false if the ring is full, and nothing was prepared
     * @throws IllegalArgumentException if {@code buffer} lies on the heap
     * @throws IndexOutOfBoundsException if {@code buffer} is smaller than {@code bytes}
     */
    @CheckReturnValue
    public boolean receive(int fd, int flags, MemorySegment buffer, int bytes, long userData) {
        return entry(IoUringLayout.OP_RECV, flags, fd, 0, address(buffer, bytes), bytes, 0, userData);
    }

    /**
     * Prepares a {@code send(2)}: what {@link #write} does on a socket, in less time.
     *
     * @param fd a socket, or the index of a registered one
     * @param flags {@link #FIXED_FILE}, {@link #SKIP_SUCCESS}, 0
     * @param buffer native memory of at least {@code bytes}
     * @param bytes how many
     * @param userData comes back with the completion, whose result is the bytes sent or a negative errno
     * @return false if the ring is full, and nothing was prepared
     * @throws IllegalArgumentException if {@code buffer} lies on the heap
     * @throws IndexOutOfBoundsException if {@code buffer} is smaller than {@code bytes}
     */
    @CheckReturnValue
    public boolean send(int fd, int flags, MemorySegment buffer, int bytes, long userData) {
        return entry(IoUringLayout.OP_SEND, flags, fd, 0, address(buffer, bytes), bytes, MSG_NOSIGNAL, userData);
    }

    /**
     * Prepares a {@code poll(2)} on one descriptor: completes once, when an event holds.
     *
     * @param fd a descriptor, or the index of a registered one
     * @param flags {@link #FIXED_FILE} or 0
     * @param events {@link LinuxCalls#POLLIN} and so on
     * @param userData comes back with the completion, whose result is the events that hold
     * @return false if the ring is full, and nothing was prepared
     */
    @CheckReturnValue
    public boolean poll(int fd, int flags, int events, long userData) {
        return entry(IoUringLayout.OP_POLL_ADD, flags, fd, 0, 0, 0, events, userData);
    }

    /**
     * Prepares the end of requests that are under way.
     *
     * @param target the user data of those to cancel, all that have it
     * @param userData comes back with the completion, whose result is how many were cancelled. Each of them completes with
     *     -{@link Errno#ECANCELED}
     * @return false if the ring is full, and nothing was prepared
     */
    @CheckReturnValue
    public boolean cancel(long target, long userData) {
        return entry(IoUringLayout.OP_ASYNC_CANCEL, 0, -1, 0, target, 0, IoUringLayout.ASYNC_CANCEL_ALL, userData);
    }

    /**
     * Prepares the end of all requests that are under way.
     *
     * @param userData comes back with the completion, whose result is how many were cancelled
     * @return false if the ring is full, and nothing was prepared
     */
    @CheckReturnValue
    public boolean cancelAll(long userData) {
        int which = IoUringLayout.ASYNC_CANCEL_ALL | IoUringLayout.ASYNC_CANCEL_ANY;
        return entry(IoUringLayout.OP_ASYNC_CANCEL, 0, -1, 0, 0, 0, which, userData);
    }

    private static long address(MemorySegment buffer, int bytes) {
        CallState.checkRoom(buffer, bytes);
        if (!buffer.isNative()) {
            throw new IllegalArgumentException("buffer=" + buffer + ": allowed native memory, which does not move");
        }
        return buffer.address();
    }

    /** Eight whole words, which is what the kernel reads; plain, because the tail publishes them. */
    private boolean entry(
            int opcode, int flags, int fd, long offset, long address, int length, int opFlags, long userData) {
        int tail = sqTail;
        if (tail - sqHead == sqEntries) {
            return false;
        }
        long at = (long) (tail & (sqEntries - 1)) * IoUringLayout.SQE_BYTES;
        SharedWords.putLong(sqes, at, ((long) fd << 32) | (flags << 8) | opcode);
        SharedWords.putLong(sqes, at + IoUringLayout.SQE_OFF, offset);
        SharedWords.putLong(sqes, at + IoUringLayout.SQE_ADDR, address);
        SharedWords.putLong(sqes, at + IoUringLayout.SQE_LEN, ((long) opFlags << 32) | length);
        SharedWords.putLong(sqes, at + IoUringLayout.SQE_USER_DATA, userData);
        SharedWords.putLong(sqes, at + IoUringLayout.SQE_BUF_INDEX, 0);
        SharedWords.putLong(sqes, at + IoUringLayout.SQE_ADDR3, 0);
        SharedWords.putLong(sqes, at + IoUringLayout.SQE_PAD, 0);
        sqTail = tail + 1;
        return true;
    }

    // ---- submission ----

    /**
     * Lets the kernel take what was prepared, and waits for nothing.
     *
     * @return how many entries it took, or a negative errno, after which they are still prepared
     * @throws IllegalStateException if another thread owns the ring, or it is closed
     */
    @CheckReturnValue
    public int submit() {
        int prepared = sqTail - sqHead;
        return prepared == 0 && !closed ? 0 : enter(prepared, 0, 0, 0, 0);
    }

    /**
     * Lets the kernel take what was prepared, do what it has put off, and waits for completions.
     *
     * @param atLeast how many completions to wait for, those that are {@link #ready} counted, 0 to {@link #completions}
     * @param timeoutNs nanoseconds; 0 does not wait, a negative number waits without limit
     * @return how many entries the kernel took, or, if that is none, a negative errno: {@link Errno#ETIME} when the time ran out,
     *     {@link Errno#EINTR} for a signal. Entries it did not take are still prepared. What came meanwhile is in {@link #ready}
     * @throws IllegalArgumentException if {@code atLeast} is out of its range
     * @throws IllegalStateException if another thread owns the ring, or it is closed
     */
    @CheckReturnValue
    public int submitAndWait(int atLeast, long timeoutNs) {
        if (atLeast < 0 || atLeast > completions()) {
            throw new IllegalArgumentException("atLeast=" + atLeast + ": allowed 0 to " + completions());
        }
        noteOverflow();
        int prepared = sqTail - sqHead;
        if (timeoutNs <= 0 || atLeast == 0) {
            return enter(prepared, timeoutNs == 0 ? 0 : atLeast, IoUringLayout.ENTER_GETEVENTS, 0, 0);
        }
        SharedWords.putLong(arguments, TIMESPEC, timeoutNs / NANOS);
        SharedWords.putLong(arguments, TIMESPEC + IoUringLayout.TIMESPEC_NSEC, timeoutNs % NANOS);
        return enter(
                prepared,
                atLeast,
                IoUringLayout.ENTER_GETEVENTS | IoUringLayout.ENTER_EXT_ARG,
                argumentAddress,
                IoUringLayout.GETEVENTS_ARG_BYTES);
    }

    private int enter(int prepared, int atLeast, int flags, long argument, long argumentBytes) {
        if (!enabled) {
            begin();
        }
        // Release: the kernel reads the tail with acquire and then the entries, which were written before.
        SharedWords.setIntRelease(ring, sqTailAt, sqTail);
        int n = calls.enter(enterFd, prepared, atLeast, flags | enterFlags, argument, argumentBytes);
        if (n < 0) {
            return checked(n);
        }
        sqHead += n;
        return n;
    }

    /** Makes the calling thread the owner, which the kernel has to be told before the first entry. */
    private void begin() {
        if (enabled) {
            return;
        }
        if (oneThread) {
            Thread me = Thread.currentThread();
            if (me.isVirtual()) {
                throw new IllegalStateException(
                        "submit by " + me + ": allowed is a platform thread, or a ring of openForAnyThread");
            }
            owner = me;
        }
        int error = calls.register(fd, IoUringLayout.REGISTER_ENABLE_RINGS, MemorySegment.NULL, 0);
        if (error < 0) {
            throw new IllegalStateException("IORING_REGISTER_ENABLE_RINGS: " + Errno.name(-error));
        }
        enabled = true;
        if (oneThread) {
            registerRing();
        }
    }

    /** A registered descriptor need not be looked up and held in each enter. A thread can have 16 of them. */
    private void registerRing() {
        MemorySegment update = arguments.asSlice(SCRATCH);
        SharedWords.putLong(update, 0, 0xffff_ffffL);
        SharedWords.putLong(update, IoUringLayout.RSRC_UPDATE_DATA, fd);
        int refused = Refusal.errno("io_uring_register.RING_FDS");
        int n = refused != 0 ? -refused : register(IoUringLayout.REGISTER_RING_FDS, 1);
        if (n == 1) {
            enterFd = SharedWords.getInt(update, 0);
            enterFlags = IoUringLayout.ENTER_REGISTERED_RING;
        } else {
            limits.add("no registered descriptor: " + Errno.name(-n)
                    + (n == -Errno.EBUSY
                            ? ", this thread has 16 already; its lookup costs 2 to 5 % of a no-op"
                            : ", Linux older than 5.18; its lookup costs 2 to 5 % of a no-op"));
        }
    }

    /** What the kernel says to a thread that does not own the ring is no more than EEXIST or EINVAL. */
    private int checked(int result) {
        if (result < 0 && oneThread && owner != Thread.currentThread()) {
            throw new IllegalStateException("use by " + Thread.currentThread() + ": allowed is " + owner
                    + ", which submitted first (" + Errno.name(-result) + ")");
        }
        return result;
    }

    /**
     * Cancels what is under way, waits for it up to a second, unmaps and closes. Called by another thread than the owner, or on
     * Linux older than 6.0, it does not wait: the kernel then cancels in its own time, and buffers have to stay until the owner has
     * ended. Calling it again
     * does nothing.
     */
    @Override
    public void close() {
        if (closed) {
            return;
        }
        closed = true;
        if (enabled && (!oneThread || owner == Thread.currentThread())) {
            cancelAndWait();
            if (enterFlags != 0) {
                MemorySegment update = arguments.asSlice(SCRATCH);
                SharedWords.putLong(update, 0, enterFd & 0xffff_ffffL);
                SharedWords.putLong(update, IoUringLayout.RSRC_UPDATE_DATA, 0);
                int _ = register(IoUringLayout.UNREGISTER_RING_FDS, 1);
            }
        }
        memory.unmap(memoryCalls);
        int _ = linux.close(fd);
        memoryCalls.close();
        linux.close();
    }

    private void cancelAndWait() {
        MemorySegment all = arguments.asSlice(SCRATCH, IoUringLayout.SYNC_CANCEL_BYTES);
        long until = System.nanoTime() + CLOSE_NS;
        int cancelled;
        do {
            all.fill((byte) 0);
            SharedWords.putInt(
                    all,
                    IoUringLayout.SYNC_CANCEL_FLAGS,
                    IoUringLayout.ASYNC_CANCEL_ALL | IoUringLayout.ASYNC_CANCEL_ANY);
            SharedWords.putLong(all, IoUringLayout.SYNC_CANCEL_TIMEOUT, CLOSE_NS / NANOS);
            SharedWords.putLong(all, IoUringLayout.SYNC_CANCEL_TIMEOUT + IoUringLayout.TIMESPEC_NSEC, CLOSE_NS % NANOS);
            cancelled = register(IoUringLayout.REGISTER_SYNC_CANCEL, 1);
        } while (cancelled > 0 && System.nanoTime() - until < 0);
    }
}
