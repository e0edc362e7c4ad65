/*
 * What every contender in C shares: the line protocol of the laboratory, and slices taken as the Java contenders take them.
 *
 *   PROGRAM WINDOW REQUESTER_CPU RESPONDER_CPU       -1 for any core
 *
 * says "ready", answers each "run MILLISECONDS" with a line that begins with "slice", says "failed WHY" when it cannot go on, and ends
 * when its input ends. The requester is the main thread, the responder sleeps between slices.
 */
#ifndef FAULTLINE_SLICE_H
#define FAULTLINE_SLICE_H

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LINES 128 /* two lines: what is written by different threads lies so far apart */
#define LEAD_IN_NS 2000000L
#define NS_PER_MS 1000000L
#define MOST_PIECES (1 << 16)
#define STALL_FACTOR 8

/* One thing to measure, as dev.faultline.bench.contender.Contest. */
struct contest {
    int piece;            /* round trips timed at a time */
    bool responder_sleeps; /* most of a slice is not timed, and waits for a core are part of what is measured */
    void (*prepare)(void); /* requester, not timed */
    long (*request)(long round_trips);
    void (*end)(void);    /* requester, not timed: takes what is still under way */
    void (*respond)(void); /* until nothing is left and slice_stop is up */
    void (*wake)(void);   /* requester, once slice_stop is up */
};

static alignas(LINES) atomic_int slice_stop;
static alignas(LINES) const struct contest *slice_contest;
static sem_t slice_go, slice_done;
static int slice_responder_cpu;
static volatile pid_t slice_responder_tid;
static long slice_piece_ns[MOST_PIECES];

static void fail(const char *what) {
    printf("failed %s\n", what);
    fflush(stdout);
    exit(1);
}

static inline void spin_wait(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

static inline long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void pin(int cpu) {
    if (cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        if (sched_setaffinity(0, sizeof set, &set) != 0) {
            fail("sched_setaffinity");
        }
    }
}

static bool task_text(pid_t tid, const char *file, char *text, size_t bytes) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/%s", (int)tid, file);
    FILE *in = fopen(path, "r");
    if (!in) {
        return false;
    }
    size_t n = fread(text, 1, bytes - 1, in);
    text[n] = 0;
    fclose(in);
    return n > 0;
}

/* Nanoseconds the thread was ready to run and had no core, or -1 where the kernel does not tell. */
static long waited_ns(pid_t tid) {
    char text[128];
    long ran, waited;
    return task_text(tid, "schedstat", text, sizeof text) && sscanf(text, "%ld %ld", &ran, &waited) == 2 ? waited : -1;
}

static long involuntary_switches(pid_t tid) {
    char text[4096];
    if (!task_text(tid, "status", text, sizeof text)) {
        return 0;
    }
    const char *at = strstr(text, "nonvoluntary_ctxt_switches:");
    return at ? atol(at + strlen("nonvoluntary_ctxt_switches:")) : 0;
}

/* Whether the kernel has put the thread to sleep. */
static inline bool is_asleep(pid_t tid) {
    char text[512];
    if (!task_text(tid, "stat", text, sizeof text)) {
        fail("cannot see whether a thread sleeps: no /proc");
    }
    const char *at = strrchr(text, ')');
    return at && at[1] == ' ' && at[2] == 'S';
}

static void *slice_responder(void *unused) {
    (void)unused;
    pin(slice_responder_cpu);
    slice_responder_tid = (pid_t)syscall(SYS_gettid);
    sem_post(&slice_done);
    while (true) {
        while (sem_wait(&slice_go) != 0) {
        }
        slice_contest->respond();
        sem_post(&slice_done);
    }
    return NULL;
}

static int ascending(const void *a, const void *b) {
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

static long stalled_ns(int pieces) {
    qsort(slice_piece_ns, pieces, sizeof slice_piece_ns[0], ascending);
    long usual = slice_piece_ns[pieces / 2];
    long stalled = 0;
    for (int i = 0; i < pieces; i++) {
        stalled += slice_piece_ns[i] > usual * STALL_FACTOR ? slice_piece_ns[i] - usual : 0;
    }
    return stalled;
}

static void slice_run(long limit_ns) {
    const struct contest *c = slice_contest;
    pid_t requester = (pid_t)syscall(SYS_gettid), responder = slice_responder_tid;
    long requester_waited = waited_ns(requester), responder_waited = waited_ns(responder);
    long switches = involuntary_switches(requester) + involuntary_switches(responder);
    atomic_store(&slice_stop, 0);
    sem_post(&slice_go);

    long lead_in = 0, trips = 0, timed = 0;
    int pieces = 0;
    long begun = now_ns();
    do {
        c->prepare();
        lead_in += c->request(c->piece);
    } while (now_ns() - begun < LEAD_IN_NS);
    begun = now_ns();
    do {
        c->prepare();
        long start = now_ns();
        trips += c->request(c->piece);
        long ns = now_ns() - start;
        timed += ns;
        if (pieces < MOST_PIECES) {
            slice_piece_ns[pieces++] = ns;
        }
    } while (now_ns() - begun < limit_ns);
    c->end();

    atomic_store(&slice_stop, 1);
    c->wake();
    while (sem_wait(&slice_done) != 0) {
    }
    long waited = c->responder_sleeps ? 0
            : requester_waited < 0 || responder_waited < 0 ? -1
            : waited_ns(requester) - requester_waited + waited_ns(responder) - responder_waited;
    printf("slice round_trips=%ld timed_ns=%ld stalled_ns=%ld waited_ns=%ld involuntary_switches=%ld requester_bytes=0"
           " responder_bytes=0 all_round_trips=%ld\n",
            trips, timed, stalled_ns(pieces), waited,
            involuntary_switches(requester) + involuntary_switches(responder) - switches, trips + lead_in);
    fflush(stdout);
}

static int slice_main(const struct contest *contest, int requester_cpu, int responder_cpu) {
    pthread_t thread;
    slice_contest = contest;
    slice_responder_cpu = responder_cpu;
    if (sem_init(&slice_go, 0, 0) != 0 || sem_init(&slice_done, 0, 0) != 0
            || pthread_create(&thread, NULL, slice_responder, NULL) != 0) {
        fail("no second thread");
    }
    while (sem_wait(&slice_done) != 0) {
    }
    pin(requester_cpu);
    printf("ready\n");
    fflush(stdout);
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        long ms;
        if (sscanf(line, "run %ld", &ms) != 1 || ms < 1) {
            fail("command: allowed run MILLISECONDS");
        }
        slice_run(ms * NS_PER_MS);
    }
    return 0;
}

static void slice_arguments(int argc, char **argv, long most_window, long *window) {
    *window = argc == 4 ? atol(argv[1]) : 0;
    if (*window < 1 || *window > most_window || (*window & (*window - 1)) != 0) {
        fail("arguments: allowed WINDOW REQUESTER_CPU RESPONDER_CPU, the window a power of two within the ring");
    }
}

static void do_nothing(void) {}

#endif
