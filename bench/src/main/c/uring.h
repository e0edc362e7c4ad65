/*
 * io_uring for one thread in C, with what pays: entries taken in order, completions made when asked for, a registered descriptor of the
 * ring. What the kernel lacks is left out, as IoUring does.
 */
#ifndef FAULTLINE_URING_H
#define FAULTLINE_URING_H

#include "slice.h"
#include <linux/io_uring.h>
#include <sys/mman.h>

#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

struct uring {
    int fd;             /* or the index it is registered under */
    unsigned enter_flags;
    unsigned tail, head; /* entries prepared, completions given back */
    unsigned sq_mask, cq_mask;
    unsigned *sq_tail, *sq_flags, *cq_head, *cq_tail;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
    unsigned submitted;
    int real_fd;
};

static inline long uring_register(struct uring *r, unsigned what, void *argument, unsigned count) {
    return syscall(__NR_io_uring_register, r->real_fd, what, argument, count);
}

/* By the thread that uses it. */
static void uring_open(struct uring *r, unsigned entries) {
    const unsigned best = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    const unsigned tries[] = {
            best | IORING_SETUP_NO_SQARRAY, best,
            IORING_SETUP_SUBMIT_ALL | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_COOP_TASKRUN, 0};
    struct io_uring_params p;
    int fd = -1;
    for (unsigned i = 0; i < sizeof tries / sizeof tries[0] && fd < 0; i++) {
        memset(&p, 0, sizeof p);
        p.flags = tries[i];
        fd = (int)syscall(__NR_io_uring_setup, entries, &p);
    }
    if (fd < 0) {
        fail("io_uring_setup");
    }
    size_t bytes = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
    size_t array = p.sq_off.array + p.sq_entries * sizeof(unsigned);
    char *ring = mmap(NULL, array > bytes ? array : bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQ_RING);
    r->sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQES);
    if (ring == MAP_FAILED || r->sqes == MAP_FAILED) {
        fail("mmap of an io_uring");
    }
    r->real_fd = r->fd = fd;
    r->enter_flags = 0;
    r->tail = r->head = r->submitted = 0;
    r->sq_mask = p.sq_entries - 1;
    r->cq_mask = p.cq_entries - 1;
    r->sq_tail = (unsigned *)(ring + p.sq_off.tail);
    r->sq_flags = (unsigned *)(ring + p.sq_off.flags);
    r->cq_head = (unsigned *)(ring + p.cq_off.head);
    r->cq_tail = (unsigned *)(ring + p.cq_off.tail);
    r->cqes = (struct io_uring_cqe *)(ring + p.cq_off.cqes);
    if (!(p.flags & IORING_SETUP_NO_SQARRAY)) {
        for (unsigned i = 0; i < p.sq_entries; i++) {
            ((unsigned *)(ring + p.sq_off.array))[i] = i;
        }
    }
    struct io_uring_rsrc_update update = {.offset = -1U, .data = (uint64_t)fd};
    if (uring_register(r, IORING_REGISTER_RING_FDS, &update, 1) == 1) {
        r->fd = (int)update.offset;
        r->enter_flags = IORING_ENTER_REGISTERED_RING;
    }
}

static inline struct io_uring_sqe *uring_entry(struct uring *r, uint8_t opcode, int fd, uint64_t user_data) {
    struct io_uring_sqe *entry = &r->sqes[r->tail++ & r->sq_mask];
    memset(entry, 0, sizeof *entry);
    entry->opcode = opcode;
    entry->fd = fd;
    entry->user_data = user_data;
    return entry;
}

static inline void uring_submit_and_wait(struct uring *r, unsigned at_least) {
    __atomic_store_n(r->sq_tail, r->tail, __ATOMIC_RELEASE);
    long n = syscall(__NR_io_uring_enter, r->fd, r->tail - r->submitted, at_least, IORING_ENTER_GETEVENTS | r->enter_flags, NULL, 0);
    if (n < 0) {
        fail("io_uring_enter");
    }
    r->submitted += (unsigned)n;
}

static inline unsigned uring_ready(struct uring *r) {
    return __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE) - r->head;
}

/* Whether an enter would find something. */
static inline bool uring_has_news(struct uring *r) {
    return uring_ready(r) != 0 || (__atomic_load_n(r->sq_flags, __ATOMIC_RELAXED) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

static inline struct io_uring_cqe *uring_completion(struct uring *r, unsigned i) {
    return &r->cqes[(r->head + i) & r->cq_mask];
}

static inline void uring_advance(struct uring *r, unsigned n) {
    r->head += n;
    __atomic_store_n(r->cq_head, r->head, __ATOMIC_RELEASE);
}

#endif
