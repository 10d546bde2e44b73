/* Cutting images into rows of patch values, and the transpose. See mk_patches. */
#include "loops.h"

/* to[i] = from[i]; runs as short as a patch's row. */
MK_INLINE void mk_copy_short(float *to, const float *from, int64_t count) {
    int64_t i = 0;
    for (; i + 4 <= count; i += 4) memcpy(to + i, from + i, 4 * sizeof(float));
    for (; i < count; i++) to[i] = from[i];
}

MK_INLINE void mk_add_short(float *to, const float *from, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

/* The first pixel of patch row i of image b. */
MK_INLINE float *mk_patch_corner(const mk_patches *p, int64_t b, int64_t i) {
    int64_t patch = p->ids ? p->ids[b * p->ids_stride + i] : i, grid_width = p->width / p->patch_width;
    int64_t row = patch / grid_width * p->patch_height, column = patch % grid_width * p->patch_width;
    return (float *)p->images + (b * p->channels * p->height + row) * p->width + column;
}

/* One patch with (row, column, channel) order; `channels` is a constant where the caller makes it one. */
MK_INLINE void mk_interleave(const mk_patches *p, const int64_t channels, const float *from, float *to) {
    for (int64_t y = 0; y < p->patch_height; y++) {
        for (int64_t x = 0; x < p->patch_width; x++, to += channels) {
            for (int64_t c = 0; c < channels; c++) to[c] = from[(c * p->height + y) * p->width + x];
        }
    }
}

MK_INLINE void mk_deinterleave_add(const mk_patches *p, const float *from, float *to) {
    for (int64_t y = 0; y < p->patch_height; y++) {
        for (int64_t x = 0; x < p->patch_width; x++, from += p->channels) {
            for (int64_t c = 0; c < p->channels; c++) to[(c * p->height + y) * p->width + x] += from[c];
        }
    }
}

static void extract_patches_task(void *context, int64_t index, int32_t worker) {
    const mk_patches *p = context;
    int64_t width = p->channels * p->patch_height * p->patch_width, first = index * mk_rows_per_task(width);
    int64_t last = mk_least(p->batch * p->rows_out, first + mk_rows_per_task(width));
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        const float *from = mk_patch_corner(p, r / p->rows_out, r % p->rows_out);
        float *to = (float *)p->patches + r * width;
        if (p->channels_last && p->channels == 3) {
            mk_interleave(p, 3, from, to);
        } else if (p->channels_last) {
            mk_interleave(p, p->channels, from, to);
        } else {
            for (int64_t c = 0; c < p->channels; c++) {
                for (int64_t y = 0; y < p->patch_height; y++, to += p->patch_width) {
                    mk_copy_short(to, from + (c * p->height + y) * p->width, p->patch_width);
                }
            }
        }
    }
}

static void extract_patches(mk_pool *pool, const mk_patches *p) {
    int64_t width = p->channels * p->patch_height * p->patch_width;
    int64_t tasks = mk_ceil_divide(p->batch * p->rows_out, mk_rows_per_task(width));
    mk_pool_run(pool, tasks, extract_patches_task, (void *)p);
}

static void scatter_patches_task(void *context, int64_t b, int32_t worker) {
    const mk_patches *p = context;
    int64_t width = p->channels * p->patch_height * p->patch_width, image = p->channels * p->height * p->width;
    (void)worker;
    mk_zero((float *)p->images + b * image, image);
    for (int64_t i = 0; i < p->rows_out; i++) {
        const float *from = (const float *)p->patches + (b * p->rows_out + i) * width;
        float *to = mk_patch_corner(p, b, i);
        if (p->channels_last) {
            mk_deinterleave_add(p, from, to);
            continue;
        }
        for (int64_t c = 0; c < p->channels; c++) {
            for (int64_t y = 0; y < p->patch_height; y++, from += p->patch_width) {
                mk_add_short(to + (c * p->height + y) * p->width, from, p->patch_width);
            }
        }
    }
}

static void scatter_patches(mk_pool *pool, const mk_patches *p) { mk_pool_run(pool, p->batch, scatter_patches_task, (void *)p); }
