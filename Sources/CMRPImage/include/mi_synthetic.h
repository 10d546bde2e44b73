/* Generated images for demonstrations and tests: the image form of multi-view data (Allen-Zhu & Li 2020; Pan, Zhou & Yan 2022).
 * Each class has two independent discriminative parts. A multi-view image shows both, a single-view image one. A part is a glyph
 * with a texture in two colours; every shape, texture and colour pair belongs to several classes, so that only their combination
 * tells the class. Smooth backgrounds, weak fragments of other classes' parts, bars in front, light and noise hide it.
 * A pixel is a function of (seed, image index) alone, the same on every machine: no libm, no fused multiply-add. */
#ifndef MI_SYNTHETIC_H
#define MI_SYNTHETIC_H

#include "mi_image.h"

enum { MI_SYNTHETIC_MAX_CLASSES = 100, MI_SYNTHETIC_MIN_SIDE = 16, MI_SYNTHETIC_MAX_SIDE = 1024, MI_SYNTHETIC_MAX_CHANNELS = 64 };

typedef struct mi_synthetic_part {
    int32_t shape, texture, colour_a, colour_b;
} mi_synthetic_part;

typedef struct mi_synthetic {
    uint64_t seed;
    int32_t classes, channels, height, width;
    double single_view_fraction;
    mi_synthetic_part parts[2 * MI_SYNTHETIC_MAX_CLASSES]; /* part p of class c: parts[2 c + p] */
    float palette[6][MI_SYNTHETIC_MAX_CHANNELS];
} mi_synthetic;

/* The parts of image i. */
typedef struct mi_synthetic_record {
    int32_t label;
    int32_t parts;           /* bit p: part p of the class is shown */
    float row[2], column[2]; /* centre of part p in pixels; -1 when not shown */
    float radius[2];         /* in pixels; 0 when not shown */
} mi_synthetic_record;

/* Chooses the parts of every class from the seed. The sizes and counts in `set` were filled and checked by the caller. */
void mi_synthetic_define(mi_synthetic *set);

/* Bytes of scratch for one image. */
int64_t mi_synthetic_scratch(const mi_synthetic *set);

/* Image `index` as interleaved uint8 (height x width x channels, packed). The label is index % classes. */
void mi_synthetic_draw(const mi_synthetic *set, int64_t index, void *scratch, uint8_t *pixels, mi_synthetic_record *record);

#endif
