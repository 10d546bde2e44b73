/* The gradient of a convolution's weights: the view of x (conv_view.h), transposed, times the gradient of y, summed over positions.
 *
 * A task takes some columns k of the view (taps and channels) and one block of positions; it walks over its block by chunks of which
 * both operands fit the second cache. The sums of the blocks are added in order at the end, when they are also brought from
 * [k][out] into the order in which weights are stored.
 *
 * With masked positions, a task takes channels of a single tap and gathers the pairs of visible neighbours that the tap joins. */

enum {
    MK_CONV_CHUNK = 128,   /* positions at a time */
    MK_CONV_PANELS = 14,   /* panels of k per task, at most */
    MK_CONV_BLOCKS = 16,   /* blocks of positions, at most */
    MK_CONV_BLOCK = 1024,  /* positions of a block, at least */
    MK_CONV_OUT_LANES = 16 /* outputs brought into place at a time: one cache line of sums */
};

typedef struct weights_job {
    conv_view view;
    const float *dy; /* at the group's first channel */
    int64_t n, stride, k, k_tasks, blocks, taps;
    int by_tap;  /* k_tasks: taps x parts of the channels */
    float *sums; /* blocks x k x n */
    float *weight;
    mk_pool *pool;
} weights_job;

static weights_job weights_plan(const mk_conv2d *v, int64_t group) {
    weights_job job = {.n = v->out_channels / v->groups, .stride = v->out_channels, .taps = v->rows.kernel * v->columns.kernel};
    job.view = conv_class(v, MK_CONV2D_FORWARD, 0, 0, group).view;
    job.dy = (const float *)v->y + group * job.n;
    job.k = conv_depth(&job.view);
    job.weight = (float *)v->weight + group * job.n * job.k;
    job.by_tap = visible_fits(&job.view);
    const int64_t panels = mk_ceil_divide(job.by_tap ? job.view.channels : job.k, MK_TILE_ROWS);
    job.k_tasks = mk_ceil_divide(panels, MK_CONV_PANELS) * (job.by_tap ? job.taps : 1);
    job.blocks = mk_least(mk_ceil_divide(MK_CONV_BLOCKS, job.k_tasks), mk_ceil_divide(job.view.count, MK_CONV_BLOCK));
    return job;
}

MK_INLINE int64_t weights_a_stride(const weights_job *job) {
    const int64_t panels = job->by_tap ? mk_ceil_divide(mk_ceil_divide(job->view.channels, MK_TILE_ROWS), job->k_tasks / job->taps)
                                       : mk_ceil_divide(mk_ceil_divide(job->k, MK_TILE_ROWS), job->k_tasks);
    return mk_ceil_divide(panels * MK_TILE_ROWS, 16) * 16 + 16;
}

static mk_scratch conv_weights_scratch(const mk_conv2d *v) {
    weights_job job = weights_plan(v, 0);
    const int64_t columns = mk_ceil_divide(job.n, MK_TILE_COLUMNS) * MK_TILE_COLUMNS;
    return (mk_scratch){(MK_CONV_CHUNK * (weights_a_stride(&job) + columns) + 16) * (int64_t)sizeof(float),
                        job.blocks * job.k * job.n * (int64_t)sizeof(float)};
}

/* Products of `rows` gathered rows of both operands, set or added to the sums of weights k0 ..< k1. */
static void weights_multiply(const weights_job *job, int64_t k0, int64_t k1, int64_t rows, int add, const float *a, int64_t a_stride,
                             const float *b, float *sums) {
    for (int64_t k = k0; k < k1; k += MK_TILE_ROWS)
        for (int64_t cp = 0; cp < mk_ceil_divide(job->n, MK_TILE_COLUMNS); ++cp) {
            const int64_t column = cp * MK_TILE_COLUMNS, columns = mk_least(job->n - column, MK_TILE_COLUMNS);
            const int64_t vectors = mk_ceil_divide(columns, MK_WIDTH);
            float *c = sums + k * job->n + column;
            gemm_tile t = {.k = rows,
                           .a = a + k - k0,
                           .a_stride = a_stride,
                           .b = b + cp * MK_TILE_COLUMNS * MK_CONV_CHUNK,
                           .b_stride = vectors * MK_WIDTH,
                           .c = c,
                           .ldc = job->n,
                           .addend = add ? c : NULL,
                           .last_lanes = columns - (vectors - 1) * MK_WIDTH,
                           .next_c = (const char *)(c + MK_TILE_COLUMNS),
                           .next_read = (const char *)(c + MK_TILE_COLUMNS),
                           .ahead = (const char *)a,
                           .ahead_shift = 5,
                           .ahead_step = 64};
            gemm_tile_functions[1][vectors - 1][mk_least(MK_TILE_ROWS, k1 - k) - 1](&t);
        }
}

