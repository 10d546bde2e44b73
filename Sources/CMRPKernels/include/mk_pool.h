/* A small pthread pool. No thread exists until the first parallel run; a pool of one thread never creates any; a forked child
 * builds its own threads on first use. Work is cut into tasks by the shape of the problem, never by the number of threads, so
 * results do not depend on that number. */
#ifndef MK_POOL_H
#define MK_POOL_H

#include <stdint.h>

typedef struct mk_pool mk_pool;

/* `index` is the task, 0 ..< tasks; `worker` is 0 ..< mk_pool_threads, unique among the tasks that run at the same time. */
typedef void (*mk_task)(void *context, int64_t index, int32_t worker);

mk_pool *mk_pool_create(int32_t threads); /* threads 1 ... 1024; NULL when memory is short or threads is out of range */
void mk_pool_destroy(mk_pool *pool);      /* NULL is allowed; joins the threads (not in a forked child, which has none) */
int32_t mk_pool_threads(const mk_pool *pool);

/* Runs every task and returns when all are done. If threads cannot be created, the calling thread does the work alone. One run
 * at a time per pool; tasks must not call mk_pool_run on the same pool. */
void mk_pool_run(mk_pool *pool, int64_t tasks, mk_task task, void *context);

/* While *flag is nonzero, tasks that have not begun are skipped (the results are then meaningless). NULL: never. */
void mk_pool_set_cancel_flag(mk_pool *pool, const int32_t *flag);
int32_t mk_pool_cancelled(const mk_pool *pool);

/* Access to a flag that another thread polls. */
static inline void mk_flag_store(int32_t *flag, int32_t value) { __atomic_store_n(flag, value, __ATOMIC_RELAXED); }
static inline int32_t mk_flag_load(const int32_t *flag) { return __atomic_load_n(flag, __ATOMIC_RELAXED); }

/* Scratch memory, reserved before the first step so that no kernel allocates: `bytes_per_worker` for each worker and
 * `bytes_shared` once. Grows only. Returns 0, or -1 when memory is short (what was reserved before stays valid). */
int32_t mk_pool_reserve(mk_pool *pool, int64_t bytes_per_worker, int64_t bytes_shared);
void *mk_pool_scratch(mk_pool *pool, int32_t worker); /* MK_ALIGNMENT-aligned */
void *mk_pool_shared(mk_pool *pool);

#endif
