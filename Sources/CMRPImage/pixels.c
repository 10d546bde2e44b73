#include "mi_pixels.h"

#include <string.h>

#include "kernels.h"

static inline const uint8_t *row(const mi_image *image, int64_t y) { return (const uint8_t *)image->pixels + y * image->row_bytes; }
static inline uint8_t *row_mutable(const mi_image *image, int64_t y) { return (uint8_t *)image->pixels + y * image->row_bytes; }

static inline int64_t reflect(int64_t i, int64_t count) {
    if (i < 0) i = -i;
    if (i >= count) i = 2 * (count - 1) - i;
    return i < 0 ? 0 : i; /* only when the window is wider than promised: stay inside the image */
}

void mi_crop_reflect(const mi_image *in, int64_t top, int64_t left, const mi_image *out) {
    const int64_t pixel = in->channels * mi_element_bytes(in->type);
    int64_t begin = left < 0 ? -left : 0, end = in->width - left;
    if (begin > out->width) begin = out->width;
    if (end > out->width) end = out->width;
    if (end < begin) end = begin;
    for (int64_t y = 0; y < out->height; y++) {
        const uint8_t *from = row(in, reflect(y + top, in->height));
        uint8_t *to = row_mutable(out, y);
        for (int64_t x = 0; x < begin; x++) memcpy(to + x * pixel, from + reflect(x + left, in->width) * pixel, (size_t)pixel);
        memcpy(to + begin * pixel, from + (begin + left) * pixel, (size_t)((end - begin) * pixel));
        for (int64_t x = end; x < out->width; x++) memcpy(to + x * pixel, from + reflect(x + left, in->width) * pixel, (size_t)pixel);
    }
}

#define FLIP(bytes) \
    for (int64_t x = 0; x < width; x++) memcpy(to + x * (bytes), from + (width - 1 - x) * (bytes), (size_t)(bytes));

void mi_flip_horizontal(const mi_image *in, const mi_image *out) {
    const int64_t pixel = in->channels * mi_element_bytes(in->type), width = in->width;
    for (int64_t y = 0; y < in->height; y++) {
        const uint8_t *from = row(in, y);
        uint8_t *to = row_mutable(out, y);
        switch (pixel) { /* constant sizes become moves */
        case 1: FLIP(1) break;
        case 2: FLIP(2) break;
        case 3: FLIP(3) break;
        case 4: FLIP(4) break;
        case 6: FLIP(6) break;
        case 12: FLIP(12) break;
        default: FLIP(pixel)
        }
    }
}

/* Source of the place (y, x) of the upright image: transposed first, then mirrored. */
void mi_orient(const mi_image *in, int32_t orientation, const mi_image *out) {
    const int64_t pixel = in->channels * mi_element_bytes(in->type);
    const int swaps = orientation >= 5;
    const int from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const int from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    for (int64_t y = 0; y < out->height; y++) {
        uint8_t *to = row_mutable(out, y);
        for (int64_t x = 0; x < out->width; x++, to += pixel) {
            const int64_t i = swaps ? x : y, j = swaps ? y : x;
            const uint8_t *from = row(in, from_below ? in->height - 1 - i : i) + (from_right ? in->width - 1 - j : j) * pixel;
            memcpy(to, from, (size_t)pixel);
        }
    }
}

#define INTERLEAVE(type)                                                             \
    for (int64_t c = 0; c < channels; c++)                                           \
        for (int64_t y = 0; y < out->height; y++) {                                  \
            const type *from = (const type *)planar + (c * out->height + y) * width; \
            type *to = (type *)row_mutable(out, y) + c;                              \
            for (int64_t x = 0; x < width; x++) to[x * channels] = from[x];          \
        }

void mi_interleave(const void *planar, const mi_image *out) {
    const int64_t width = out->width, channels = out->channels;
    if (out->type == MI_UINT8) {
        if (channels == 3) {
            for (int64_t y = 0; y < out->height; y++) {
                const uint8_t *a = (const uint8_t *)planar + y * width, *b = a + out->height * width, *c = b + out->height * width;
                uint8_t *to = row_mutable(out, y);
                for (int64_t x = 0; x < width; x++) to[3 * x] = a[x], to[3 * x + 1] = b[x], to[3 * x + 2] = c[x];
            }
        } else {
            INTERLEAVE(uint8_t)
        }
    } else if (out->type == MI_UINT16) {
        INTERLEAVE(uint16_t)
    } else {
        INTERLEAVE(float)
    }
}

#define CONVERT(type, luma)                                                                              \
    for (int64_t y = 0; y < in->height; y++) {                                                           \
        const type *from = (const type *)row(in, y);                                                     \
        type *to = (type *)row_mutable(out, y);                                                          \
        if (out->channels == 3)                                                                          \
            for (int64_t x = 0; x < in->width; x++) to[3 * x] = to[3 * x + 1] = to[3 * x + 2] = from[x]; \
        else                                                                                             \
            for (int64_t x = 0; x < in->width; x++) {                                                    \
                const type r = from[3 * x], g = from[3 * x + 1], b = from[3 * x + 2];                    \
                to[x] = (type)(luma);                                                                    \
            }                                                                                            \
    }

