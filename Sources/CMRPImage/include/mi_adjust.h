/* Augmentations of 8-bit pixels, with the arithmetic and the rounding of Pillow 13 (ImageOps, ImageEnhance, Image.transform): the
 * same bytes. Nothing here allocates; shapes were checked by the caller. */
#ifndef MI_ADJUST_H
#define MI_ADJUST_H

#include "mi_image.h"

/* counts[256 c + v]: how many pixels of channel c have the value v. */
void mi_histogram(const mi_image *in, int64_t *counts);

/* out[y, x, c] = tables[256 c + in[y, x, c]]; in place is allowed. */
void mi_apply_tables(const mi_image *in, const uint8_t *tables, const mi_image *out);

/* Tables of 256 values for one channel. */
void mi_table_autocontrast(const int64_t *counts, uint8_t *table); /* ImageOps.autocontrast: the range becomes 0 ... 255 */
void mi_table_equalize(const int64_t *counts, uint8_t *table);     /* ImageOps.equalize */
/* Image.blend of a constant and the value: constant + factor (v - constant), cut off to 0 ... 255. */
void mi_table_blend(int32_t constant, float factor, uint8_t *table);

/* The mean luma (the value itself with one channel), rounded: the gray of ImageEnhance.Contrast. 1 or 3 channels. */
int32_t mi_mean_gray(const mi_image *in);

/* ImageEnhance.Color: 3 channels; factor 0 gray, 1 unchanged. In place is allowed. */
void mi_blend_gray(const mi_image *in, float factor, const mi_image *out);

/* torchvision's adjust_hue: 3 channels, through Pillow's 8-bit HSV, where the hue of 256 values (a turn is 255) moves on by `turn` modulo 256.
 * A turn of 0 still rounds twice. In place is allowed. */
void mi_turn_hue(const mi_image *in, uint8_t turn, const mi_image *out);

/* ImageEnhance.Sharpness: factor 0 smoothed by 3 x 3 (the edges stay), 1 unchanged. Not in place. */
void mi_sharpen(const mi_image *in, float factor, const mi_image *out);

/* ImageFilter.GaussianBlur of this deviation in pixels, above 0: 1 or 3 channels, at most 8192 of deviation. Not in place. `scratch` has
 * mi_blur_scratch bytes. */
void mi_gaussian_blur(const mi_image *in, float deviation, uint8_t *scratch, const mi_image *out);
int64_t mi_blur_scratch(int64_t height, int64_t width, int64_t channels);

/* Image.transform with an affine map and bicubic weights (a = -1, as Pillow has them there): out(x, y) is in at
 * (m[0] X + m[1] Y + m[2], m[3] X + m[4] Y + m[5]) with X = x + 1/2, Y = y + 1/2; outside of the image it is fill, one value per channel. */
void mi_affine(const mi_image *in, const double m[6], const uint8_t *fill, const mi_image *out);

/* The same map for a mask of one channel: the nearest pixel, and the same places are outside of it. */
void mi_affine_nearest(const mi_image *in, const double m[6], int32_t fill, const mi_image *out);

/* The map of Image.rotate: `degrees` counter-clockwise around the centre of a width x height image. */
void mi_rotation(double degrees, int64_t width, int64_t height, double m[6]);

/* ---- Batches of float images */

/* Mixup of two images: a' = a share + b (1 - share) and b' = b share + a (1 - share). */
void mi_mix(float *a, float *b, int64_t count, float share);

/* Cutmix of two planar images: the boxes rows x columns whose corner is (top, left) change places. */
void mi_exchange(float *a, float *b, int64_t channels, int64_t height, int64_t width, int64_t top, int64_t left, int64_t rows,
                 int64_t columns);

#endif
