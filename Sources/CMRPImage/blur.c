/* ImageFilter.GaussianBlur: three box blurs along the rows, then three along the columns (Gwosdek et al. 2011), in Pillow's integers. */
#include "mi_adjust.h"

#include <math.h>

/* Byte columns that a block of the vertical passes has: a cache line. */
enum { BLOCK = 64, PASSES = 3 };

/* The radius of a box, of which PASSES in a row have the deviation of a Gaussian, in the precisions of Pillow. */
static float box_radius(float deviation) {
    const float square = deviation * deviation / PASSES;
    const float length = (float)sqrt(12.0 * square + 1.0);
    const float whole = (float)floor((length - 1.0) / 2.0);
    float part = (float)((2 * whole + 1) * (whole * (whole + 1) - 3.0 * square));
    part /= 6 * (square - (whole + 1) * (whole + 1));
    return whole + part;
}

typedef struct {
    int64_t radius;
    uint32_t inner, edge; /* weights of the 2 radius + 1 values around a place, and of the one beyond them on each side: 1 is 2^24 */
} box;

static box box_of(float deviation) {
    const float radius = box_radius(deviation);
    box b = {(int64_t)radius, (uint32_t)((float)(1 << 24) / (radius * 2 + 1)), 0};
    b.edge = (uint32_t)(((1 << 24) - (b.radius * 2 + 1) * (int64_t)b.inner) / 2);
    return b;
}

static inline int64_t inside(int64_t at, int64_t count) { return at < 0 ? 0 : at < count ? at : count - 1; }

/* One box blur along `count` places of `width` neighbouring bytes each, `pitch` bytes apart; beyond the ends the outermost values go on. */
static inline void pass(box b, int64_t count, int64_t width, const uint8_t *in, int64_t in_pitch, uint8_t *out, int64_t out_pitch) {
    uint32_t sums[BLOCK];
    for (int64_t c = 0; c < width; c++) sums[c] = in[c] * (uint32_t)(b.radius + 1);
    /* What lies before place 0, which the first step moves on. */
    for (int64_t at = 0; at < b.radius; at++) {
        const uint8_t *added = in + inside(at, count) * in_pitch;
        for (int64_t c = 0; c < width; c++) sums[c] += added[c];
    }
    for (int64_t at = 0; at < count; at++, out += out_pitch) {
        const uint8_t *removed = in + inside(at - b.radius - 1, count) * in_pitch, *added = in + inside(at + b.radius, count) * in_pitch;
        const uint8_t *after = in + inside(at + b.radius + 1, count) * in_pitch;
        for (int64_t c = 0; c < width; c++) {
            sums[c] += (uint32_t)added[c] - (uint32_t)removed[c];
            out[c] = (uint8_t)((sums[c] * b.inner + ((uint32_t)removed[c] + after[c]) * b.edge + (1u << 23)) >> 24);
        }
    }
}

/* The passes along a row of pixels; constant channels make the inner loops straight code. */
static void row_passes(box b, int64_t width, int64_t channels, const uint8_t *from, uint8_t *first, uint8_t *second, uint8_t *to) {
    if (channels == 3) {
        pass(b, width, 3, from, 3, first, 3), pass(b, width, 3, first, 3, second, 3), pass(b, width, 3, second, 3, to, 3);
    } else {
        pass(b, width, 1, from, 1, first, 1), pass(b, width, 1, first, 1, second, 1), pass(b, width, 1, second, 1, to, 1);
    }
}

int64_t mi_blur_scratch(int64_t height, int64_t width, int64_t channels) {
    const int64_t row = width * channels, block = height * BLOCK;
    return 2 * (row > block ? row : block);
}

void mi_gaussian_blur(const mi_image *in, float deviation, uint8_t *scratch, const mi_image *out) {
    const int64_t height = in->height, width = in->width, channels = in->channels, bytes = width * channels;
    const box b = box_of(deviation);
    uint8_t *first = scratch, *second = scratch + mi_blur_scratch(height, width, channels) / 2;
    for (int64_t y = 0; y < height; y++) {
        const uint8_t *from = (const uint8_t *)in->pixels + y * in->row_bytes;
        uint8_t *to = (uint8_t *)out->pixels + y * out->row_bytes;
        row_passes(b, width, channels, from, first, second, to);
    }
    for (int64_t x = 0; x < bytes; x += BLOCK) {
        const int64_t block = bytes - x < BLOCK ? bytes - x : BLOCK;
        uint8_t *columns = (uint8_t *)out->pixels + x;
        pass(b, height, block, columns, out->row_bytes, first, BLOCK);
        pass(b, height, block, first, BLOCK, second, BLOCK);
        pass(b, height, block, second, BLOCK, columns, out->row_bytes);
    }
}
