/* Shared by the files that read masks and maps of scores. */
#ifndef MI_MASKS_PRIVATE_H
#define MI_MASKS_PRIVATE_H

#include "mi_image.h"

static inline int32_t id_at(const mi_image *ids, int64_t y, int64_t x) {
    const void *row = (const char *)ids->pixels + y * ids->row_bytes;
    return ids->type == MI_UINT8    ? ((const uint8_t *)row)[x]
           : ids->type == MI_UINT16 ? ((const uint16_t *)row)[x]
                                    : ((const int32_t *)row)[x];
}

/* The two neighbours of pixel `at` of `to` among `from`, bilinearly, and the share of the second. */
static inline float bilinear_source(int64_t at, int64_t from, int64_t to, int64_t *first, int64_t *second) {
    double place = ((double)at + 0.5) * (double)from / (double)to - 0.5;
    if (place < 0) place = 0;
    *first = (int64_t)place < from - 1 ? (int64_t)place : from - 1;
    *second = *first + 1 < from ? *first + 1 : from - 1;
    return *second > *first ? (float)(place - (double)*first) : 0;
}

#endif
