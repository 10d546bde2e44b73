/* Convolution: forward and gradient to the input as implicit GEMM (conv_view.h) with the tiles of the matrix product, the gradient to
 * the weights in conv_weights.h, 3 x 3 by Winograd's method in winograd.h, visible positions only in conv_visible.h, channels apart
 * ("depthwise") in conv_depthwise.h. A kernel of 1 x 1 with stride 1 is a matrix product.
 *
 * Weights stand as the field stores them, [out][in][row][column]; they are packed anew into panels each time, which costs little beside
 * the product. Within a task k is cut into passes; in each, a panel of MK_TILE_ROWS rows of the view is gathered into the first cache
 * and passes over the packed weights, which stay in the second. */
#ifndef MK_CONV2D_H
#define MK_CONV2D_H

#include "conv_view.h"
#include "gemm.h"

enum {
    MK_CONV_ROWS = 224,      /* rows of a task, about */
    MK_CONV_LEAST_ROWS = 56, /* where there are few rows, columns are cut before rows become fewer than this */
    MK_CONV_TASKS = 16,      /* tasks wanted */
    MK_CONV_COLUMNS = 512,
    MK_CONV_LEAST_COLUMNS = 64,
    MK_CONV_ODD = 16, /* keeps gathered rows from falling on the same places of the cache */
};

/* One class of targets, one group of channels. */
typedef struct conv_product {
    conv_view view;
    const float *weight;
    int64_t weight_in, kernel_rows, kernel_columns; /* dimensions of weight but the first */
    int64_t first_in, first_out;                    /* of the group, in weight's second and first dimension */
    int32_t pass;
    int64_t n, k, pass_k;
    int64_t row_tasks, column_tasks;
    float *to; /* at the group's first channel */
    const float *bias, *addend, *scale;
    int32_t relu;
    int64_t stride;  /* of a row of `to` */
    int32_t scatter; /* target rows are not in order: sums are kept apart and copied at the end */
    float *packed;
    mk_pool *pool;
} conv_product;

MK_INLINE int conv_is_product(const mk_conv2d *v) {
    return v->groups == 1 && v->rows.kernel == 1 && v->columns.kernel == 1 && v->rows.stride == 1 && v->columns.stride == 1 &&
           v->rows.padding == 0 && v->columns.padding == 0;
}

MK_INLINE int conv_is_depthwise(const mk_conv2d *v) { return v->groups > 1 && v->groups == v->channels && v->groups == v->out_channels; }

static mk_gemm conv_gemm(const mk_conv2d *v, int32_t pass) {
    mk_gemm g = {.residual = v->addend};
    const int64_t rows = v->out.count, in = v->channels, out = v->out_channels;
    switch (pass) {
    case MK_CONV2D_FORWARD:
        g.m = rows, g.n = out, g.k = in;
        g.a = v->x, g.lda = in, g.b = v->weight, g.ldb = in, g.transpose_b = 1;
        g.c = v->y, g.ldc = out, g.bias = v->bias, g.scale = v->scale, g.relu = v->relu;
        break;
    case MK_CONV2D_INPUT_GRADIENT:
        g.m = rows, g.n = in, g.k = out;
        g.a = v->y, g.lda = out, g.b = v->weight, g.ldb = in;
        g.c = v->x, g.ldc = in, g.bias = v->bias;
        break;
    default:
        g.m = out, g.n = in, g.k = rows;
        g.a = v->y, g.lda = out, g.transpose_a = 1, g.b = v->x, g.ldb = in;
        g.c = v->weight, g.ldc = in, g.residual = NULL;
    }
    return g;
}

