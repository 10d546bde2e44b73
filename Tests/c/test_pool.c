/* The pool: every task once, worker numbers that are unique, reuse, cancellation, scratch, forks, signals, floating-point mode. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "mk_memory.h"
#include "mk_pool.h"

enum { TASKS = 1000, THREADS = 4 };

typedef struct record {
    mk_pool *pool;
    int runs[TASKS];
    int busy[THREADS];
    int workers_seen[THREADS];
    int errors;
    int32_t cancel;
    int rounding;
} record;

static void visit(void *context, int64_t index, int32_t worker) {
    record *r = context;
    if (worker < 0 || worker >= mk_pool_threads(r->pool) || __atomic_exchange_n(&r->busy[worker], 1, __ATOMIC_ACQ_REL))
        __atomic_add_fetch(&r->errors, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&r->runs[index], 1, __ATOMIC_RELAXED);
    __atomic_store_n(&r->workers_seen[worker], 1, __ATOMIC_RELAXED);
    volatile float one = 1, tiny = 1e-9f;
    if (one - tiny != 1) /* not rounded to nearest */
        __atomic_add_fetch(&r->rounding, 1, __ATOMIC_RELAXED);
    for (volatile int i = 0; i < 50; ++i) {}
    __atomic_store_n(&r->busy[worker], 0, __ATOMIC_RELEASE);
}

static int process_threads(void) {
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *entry; tasks != NULL && (entry = readdir(tasks)) != NULL;) count += entry->d_name[0] != '.';
    if (tasks != NULL) closedir(tasks);
    return count;
}

/* One run of every task exactly once; returns whether that is so. */
static int sound_run(mk_pool *pool, int64_t tasks) {
    record r = {.pool = pool};
    mk_pool_run(pool, tasks, visit, &r);
    int good = r.errors == 0 && r.rounding == 0;
    for (int i = 0; i < TASKS; ++i) good &= r.runs[i] == (i < tasks);
    return good;
}

static void test_runs(void) {
    CHECK(mk_pool_create(0) == NULL && mk_pool_create(-1) == NULL && mk_pool_create(1025) == NULL, "threads out of range");
    mk_pool_destroy(NULL);
    for (int threads = 1; threads <= THREADS; ++threads) {
        mk_pool *pool = mk_pool_create(threads);
        CHECK(mk_pool_threads(pool) == threads, "%d", mk_pool_threads(pool));
        CHECK(process_threads() == 1, "threads before the first run");
        CHECK(sound_run(pool, 0) && sound_run(pool, 1), "no task or one");
        CHECK(process_threads() == 1, "threads for a single task");
        for (int i = 0; i < 2000; ++i) CHECK(sound_run(pool, i % 7 * 3 + 2), "run %d of %d threads", i, threads);
        CHECK(sound_run(pool, TASKS), "%d threads", threads);
        CHECK(process_threads() == threads, "%d threads live", process_threads());
        usleep(2000); /* the workers sleep now; they must wake again */
        CHECK(sound_run(pool, TASKS), "%d threads, after a rest", threads);
        mk_pool_destroy(pool);
        CHECK(process_threads() == 1, "threads left behind");
    }
}

static void cancel_in_third(void *context, int64_t index, int32_t worker) {
    record *r = context;
    (void)worker;
    __atomic_add_fetch(&r->runs[index], 1, __ATOMIC_RELAXED);
    if (index == 2) __atomic_store_n(&r->cancel, 1, __ATOMIC_RELAXED);
}

static void test_cancel(void) {
    for (int threads = 1; threads <= 3; threads += 2) {
        mk_pool *pool = mk_pool_create(threads);
        record r = {.pool = pool};
        CHECK(!mk_pool_cancelled(pool), "no flag");
        mk_pool_set_cancel_flag(pool, &r.cancel);
        mk_pool_run(pool, TASKS, cancel_in_third, &r);
        int ran = 0, twice = 0;
        for (int i = 0; i < TASKS; ++i) ran += r.runs[i], twice += r.runs[i] > 1;
        /* A worker of several that has claimed task 0 or 1 may see the flag before it begins. */
        CHECK(r.runs[2] == 1 && twice == 0 && (threads > 1 || ran == 3), "%d tasks ran, %d of them twice", ran, twice);
        CHECK(mk_pool_cancelled(pool), "the flag is set");
        memset(r.runs, 0, sizeof r.runs);
        mk_pool_run(pool, TASKS, cancel_in_third, &r);
        CHECK(r.runs[0] == 0, "a task began after cancellation");
        mk_pool_set_cancel_flag(pool, NULL);
        CHECK(sound_run(pool, TASKS), "after cancellation");
        mk_pool_destroy(pool);
    }
}

