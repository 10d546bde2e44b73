/* Resizing as Pillow defines it (Image.resize): separable filters whose support grows when the image shrinks
 * (antialiasing). 8-bit images use Pillow's fixed-point weights (22 fractional bits), its rounding and its order of the passes: the
 * same bytes as Pillow 13. uint16 and float32 images are computed in float32; uint16 is rounded after each pass. Every channel is
 * resized by itself (Pillow weights colours by alpha where there is one). */
#ifndef MI_RESAMPLE_H
#define MI_RESAMPLE_H

#include "mi_image.h"

enum { MI_NEAREST = 0, MI_BILINEAR = 2, MI_BICUBIC = 3 }; /* Pillow's numbers; bicubic has a = -0.5 */

/* The part of the source that becomes the whole output, in pixels: 0 <= left < right <= width, 0 <= top < bottom <= height. Pixels just
 * outside the box take part, as in Pillow's resize(box=); to crop first, pass a view. */
typedef struct mi_box {
    float left, top, right, bottom;
} mi_box;

/* Bytes of scratch that mi_resample needs. */
int64_t mi_resample_scratch(const mi_image *in, mi_box box, int32_t filter, const mi_image *out);

/* `out` has in's channels and type. The caller checked box and filter. */
void mi_resample(const mi_image *in, mi_box box, int32_t filter, const mi_image *out, void *scratch);

#endif
