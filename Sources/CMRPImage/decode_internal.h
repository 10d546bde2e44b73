#ifndef MI_DECODE_INTERNAL_H
#define MI_DECODE_INTERNAL_H

#include "mi_decode.h"

int32_t mi_fail(mi_error *error, int32_t code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Asked between rows: nonzero, with the error filled, when decoding must stop. */
int32_t mi_decode_stops(mi_error *error);

int32_t mi_jpeg_probe(const uint8_t *bytes, int64_t count, int64_t draft_side, mi_info *info, mi_error *error);
int32_t mi_jpeg_decode(const uint8_t *bytes, int64_t count, const mi_info *info, const mi_image *out, mi_error *error);
int32_t mi_png_probe(const uint8_t *bytes, int64_t count, mi_info *info, mi_error *error);
int32_t mi_png_probe_labels(const uint8_t *bytes, int64_t count, mi_info *info, mi_error *error);
int32_t mi_png_decode(const uint8_t *bytes, int64_t count, const mi_info *info, const mi_image *out, mi_error *error);

#endif
