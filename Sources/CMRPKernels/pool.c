#define _GNU_SOURCE
#include "mk_pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "mk_memory.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum {
    MAX_THREADS = 1024,
    STACK_BYTES = 2 << 20,
    SPIN_NANOSECONDS = 30000, /* about one sleep and wake-up: spinning longer never pays */
};

/* `state` counts the workers inside the run that is open. A worker may enter only while OPEN is set, and the caller leaves only
 * when the count is zero: a worker that wakes late finds the run closed, misses it, and costs the caller no waiting. */
static const uint32_t OPEN = 1u << 31, CALLER_SLEEPS = 1u << 30;

typedef struct worker {
    struct mk_pool *pool;
    pthread_t thread;
    int32_t index;
} worker;

struct mk_pool {
    int32_t threads;
    int32_t created; /* workers that exist, besides the caller */
    int32_t creation_failed;
    int32_t may_spin;
    pid_t owner; /* the process in which the workers live */
    const int32_t *cancel;

    mk_task task;
    void *context;
    int64_t tasks;

    char *scratch, *shared;
    int64_t scratch_bytes, shared_bytes; /* scratch_bytes is per worker */

    /* Each on its own cache line: all threads write them. */
    _Alignas(MK_ALIGNMENT) int64_t next_task;
    _Alignas(MK_ALIGNMENT) uint32_t state;
    _Alignas(MK_ALIGNMENT) uint32_t epoch; /* grows with each run; workers sleep on it */
    uint32_t sleepers;
    int32_t stop;

    _Alignas(MK_ALIGNMENT) worker workers[];
};

/* Floating-point control word: rounding and denormal mode. Results must not depend on which thread computes them. */
#if defined(__x86_64__)
typedef unsigned int float_mode;
static const float_mode DEFAULT_FLOAT_MODE = 0x1f80;
static float_mode get_float_mode(void) { return _mm_getcsr(); }
static void set_float_mode(float_mode mode) { _mm_setcsr(mode); }
#elif defined(__aarch64__)
typedef uint64_t float_mode;
static const float_mode DEFAULT_FLOAT_MODE = 0;
static float_mode get_float_mode(void) {
    float_mode mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static void set_float_mode(float_mode mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#else
typedef int float_mode;
static const float_mode DEFAULT_FLOAT_MODE = 0;
static float_mode get_float_mode(void) { return 0; }
static void set_float_mode(float_mode mode) { (void)mode; }
#endif

static void pause_briefly(void) {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void futex_wait(uint32_t *word, uint32_t expected) { syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0); }

static void futex_wake(uint32_t *word, int32_t count) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0); }

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Spins until *word differs from `unwanted`, or time is up; returns the last value seen. */
static uint32_t spin_while(const mk_pool *pool, const uint32_t *word, uint32_t unwanted) {
    uint32_t value = __atomic_load_n(word, __ATOMIC_ACQUIRE);
    if (!pool->may_spin) return value;
    int64_t deadline = nanoseconds() + SPIN_NANOSECONDS;
    while (value == unwanted && nanoseconds() < deadline) {
        for (int i = 0; i < 16 && value == unwanted; ++i) {
            pause_briefly();
            value = __atomic_load_n(word, __ATOMIC_ACQUIRE);
        }
    }
    return value;
}

static void work(mk_pool *pool, int32_t index) {
    for (;;) {
        int64_t task = __atomic_fetch_add(&pool->next_task, 1, __ATOMIC_RELAXED);
        if (task >= pool->tasks || mk_pool_cancelled(pool)) return;
        pool->task(pool->context, task, index);
    }
}

static void *worker_main(void *argument) {
    worker *self = argument;
    mk_pool *pool = self->pool;
    uint32_t seen = 0;
    set_float_mode(DEFAULT_FLOAT_MODE);
    for (;;) {
        uint32_t epoch = spin_while(pool, &pool->epoch, seen);
        while (epoch == seen) {
            __atomic_add_fetch(&pool->sleepers, 1, __ATOMIC_SEQ_CST);
            futex_wait(&pool->epoch, seen);
            __atomic_sub_fetch(&pool->sleepers, 1, __ATOMIC_SEQ_CST);
            epoch = __atomic_load_n(&pool->epoch, __ATOMIC_SEQ_CST);
        }
        seen = epoch;
        if (__atomic_load_n(&pool->stop, __ATOMIC_ACQUIRE)) return NULL;
        uint32_t state = __atomic_load_n(&pool->state, __ATOMIC_ACQUIRE);
        while (state & OPEN) {
            if (!__atomic_compare_exchange_n(&pool->state, &state, state + 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) continue;
            work(pool, self->index);
            if (__atomic_fetch_sub(&pool->state, 1, __ATOMIC_ACQ_REL) == (1 | CALLER_SLEEPS)) futex_wake(&pool->state, 1);
            break;
        }
    }
}

/* Wakes at most `count` sleeping workers. The counter is read after the epoch was raised, and a worker raises it before it looks
 * at the epoch for the last time (inside the futex call), so one of the two sees the other. */
static void announce(mk_pool *pool, int32_t count) {
    __atomic_add_fetch(&pool->epoch, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&pool->sleepers, __ATOMIC_SEQ_CST) != 0) futex_wake(&pool->epoch, count);
}

