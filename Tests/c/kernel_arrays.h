/* Arrays for comparing a fast float32 kernel with the float64 reference: the same numbers in both precisions, guarded on both
 * sides, unaligned on purpose. */
#ifndef KERNEL_ARRAYS_H
#define KERNEL_ARRAYS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "mk_kernels.h"

enum { GUARD = 17 }; /* odd, so that the data are not aligned */
static const float GUARD_VALUE = 12345.678f;

typedef struct array {
    int64_t count;
    float *f, *first; /* first: the result of the first thread count, which the others must equal */
    double *d, floor; /* floor: size of the terms that cancelled in the result, when larger than the result itself */
    int runs;
} array;

static uint64_t array_state = 1;

static double next_uniform(void) {
    array_state = array_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(array_state >> 11) / 9007199254740992.0 * 2 - 1;
}

static inline array array_make(int64_t count, double scale, double shift) {
    array a = {count, malloc((size_t)(count + 2 * GUARD) * 4), malloc((size_t)count * 4 + 4), malloc((size_t)count * 8 + 8), 0, 0};
    for (int64_t i = 0; i < count + 2 * GUARD; i++) a.f[i] = GUARD_VALUE;
    a.f += GUARD;
    for (int64_t i = 0; i < count; i++) a.d[i] = a.f[i] = (float)(scale * next_uniform() + shift);
    return a;
}

/* `count` numbers in [-1, 1); about as often as not their sum cancels. */
static inline array input(int64_t count) { return array_make(count, 1, 0); }

static inline void array_free(array *a) {
    free(a->f - GUARD);
    free(a->first);
    free(a->d);
}

static inline void free_arrays(int count, array **arrays) {
    for (int i = 0; i < count; i++) array_free(arrays[i]);
}

#define FREE(...) free_arrays((int)(sizeof((array *[]){__VA_ARGS__}) / sizeof(array *)), (array *[]){__VA_ARGS__})

/* Checks a result against a->d, |error| <= tolerance (|expected| + root mean square of all or floor), that the guards stand, and that
 * every later run gives the same bits as the first. */
static inline void check_array(const char *kernel, const char *what, array *a, double tolerance) {
    double squares = 0;
    for (int i = 1; i <= GUARD; i++) {
        if (a->f[-i] != GUARD_VALUE || a->f[a->count + i - 1] != GUARD_VALUE) {
            CHECK_FAIL("%s: %s wrote outside of its array", kernel, what);
            return;
        }
    }
    if (a->runs++ > 0) {
        if (memcmp(a->f, a->first, (size_t)a->count * 4) != 0)
            CHECK_FAIL("%s: %s depends on the threads", kernel, what);
        else
            CHECK(1);
        return;
    }
    memcpy(a->first, a->f, (size_t)a->count * 4);
    for (int64_t i = 0; i < a->count; i++) squares += a->d[i] * a->d[i];
    double typical = a->count ? sqrt(squares / (double)a->count) : 0;
    if (typical < a->floor) typical = a->floor;
    for (int64_t i = 0; i < a->count; i++) {
        if (!(fabs(a->f[i] - a->d[i]) <= tolerance * (fabs(a->d[i]) + typical))) {
            CHECK_FAIL("%s: %s[%lld of %lld] is %.9g, expected %.9g", kernel, what, (long long)i, (long long)a->count, a->f[i], a->d[i]);
            return;
        }
    }
    CHECK(1);
}

/* Pools of 1, 2 and 3 threads, and one for the reference. */
enum { POOLS = 3 };
static mk_pool *pools[POOLS], *reference_pool;
static const mk_kernels *fast, *reference;

static inline void need(mk_scratch scratch, mk_scratch reference_scratch) {
    for (int i = 0; i < POOLS; i++) CHECK(mk_pool_reserve(pools[i], scratch.per_worker, scratch.shared) == 0);
    CHECK(mk_pool_reserve(reference_pool, reference_scratch.per_worker, reference_scratch.shared) == 0);
}

static inline void spoil(array *a) {
    for (int64_t i = 0; i < a->count; i++) a->f[i] = NAN;
}

/* Runs `call` with `p` as each pool in turn. */
#define ON_EACH_POOL(p, ...)                                  \
    for (int p##_index = 0; p##_index < POOLS; p##_index++) { \
        mk_pool *p = pools[p##_index];                        \
        __VA_ARGS__                                           \
    }

/* Rows and columns: none, one, odd ones, and more than a task takes. */
static const int64_t shapes[][2] = {{0, 5}, {1, 1}, {1, 17}, {3, 2}, {5, 33}, {64, 16}, {67, 192}, {130, 31}, {300, 129}, {4200, 20}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

/* Runs `tests` with the kernels of each instruction set that this processor has; the program's result. */
static int on_every_isa(void (*tests)(void), const char *name) {
    reference = mk_kernels_reference_float64();
    reference_pool = mk_pool_create(1);
    for (int i = 0; i < POOLS; i++) pools[i] = mk_pool_create(i + 1);
    for (int32_t isa = MK_ISA_BASELINE; isa <= MK_ISA_NEON; isa++) {
        if (!mk_isa_available(isa)) continue;
        fast = mk_kernels_float32(isa);
        CHECK(fast != NULL && fast->element_bytes == 4);
        printf("%s\n", fast->name);
        tests();
    }
    for (int i = 0; i < POOLS; i++) mk_pool_destroy(pools[i]);
    mk_pool_destroy(reference_pool);
    return check_result(name);
}

#endif
