/* Gathering rows of tokens with an optional fill and table, and the three gradients. See mk_gather. */
#include "loops.h"

MK_INLINE int64_t mk_source_row(const int32_t *ids, int64_t stride, int64_t b, int64_t i) { return ids ? ids[b * stride + i] : i; }

static void gather_task(void *context, int64_t index, int32_t worker) {
    const mk_gather *g = context;
    int64_t width = g->width, first = index * mk_rows_per_task(width);
    int64_t last = mk_least(g->batch * g->rows_out, first + mk_rows_per_task(width));
    const float *x = g->x, *fill = g->fill, *table = g->table;
    (void)worker;
    for (int64_t row = first; row < last; row++) {
        int64_t b = row / g->rows_out, i = row % g->rows_out;
        int64_t id = mk_source_row(g->ids, g->ids_stride, b, i);
        const float *from = 0 <= id && id < g->rows_in ? x + (b * g->rows_in + id) * width : fill;
        float *y = (float *)g->y + row * width;
        if (table) {
            const float *added = table + mk_source_row(g->table_ids, g->table_ids_stride, b, i) * width;
            if (from) {
                MK_EACH_VECTOR(c, n, width, { vf_store_part(y + c, vf_load_part(from + c, n) + vf_load_part(added + c, n), n); });
            } else {
                mk_copy(y, added, width);
            }
        } else if (from) {
            mk_copy(y, from, width);
        } else {
            mk_zero(y, width);
        }
    }
}

static void gather(mk_pool *pool, const mk_gather *g) {
    int64_t tasks = mk_ceil_divide(g->batch * g->rows_out, mk_rows_per_task(g->width));
    mk_pool_run(pool, tasks, gather_task, (void *)g);
}

/* Rows of x_gradient that were written already are marked in a bitmap on the stack, so that each row is written once when ids
 * name it once; an image of more rows is zeroed first. */
enum { MK_MARKED_ROWS = 16384 };

static void gather_x_gradient_task(void *context, int64_t b, int32_t worker) {
    const mk_gather_gradient *gradient = context;
    const mk_gather *g = &gradient->forward;
    int64_t width = g->width, rows_in = g->rows_in;
    const float *dy = (const float *)gradient->y_gradient + b * g->rows_out * width;
    float *dx = (float *)gradient->x_gradient + b * rows_in * width;
    int marking = rows_in <= MK_MARKED_ROWS;
    uint64_t written[MK_MARKED_ROWS / 64];
    (void)worker;
    if (marking) {
        memset(written, 0, (size_t)mk_ceil_divide(rows_in, 64) * sizeof written[0]);
    } else {
        mk_zero(dx, rows_in * width);
    }
    for (int64_t i = 0; i < g->rows_out; i++) {
        int64_t id = mk_source_row(g->ids, g->ids_stride, b, i);
        if (id < 0 || id >= rows_in) continue;
        if (marking && !(written[id / 64] >> (id % 64) & 1)) {
            written[id / 64] |= (uint64_t)1 << (id % 64);
            mk_copy(dx + id * width, dy + i * width, width);
        } else {
            mk_accumulate(dx + id * width, dy + i * width, width);
        }
    }
    for (int64_t r = 0; marking && r < rows_in; r++) {
        if (!(written[r / 64] >> (r % 64) & 1)) mk_zero(dx + r * width, width);
    }
}

/* The sums over the whole batch are cut by columns: a task owns this many, and so needs no scratch. */
enum { MK_GATHER_COLUMNS = 32 };

static void gather_fill_gradient_task(void *context, int64_t index, int32_t worker) {
    const mk_gather_gradient *gradient = context;
    const mk_gather *g = &gradient->forward;
    int64_t first = index * MK_GATHER_COLUMNS, columns = mk_least(MK_GATHER_COLUMNS, g->width - first);
    float *dfill = (float *)gradient->fill_gradient + first, image[MK_GATHER_COLUMNS];
    (void)worker;
    mk_zero(dfill, columns);
    for (int64_t b = 0; b < g->batch; b++) {
        const float *dy = (const float *)gradient->y_gradient + b * g->rows_out * g->width + first;
        mk_zero(image, columns);
        for (int64_t i = 0; i < g->rows_out; i++) {
            int64_t id = mk_source_row(g->ids, g->ids_stride, b, i);
            if (id < 0 || id >= g->rows_in) mk_accumulate(image, dy + i * g->width, columns);
        }
        mk_accumulate(dfill, image, columns);
    }
}

static void gather_table_gradient_task(void *context, int64_t index, int32_t worker) {
    const mk_gather_gradient *gradient = context;
    const mk_gather *g = &gradient->forward;
    int64_t first = index * MK_GATHER_COLUMNS, columns = mk_least(MK_GATHER_COLUMNS, g->width - first);
    float *dtable = (float *)gradient->table_gradient + first;
    (void)worker;
    for (int64_t r = 0; r < g->table_rows; r++) mk_zero(dtable + r * g->width, columns);
    for (int64_t b = 0; b < g->batch; b++) {
        const float *dy = (const float *)gradient->y_gradient + b * g->rows_out * g->width + first;
        for (int64_t i = 0; i < g->rows_out; i++) {
            int64_t id = mk_source_row(g->table_ids, g->table_ids_stride, b, i);
            mk_accumulate(dtable + id * g->width, dy + i * g->width, columns);
        }
    }
}

static void gather_gradient(mk_pool *pool, const mk_gather_gradient *gradient) {
    const mk_gather *g = &gradient->forward;
    int64_t column_tasks = mk_ceil_divide(g->width, MK_GATHER_COLUMNS);
    if (gradient->x_gradient) mk_pool_run(pool, g->batch, gather_x_gradient_task, (void *)gradient);
    if (gradient->fill_gradient) mk_pool_run(pool, column_tasks, gather_fill_gradient_task, (void *)gradient);
    if (gradient->table_gradient) mk_pool_run(pool, column_tasks, gather_table_gradient_task, (void *)gradient);
}