static int32_t usable_processors(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return CPU_COUNT(&set);
}

/* A forked child inherits the memory but none of the threads, whatever they were doing. */
static void forget_threads(mk_pool *pool) {
    pool->owner = getpid();
    pool->created = 0;
    pool->creation_failed = 0;
    pool->state = 0;
    pool->epoch = 0;
    pool->sleepers = 0;
    pool->stop = 0;
    pool->may_spin = pool->threads <= usable_processors();
}

static void create_threads(mk_pool *pool) {
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        pool->creation_failed = 1;
        return;
    }
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    /* Signals stay with the host's own threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->created < pool->threads - 1) {
        worker *next = &pool->workers[pool->created];
        *next = (worker){.pool = pool, .index = pool->created + 1};
        if (pthread_create(&next->thread, &attributes, worker_main, next) != 0) {
            pool->creation_failed = 1;
            break;
        }
        pool->created += 1;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

mk_pool *mk_pool_create(int32_t threads) {
    if (threads < 1 || threads > MAX_THREADS) return NULL;
    int64_t bytes = (int64_t)sizeof(mk_pool) + (threads - 1) * (int64_t)sizeof(worker);
    mk_pool *pool = mk_allocate_zeroed(bytes);
    if (pool == NULL) return NULL;
    pool->threads = threads;
    forget_threads(pool);
    return pool;
}

void mk_pool_destroy(mk_pool *pool) {
    if (pool == NULL) return;
    if (pool->created > 0 && pool->owner == getpid()) {
        __atomic_store_n(&pool->stop, 1, __ATOMIC_RELEASE);
        announce(pool, pool->created);
        for (int32_t i = 0; i < pool->created; ++i) pthread_join(pool->workers[i].thread, NULL);
    }
    mk_release(pool->scratch);
    mk_release(pool->shared);
    mk_release(pool);
}

int32_t mk_pool_threads(const mk_pool *pool) { return pool->threads; }

/* Returns when no worker is inside the run, which is closed already. */
static void wait_for_workers(mk_pool *pool) {
    uint32_t state;
    while ((state = __atomic_load_n(&pool->state, __ATOMIC_ACQUIRE)) != 0) {
        if (spin_while(pool, &pool->state, state) != state) continue;
        if (__atomic_compare_exchange_n(&pool->state, &state, state | CALLER_SLEEPS, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            futex_wait(&pool->state, state | CALLER_SLEEPS);
            __atomic_and_fetch(&pool->state, ~CALLER_SLEEPS, __ATOMIC_ACQ_REL);
        }
    }
}

void mk_pool_run(mk_pool *pool, int64_t tasks, mk_task task, void *context) {
    if (tasks <= 0) return;
    float_mode before = get_float_mode();
    if (before != DEFAULT_FLOAT_MODE) set_float_mode(DEFAULT_FLOAT_MODE);

    if (pool->threads > 1 && tasks > 1) {
        if (pool->owner != getpid()) forget_threads(pool);
        if (pool->created < pool->threads - 1 && !pool->creation_failed) create_threads(pool);
    }
    pool->task = task;
    pool->context = context;
    pool->tasks = tasks;
    pool->next_task = 0;
    if (pool->threads == 1 || tasks == 1 || pool->created == 0) {
        work(pool, 0);
    } else {
        __atomic_store_n(&pool->state, OPEN, __ATOMIC_RELEASE);
        announce(pool, (int32_t)(tasks - 1 < pool->created ? tasks - 1 : pool->created));
        work(pool, 0);
        __atomic_and_fetch(&pool->state, ~OPEN, __ATOMIC_ACQ_REL);
        wait_for_workers(pool);
    }
    if (before != DEFAULT_FLOAT_MODE) set_float_mode(before);
}

void mk_pool_set_cancel_flag(mk_pool *pool, const int32_t *flag) { pool->cancel = flag; }

int32_t mk_pool_cancelled(const mk_pool *pool) { return pool->cancel != NULL && __atomic_load_n(pool->cancel, __ATOMIC_RELAXED) != 0; }

/* Grows one block to at least `wanted` bytes. */
static int32_t grow(char **block, int64_t *bytes, int64_t wanted, int64_t copies) {
    if (wanted <= *bytes) return 0;
    if (wanted > INT64_MAX / copies - MK_ALIGNMENT) return -1;
    int64_t rounded = (wanted + MK_ALIGNMENT - 1) / MK_ALIGNMENT * MK_ALIGNMENT;
    char *fresh = mk_allocate(rounded * copies);
    if (fresh == NULL) return -1;
    mk_release(*block);
    *block = fresh;
    *bytes = rounded;
    return 0;
}

int32_t mk_pool_reserve(mk_pool *pool, int64_t bytes_per_worker, int64_t bytes_shared) {
    if (grow(&pool->scratch, &pool->scratch_bytes, bytes_per_worker, pool->threads) != 0) return -1;
    return grow(&pool->shared, &pool->shared_bytes, bytes_shared, 1);
}

void *mk_pool_scratch(mk_pool *pool, int32_t worker) { return pool->scratch == NULL ? NULL : pool->scratch + worker * pool->scratch_bytes; }

void *mk_pool_shared(mk_pool *pool) { return pool->shared; }