/* Cuts the product into passes and tasks. */
static void conv_cut(conv_product *p) {
    p->k = conv_depth(&p->view);
    p->pass_k = mk_even_part(p->k, MK_GEMM_K);
    int64_t rows = MK_CONV_ROWS, columns = MK_CONV_COLUMNS;
    if (mk_ceil_divide(p->view.count, rows) < MK_CONV_TASKS) rows = mk_ceil_divide(p->view.count, MK_CONV_TASKS);
    if (rows < MK_CONV_LEAST_ROWS) rows = MK_CONV_LEAST_ROWS;
    p->row_tasks = mk_ceil_divide(p->view.count, mk_ceil_divide(rows, MK_TILE_ROWS) * MK_TILE_ROWS);
    const int64_t wanted = mk_ceil_divide(MK_CONV_TASKS, p->row_tasks + (p->row_tasks == 0));
    if (mk_ceil_divide(p->n, columns) < wanted) columns = mk_ceil_divide(p->n, wanted);
    if (columns < MK_CONV_LEAST_COLUMNS) columns = MK_CONV_LEAST_COLUMNS;
    p->column_tasks = mk_ceil_divide(p->n, mk_ceil_divide(columns, MK_TILE_COLUMNS) * MK_TILE_COLUMNS);
}

/* The product of one class of phases, which are 0 in the forward pass. */
static conv_product conv_class(const mk_conv2d *v, int32_t pass, int64_t row_phase, int64_t column_phase, int64_t group) {
    const int forward = pass == MK_CONV2D_FORWARD;
    const int64_t in = v->channels / v->groups, out = v->out_channels / v->groups;
    conv_product p = {.weight = v->weight,
                      .weight_in = in,
                      .kernel_rows = v->rows.kernel,
                      .kernel_columns = v->columns.kernel,
                      .first_out = group * out,
                      .pass = pass,
                      .n = forward ? out : in,
                      .stride = forward ? v->out_channels : v->channels};
    const mk_places *source = forward ? &v->in : &v->out, *target = forward ? &v->out : &v->in;
    p.view.rows = forward ? forward_axis(&v->rows) : gradient_axis(&v->rows, row_phase);
    p.view.columns = forward ? forward_axis(&v->columns) : gradient_axis(&v->columns, column_phase);
    p.view.channels = forward ? in : out;
    p.view.stride = forward ? v->channels : v->out_channels;
    p.view.from = (const float *)(forward ? v->x : v->y) + group * p.view.channels;
    p.view.source_rows = source->rows;
    p.view.positions = target->positions;
    p.scatter = !forward && (v->rows.stride > 1 || v->columns.stride > 1);
    p.view.count = target->positions ? target->count : v->batch * p.view.rows.count * p.view.columns.count;
    p.to = (float *)(forward ? v->y : v->x) + group * p.n;
    p.addend = v->addend ? (const float *)v->addend + group * p.n : NULL;
    p.bias = v->bias ? (const float *)v->bias + group * p.n : NULL;
    p.scale = forward && v->scale ? (const float *)v->scale + group * p.n : NULL;
    p.relu = forward ? v->relu : 0;
    conv_cut(&p);
    return p;
}

MK_INLINE int64_t conv_packed_floats(const conv_product *p) {
    return mk_ceil_divide(p->n, MK_TILE_COLUMNS) * MK_TILE_COLUMNS * (p->k > 0 ? p->k : 1);
}

/* Floats of the gathered panel, and of the sums kept apart. */
MK_INLINE int64_t conv_panel_floats(const conv_product *p) { return MK_TILE_ROWS * (p->pass_k + MK_CONV_ODD) + MK_CONV_ODD; }

MK_INLINE int64_t conv_sum_floats(const conv_product *p) {
    if (!p->scatter || p->row_tasks == 0) return 0;
    return (mk_ceil_divide(p->view.count, p->row_tasks) + MK_TILE_ROWS) * (mk_ceil_divide(p->n, p->column_tasks) + MK_TILE_COLUMNS);
}