void mi_convert_channels(const mi_image *in, const mi_image *out) {
    if (in->type == MI_UINT8) {
        CONVERT(uint8_t, (r * 19595u + g * 38470u + b * 7471u + 0x8000u) >> 16)
    } else if (in->type == MI_UINT16) {
        CONVERT(uint16_t, (r * (uint64_t)19595 + g * (uint64_t)38470 + b * (uint64_t)7471 + 0x8000u) >> 16)
    } else {
        CONVERT(float, r * 0.299f + g * 0.587f + b * 0.114f)
    }
}

#define NORMALIZE(type)                                                                    \
    for (int64_t c = 0; c < channels; c++) {                                               \
        const float s = scale[c], t = shift[c];                                            \
        for (int64_t y = 0; y < in->height; y++) {                                         \
            const type *from = (const type *)row(in, y) + c;                               \
            float *to = planar + (c * in->height + y) * width;                             \
            for (int64_t x = 0; x < width; x++) to[x] = (float)from[x * channels] * s + t; \
        }                                                                                  \
    }

void mi_normalize(const mi_image *in, const float *scale, const float *shift, float *planar) {
    const int64_t channels = in->channels, width = in->width, plane = in->height * in->width;
    if (in->type == MI_UINT8) {
        const mi_kernel_table *kernels = mi_kernels();
        if (in->row_bytes == width * channels) {
            kernels->normalize_u8(in->pixels, plane, channels, scale, shift, planar, plane);
        } else {
            for (int64_t y = 0; y < in->height; y++)
                kernels->normalize_u8(row(in, y), width, channels, scale, shift, planar + y * width, plane);
        }
    } else if (in->type == MI_UINT16) {
        NORMALIZE(uint16_t)
    } else {
        NORMALIZE(float)
    }
}

/* Integers are summed exactly; a row of floats is summed in double. */
#define SUMS(type, wide)                                          \
    for (int64_t y = 0; y < in->height; y++) {                    \
        const type *values = (const type *)row(in, y);            \
        for (int64_t c = 0; c < channels; c++) {                  \
            wide sum = 0, square = 0;                             \
            for (int64_t x = 0; x < in->width; x++) {             \
                const wide v = values[x * channels + c];          \
                sum += v, square += v * v;                        \
            }                                                     \
            sums[c] += (double)sum, squares[c] += (double)square; \
        }                                                         \
    }

void mi_channel_sums(const mi_image *in, double *sums, double *squares) {
    const int64_t channels = in->channels;
    if (in->type == MI_UINT8) {
        SUMS(uint8_t, uint64_t)
    } else if (in->type == MI_UINT16) {
        SUMS(uint16_t, uint64_t)
    } else {
        SUMS(float, double)
    }
}

#define RANGE(type)                                                                                    \
    for (int64_t y = 0; y < in->height; y++) {                                                         \
        const type *values = (const type *)row(in, y);                                                 \
        type least = values[0], most = values[0];                                                      \
        for (int64_t x = 0; x < in->width * in->channels; x++)                                         \
            least = values[x] < least ? values[x] : least, most = values[x] > most ? values[x] : most; \
        if (y == 0 || (double)least < *low) *low = (double)least;                                      \
        if (y == 0 || (double)most > *high) *high = (double)most;                                      \
    }

void mi_range(const mi_image *in, double *low, double *high) {
    if (in->type == MI_UINT8) {
        RANGE(uint8_t)
    } else if (in->type == MI_UINT16) {
        RANGE(uint16_t)
    } else {
        RANGE(float)
    }
}

#define WIDEN(type) \
    for (int64_t x = 0; x < in->width; x++) out[y * in->width + x] = (int32_t)((const type *)row(in, y))[x];

void mi_ids_to_int32(const mi_image *in, int32_t *out) {
    for (int64_t y = 0; y < in->height; y++) {
        if (in->type == MI_UINT8) {
            WIDEN(uint8_t)
        } else if (in->type == MI_UINT16) {
            WIDEN(uint16_t)
        } else {
            WIDEN(int32_t)
        }
    }
}

int64_t mi_first_nonfinite(const float *values, int64_t count) {
    enum { BLOCK = 4096 };
    const uint32_t mask = 0x7f800000u;
    for (int64_t begin = 0; begin < count; begin += BLOCK) {
        const int64_t end = count - begin < BLOCK ? count : begin + BLOCK;
        uint32_t found = 0;
        for (int64_t i = begin; i < end; i++) {
            uint32_t bits;
            memcpy(&bits, values + i, 4);
            found |= (bits & mask) == mask;
        }
        if (!found) continue;
        for (int64_t i = begin; i < end; i++) {
            uint32_t bits;
            memcpy(&bits, values + i, 4);
            if ((bits & mask) == mask) return i;
        }
    }
    return -1;
}
