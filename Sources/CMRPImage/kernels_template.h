/* The inner loops of kernels.h. Included by kernels_*.c, one for each instruction set, with MI_TABLE defined: the table's linkage name. */
#include "kernels.h"

#include <string.h>

/* The package says so too; this is for other builds. */
#pragma STDC FP_CONTRACT OFF

typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef int32_t ints16 __attribute__((vector_size(64)));
typedef float floats16 __attribute__((vector_size(64)));
typedef float floats8 __attribute__((vector_size(32)));

static inline bytes16 load16(const uint8_t *p) {
    bytes16 v;
    memcpy(&v, p, 16);
    return v;
}

/* 16 values times s plus t. */
static inline void scale_shift(const bytes16 *in, float s, float t, float *out) {
    const floats16 v = __builtin_convertvector(*in, floats16) * s + t;
    memcpy(out, &v, sizeof v);
}

static void normalize_u8(const uint8_t *restrict in, int64_t pixels, int64_t channels, const float *restrict scale,
                         const float *restrict shift, float *restrict out, int64_t plane) {
    if (channels == 3) {
        int64_t i = 0;
        for (; i + 16 <= pixels; i += 16) { /* 48 bytes RGBRGB... to 16 of each colour */
            const bytes16 a = load16(in + 3 * i), b = load16(in + 3 * i + 16), c = load16(in + 3 * i + 32);
            bytes16 r = __builtin_shufflevector(a, b, 0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0, 0, 0, 0, 0);
            bytes16 g = __builtin_shufflevector(a, b, 1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 0, 0, 0, 0, 0);
            bytes16 l = __builtin_shufflevector(a, b, 2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0, 0, 0, 0, 0, 0);
            r = __builtin_shufflevector(r, c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29);
            g = __builtin_shufflevector(g, c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 18, 21, 24, 27, 30);
            l = __builtin_shufflevector(l, c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19, 22, 25, 28, 31);
            scale_shift(&r, scale[0], shift[0], out + i);
            scale_shift(&g, scale[1], shift[1], out + plane + i);
            scale_shift(&l, scale[2], shift[2], out + 2 * plane + i);
        }
        for (; i < pixels; i++)
            for (int64_t c = 0; c < 3; c++) out[c * plane + i] = (float)in[3 * i + c] * scale[c] + shift[c];
    } else if (channels == 1) {
        const float s = scale[0], t = shift[0];
        for (int64_t i = 0; i < pixels; i++) out[i] = (float)in[i] * s + t;
    } else {
        for (int64_t c = 0; c < channels; c++) {
            const float s = scale[c], t = shift[c];
            for (int64_t i = 0; i < pixels; i++) out[c * plane + i] = (float)in[i * channels + c] * s + t;
        }
    }
}

/* Rounds down the fixed-point sums, whose half was added before, and limits them to 0 ... 255. */
static inline void store_clipped(const ints16 *sum, uint8_t *out) {
    ints16 v = *sum >> MI_PRECISION, zero = {0}, top = zero + 255;
    v &= ~(v < zero);
    ints16 over = v > top;
    v = (v & ~over) | (top & over);
    bytes16 bytes = __builtin_convertvector(v, bytes16);
    memcpy(out, &bytes, 16);
}

static void horizontal_u8(const uint8_t *restrict in, int64_t channels, int64_t out_columns, const int32_t *restrict bounds,
                          const int32_t *restrict weights, int64_t taps, uint8_t *restrict out) {
    const ints16 half = (ints16){0} + (1 << (MI_PRECISION - 1));
    for (int64_t x = 0; x < out_columns; x++) {
        const int64_t first = bounds[2 * x], count = bounds[2 * x + 1];
        const int32_t *restrict w = weights + x * taps;
        for (int64_t c = 0; c < channels; c++) {
            const uint8_t *restrict p = in + (first * channels + c) * MI_ROWS;
            ints16 sum = half;
            for (int64_t k = 0; k < count; k++) sum += __builtin_convertvector(load16(p + k * channels * MI_ROWS), ints16) * w[k];
            store_clipped(&sum, out + (x * channels + c) * MI_ROWS);
        }
    }
}

