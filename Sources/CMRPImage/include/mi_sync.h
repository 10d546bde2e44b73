/* Background threads for Swift without Foundation: atomic flags, and threads that leave the host's signals alone. */
#ifndef MI_SYNC_H
#define MI_SYNC_H

#include <stdint.h>

static inline int32_t mi_flag_load(const int32_t *flag) { return __atomic_load_n(flag, __ATOMIC_ACQUIRE); }
static inline void mi_flag_store(int32_t *flag, int32_t value) { __atomic_store_n(flag, value, __ATOMIC_RELEASE); }

static inline void *mi_pointer_load(void *const *place) { return __atomic_load_n(place, __ATOMIC_ACQUIRE); }
/* Puts `value` at an empty place; returns 0 when it was taken. */
static inline int32_t mi_pointer_claim(void **place, void *value) {
    void *empty = (void *)0;
    return __atomic_compare_exchange_n(place, &empty, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
/* Adds to a counter; returns the new value. */
static inline int64_t mi_counter_add(int64_t *counter, int64_t amount) { return __atomic_add_fetch(counter, amount, __ATOMIC_ACQ_REL); }

/* A lock with one condition, and the threads that wait on it. Allocated with malloc-like failure: NULL when memory is short. */
typedef struct mi_monitor mi_monitor;
mi_monitor *mi_monitor_create(void);
void mi_monitor_destroy(mi_monitor *monitor); /* NULL is allowed */
void mi_monitor_lock(mi_monitor *monitor);
void mi_monitor_unlock(mi_monitor *monitor);
void mi_monitor_wait(mi_monitor *monitor);                           /* until the next wake_all; the lock is held */
void mi_monitor_wait_for(mi_monitor *monitor, int32_t milliseconds); /* or until the time has passed (monotonic clock) */
void mi_monitor_wake_all(mi_monitor *monitor);

/* A joinable thread named `name` (15 characters are kept) that blocks every signal. Returns 0, or the error number. */
typedef struct mi_thread mi_thread;
int32_t mi_thread_start(mi_thread **thread, const char *name, void (*body)(void *context), void *context);
void mi_thread_join(mi_thread *thread);
void mi_thread_forget(mi_thread *thread); /* in a forked child, where the thread does not exist: frees the record */

#endif