/* A panel of the forward pass, whose weights are read by whole vectors in the order in which they are stored: (channel, tap). */
static void conv_pack_forward(const conv_product *p, const float *weight, int64_t count, int64_t lanes, float *to) {
    const int64_t channels = p->view.channels, taps = p->kernel_rows * p->kernel_columns, k = channels * taps;
    for (int64_t j = 0; j < count; j += MK_WIDTH) {
        int64_t channel = 0, tap = 0;
        for (int64_t at = 0; at < k; at += MK_WIDTH) {
            vf block[MK_WIDTH];
            load_transposed(weight + j * k + at, k, MK_WIDTH, count - j, k - at, block);
            for (int64_t i = 0; i < mk_least(MK_WIDTH, k - at); ++i) {
                vf_store(to + (tap * channels + channel) * lanes + j, block[i]);
                if (++tap == taps) tap = 0, channel++;
            }
        }
    }
}

/* One panel of packed weights: to[k * lanes + column], lanes a multiple of MK_WIDTH; k runs over (tap row, tap column, channel). */
static void conv_pack_task(void *context, int64_t panel, int32_t worker) {
    (void)worker;
    const conv_product *p = context;
    const conv_axis *rows = &p->view.rows, *columns = &p->view.columns;
    const int64_t first = panel * MK_TILE_COLUMNS, count = mk_least(p->n - first, MK_TILE_COLUMNS);
    const int64_t lanes = mk_ceil_divide(count, MK_WIDTH) * MK_WIDTH, channels = p->view.channels;
    const int64_t area = p->kernel_rows * p->kernel_columns, forward = p->pass == MK_CONV2D_FORWARD;
    const int64_t column_stride = forward ? p->weight_in * area : area, channel_stride = forward ? area : p->weight_in * area;
    const float *weight = p->weight + p->first_out * p->weight_in * area + first * column_stride;
    float *to = p->packed + panel * MK_TILE_COLUMNS * p->k;
    if (forward) {
        conv_pack_forward(p, weight, count, lanes, to);
        if (p->scale) scale_packed(p->scale + first, count, p->k, to);
        return;
    }
    enum { BLOCK = 16 };
    if (lanes > count)
        for (int64_t k = 0; k < p->k; ++k)
            for (int64_t j = count; j < lanes; ++j) to[k * lanes + j] = 0;
    for (int64_t c0 = 0; c0 < channels; c0 += BLOCK) {
        const int64_t c1 = mk_least(channels, c0 + BLOCK);
        for (int64_t j = 0; j < count; ++j)
            for (int64_t c = c0; c < c1; ++c) {
                const float *from = weight + j * column_stride + c * channel_stride;
                float *at = to + c * lanes + j;
                for (int64_t tr = 0; tr < rows->taps; ++tr) {
                    const float *line = from + (rows->kernel_first + tr * rows->kernel_step) * p->kernel_columns + columns->kernel_first;
                    for (int64_t tc = 0; tc < columns->taps; ++tc, at += channels * lanes) *at = line[tc * columns->kernel_step];
                }
            }
    }
}

/* Copies finished sums to their rows of the target. */
static void conv_scatter(const conv_product *p, int64_t index, int64_t rows, int64_t column, int64_t columns, const float *sums,
                         int64_t sums_stride) {
    conv_target t = conv_locate(&p->view, index);
    for (int64_t i = 0; i < rows; ++i) {
        const float *from = sums + i * sums_stride;
        const int64_t at = t.at * p->stride + column;
        if (p->addend) {
            MK_EACH_VECTOR(c, n, columns,
                           { vf_store_part(p->to + at + c, vf_load_part(from + c, n) + vf_load_part(p->addend + at + c, n), n); });
        } else {
            mk_copy(p->to + at, from, columns);
        }
        if (i + 1 < rows) t = conv_next(&p->view, t, index + i);
    }
}

