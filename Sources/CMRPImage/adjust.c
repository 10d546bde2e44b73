#include "mi_adjust.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline const uint8_t *row(const mi_image *image, int64_t y) { return (const uint8_t *)image->pixels + y * image->row_bytes; }
static inline uint8_t *row_mutable(const mi_image *image, int64_t y) { return (uint8_t *)image->pixels + y * image->row_bytes; }

/* ---- Tables */

void mi_histogram(const mi_image *in, int64_t *counts) {
    const int64_t channels = in->channels;
    memset(counts, 0, (size_t)channels * 256 * sizeof *counts);
    for (int64_t y = 0; y < in->height; y++) {
        const uint8_t *at = row(in, y);
        for (int64_t x = 0; x < in->width; x++)
            for (int64_t c = 0; c < channels; c++) counts[256 * c + *at++]++;
    }
}

void mi_apply_tables(const mi_image *in, const uint8_t *tables, const mi_image *out) {
    const int64_t channels = in->channels;
    for (int64_t y = 0; y < in->height; y++) {
        const uint8_t *from = row(in, y);
        uint8_t *to = row_mutable(out, y);
        if (channels == 3) {
            for (int64_t x = 0; x < in->width; x++, from += 3, to += 3)
                to[0] = tables[from[0]], to[1] = tables[256 + from[1]], to[2] = tables[512 + from[2]];
        } else {
            for (int64_t x = 0; x < in->width; x++)
                for (int64_t c = 0; c < channels; c++) *to++ = tables[256 * c + *from++];
        }
    }
}

static void identity(uint8_t *table) {
    for (int v = 0; v < 256; v++) table[v] = (uint8_t)v;
}

void mi_table_autocontrast(const int64_t *counts, uint8_t *table) {
    int low = 0, high = 255;
    while (low < 255 && counts[low] == 0) low++;
    while (high > 0 && counts[high] == 0) high--;
    if (high <= low) {
        identity(table);
        return;
    }
    const double scale = 255.0 / (high - low), offset = -low * scale;
    for (int v = 0; v < 256; v++) {
        const int scaled = (int)(v * scale + offset);
        table[v] = (uint8_t)(scaled < 0 ? 0 : scaled > 255 ? 255 : scaled);
    }
}

void mi_table_equalize(const int64_t *counts, uint8_t *table) {
    int64_t total = 0, last = 0, used = 0;
    for (int v = 0; v < 256; v++) {
        total += counts[v];
        if (counts[v] > 0) last = counts[v], used++;
    }
    const int64_t step = (total - last) / 255;
    if (used <= 1 || step == 0) {
        identity(table);
        return;
    }
    int64_t n = step / 2;
    for (int v = 0; v < 256; v++) {
        const int64_t value = n / step;
        table[v] = (uint8_t)(value > 255 ? 255 : value);
        n += counts[v];
    }
}

/* Image.blend: cut off to bytes between the two, clipped beyond them. */
static inline uint8_t blend(int from, int to, float factor) {
    const float value = (float)from + factor * (float)(to - from);
    return value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)value;
}

void mi_table_blend(int32_t constant, float factor, uint8_t *table) {
    for (int v = 0; v < 256; v++) table[v] = blend(constant, v, factor);
}

/* ---- Colours */

static inline int luma(const uint8_t *rgb) { return (int)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16); }

int32_t mi_mean_gray(const mi_image *in) {
    int64_t sum = 0;
    for (int64_t y = 0; y < in->height; y++) {
        const uint8_t *at = row(in, y);
        for (int64_t x = 0; x < in->width; x++, at += in->channels) sum += in->channels == 3 ? luma(at) : at[0];
    }
    return (int32_t)((double)sum / (double)(in->height * in->width) + 0.5);
}

void mi_blend_gray(const mi_image *in, float factor, const mi_image *out) {
    for (int64_t y = 0; y < in->height; y++) {
        const uint8_t *from = row(in, y);
        uint8_t *to = row_mutable(out, y);
        for (int64_t x = 0; x < in->width; x++, from += 3, to += 3) {
            const int gray = luma(from);
            for (int c = 0; c < 3; c++) to[c] = blend(gray, from[c], factor);
        }
    }
}

