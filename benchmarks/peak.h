/* What the benchmarks of kernels share: a clock, and the rate of multiply-adds that one core reaches at most. */
#ifndef PEAK_H
#define PEAK_H

#include <stdint.h>
#include <string.h>
#include <time.h>

/* Time on the processor: what other processes take does not count. With several threads a program sets another clock. */
static clockid_t clock_used = CLOCK_THREAD_CPUTIME_ID;

static double now(void) {
    struct timespec t;
    clock_gettime(clock_used, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Operations per second of 12 independent chains of v = v * factor + term in registers: enough to hide the latency on every core of today,
 * few enough for 16 registers. */
#define PEAK_LOOP(name, width, fused)                                                         \
    static double name(int64_t rounds) {                                                      \
        enum { CHAINS = 12 };                                                                 \
        typedef float vector __attribute__((vector_size(4 * width)));                         \
        vector v[CHAINS], factor = (vector){0} + 0.999f, term = (vector){0} + 0.001f;         \
        for (int i = 0; i < CHAINS; ++i) v[i] = (vector){0} + (float)i;                       \
        double start = now();                                                                 \
        for (int64_t r = 0; r < rounds; ++r) {                                                \
            _Pragma("clang loop unroll(full)") for (int i = 0; i < CHAINS; ++i) v[i] =        \
                fused ? __builtin_elementwise_fma(v[i], factor, term) : v[i] * factor + term; \
            __asm__ volatile("" : : : "memory");                                              \
        }                                                                                     \
        double seconds = now() - start;                                                       \
        vector sum = v[0];                                                                    \
        for (int i = 1; i < CHAINS; ++i) sum += v[i];                                         \
        volatile float sink = sum[0];                                                         \
        (void)sink;                                                                           \
        return 2.0 * width * CHAINS * (double)rounds / seconds;                               \
    }

#if defined(__x86_64__)
PEAK_LOOP(peak_baseline, 4, 0)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
PEAK_LOOP(peak_avx2, 8, 1)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,fma"))), apply_to = function)
PEAK_LOOP(peak_avx512, 16, 1)
#pragma clang attribute pop
#else
PEAK_LOOP(peak_baseline, 4, 1)
#endif

/* One measurement of a fraction of a millisecond. `isa`: the name of a table of kernels. On a shared machine the speed changes from one
 * moment to the next: measure beside what it is compared with. */
static double peak_flops(const char *isa) {
#if defined(__x86_64__)
    if (strcmp(isa, "avx512") == 0) return peak_avx512(100000);
    if (strcmp(isa, "avx2") == 0) return peak_avx2(100000);
#else
    (void)isa;
#endif
    return peak_baseline(100000);
}

#endif
