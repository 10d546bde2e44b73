/* Shared by the kernels: loops over vectors with a masked rest, and the cutting of work into tasks by its shape. */
#ifndef MK_LOOPS_H
#define MK_LOOPS_H

#include <math.h>

#include "mk_kernels.h"
#include "simd.h"

/* Runs the body with `i` at every whole vector of `count` values and n = MK_WIDTH, then once for the rest with n < MK_WIDTH.
 * The body loads and stores by vf_load_part and vf_store_part, which cost nothing extra while n is the constant. */
#define MK_EACH_VECTOR(i, n, count, ...)                   \
    do {                                                   \
        int64_t i = 0, i##_count = (count);                \
        for (; i + MK_WIDTH <= i##_count; i += MK_WIDTH) { \
            const int64_t n = MK_WIDTH;                    \
            (void)n;                                       \
            __VA_ARGS__                                    \
        }                                                  \
        if (i < i##_count) {                               \
            const int64_t n = i##_count - i;               \
            (void)n;                                       \
            __VA_ARGS__                                    \
        }                                                  \
    } while (0)

MK_INLINE vf vf_load_part(const float *from, int64_t n) { return n == MK_WIDTH ? vf_load(from) : vf_load_n(from, n); }

MK_INLINE void vf_store_part(float *to, vf v, int64_t n) {
    if (n == MK_WIDTH) {
        vf_store(to, v);
    } else {
        vf_store_n(to, v, n);
    }
}

/* v in the first n lanes, `rest` in the others. */
MK_INLINE vf vf_keep_first(vf v, int64_t n, float rest) {
#if MK_WIDTH == 16
    const vi lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#elif MK_WIDTH == 8
    const vi lanes = {0, 1, 2, 3, 4, 5, 6, 7};
#else
    const vi lanes = {0, 1, 2, 3};
#endif
    return n == MK_WIDTH ? v : vf_select(lanes < (int32_t)n, v, vf_splat(rest));
}

/* The larger of each pair; a NaN in v is passed over, because exp(NaN - largest) brings it back. */
MK_INLINE vf vf_larger(vf largest, vf v) { return vf_max(v, largest); }

/* relu 0: v, 1: max(0, v), 6: min(max(0, v), 6); NaN stays. */
MK_INLINE vf vf_relu(vf v, int32_t relu) {
    if (!relu) return v;
    return vf_min(vf_splat(relu == 6 ? 6.0f : __builtin_inff()), vf_max(vf_splat(0), v));
}

/* Largest lane, NaN passed over. */
MK_INLINE float vf_largest_lane(vf v) {
#if MK_WIDTH == 16
    v = vf_max(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    v = vf_max(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
#elif MK_WIDTH == 8
    v = vf_max(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3));
#endif
    float a = v[0] > v[1] ? v[0] : v[1], b = v[2] > v[3] ? v[2] : v[3];
    return a > b ? a : b;
}

MK_INLINE void mk_copy(float *to, const float *from, int64_t count) {
    MK_EACH_VECTOR(i, n, count, { vf_store_part(to + i, vf_load_part(from + i, n), n); });
}

MK_INLINE void mk_zero(float *to, int64_t count) {
    MK_EACH_VECTOR(i, n, count, { vf_store_part(to + i, vf_splat(0), n); });
}

MK_INLINE void mk_accumulate(float *to, const float *from, int64_t count) {
    MK_EACH_VECTOR(i, n, count, { vf_store_part(to + i, vf_load_part(to + i, n) + vf_load_part(from + i, n), n); });
}

MK_INLINE int64_t mk_least(int64_t a, int64_t b) { return a < b ? a : b; }

MK_INLINE int64_t mk_ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Values that one task of a memory-bound kernel handles: 64 KiB of float32, small beside a cache, large beside a task's cost. */
enum { MK_TASK_VALUES = 16384 };

/* Values of which lanes add at most 64 in float before they go over to double. */
enum { MK_SUM_RUN = 64 * MK_WIDTH };

MK_INLINE int64_t mk_rows_per_task(int64_t width) {
    int64_t rows = MK_TASK_VALUES / (width > 0 ? width : 1);
    return rows > 0 ? rows : 1;
}

/* A sum over rows is cut into at most 64 blocks of at least 64 rows; each block has its own partial sum. */
MK_INLINE int64_t mk_block_rows(int64_t rows) {
    int64_t block = mk_ceil_divide(rows, 64);
    return block > 64 ? block : 64;
}

MK_INLINE int64_t mk_blocks(int64_t rows) { return mk_ceil_divide(rows, mk_block_rows(rows)); }

/* out[width] = sum of `blocks` partial sums, which lie `stride` apart, in order. */
MK_INLINE void mk_sum_blocks(int64_t blocks, int64_t stride, int64_t width, const float *partial, float *out) {
    MK_EACH_VECTOR(c, n, width, {
        vf sum = vf_splat(0);
        for (int64_t block = 0; block < blocks; block++) sum += vf_load_part(partial + block * stride + c, n);
        vf_store_part(out + c, sum, n);
    });
}

#endif
