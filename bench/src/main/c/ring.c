/*
 * The bare ring in C: what the wire allows.
 *
 * A ring each way with a shared index and a copy of the peer's index on each side. Faults of 40 bytes lie in entries of 64, answers of 8
 * bytes are packed. Each side publishes its index a batch at a time. The requester's table and the fields read are those of the
 * Java contenders: Outstanding, CarriedFaults, FaultRecord.
 */
#include "slice.h"

#define ENTRIES 512
#define MASK (ENTRIES - 1)
#define BATCH 16

#define FLAGS 3
#define DEVICE 1
#define PASID 7
#define ACCESS 3
#define FIRST_ADDRESS 0x70000000UL
#define PAGES_MASK 0xffffUL
#define PAGE_SHIFT 12
#define GROUPS_MASK 0x1ffU

struct fault {
    uint32_t flags, device, pasid, group, access, unused;
    uint64_t address;
    uint32_t length, tag;
};
_Static_assert(sizeof(struct fault) == 40, "a fault has 40 bytes");

struct entry {
    alignas(64) struct fault fault;
};

/* Shared: each index is written by one side with release, and read by the other with acquire. */
static alignas(LINES) _Atomic uint64_t faults_written;
static alignas(LINES) _Atomic uint64_t faults_read;
static alignas(LINES) _Atomic uint64_t answers_written;
static alignas(LINES) _Atomic uint64_t answers_read;
static alignas(LINES) struct entry faults[ENTRIES];
static alignas(LINES) uint64_t answers[ENTRIES];

/* The requester's own. */
static alignas(LINES) struct {
    uint64_t written, published, read_seen; /* faults */
    uint64_t taken, taken_seen;             /* answers */
    uint64_t opened, closed, window;
} asks;
static alignas(LINES) uint64_t addresses[ENTRIES];
static alignas(LINES) uint32_t free_tags[ENTRIES];

/* The responder's own. */
static alignas(LINES) struct {
    uint64_t taken, taken_seen;               /* faults */
    uint64_t written, published, read_seen;   /* answers */
    uint64_t read_fields;
} serves;
static alignas(LINES) char end_of_state[LINES];

static uint64_t fields_before;

static void send_fault(void) {
    uint64_t number = asks.opened;
    uint64_t address = FIRST_ADDRESS + ((number & PAGES_MASK) << PAGE_SHIFT);
    uint32_t tag = free_tags[number & (asks.window - 1)];
    addresses[tag] = address;
    asks.opened++;
    if (asks.written - asks.read_seen == ENTRIES) {
        asks.read_seen = atomic_load_explicit(&faults_read, memory_order_acquire);
        if (asks.written - asks.read_seen == ENTRIES) {
            fail("ring full");
        }
    }
    faults[asks.written & MASK].fault = (struct fault){
            .flags = FLAGS, .device = DEVICE, .pasid = PASID, .group = number & GROUPS_MASK,
            .access = ACCESS, .address = address, .length = 0, .tag = tag};
    asks.written++;
    if (asks.written - asks.published >= BATCH) {
        asks.published = asks.written;
        atomic_store_explicit(&faults_written, asks.written, memory_order_release);
    }
}

static void publish_faults(void) {
    if (asks.published != asks.written) {
        asks.published = asks.written;
        atomic_store_explicit(&faults_written, asks.written, memory_order_release);
    }
}

static void take_answers(void) {
    if (asks.taken == asks.taken_seen) {
        asks.taken_seen = atomic_load_explicit(&answers_written, memory_order_acquire);
        if (asks.taken == asks.taken_seen) {
            return;
        }
    }
    for (; asks.taken != asks.taken_seen; asks.taken++) {
        uint64_t answer = answers[asks.taken & MASK];
        uint32_t tag = (uint32_t)answer, code = (uint32_t)(answer >> 32);
        if (tag >= asks.window || addresses[tag] == 0 || code != 0) {
            fail("unexpected answer");
        }
        addresses[tag] = 0;
        free_tags[asks.closed & (asks.window - 1)] = tag;
        asks.closed++;
    }
    atomic_store_explicit(&answers_read, asks.taken, memory_order_release);
}

static long request(long round_trips) {
    uint64_t before = asks.closed;
    long completed = 0;
    while (completed < round_trips) {
        while (asks.opened - asks.closed < asks.window) {
            send_fault();
        }
        publish_faults();
        take_answers();
        long now = (long)(asks.closed - before);
        if (now == completed) {
            spin_wait();
        }
        completed = now;
    }
    return completed;
}

static void end(void) {
    while (asks.opened != asks.closed) {
        take_answers();
        spin_wait();
    }
    if (serves.read_fields == fields_before) {
        fail("the responder read nothing in this slice");
    }
    fields_before = serves.read_fields;
}

static void publish_answers(void) {
    if (serves.published != serves.written) {
        serves.published = serves.written;
        atomic_store_explicit(&answers_written, serves.written, memory_order_release);
    }
}

static void respond(void) {
    while (true) {
        if (serves.taken == serves.taken_seen) {
            serves.taken_seen = atomic_load_explicit(&faults_written, memory_order_acquire);
            if (serves.taken == serves.taken_seen) {
                if (atomic_load_explicit(&slice_stop, memory_order_relaxed)) {
                    return;
                }
                spin_wait();
                continue;
            }
        }
        uint64_t last = serves.taken_seen - serves.taken > BATCH ? serves.taken + BATCH : serves.taken_seen;
        for (; serves.taken != last; serves.taken++) {
            const struct fault *fault = &faults[serves.taken & MASK].fault;
            serves.read_fields += (uint64_t)fault->flags + fault->device + fault->pasid + fault->group + fault->length
                    + fault->address;
            if (serves.written - serves.read_seen == ENTRIES) {
                serves.read_seen = atomic_load_explicit(&answers_read, memory_order_acquire);
                if (serves.written - serves.read_seen == ENTRIES) {
                    fail("ring full");
                }
            }
            answers[serves.written & MASK] = fault->tag | (uint64_t)(fault->access != 0 ? 0 : 1) << 32;
            serves.written++;
        }
        publish_answers();
        atomic_store_explicit(&faults_read, serves.taken, memory_order_release);
    }
}

int main(int argc, char **argv) {
    long window;
    slice_arguments(argc, argv, ENTRIES, &window);
    asks.window = (uint64_t)window;
    for (uint32_t tag = 0; tag < (uint32_t)window; tag++) {
        free_tags[tag] = tag;
    }
    (void)end_of_state;
    static const struct contest contest = {
            .piece = 4096, .responder_sleeps = false, .prepare = do_nothing, .request = request, .end = end,
            .respond = respond, .wake = do_nothing};
    return slice_main(&contest, atoi(argv[2]), atoi(argv[3]));
}
