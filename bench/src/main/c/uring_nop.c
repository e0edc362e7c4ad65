/* No-ops in batches of 32 through io_uring: entries are prepared, submitted and waited for by one call, their completions read. */
#include "uring.h"

#define BATCH 32

static struct uring ring;
static bool is_open;
static uint64_t number;

static long request(long round_trips) {
    if (!is_open) {
        uring_open(&ring, BATCH);
        is_open = true;
    }
    long done = 0;
    while (done < round_trips) {
        uint64_t expected = 0, seen = 0;
        for (int i = 0; i < BATCH; i++) {
            expected += number;
            uring_entry(&ring, IORING_OP_NOP, -1, number++);
        }
        uring_submit_and_wait(&ring, BATCH);
        unsigned ready = uring_ready(&ring);
        for (unsigned i = 0; i < ready; i++) {
            struct io_uring_cqe *completion = uring_completion(&ring, i);
            seen += completion->user_data + (uint32_t)completion->res;
        }
        uring_advance(&ring, ready);
        if (ready != BATCH || seen != expected) {
            fail("no-ops came back wrong");
        }
        done += ready;
    }
    return done;
}

int main(int argc, char **argv) {
    long window;
    slice_arguments(argc, argv, 1, &window);
    static const struct contest contest = {
            .piece = 2048, .responder_sleeps = false, .prepare = do_nothing, .request = request, .end = do_nothing,
            .respond = do_nothing, .wake = do_nothing};
    return slice_main(&contest, atoi(argv[2]), atoi(argv[3]));
}
