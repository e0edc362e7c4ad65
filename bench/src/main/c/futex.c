/*
 * Waking a sleeper with a futex, and nothing else: the least that a wake-up costs on this kernel.
 *
 * The protocol is that of the fault queue. The responder looks for a while, says that it will sleep, looks again and sleeps; the requester
 * writes its word, looks whether somebody sleeps and wakes it. The requester itself waits for the answer without sleeping, so a
 * round trip has one wake-up. Before each the responder has been asleep for SETTLE_NS, as ParkedResponder has it.
 */
#include "slice.h"
#include <linux/futex.h>

#define LOOKS 1000
#define SETTLE_NS 200000L

static alignas(LINES) _Atomic uint64_t asked;
static alignas(LINES) _Atomic uint64_t answered;
static alignas(LINES) _Atomic uint32_t asleep;
static alignas(LINES) uint64_t number;
static alignas(LINES) uint64_t served;
static alignas(LINES) char end_of_state[LINES];

static void wake(void) {
    atomic_thread_fence(memory_order_seq_cst); /* what is news is seen before asleep is looked at */
    if (atomic_load_explicit(&asleep, memory_order_relaxed)) {
        atomic_store_explicit(&asleep, 0, memory_order_relaxed);
        syscall(SYS_futex, &asleep, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

static void prepare(void) {
    while (!atomic_load_explicit(&asleep, memory_order_relaxed) || !is_asleep(slice_responder_tid)) {
        spin_wait();
    }
    long begun = now_ns();
    while (now_ns() - begun < SETTLE_NS) {
        spin_wait();
    }
}

static long request(long round_trips) {
    for (long i = 0; i < round_trips; i++) {
        number++;
        atomic_store_explicit(&asked, number, memory_order_release);
        wake();
        while (atomic_load_explicit(&answered, memory_order_acquire) != number) {
            spin_wait();
        }
    }
    return round_trips;
}

static bool serve(void) {
    if (atomic_load_explicit(&asked, memory_order_acquire) == served) {
        return false;
    }
    served++;
    atomic_store_explicit(&answered, served, memory_order_release);
    return true;
}

static void respond(void) {
    int looks = 0;
    while (true) {
        if (serve()) {
            looks = 0;
            continue;
        }
        if (atomic_load_explicit(&slice_stop, memory_order_relaxed)) {
            return;
        }
        if (looks++ < LOOKS) {
            spin_wait();
            continue;
        }
        atomic_store_explicit(&asleep, 1, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst); /* asleep is seen before the last look */
        if (atomic_load_explicit(&asked, memory_order_acquire) == served && !atomic_load(&slice_stop)) {
            syscall(SYS_futex, &asleep, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
        }
        atomic_store_explicit(&asleep, 0, memory_order_relaxed);
        looks = 0;
    }
}

int main(int argc, char **argv) {
    long window;
    slice_arguments(argc, argv, 1, &window);
    (void)end_of_state;
    static const struct contest contest = {
            .piece = 1, .responder_sleeps = true, .prepare = prepare, .request = request, .end = do_nothing,
            .respond = respond, .wake = wake};
    return slice_main(&contest, atoi(argv[2]), atoi(argv[3]));
}
