/* Calls without memory, and calls that the host stops. After small.h; the program gives `allocate` and `release` to mrp_set_allocator. */
#ifndef FAILING_H
#define FAILING_H

#include <time.h>

static int allocations_fail;

static inline void *allocate(size_t bytes, size_t alignment, void *user) {
    void *memory = NULL;
    (void)user;
    return !allocations_fail && posix_memalign(&memory, alignment, bytes ? bytes : 1) == 0 ? memory : NULL;
}
static inline void release(void *memory, size_t bytes, void *user) {
    (void)bytes, (void)user;
    free(memory);
}
#define FAILS_WITHOUT_MEMORY(call)                           \
    do {                                                     \
        allocations_fail = 1;                                \
        const mrp_status status_ = (call);                   \
        allocations_fail = 0;                                \
        fails(status_, MRP_ERR_MEMORY, "", #call, __LINE__); \
    } while (0)

/* The library asks its host 20 ms after the last time at the earliest: each call begins when it is due. */
static inline void pass(void) {
    const struct timespec time = {0, 25000000};
    nanosleep(&time, NULL);
}
#define STOPS(call) (pass(), fails((call), MRP_CANCELLED, "", #call, __LINE__))

#endif
