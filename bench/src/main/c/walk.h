/*
 * Walks of four x86-64 levels in C, no walk begun before the one before has ended, with the checks of the Java walk: present, reserved bits, leaf,
 * rights, marks, and whether the target is in memory. See RadixTable, WalkChain. A program says how many PAGES are mapped and what a PIECE is.
 */
#include "slice.h"

#define FIRST_ADDRESS (1UL << 39)
#define LEVELS 4
#define LEVEL_BITS 9
#define ENTRIES 512
#define PAGE_SHIFT 12
#define MARKS 0x67UL
#define PRESENT 1UL
#define WRITE 2UL
#define USER 4UL
#define ACCESSED 0x20UL
#define DIRTY 0x40UL
#define LARGE 0x80UL
#define EXECUTE_DISABLE (1UL << 63)
#define ADDRESS_MASK 0x000ffffffffff000UL
#define FAULT (1UL << 63)
#define READ_RIGHT 1UL
#define WRITE_RIGHT 2UL
#define EXECUTE_RIGHT 4UL

static _Atomic uint64_t *memory;
static uint64_t memory_bytes;
static uint64_t random_state = 1, last;

static inline uint64_t rights_of(uint64_t entry) {
    uint64_t all = READ_RIGHT | (entry & WRITE) | ((entry & EXECUTE_DISABLE) ? 0 : EXECUTE_RIGHT);
    return all << 3 | ((entry & USER) ? all : 0);
}

/* One level; true if the walk has ended, with its result in table. Every level has code of its own, as the compiler sees it with level a constant. */
static inline __attribute__((always_inline)) bool step(int level, uint64_t address, uint64_t needed, uint64_t *table, uint64_t *rights) {
    _Atomic uint64_t *slot = memory + (*table / 8 + ((address >> (PAGE_SHIFT + LEVEL_BITS * level)) & (ENTRIES - 1)));
    while (true) {
        uint64_t entry = atomic_load_explicit(slot, memory_order_acquire);
        uint64_t reserved = level == 0 ? 0 : level == LEVELS - 1 ? LARGE : ((1UL << LEVEL_BITS * level) - 2) << PAGE_SHIFT;
        bool leaf = level == 0 || (entry & LARGE);
        if (!(entry & PRESENT)) {
            *table = FAULT | 1;
            return true;
        }
        if (level > 0 && leaf && (entry & reserved)) {
            *table = FAULT | 2;
            return true;
        }
        uint64_t granted = *rights & rights_of(entry);
        if (leaf && (granted & needed) != needed) {
            *table = FAULT | 3;
            return true;
        }
        uint64_t marks = ACCESSED | (leaf && (needed & (WRITE_RIGHT | WRITE_RIGHT << 3)) ? DIRTY : 0);
        if (__builtin_expect((entry & marks) != marks, 0)) {
            uint64_t expected = entry;
            if (!atomic_compare_exchange_strong(slot, &expected, entry | marks)) {
                continue;
            }
            entry |= marks;
        }
        *rights = granted;
        uint64_t target = entry & ADDRESS_MASK;
        if (target >= memory_bytes) {
            *table = FAULT | 4;
            return true;
        }
        if (!leaf) {
            *table = target;
            return false;
        }
        uint64_t size = LEVEL_BITS * level;
        *table = target | (address & ((1UL << (PAGE_SHIFT + size)) - 1) & ADDRESS_MASK) | size << 52
                | ((entry & DIRTY) ? granted : granted & ~(WRITE_RIGHT | WRITE_RIGHT << 3));
        return true;
    }
}

static inline uint64_t walk(uint64_t address, uint64_t needed) {
    if (((int64_t)(address << 16) >> 16) != (int64_t)address) {
        return FAULT;
    }
    uint64_t table = 0, rights = 077;
    if (!step(3, address, needed, &table, &rights) && !step(2, address, needed, &table, &rights)
            && !step(1, address, needed, &table, &rights)) {
        step(0, address, needed, &table, &rights);
    }
    return table;
}

static long request(long round_trips) {
    uint64_t state = random_state, word = last;
    for (long i = 0; i < round_trips; i++) {
        state = state * 6364136223846793005UL + 1442695040888963407UL;
        /* The sign of a translation is 0; so the address is only known when the walk before has ended. */
        uint64_t page = (state >> 33 & (PAGES - 1)) + (word >> 63);
        word = walk(FIRST_ADDRESS + (page << PAGE_SHIFT), READ_RIGHT);
    }
    random_state = state;
    last = word;
    return round_trips;
}

static void end(void) {
    if (last & FAULT) {
        fail("a walk found a fault");
    }
}

static void write_tables(void) {
    uint64_t tables[LEVELS], all = 0;
    for (int level = 0; level < LEVELS; level++) {
        tables[level] = PAGES >> LEVEL_BITS * (level + 1);
        tables[level] = tables[level] == 0 ? 1 : tables[level];
        all += tables[level];
    }
    memory_bytes = all << PAGE_SHIFT;
    memory = aligned_alloc(1 << PAGE_SHIFT, memory_bytes);
    if (!memory) {
        fail("no memory");
    }
    memset((void *)memory, 0, memory_bytes);
    uint64_t first = 1, above = 0;
    for (int level = LEVELS - 1; level >= 0; level--) {
        uint64_t entries = level == 0 ? PAGES : tables[level - 1];
        uint64_t skip = level == LEVELS - 1 ? FIRST_ADDRESS >> (PAGE_SHIFT + LEVEL_BITS * level) & (ENTRIES - 1) : 0;
        for (uint64_t i = 0; i < entries; i++) {
            uint64_t target = level == 0 ? i % all : first + i;
            memory[(above << PAGE_SHIFT) / 8 + i + skip] = target << PAGE_SHIFT | MARKS;
        }
        above = first;
        first += level == 0 ? 0 : entries;
    }
}

int main(int argc, char **argv) {
    long window;
    slice_arguments(argc, argv, 1, &window);
    write_tables();
    static const struct contest contest = {
            .piece = PIECE, .responder_sleeps = false, .prepare = do_nothing, .request = request, .end = end,
            .respond = do_nothing, .wake = do_nothing};
    return slice_main(&contest, atoi(argv[2]), atoi(argv[3]));
}
