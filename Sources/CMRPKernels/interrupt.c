#define _POSIX_C_SOURCE 199309L /* clock_gettime */
#include "mk_interrupt.h"

#include <stddef.h>
#include <time.h>

static const int64_t interval = 20000000; /* nanoseconds */

static _Thread_local struct {
    mk_interrupt_fn function;
    void *user;
    mk_interruption now;
    int32_t answer;
    int64_t next; /* when the function is asked again */
} thread;

void mk_set_interrupt(mk_interrupt_fn function, void *user) {
    thread.function = function;
    thread.user = user;
}

mk_interruption mk_interrupt_begin(const int32_t *flag) {
    const mk_interruption before = thread.now;
    thread.now = (mk_interruption){flag, 1};
    thread.answer = 0;
    return before;
}

void mk_interrupt_end(mk_interruption before) { thread.now = before; }

int32_t mk_interrupt_ask(void) {
    if (thread.function == NULL) return 0;
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    const int64_t now = (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
    if (now < thread.next) return 0;
    thread.next = now + interval;
    return thread.function(thread.user) != 0;
}

int32_t mk_interrupted(void) {
    if (!thread.now.allowed) return 0;
    if (thread.now.flag != NULL && __atomic_load_n(thread.now.flag, __ATOMIC_RELAXED) != 0) return 1;
    if (thread.answer == 0) thread.answer = mk_interrupt_ask();
    return thread.answer;
}