/* A pixel as Image.convert("HSV") has it, in Pillow's precisions: floats that doubles are rounded to. */
static inline void to_hsv(const uint8_t *rgb, uint8_t *hsv) {
    const int r = rgb[0], g = rgb[1], b = rgb[2];
    const int most = r > g ? (r > b ? r : b) : (g > b ? g : b), least = r < g ? (r < b ? r : b) : (g < b ? g : b);
    hsv[0] = hsv[1] = 0;
    hsv[2] = (uint8_t)most;
    if (most == least) return;
    const float range = (float)(most - least);
    const float saturation = range / (float)most;
    const float red = (float)(most - r) / range, green = (float)(most - g) / range, blue = (float)(most - b) / range;
    float hue = r == most ? blue - green : g == most ? (float)(2.0 + red - blue) : (float)(4.0 + green - red);
    const double turns = hue / 6.0 + 1.0; /* 5/6 ... 11/6 */
    hue = (float)(turns >= 1 ? turns - 1 : turns);
    hsv[0] = (uint8_t)(hue * 255.0);
    hsv[1] = (uint8_t)(saturation * 255.0);
}

/* From HSV back to RGB; values are rounded, halves up. */
static inline void from_hsv(const uint8_t *hsv, uint8_t *rgb) {
    const double turn = hsv[0] * 6.0 / 255.0, value = hsv[2];
    const int sector = (int)turn;
    const float rest = (float)(turn - sector), saturation = (float)(hsv[1] / 255.0);
    const uint8_t v = hsv[2], low = (uint8_t)(value * (1.0 - saturation) + 0.5),
                  falling = (uint8_t)(value * (1.0 - saturation * rest) + 0.5),
                  rising = (uint8_t)(value * (1.0 - saturation * (1.0 - rest)) + 0.5);
    switch (hsv[1] == 0 ? -1 : sector % 6) {
    case -1: rgb[0] = rgb[1] = rgb[2] = v; break;
    case 0: rgb[0] = v, rgb[1] = rising, rgb[2] = low; break;
    case 1: rgb[0] = falling, rgb[1] = v, rgb[2] = low; break;
    case 2: rgb[0] = low, rgb[1] = v, rgb[2] = rising; break;
    case 3: rgb[0] = low, rgb[1] = falling, rgb[2] = v; break;
    case 4: rgb[0] = rising, rgb[1] = low, rgb[2] = v; break;
    default: rgb[0] = v, rgb[1] = low, rgb[2] = falling; break;
    }
}

void mi_turn_hue(const mi_image *in, uint8_t turn, const mi_image *out) {
    for (int64_t y = 0; y < in->height; y++) {
        const uint8_t *from = row(in, y);
        uint8_t *to = row_mutable(out, y);
        for (int64_t x = 0; x < in->width; x++, from += 3, to += 3) {
            uint8_t hsv[3];
            to_hsv(from, hsv);
            hsv[0] = (uint8_t)(hsv[0] + turn);
            from_hsv(hsv, to);
        }
    }
}

/* ---- Neighbours */

/* ImageFilter.SMOOTH: ones and a five in the middle, divided by 13. The sum plus 13 / 2 is never a multiple of 13, so that Pillow's
 * floats give the same. */
static inline int smooth(const uint8_t *above, const uint8_t *here, const uint8_t *below, int64_t i, int64_t step) {
    const int sum = above[i - step] + above[i] + above[i + step] + here[i - step] + 5 * here[i] + here[i + step] + below[i - step] +
                    below[i] + below[i + step];
    return (2 * sum + 13) / 26;
}

void mi_sharpen(const mi_image *in, float factor, const mi_image *out) {
    const int64_t step = in->channels, values = in->width * step;
    for (int64_t y = 0; y < in->height; y++) {
        const uint8_t *here = row(in, y);
        uint8_t *to = row_mutable(out, y);
        memcpy(to, here, (size_t)values);
        if (y == 0 || y == in->height - 1) continue;
        const uint8_t *above = row(in, y - 1), *below = row(in, y + 1);
        for (int64_t i = step; i < values - step; i++) to[i] = blend(smooth(above, here, below, i, step), here[i], factor);
    }
}

/* ---- Affine maps */

/* Keys' cubic with a = -1 through four values, at d between the second and the third. */
static inline double cubic(double v1, double v2, double v3, double v4, double d) {
    const double p1 = v2, p2 = -v1 + v3, p3 = 2 * (v1 - v2) + v3 - v4, p4 = -v1 + v2 - v3 + v4;
    return p1 + d * (p2 + d * (p3 + d * p4));
}

