/* JPEG (libjpeg-turbo) and PNG (libpng) from memory. The kind is told by the content, never by the name.
 *
 * Gray stays one channel; palettes become RGB; CMYK and YCCK become RGB as in Pillow (Adobe's inverted values); 16-bit PNG stays
 * uint16. Alpha is dropped, as Pillow's convert("RGB") does: no background is invented. Colour profiles are not
 * applied; what a JPEG's EXIF says of its orientation is told, and mi_orient turns the image. A truncated or corrupt file is an error, not a partly gray image. */
#ifndef MI_DECODE_H
#define MI_DECODE_H

#include "mi_image.h"

/* Shape and type of the image that a file decodes to. */
typedef struct mi_info {
    int64_t height, width;
    int32_t channels;    /* 1 or 3 */
    int32_t type;        /* MI_UINT8 or MI_UINT16 */
    int32_t draft;       /* JPEG: pixels are decoded at 1 / draft of the size (1, 2, 4 or 8) */
    int32_t orientation; /* EXIF's number, 1 ... 8; 1: as it is decoded. From 5 on, height and width change places */
    int32_t labels;      /* the numbers of a mask: indices of palettes are kept, small depths are not stretched */
    int64_t working;     /* bytes that the decoder takes beside the image */
    double seconds;      /* set by the caller: processor time that decoding may take; 0: no limit */
} mi_info;

/* Reads the header only. With draft_side > 0 a JPEG is announced at the smallest of 1/8, 1/4, 1/2 and full size whose shorter side
 * is at least draft_side: much faster for photographs, but other pixels than resizing from full size.
 * Returns MI_OK, MI_ERR_FORMAT or MI_ERR_UNSUPPORTED (the image is larger than the limits in mi_image.h). */
int32_t mi_probe(const uint8_t *bytes, int64_t count, int64_t draft_side, mi_info *info, mi_error *error);

/* The same for a PNG whose pixels are ids: gray of 1 to 16 bits, or a palette, has 1 channel; colours have 3. Errors as mi_probe. */
int32_t mi_probe_labels(const uint8_t *bytes, int64_t count, mi_info *info, mi_error *error);

/* Decodes into `out`, whose shape and type are those of `info`, which mi_probe filled. Returns MI_OK, MI_ERR_FORMAT, MI_ERR_MEMORY,
 * MI_ERR_UNSUPPORTED (it took more than info->seconds), or MI_CANCELLED when mk_interrupted said so. */
int32_t mi_decode(const uint8_t *bytes, int64_t count, const mi_info *info, const mi_image *out, mi_error *error);

#endif