static void test_scratch(void) {
    mk_pool *pool = mk_pool_create(3);
    CHECK(mk_pool_reserve(pool, 0, 0) == 0 && mk_pool_reserve(pool, 100, 1000) == 0, "reserve");
    char *first = mk_pool_scratch(pool, 0), *last = mk_pool_scratch(pool, 2), *shared = mk_pool_shared(pool);
    CHECK((uintptr_t)first % MK_ALIGNMENT == 0 && (uintptr_t)last % MK_ALIGNMENT == 0 && (uintptr_t)shared % MK_ALIGNMENT == 0,
          "alignment");
    CHECK(last - first >= 200, "scratch areas overlap");
    memset(first, 1, 100);
    memset(mk_pool_scratch(pool, 1), 2, 100);
    memset(last, 3, 100);
    memset(shared, 4, 1000);
    CHECK(first[99] == 1 && last[0] == 3 && shared[999] == 4, "scratch areas overlap");
    CHECK(mk_pool_reserve(pool, 50, 50) == 0 && mk_pool_scratch(pool, 0) == first && mk_pool_shared(pool) == shared, "shrank");
    CHECK(mk_pool_reserve(pool, INT64_MAX, 0) == -1 && mk_pool_reserve(pool, INT64_MAX / 2, 0) == -1, "overflow");
    CHECK(mk_pool_reserve(pool, 0, INT64_MAX) == -1 && mk_pool_reserve(pool, (int64_t)1 << 58, 0) == -1, "more than there is");
    CHECK(mk_pool_scratch(pool, 0) == first && first[0] == 1 && mk_pool_shared(pool) == shared, "lost after a failure");
    mk_pool_destroy(pool);
}

/* Runs `body` in a forked child that dies when it hangs; returns whether it returned true. */
static int in_child(int (*body)(mk_pool *), mk_pool *pool) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(body(pool) ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int destroy_only(mk_pool *pool) {
    mk_pool_destroy(pool);
    return 1;
}

static int run_and_destroy(mk_pool *pool) {
    int good = process_threads() == 1;
    for (int i = 0; i < 100; ++i) good &= sound_run(pool, 50);
    good &= process_threads() == mk_pool_threads(pool);
    good &= in_child(destroy_only, pool); /* a child of the child */
    good &= sound_run(pool, 50);
    mk_pool_destroy(pool);
    return good && process_threads() == 1;
}

static void *keep_running(void *argument) {
    record *r = argument;
    while (!__atomic_load_n(&r->cancel, __ATOMIC_RELAXED))
        if (!sound_run(r->pool, 20)) __atomic_add_fetch(&r->errors, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void test_fork(void) {
    mk_pool *pool = mk_pool_create(3);
    CHECK(in_child(run_and_destroy, pool), "fork before the first run");
    CHECK(sound_run(pool, TASKS), "first run of the parent");
    for (int i = 0; i < 20; ++i) {
        CHECK(in_child(destroy_only, pool), "a child that destroys");
        CHECK(in_child(run_and_destroy, pool), "a child that runs");
        CHECK(sound_run(pool, 100), "the parent after a fork");
    }
    /* Forks at any moment of a run that another thread drives. */
    record r = {.pool = pool};
    pthread_t driver;
    pthread_create(&driver, NULL, keep_running, &r);
    for (int i = 0; i < 50; ++i) CHECK(in_child(run_and_destroy, pool), "fork %d during a run", i);
    __atomic_store_n(&r.cancel, 1, __ATOMIC_RELAXED);
    pthread_join(driver, NULL);
    CHECK(r.errors == 0, "the parent's runs suffered");
    mk_pool_destroy(pool);
}

static pthread_t handler_thread;

static void note_thread(int signal_number) {
    (void)signal_number;
    handler_thread = pthread_self();
}

static void test_signals(void) {
    mk_pool *pool = mk_pool_create(3);
    CHECK(sound_run(pool, TASKS), "run");
    struct sigaction action = {.sa_handler = note_thread};
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < 20; ++i) {
        kill(getpid(), SIGUSR1);
        CHECK(pthread_equal(handler_thread, pthread_self()), "a worker took a signal");
    }
    mk_pool_destroy(pool);
}

static void test_float_mode(void) {
    mk_pool *pool = mk_pool_create(3);
    fesetround(FE_DOWNWARD);
    CHECK(sound_run(pool, TASKS), "the host's rounding mode reached the tasks");
    CHECK(fegetround() == FE_DOWNWARD, "the host's rounding mode was lost");
    fesetround(FE_TONEAREST);
    mk_pool_destroy(pool);
}

static int run_without_threads(mk_pool *pool) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_NPROC, &none);
    /* The limit does not bind the superuser: give up the rank, where there is one. */
    if (geteuid() == 0 && setuid(65534) != 0) return 0;
    int good = sound_run(pool, TASKS) && sound_run(pool, TASKS) && process_threads() == 1;
    mk_pool_destroy(pool);
    return good;
}

static void test_no_threads(void) {
    mk_pool *pool = mk_pool_create(3);
    CHECK(in_child(run_without_threads, pool), "without threads the caller must do the work");
    mk_pool_destroy(pool);
}

int main(void) {
    int64_t before = mk_bytes_in_use();
    test_runs();
    test_cancel();
    test_scratch();
    test_fork();
    test_signals();
    test_float_mode();
    test_no_threads();
    CHECK(mk_bytes_in_use() == before, "leaked %lld bytes", (long long)(mk_bytes_in_use() - before));
    return check_result("test_pool");
}
