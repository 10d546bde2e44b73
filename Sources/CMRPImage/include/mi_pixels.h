/* Pixels after decoding: crops, flips, layouts, channel counts, statistics, normalisation. Nothing here allocates;
 * sizes were checked by the caller. Images are interleaved (mi_image.h); `planar` means channels x height x width. */
#ifndef MI_PIXELS_H
#define MI_PIXELS_H

#include "mi_image.h"

/* out[y, x] = in[reflect(y + top), reflect(x + left)], where reflect mirrors at the edge pixel without repeating it (numpy's and
 * PyTorch's "reflect"). top and left may be negative; the window may reach past an edge by less than the side's length. */
void mi_crop_reflect(const mi_image *in, int64_t top, int64_t left, const mi_image *out);

/* out[y, x] = in[y, width - 1 - x]; same shape, not in place. */
void mi_flip_horizontal(const mi_image *in, const mi_image *out);

/* Turns and mirrors as EXIF's orientation (1 ... 8) says, so that the image stands upright. From 5 on, height and width of `out` are those of
 * `in` in the other order. Not in place. */
void mi_orient(const mi_image *in, int32_t orientation, const mi_image *out);

/* Planar pixels of out's type and shape to interleaved. */
void mi_interleave(const void *planar, const mi_image *out);

/* Between 1 and 3 channels: gray to R = G = B, or colour to gray by ITU-R 601-2 luma, as Pillow's convert("L"). */
void mi_convert_channels(const mi_image *in, const mi_image *out);

/* planar[c, y, x] = in[y, x, c] * scale[c] + shift[c]. */
void mi_normalize(const mi_image *in, const float *scale, const float *shift, float *planar);

/* sums[c] += sum of values, squares[c] += sum of squared values, in the element type's own units. */
void mi_channel_sums(const mi_image *in, double *sums, double *squares);

/* The smallest and the largest value, in the element type's own units. */
void mi_range(const mi_image *in, double *low, double *high);

/* The ids of a mask of one channel, packed: uint8, uint16 or int32. */
void mi_ids_to_int32(const mi_image *in, int32_t *out);

/* Index of the first NaN or Inf, or -1. */
int64_t mi_first_nonfinite(const float *values, int64_t count);

#endif
