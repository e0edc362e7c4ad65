/*
 * A fault queue's protocol over a socket that keeps the bounds of messages, its consumer on io_uring, in C.
 *
 * The requester is the device's end: it sends records of 40 bytes, GROUPS_IN_MESSAGE at most to a message, and takes answers of 8 bytes,
 * without waiting in the kernel. The responder has a receive posted ahead; it looks for news without a call, and one call sends the
 * answers of a message, posts the next receive and fetches what has come. What UringDrive does, and nothing of what a DescriptorConsumer
 * does beside it.
 */
#ifndef FAULTLINE_URING_SOCKET_H
#define FAULTLINE_URING_SOCKET_H

#include "uring.h"
#include <sys/socket.h>

#define MOST 512

#define FLAGS 3
#define DEVICE 1
#define PASID 7
#define ACCESS 3
#define FIRST_ADDRESS 0x70000000UL
#define PAGES_MASK 0xffffUL
#define PAGE_SHIFT 12
#define GROUPS_MASK 0x1ffU

enum { RECEIVE = 1, SEND = 2 };

struct fault {
    uint32_t flags, device, pasid, group, access, unused;
    uint64_t address;
    uint32_t length, cookie;
};
_Static_assert(sizeof(struct fault) == 40, "a fault has 40 bytes");

struct answer {
    uint32_t cookie, code;
};

static int device_end, consumer_end;

/* The requester's own. */
static alignas(LINES) struct fault staged[GROUPS_IN_MESSAGE];
static struct answer taken[MOST];
static uint64_t opened, closed, window;
static uint64_t addresses[MOST];
static uint32_t free_tags[MOST];
static alignas(LINES) char end_of_requester[LINES];

/* The responder's own. */
static alignas(LINES) struct uring ring;
static bool is_open, is_receiving, is_sending;
static struct fault received[GROUPS_IN_MESSAGE];
static struct answer answers[GROUPS_IN_MESSAGE];
static uint64_t read_fields;
static alignas(LINES) char end_of_responder[LINES];

static uint64_t fields_before;

static void send_faults(void) {
    unsigned n = 0;
    while (opened - closed < window && n < GROUPS_IN_MESSAGE) {
        uint64_t number = opened++;
        uint64_t address = FIRST_ADDRESS + ((number & PAGES_MASK) << PAGE_SHIFT);
        uint32_t tag = free_tags[number & (window - 1)];
        addresses[tag] = address;
        staged[n++] = (struct fault){
                .flags = FLAGS, .device = DEVICE, .pasid = PASID, .group = number & GROUPS_MASK,
                .access = ACCESS, .address = address, .length = 0, .cookie = tag + 1};
    }
    if (n > 0 && send(device_end, staged, n * sizeof staged[0], MSG_NOSIGNAL) != (ssize_t)(n * sizeof staged[0])) {
        fail("send");
    }
}

static void take_answers(void) {
    ssize_t bytes = recv(device_end, taken, sizeof taken, MSG_DONTWAIT);
    if (bytes < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            fail("recv");
        }
        return;
    }
    for (unsigned i = 0; i < bytes / sizeof taken[0]; i++) {
        uint32_t tag = taken[i].cookie - 1;
        if (tag >= window || addresses[tag] == 0 || taken[i].code != 0) {
            fail("unexpected answer");
        }
        addresses[tag] = 0;
        free_tags[closed++ & (window - 1)] = tag;
    }
}

static long request(long round_trips) {
    uint64_t before = closed;
    while ((long)(closed - before) < round_trips) {
        while (opened - closed < window) {
            send_faults();
        }
        take_answers();
    }
    return (long)(closed - before);
}

static void end(void) {
    while (opened != closed) {
        take_answers();
    }
    if (read_fields == fields_before) {
        fail("the responder read nothing in this slice");
    }
    fields_before = read_fields;
}

static void post_receive(void) {
    struct io_uring_sqe *entry = uring_entry(&ring, IORING_OP_RECV, 0, RECEIVE);
    entry->flags = IOSQE_FIXED_FILE;
    entry->addr = (uint64_t)(uintptr_t)received;
    entry->len = sizeof received;
    is_receiving = true;
}

/* Answers a message; the next receive is posted with it. */
static void answer(ssize_t bytes) {
    unsigned n = (unsigned)bytes / sizeof received[0];
    if (bytes <= 0 || is_sending) {
        fail("a message is wrong");
    }
    for (unsigned i = 0; i < n; i++) {
        const struct fault *fault = &received[i];
        read_fields += (uint64_t)fault->flags + fault->device + fault->pasid + fault->group + fault->length + fault->address;
        answers[i] = (struct answer){fault->cookie, fault->access != 0 ? 0 : 1};
    }
    struct io_uring_sqe *entry = uring_entry(&ring, IORING_OP_SEND, 0, SEND);
    entry->flags = IOSQE_FIXED_FILE;
    entry->addr = (uint64_t)(uintptr_t)answers;
    entry->len = n * sizeof answers[0];
    entry->msg_flags = MSG_NOSIGNAL;
    is_sending = true;
}

static void respond(void) {
    if (!is_open) {
        uring_open(&ring, 8);
        if (uring_register(&ring, IORING_REGISTER_FILES, &consumer_end, 1) < 0) {
            fail("IORING_REGISTER_FILES");
        }
        is_open = true;
    }
    while (true) {
        bool news = uring_has_news(&ring);
        if (!is_receiving) {
            post_receive();
            news = true;
        }
        if (!news) {
            if (atomic_load_explicit(&slice_stop, memory_order_relaxed)) {
                return;
            }
            spin_wait();
            continue;
        }
        uring_submit_and_wait(&ring, 0);
        unsigned ready = uring_ready(&ring);
        for (unsigned i = 0; i < ready; i++) {
            struct io_uring_cqe *completion = uring_completion(&ring, i);
            if (completion->user_data == SEND) {
                is_sending = false;
                if (completion->res < 0) {
                    fail("an answer was not sent");
                }
            }
        }
        for (unsigned i = 0; i < ready; i++) {
            struct io_uring_cqe *completion = uring_completion(&ring, i);
            if (completion->user_data == RECEIVE) {
                is_receiving = false;
                answer(completion->res);
            }
        }
        uring_advance(&ring, ready);
    }
}

static int uring_socket_main(int argc, char **argv) {
    long wanted;
    slice_arguments(argc, argv, MOST, &wanted);
    window = (uint64_t)wanted;
    for (uint32_t tag = 0; tag < window; tag++) {
        free_tags[tag] = tag;
    }
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        fail("socketpair");
    }
    device_end = pair[0];
    consumer_end = pair[1];
    (void)end_of_requester;
    (void)end_of_responder;
    static struct contest contest = {
            .responder_sleeps = false, .prepare = do_nothing, .request = request, .end = end, .respond = respond, .wake = do_nothing};
    contest.piece = window == 1 ? 32 : 1024;
    return slice_main(&contest, atoi(argv[2]), atoi(argv[3]));
}

#endif
