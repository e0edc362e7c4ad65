/*
 * Hits in an IOTLB in C, each address found by the hit before: the layout, the tags, the sizes and the scene of the Java one. See Iotlb, IotlbHits.
 */
#include "slice.h"

#define ENTRIES 1024
#define WAYS 4
#define PAGES 256
#define LARGE_PAGES 8
#define DOMAIN 5UL
#define PASID 77UL
#define FIRST_ADDRESS 0x70000000UL
#define FIRST_LARGE 0x100000000UL
#define PAGE_SHIFT 12
#define LARGE_SIZE 9
#define PAGE_MASK 0x000ffffffffff000UL
#define RIGHTS 7

#define SPREAD 0x9e3779b97f4a7c15UL
#define PAGE_FIELD_BITS 37
#define PAGE_FIELD_MASK ((1UL << PAGE_FIELD_BITS) - 1)
#define UPPER_SHIFT 52
#define SET_MASK ((ENTRIES / WAYS - 1) * 8)

static alignas(LINES) _Atomic uint64_t sizes;
static alignas(LINES) _Atomic uint64_t words[ENTRIES * 2];
static alignas(LINES) uint64_t address = FIRST_ADDRESS;

static inline uint64_t tag_of(uint64_t domain, uint64_t pasid) { return domain << 21 | (pasid + 1); }

static inline uint64_t set_of(uint64_t tag, uint64_t shifted) {
    return (shifted >> 9 ^ shifted >> 17 ^ (tag * SPREAD) >> 40) & SET_MASK;
}

static inline uint64_t page_field(uint64_t at, int size) {
    return ((at >> (PAGE_SHIFT + size) << 1 | 1) << size) & PAGE_FIELD_MASK;
}

static inline uint64_t probe(uint64_t tag, uint64_t field, uint64_t set) {
    uint64_t key = tag << PAGE_FIELD_BITS | field;
    uint64_t upper = tag >> (64 - PAGE_FIELD_BITS) << UPPER_SHIFT;
    _Atomic uint64_t *at = words + set;
    for (int way = 0; way < WAYS; way++, at += 2) {
        uint64_t check = atomic_load_explicit(at, memory_order_acquire);
        uint64_t value = atomic_load_explicit(at + 1, memory_order_acquire);
        uint64_t found = value ^ upper;
        if ((check ^ value * SPREAD) == key && found >> UPPER_SHIFT == 0) {
            return found;
        }
    }
    return 0;
}

static uint64_t lookup_large(uint64_t tag, uint64_t at, uint64_t left) {
    for (; left != 0; left &= left - 1) {
        int size = __builtin_ctzl(left);
        uint64_t found = probe(tag, page_field(at, size), set_of(tag, at >> size));
        if (found != 0) {
            uint64_t inside = ((1UL << (size + PAGE_SHIFT)) - 1) & PAGE_MASK;
            return (found & ~inside) | (at & inside) | (uint64_t)size << UPPER_SHIFT;
        }
    }
    return 0;
}

static inline uint64_t lookup(uint64_t tag, uint64_t at) {
    uint64_t present = atomic_load_explicit(&sizes, memory_order_relaxed);
    if (present & 1) {
        uint64_t found = probe(tag, page_field(at, 0), set_of(tag, at));
        if (found != 0) {
            return found;
        }
    }
    return (present & ~1UL) == 0 ? 0 : lookup_large(tag, at, present & ~1UL);
}

static void insert(uint64_t tag, uint64_t at, uint64_t physical, int size) {
    uint64_t value = physical | RIGHTS | tag >> (64 - PAGE_FIELD_BITS) << UPPER_SHIFT;
    _Atomic uint64_t *entry = words + set_of(tag, at >> size);
    for (int way = 0; way < WAYS; way++, entry += 2) {
        if (entry[1] == 0) {
            entry[0] = (tag << PAGE_FIELD_BITS | page_field(at, size)) ^ value * SPREAD;
            entry[1] = value;
            sizes |= 1UL << size;
            return;
        }
    }
    fail("a set is full");
}

static long request(long round_trips) {
    uint64_t at = address;
    uint64_t tag = tag_of(DOMAIN, PASID);
    for (long i = 0; i < round_trips; i++) {
        at = lookup(tag, at) & PAGE_MASK;
    }
    address = at;
    return round_trips;
}

static void end(void) {
    if (address == 0) {
        fail("a page was not found");
    }
}

int main(int argc, char **argv) {
    long window;
    slice_arguments(argc, argv, 1, &window);
    int round[PAGES];
    for (int i = 0; i < PAGES; i++) {
        round[i] = i;
    }
    srand(1);
    for (int i = PAGES - 1; i > 0; i--) {
        int j = rand() % (i + 1), swapped = round[i];
        round[i] = round[j];
        round[j] = swapped;
    }
    uint64_t tag = tag_of(DOMAIN, PASID);
    for (int i = 0; i < PAGES; i++) {
        insert(tag, FIRST_ADDRESS + ((uint64_t)round[i] << PAGE_SHIFT),
                FIRST_ADDRESS + ((uint64_t)round[(i + 1) % PAGES] << PAGE_SHIFT), 0);
    }
    for (uint64_t i = 0; i < LARGE_PAGES; i++) {
        uint64_t at = FIRST_LARGE + (i << (PAGE_SHIFT + LARGE_SIZE));
        insert(tag, at, at, LARGE_SIZE);
        insert(tag_of(DOMAIN, PASID + 1), at, at, 0);
    }
    static const struct contest contest = {
            .piece = 16384, .responder_sleeps = false, .prepare = do_nothing, .request = request, .end = end,
            .respond = do_nothing, .wake = do_nothing};
    return slice_main(&contest, atoi(argv[2]), atoi(argv[3]));
}