static void weights_task(void *context, int64_t index, int32_t worker) {
    const weights_job *job = context;
    const range all = {0, mk_ceil_divide(job->k, MK_TILE_ROWS)};
    const range panels = range_part(all, job->k_tasks, index % job->k_tasks);
    const int64_t block = index / job->k_tasks, k0 = panels.begin * MK_TILE_ROWS, k1 = mk_least(job->k, panels.end * MK_TILE_ROWS);
    const int64_t first = job->view.count * block / job->blocks, last = job->view.count * (block + 1) / job->blocks;
    const int64_t a_stride = weights_a_stride(job), column_panels = mk_ceil_divide(job->n, MK_TILE_COLUMNS);
    float *a = mk_pool_scratch(job->pool, worker), *b = a + MK_CONV_CHUNK * a_stride;
    float *sums = job->sums + block * job->k * job->n;
    for (int64_t row = first; row < last; row += MK_CONV_CHUNK) {
        const int64_t rows = mk_least(MK_CONV_CHUNK, last - row);
        conv_gather(&job->view, row, rows, k0, k1, a, a_stride);
        for (int64_t cp = 0; cp < column_panels; ++cp) {
            const int64_t column = cp * MK_TILE_COLUMNS;
            pack_b_rows(job->dy + row * job->stride + column, job->stride, mk_least(job->n - column, MK_TILE_COLUMNS), rows,
                        b + cp * MK_TILE_COLUMNS * MK_CONV_CHUNK);
        }
        weights_multiply(job, k0, k1, rows, row > first, a, a_stride, b, sums);
    }
}

static void weights_by_tap_task(void *context, int64_t index, int32_t worker) {
    const weights_job *job = context;
    const conv_view *v = &job->view;
    const int64_t parts = job->k_tasks / job->taps, tap = index % job->k_tasks / parts, block = index / job->k_tasks;
    const range all = {0, mk_ceil_divide(v->channels, MK_TILE_ROWS)}, panels = range_part(all, parts, index % parts);
    const int64_t c0 = panels.begin * MK_TILE_ROWS, channels = mk_least(v->channels, panels.end * MK_TILE_ROWS) - c0;
    const int64_t k0 = tap * v->channels + c0, first = v->count * block / job->blocks, last = v->count * (block + 1) / job->blocks;
    const int64_t down = tap / v->columns.taps * v->rows.tap_step, right = tap % v->columns.taps * v->columns.tap_step;
    const int64_t a_stride = weights_a_stride(job);
    float *a = mk_pool_scratch(job->pool, worker), *b = a + MK_CONV_CHUNK * a_stride, *sums = job->sums + block * job->k * job->n;
    int64_t pairs = 0;
    int any = 0;
    for (int64_t row = first; row < last; ++row) {
        const visible_target target = visible_locate(v, row);
        const int32_t source = visible_source(v, target, down, right);
        if (source >= 0) {
            mk_copy(a + pairs * a_stride, v->from + source * v->stride + c0, channels);
            for (int64_t column = 0; column < job->n; column += MK_TILE_COLUMNS) {
                const int64_t columns = mk_least(job->n - column, MK_TILE_COLUMNS);
                const int64_t lanes = mk_ceil_divide(columns, MK_WIDTH) * MK_WIDTH;
                float *to = b + column * MK_CONV_CHUNK + pairs * lanes;
                MK_EACH_VECTOR(c, n, columns, { vf_store(to + c, vf_load_part(job->dy + target.at * job->stride + column + c, n)); });
            }
            pairs++;
        }
        if (pairs == MK_CONV_CHUNK || (row + 1 == last && pairs > 0)) {
            weights_multiply(job, k0, k0 + channels, pairs, any, a, a_stride, b, sums);
            pairs = 0, any = 1;
        }
    }
    if (!any) mk_zero(sums + k0 * job->n, channels * job->n);
}

/* Adds the blocks and stores them as weight[out][channel][tap]. */
static void weights_place_task(void *context, int64_t index, int32_t worker) {
    const weights_job *job = context;
    const int64_t first = index * MK_CONV_OUT_LANES, count = mk_least(MK_CONV_OUT_LANES, job->n - first);
    const int64_t channels = job->view.channels;
    float line[MK_CONV_OUT_LANES];
    (void)worker;
    for (int64_t c = 0; c < channels; ++c)
        for (int64_t tap = 0; tap < job->taps; ++tap) {
            mk_sum_blocks(job->blocks, job->k * job->n, count, job->sums + (tap * channels + c) * job->n + first, line);
            for (int64_t o = 0; o < count; ++o) job->weight[((first + o) * channels + c) * job->taps + tap] = line[o];
        }
}

static void conv_weights(mk_pool *pool, const mk_conv2d *v, int64_t group) {
    weights_job job = weights_plan(v, group);
    job.pool = pool;
    job.sums = mk_pool_shared(pool);
    mk_pool_run(pool, job.k_tasks * job.blocks, job.by_tap ? weights_by_tap_task : weights_task, &job);
    mk_pool_run(pool, mk_ceil_divide(job.n, MK_CONV_OUT_LANES), weights_place_task, &job);
}