static void horizontal_float(const float *restrict in, int64_t channels, int64_t out_columns, const int32_t *restrict bounds,
                             const float *restrict weights, int64_t taps, float *restrict out) {
    for (int64_t x = 0; x < out_columns; x++) {
        const int64_t first = bounds[2 * x], count = bounds[2 * x + 1];
        const float *restrict w = weights + x * taps;
        for (int64_t c = 0; c < channels; c++) {
            floats8 sum = {0}, v;
            for (int64_t k = 0; k < count; k++) {
                memcpy(&v, in + ((first + k) * channels + c) * MI_FLOAT_ROWS, sizeof v);
                sum += v * w[k];
            }
            memcpy(out + (x * channels + c) * MI_FLOAT_ROWS, &sum, sizeof sum);
        }
    }
}

static void vertical_u8(const uint8_t *restrict rows, int64_t row_stride, int64_t count, const int32_t *restrict weights, int64_t width,
                        uint8_t *restrict out) {
    const ints16 half = (ints16){0} + (1 << (MI_PRECISION - 1));
    int64_t x = 0;
    for (; x + 32 <= width; x += 32) {
        ints16 a = half, b = half;
        for (int64_t k = 0; k < count; k++) {
            const uint8_t *p = rows + k * row_stride + x;
            a += __builtin_convertvector(load16(p), ints16) * weights[k];
            b += __builtin_convertvector(load16(p + 16), ints16) * weights[k];
        }
        store_clipped(&a, out + x);
        store_clipped(&b, out + x + 16);
    }
    for (; x < width; x++) {
        int32_t sum = 1 << (MI_PRECISION - 1);
        for (int64_t k = 0; k < count; k++) sum += rows[k * row_stride + x] * weights[k];
        sum >>= MI_PRECISION;
        out[x] = (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
    }
}

static void vertical_float(const float *restrict rows, int64_t row_stride, int64_t count, const float *restrict weights, int64_t width,
                           float *restrict out) {
    for (int64_t x = 0; x < width; x++) out[x] = rows[x] * weights[0];
    for (int64_t k = 1; k < count; k++) {
        const float *restrict row = rows + k * row_stride;
        const float w = weights[k];
        for (int64_t x = 0; x < width; x++) out[x] += row[x] * w;
    }
}

/* 16 x 16 bytes: four rounds of interleaving row i with row i + 8 are a transposition. */
static inline void transpose_block(bytes16 *v) {
    bytes16 t[16];
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 8; i++) {
            t[2 * i] = __builtin_shufflevector(v[i], v[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            t[2 * i + 1] = __builtin_shufflevector(v[i], v[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        memcpy(v, t, sizeof t);
    }
}

static void transpose_in(const uint8_t *const *rows, int64_t width, uint8_t *restrict out) {
    bytes16 v[16];
    int64_t x = 0;
    for (; x + 16 <= width; x += 16) {
        for (int i = 0; i < 16; i++) v[i] = load16(rows[i] + x);
        transpose_block(v);
        memcpy(out + x * MI_ROWS, v, sizeof v);
    }
    for (; x < width; x++)
        for (int i = 0; i < MI_ROWS; i++) out[x * MI_ROWS + i] = rows[i][x];
}

static void transpose_out(const uint8_t *restrict in, int64_t width, uint8_t *const *rows) {
    bytes16 v[16];
    int64_t x = 0;
    for (; x + 16 <= width; x += 16) {
        memcpy(v, in + x * MI_ROWS, sizeof v);
        transpose_block(v);
        for (int i = 0; i < 16; i++) memcpy(rows[i] + x, &v[i], 16);
    }
    for (; x < width; x++)
        for (int i = 0; i < MI_ROWS; i++) rows[i][x] = in[x * MI_ROWS + i];
}

const mi_kernel_table MI_TABLE = {
    normalize_u8, horizontal_u8, horizontal_float, vertical_u8, vertical_float, transpose_in, transpose_out,
};