static void conv_task(void *context, int64_t index, int32_t worker) {
    const conv_product *p = context;
    const range all_rows = {0, mk_ceil_divide(p->view.count, MK_TILE_ROWS)}, all_columns = {0, mk_ceil_divide(p->n, MK_TILE_COLUMNS)};
    const range row_panels = range_part(all_rows, p->row_tasks, index % p->row_tasks);
    const range column_panels = range_part(all_columns, p->column_tasks, index / p->row_tasks);
    const int64_t first_row = row_panels.begin * MK_TILE_ROWS, first_column = column_panels.begin * MK_TILE_COLUMNS;
    const int64_t last_row = mk_least(p->view.count, row_panels.end * MK_TILE_ROWS);
    const int64_t width = mk_least(p->n, column_panels.end * MK_TILE_COLUMNS) - first_column;
    float *panel = mk_pool_scratch(p->pool, worker), *sums = panel + conv_panel_floats(p);
    const int64_t sums_stride = mk_ceil_divide(width, MK_TILE_COLUMNS) * MK_TILE_COLUMNS;
    const int64_t panel_stride = p->pass_k + MK_CONV_ODD;
    int64_t k = 0;
    do {
        const int64_t steps = mk_least(p->pass_k, p->k - k);
        for (int64_t row = first_row; row < last_row; row += MK_TILE_ROWS) {
            const int64_t rows = mk_least(MK_TILE_ROWS, last_row - row);
            if (steps > 0) conv_gather(&p->view, row, rows, k, k + steps, panel, panel_stride);
            for (int64_t cp = column_panels.begin; cp < column_panels.end; ++cp) {
                const int64_t column = cp * MK_TILE_COLUMNS, columns = mk_least(p->n - column, MK_TILE_COLUMNS);
                const int64_t vectors = mk_ceil_divide(columns, MK_WIDTH);
                gemm_tile t = {.k = steps,
                               .a = panel,
                               .a_stride = panel_stride,
                               .b = p->packed + cp * MK_TILE_COLUMNS * p->k + k * vectors * MK_WIDTH,
                               .b_stride = vectors * MK_WIDTH,
                               .bias = k == 0 && p->bias ? p->bias + column : NULL,
                               .relu = k + steps == p->k ? p->relu : 0,
                               .last_lanes = columns - (vectors - 1) * MK_WIDTH,
                               .ahead_shift = 5,
                               .ahead_step = 64};
                if (p->scatter) {
                    t.c = sums + (row - first_row) * sums_stride + column - first_column;
                    t.ldc = sums_stride;
                    t.addend = k > 0 ? t.c : NULL;
                } else {
                    t.c = p->to + row * p->stride + column;
                    t.ldc = p->stride;
                    t.addend = k > 0 ? t.c : p->addend ? p->addend + row * p->stride + column : NULL;
                }
                t.next_c = (const char *)(t.c + MK_TILE_COLUMNS);
                t.next_read = t.addend ? (const char *)(t.addend + MK_TILE_COLUMNS) : t.next_c;
                t.ahead = (const char *)panel;
                gemm_tile_functions[0][vectors - 1][rows - 1](&t);
            }
        }
        k += steps;
    } while (k < p->k);
    if (p->scatter) conv_scatter(p, first_row, last_row - first_row, first_column, width, sums, sums_stride);
}

#include "conv_visible.h"

/* Packs the weights and computes one class. */
static void conv_compute(mk_pool *pool, conv_product *p, void *shared) {
    if (p->view.count == 0) return;
    p->packed = shared;
    p->pool = pool;
    if (p->k > 0) mk_pool_run(pool, mk_ceil_divide(p->n, MK_TILE_COLUMNS), conv_pack_task, p);
    mk_pool_run(pool, p->row_tasks * p->column_tasks, visible_fits(&p->view) ? visible_task : conv_task, p);
}