static inline int64_t clamp(int64_t i, int64_t count) { return i < 0 ? 0 : i >= count ? count - 1 : i; }

void mi_affine(const mi_image *in, const double m[6], const uint8_t *fill, const mi_image *out) {
    const int64_t channels = in->channels, width = in->width, height = in->height;
    for (int64_t y = 0; y < out->height; y++) {
        uint8_t *to = row_mutable(out, y);
        for (int64_t x = 0; x < out->width; x++, to += channels) {
            const double px = (double)x + 0.5, py = (double)y + 0.5;
            double sx = m[0] * px + m[1] * py + m[2], sy = m[3] * px + m[4] * py + m[5];
            if (!(sx >= 0 && sx < (double)width && sy >= 0 && sy < (double)height)) {
                memcpy(to, fill, (size_t)channels);
                continue;
            }
            sx -= 0.5, sy -= 0.5;
            const double fx = floor(sx), fy = floor(sy), dx = sx - fx, dy = sy - fy;
            const int64_t left = (int64_t)fx - 1, top = (int64_t)fy - 1;
            int64_t columns[4];
            const uint8_t *rows[4];
            for (int k = 0; k < 4; k++) {
                columns[k] = clamp(left + k, width) * channels;
                rows[k] = row(in, clamp(top + k, height));
            }
            for (int64_t c = 0; c < channels; c++) {
                double v[4];
                for (int k = 0; k < 4; k++) {
                    const uint8_t *r = rows[k] + c;
                    v[k] = cubic(r[columns[0]], r[columns[1]], r[columns[2]], r[columns[3]], dx);
                }
                const double value = cubic(v[0], v[1], v[2], v[3], dy);
                to[c] = value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)value;
            }
        }
    }
}

void mi_affine_nearest(const mi_image *in, const double m[6], int32_t fill, const mi_image *out) {
    const int64_t pixel = mi_element_bytes(in->type);
    const uint8_t small = (uint8_t)fill;
    const uint16_t medium = (uint16_t)fill;
    const void *outside = in->type == MI_UINT8 ? (const void *)&small : in->type == MI_UINT16 ? (const void *)&medium : &fill;
    for (int64_t y = 0; y < out->height; y++) {
        uint8_t *to = row_mutable(out, y);
        for (int64_t x = 0; x < out->width; x++, to += pixel) {
            const double px = (double)x + 0.5, py = (double)y + 0.5;
            const double sx = m[0] * px + m[1] * py + m[2], sy = m[3] * px + m[4] * py + m[5];
            const int inside = sx >= 0 && sx < (double)in->width && sy >= 0 && sy < (double)in->height;
            memcpy(to, inside ? row(in, (int64_t)sy) + (int64_t)sx * pixel : outside, (size_t)pixel);
        }
    }
}

/* To 15 decimals as Python rounds: through the decimal digits. */
static double rounded(double value) {
    char text[40];
    snprintf(text, sizeof text, "%.15f", value);
    return strtod(text, NULL);
}

void mi_rotation(double degrees, int64_t width, int64_t height, double m[6]) {
    double turned = fmod(degrees, 360);
    if (turned < 0) turned += 360;
    const double angle = -(turned * (3.14159265358979323846 / 180)), cx = (double)width / 2, cy = (double)height / 2;
    m[0] = m[4] = rounded(cos(angle));
    m[1] = rounded(sin(angle));
    m[3] = rounded(-sin(angle));
    m[2] = m[0] * -cx + m[1] * -cy + 0 + cx;
    m[5] = m[3] * -cx + m[4] * -cy + 0 + cy;
}

/* ---- Batches */

void mi_mix(float *a, float *b, int64_t count, float share) {
    const float rest = (float)(1 - (double)share);
    for (int64_t i = 0; i < count; i++) {
        const float x = a[i], y = b[i];
        a[i] = x * share + y * rest;
        b[i] = y * share + x * rest;
    }
}

void mi_exchange(float *a, float *b, int64_t channels, int64_t height, int64_t width, int64_t top, int64_t left, int64_t rows,
                 int64_t columns) {
    for (int64_t c = 0; c < channels; c++)
        for (int64_t y = top; y < top + rows; y++) {
            float *x = a + (c * height + y) * width + left, *z = b + (c * height + y) * width + left;
            for (int64_t i = 0; i < columns; i++) {
                const float kept = x[i];
                x[i] = z[i];
                z[i] = kept;
            }
        }
}
