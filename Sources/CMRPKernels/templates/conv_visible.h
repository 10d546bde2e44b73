/* Convolution from a tensor of visible positions only, tap by tap: of a block of targets, those whose neighbour under the tap is visible
 * are gathered and multiplied by the tap's weights, so that masked neighbours cost nothing. With single positions masked at random most
 * neighbours are masked: at a ratio of 0.6 some 3 of 9 taps are left. See conv2d.h for the plan, conv_weights.h for the sums. */

enum { MK_VISIBLE_CHANNELS = 32 /* fewer do not pay for products of single taps */ };

/* The place in the source of a target's first tap. */
typedef struct visible_target {
    int32_t image, top, left, at;
} visible_target;

MK_INLINE int visible_fits(const conv_view *v) {
    return v->source_rows && v->channels >= MK_VISIBLE_CHANNELS && v->rows.taps * v->columns.taps > 1;
}

MK_INLINE visible_target visible_locate(const conv_view *v, int64_t index) {
    const conv_target t = conv_locate(v, index);
    return (visible_target){(int32_t)t.image, (int32_t)(t.row * v->rows.scale + v->rows.tap_first),
                            (int32_t)(t.column * v->columns.scale + v->columns.tap_first), (int32_t)t.at};
}

/* The source row under a tap, or -1. */
MK_INLINE int32_t visible_source(const conv_view *v, visible_target t, int64_t down, int64_t right) {
    const int64_t y = t.top + down, x = t.left + right;
    if (y < 0 || y >= v->rows.source || x < 0 || x >= v->columns.source) return -1;
    return v->source_rows[(t.image * v->rows.source + y) * v->columns.source + x];
}

MK_INLINE int64_t visible_k(const conv_product *p) { return mk_even_part(p->view.channels, MK_GEMM_K); }

/* Rows and columns of the sums of a task, at most. */
MK_INLINE int64_t visible_rows(void) { return MK_CONV_ROWS + 2 * MK_TILE_ROWS; }

MK_INLINE int64_t visible_columns(const conv_product *p) {
    return mk_ceil_divide(mk_least(p->n, MK_CONV_COLUMNS), MK_TILE_COLUMNS) * MK_TILE_COLUMNS + MK_TILE_COLUMNS;
}

MK_INLINE int64_t visible_floats(const conv_product *p) {
    return MK_TILE_ROWS * (visible_k(p) + MK_CONV_ODD + MK_TILE_COLUMNS) + visible_rows() * (visible_columns(p) + 6) + 64;
}

/* Adds a product of gathered rows to the sums of their targets. */
static void visible_add(const float *product, int64_t rows, int64_t columns, const int32_t *targets, float *sums, int64_t stride) {
    for (int64_t i = 0; i < rows; ++i) {
        float *to = sums + targets[i] * stride;
        for (int64_t c = 0; c < columns; c += MK_WIDTH) vf_store(to + c, vf_load(to + c) + vf_load(product + i * MK_TILE_COLUMNS + c));
    }
}

static void visible_task(void *context, int64_t index, int32_t worker) {
    const conv_product *p = context;
    const conv_view *v = &p->view;
    const range all_rows = {0, mk_ceil_divide(v->count, MK_TILE_ROWS)}, all_columns = {0, mk_ceil_divide(p->n, MK_TILE_COLUMNS)};
    const range row_panels = range_part(all_rows, p->row_tasks, index % p->row_tasks);
    const range column_panels = range_part(all_columns, p->column_tasks, index / p->row_tasks);
    const int64_t first_row = row_panels.begin * MK_TILE_ROWS, first_column = column_panels.begin * MK_TILE_COLUMNS;
    const int64_t count = mk_least(v->count, row_panels.end * MK_TILE_ROWS) - first_row;
    const int64_t width = mk_least(p->n, column_panels.end * MK_TILE_COLUMNS) - first_column;
    const int64_t stride = mk_ceil_divide(width, MK_TILE_COLUMNS) * MK_TILE_COLUMNS, pass_k = visible_k(p);
    const int64_t panel_stride = pass_k + MK_CONV_ODD;
    float *panel = mk_pool_scratch(p->pool, worker), *product = panel + MK_TILE_ROWS * panel_stride;
    float *sums = product + MK_TILE_ROWS * MK_TILE_COLUMNS;
    visible_target *targets = (void *)(sums + visible_rows() * visible_columns(p));
    int32_t *sources = (int32_t *)(targets + visible_rows()), *found = sources + visible_rows();
    for (int64_t i = 0; i < count; ++i) {
        targets[i] = visible_locate(v, first_row + i);
        mk_zero(sums + i * stride, stride);
        if (p->bias) mk_copy(sums + i * stride, p->bias + first_column, width);
    }
    for (int64_t tap = 0; tap < v->rows.taps * v->columns.taps; ++tap) {
        const int64_t down = tap / v->columns.taps * v->rows.tap_step, right = tap % v->columns.taps * v->columns.tap_step;
        int64_t there = 0;
        for (int64_t i = 0; i < count; ++i) {
            const int32_t row = visible_source(v, targets[i], down, right);
            sources[there] = row, found[there] = (int32_t)i;
            there += row >= 0;
        }
        for (int64_t k = 0; k < v->channels; k += pass_k)
            for (int64_t i = 0; i < there; i += MK_TILE_ROWS) {
                const int64_t rows = mk_least(MK_TILE_ROWS, there - i), steps = mk_least(pass_k, v->channels - k);
                for (int64_t j = 0; j < rows; ++j) mk_copy(panel + j * panel_stride, v->from + sources[i + j] * v->stride + k, steps);
                for (int64_t cp = column_panels.begin; cp < column_panels.end; ++cp) {
                    const int64_t vectors = mk_ceil_divide(mk_least(p->n - cp * MK_TILE_COLUMNS, MK_TILE_COLUMNS), MK_WIDTH);
                    gemm_tile t = {.k = steps,
                                   .a = panel,
                                   .a_stride = panel_stride,
                                   .b = p->packed + cp * MK_TILE_COLUMNS * p->k + (tap * v->channels + k) * vectors * MK_WIDTH,
                                   .b_stride = vectors * MK_WIDTH,
                                   .c = product,
                                   .ldc = MK_TILE_COLUMNS,
                                   .last_lanes = MK_WIDTH,
                                   .next_c = (const char *)product,
                                   .next_read = (const char *)product,
                                   .ahead = (const char *)panel,
                                   .ahead_shift = 5,
                                   .ahead_step = 64};
                    gemm_tile_functions[0][vectors - 1][rows - 1](&t);
                    visible_add(product, rows, vectors * MK_WIDTH, found + i, sums + cp * MK_TILE_COLUMNS - first_column, stride);
                }
            }
    }
    const int32_t relu = p->relu;
    for (int64_t i = 0; i < count; ++i) {
        const int64_t at = targets[i].at * p->stride + first_column;
        const float *from = sums + i * stride, *addend = p->addend ? p->addend + at : NULL;
        if (addend) {
            MK_EACH_VECTOR(c, n, width,
                           { vf_store_part(p->to + at + c, vf_relu(vf_load_part(from + c, n) + vf_load_part(addend + c, n), relu), n); });
        } else {
            MK_EACH_VECTOR(c, n, width, { vf_store_part(p->to + at + c, vf_relu(vf_load_part(from + c, n), relu), n); });
        }
    }
}