/* Visits the classes of the gradient to the input; with a list of positions, its rows are sorted by class first. */
static void conv_classes(mk_pool *pool, const mk_conv2d *v, int64_t group) {
    const int64_t row_phases = v->rows.stride, column_phases = v->columns.stride;
    int32_t *order = mk_pool_shared(pool);
    const int sorted = v->in.positions && row_phases * column_phases > 1;
    const int64_t order_bytes = sorted ? mk_ceil_divide(v->in.count * 4, 64) * 64 : 0;
    int64_t filled = 0;
    for (int64_t phase = 0; phase < row_phases * column_phases; ++phase) {
        const int64_t row_phase = phase / column_phases, column_phase = phase % column_phases, begin = filled;
        if (row_phase >= v->rows.in || column_phase >= v->columns.in) continue;
        if (sorted)
            for (int64_t i = 0; i < v->in.count; ++i) {
                const int64_t position = v->in.positions[i];
                if (position % v->columns.in % column_phases == column_phase &&
                    position / v->columns.in % v->rows.in % row_phases == row_phase)
                    order[filled++] = (int32_t)i;
            }
        conv_product p = conv_class(v, MK_CONV2D_INPUT_GRADIENT, row_phase, column_phase, group);
        if (sorted) {
            p.view.order = order + begin;
            p.view.count = filled - begin;
            conv_cut(&p);
        }
        conv_compute(pool, &p, (char *)order + order_bytes);
        if (mk_pool_cancelled(pool)) return;
    }
}

#include "conv_depthwise.h"
#include "conv_weights.h"
#include "winograd.h"

MK_INLINE mk_scratch conv_more(mk_scratch a, mk_scratch b) {
    return (mk_scratch){a.per_worker > b.per_worker ? a.per_worker : b.per_worker, a.shared > b.shared ? a.shared : b.shared};
}

static mk_scratch conv2d_scratch(const mk_conv2d *v, int32_t pass) {
    if (conv_is_product(v)) {
        mk_gemm g = conv_gemm(v, pass);
        return gemm_scratch(&g);
    }
    if (conv_is_depthwise(v)) return depthwise_scratch(v, pass);
    mk_scratch need = {0, 0};
    if (winograd_fits(v, pass)) {
        need = winograd_scratch(v, pass);
        if (!v->in.rows && !v->out.rows) return need;
    }
    if (pass == MK_CONV2D_WEIGHT_GRADIENT) return conv_more(need, conv_weights_scratch(v));
    /* The largest class; with a list, any class may hold nearly all rows or few, so each size is bounded by itself. */
    const int gradient = pass == MK_CONV2D_INPUT_GRADIENT;
    for (int64_t phase = 0; phase < (gradient ? v->rows.stride * v->columns.stride : 1); ++phase) {
        conv_product p = conv_class(v, pass, phase / v->columns.stride, phase % v->columns.stride, 0);
        int64_t sums = 0;
        if (p.scatter) sums = (MK_CONV_ROWS + 2 * MK_TILE_ROWS) * (mk_least(p.n, MK_CONV_COLUMNS) + 2 * MK_TILE_COLUMNS);
        int64_t own = conv_panel_floats(&p) + sums;
        if (visible_fits(&p.view)) own = visible_floats(&p);
        own *= (int64_t)sizeof(float);
        const int64_t shared = conv_packed_floats(&p) * (int64_t)sizeof(float) + (gradient ? v->in.count * 4 + 64 : 0);
        need = conv_more(need, (mk_scratch){own, shared});
    }
    return need;
}

static void conv2d(mk_pool *pool, const mk_conv2d *v, int32_t pass) {
    if (conv_is_product(v)) {
        mk_gemm g = conv_gemm(v, pass);
        gemm(pool, &g);
        return;
    }
    if (conv_is_depthwise(v)) {
        depthwise(pool, v, pass);
        return;
    }
    if (winograd_fits(v, pass) && conv_winograd(pool, v, pass)) return;
    for (int64_t group = 0; group < v->groups; ++group) {
        if (pass == MK_CONV2D_WEIGHT_GRADIENT) {
            conv_weights(pool, v, group);
        } else if (pass == MK_CONV2D_INPUT_GRADIENT) {
            conv_classes(pool, v, group);
        } else {
            conv_product p = conv_class(v, pass, 0, 0, group);
            conv_compute(pool, &p, mk_pool_shared(pool));
        }
        if (mk_pool_cancelled(pool)) return;
    }
}

#endif
