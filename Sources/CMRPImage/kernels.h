/* The inner loops that gain from wide vectors: kernels_template.h is compiled once per instruction set, and the best that this CPU runs is
 * chosen at the first call. All give the same bits. */
#ifndef MI_KERNELS_H
#define MI_KERNELS_H

#include <stdint.h>

enum {
    MI_ROWS = 16, /* rows that the horizontal pass takes together */
    MI_FLOAT_ROWS = 8,
    MI_PRECISION = 22, /* fractional bits of 8-bit resampling weights, as Pillow: 32 - 8 - 2 */
};

typedef struct mi_kernel_table {
    void (*normalize_u8)(const uint8_t *in, int64_t pixels, int64_t channels, const float *scale, const float *shift, float *out,
                         int64_t plane);
    /* `in` is columns x channels x MI_ROWS; `out` out_columns x channels x MI_ROWS. bounds: (first, count) per output column. */
    void (*horizontal_u8)(const uint8_t *in, int64_t channels, int64_t out_columns, const int32_t *bounds, const int32_t *weights,
                          int64_t taps, uint8_t *out);
    void (*horizontal_float)(const float *in, int64_t channels, int64_t out_columns, const int32_t *bounds, const float *weights,
                             int64_t taps, float *out);
    /* out[x] = sum_k weights[k] rows[k * row_stride + x]. */
    void (*vertical_u8)(const uint8_t *rows, int64_t row_stride, int64_t count, const int32_t *weights, int64_t width, uint8_t *out);
    void (*vertical_float)(const float *rows, int64_t row_stride, int64_t count, const float *weights, int64_t width, float *out);
    /* MI_ROWS rows of `width` bytes to width x MI_ROWS, and back. */
    void (*transpose_in)(const uint8_t *const *rows, int64_t width, uint8_t *out);
    void (*transpose_out)(const uint8_t *in, int64_t width, uint8_t *const *rows);
} mi_kernel_table;

const mi_kernel_table *mi_kernels(void);

/* For tests: 0 baseline, 1 AVX2, 2 AVX-512; -1 restores the best. Returns 0 when this CPU cannot run it. */
int32_t mi_kernels_select(int32_t isa);

#endif
