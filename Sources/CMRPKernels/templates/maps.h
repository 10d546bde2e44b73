/* Instance masks: sigmoid, losses of maps, the largest of rows. Lanes are places of a map. After elementwise.h and losses.h. */

MK_INLINE vf vf_sigmoid(vf x) {
    /* exp of a number that is not above 0 */
    const vf e = vf_exp(-vf_abs(x)), below = e / (e + 1.0f);
    return vf_select(x < 0.0f, below, 1.0f / (e + 1.0f));
}

static void sigmoid_task(void *context, int64_t index, int32_t worker) {
    const elementwise_job *job = context;
    const int64_t start = index * MK_TASK_VALUES;
    (void)worker;
    MK_EACH_VECTOR(i, n, mk_least(MK_TASK_VALUES, job->count - start),
                   { vf_store_part(job->y + start + i, vf_sigmoid(vf_load_part(job->a + start + i, n)), n); });
}

static void sigmoid(mk_pool *pool, int64_t count, const void *x, void *y) {
    elementwise_job job = {count, x, NULL, y, 0};
    mk_pool_run(pool, mk_ceil_divide(count, MK_TASK_VALUES), sigmoid_task, &job);
}

static void sigmoid_gradient_task(void *context, int64_t index, int32_t worker) {
    const elementwise_job *job = context;
    const int64_t start = index * MK_TASK_VALUES;
    (void)worker;
    MK_EACH_VECTOR(i, n, mk_least(MK_TASK_VALUES, job->count - start), {
        const vf y = vf_load_part(job->a + start + i, n);
        vf_store_part(job->y + start + i, vf_load_part(job->b + start + i, n) * y * (1.0f - y), n);
    });
}

static void sigmoid_gradient(mk_pool *pool, int64_t count, const void *y, const void *y_gradient, void *x_gradient) {
    elementwise_job job = {count, y, y_gradient, x_gradient, 0};
    mk_pool_run(pool, mk_ceil_divide(count, MK_TASK_VALUES), sigmoid_gradient_task, &job);
}

/* ---- Losses of maps ---- */

static mk_scratch maps_scratch(const mk_maps *p) { return cross_entropy_scratch(p->rows, p->width); }

typedef struct {
    mk_maps p;
    double *partial;
    float *sums, *da, *db;
    double factor; /* of a row's gradient */
} maps_job;

/* The factor of a row; rows without any are passed over. */
MK_INLINE double map_factor(const maps_job *job, int64_t row) { return job->p.factors ? (double)((const float *)job->p.factors)[row] : 1; }

MK_INLINE const float *map_a(const maps_job *job, int64_t row) { return (const float *)job->p.a + row * job->p.width; }
MK_INLINE const float *map_b(const maps_job *job, int64_t row) { return (const float *)job->p.b + row * job->p.width; }

/* The rows of task `index`: from `first` to before `last`. */
#define MK_MAP_ROWS(job, index, first, last)                                                \
    const int64_t first = (index) * mk_rows_per_task((job)->p.width);                       \
    const int64_t last = mk_least((job)->p.rows, first + mk_rows_per_task((job)->p.width)); \
    (void)worker

static void maps_run(mk_pool *pool, maps_job *job, mk_task task, int64_t count, void *loss) {
    job->partial = mk_pool_shared(pool);
    mean_loss(pool, mk_ceil_divide(job->p.rows, mk_rows_per_task(job->p.width)), task, job, job->partial, count, loss);
}

static void maps_run_gradient(mk_pool *pool, maps_job *job, mk_task task, const void *loss_gradient, int64_t count) {
    job->factor = (double)*(const float *)loss_gradient / (double)count;
    mk_pool_run(pool, mk_ceil_divide(job->p.rows, mk_rows_per_task(job->p.width)), task, job);
}

MK_INLINE double log_sigmoid(double x) { return x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x)); }

MK_INLINE int is_plain(const mk_maps *p) { return p->gamma == 0 && p->positive == 1 && p->negative == 1; }

/* Sum over a row of max(x, 0) - x t + log(1 + exp(-|x|)). */
static double plain_entropy(const float *x, const float *t, int64_t width) {
    double total = 0;
    for (int64_t start = 0; start < width; start += MK_SUM_RUN) {
        vf sum = vf_splat(0);
        MK_EACH_VECTOR(i, n, mk_least(MK_SUM_RUN, width - start), {
            const vf logit = vf_load_part(x + start + i, n), target = vf_load_part(t + start + i, n);
            const vf value = vf_fma(-logit, target, vf_max(vf_splat(0), logit)) + vf_log(vf_exp(-vf_abs(logit)) + 1.0f);
            sum += vf_keep_first(vf_select(target < 0.0f, vf_splat(0), value), n, 0);
        });
        total += vf_reduce_add(sum);
    }
    return total;
}

static double focal_entropy(const mk_maps *p, const float *a, const float *b) {
    double total = 0;
    for (int64_t i = 0; i < p->width; i++) {
        const double yes = log_sigmoid(a[i]), no = log_sigmoid(-(double)a[i]), t = b[i];
        if (t < 0) continue;
        total -= t * p->positive * exp(p->gamma * no) * yes + (1 - t) * p->negative * exp(p->gamma * yes) * no;
    }
    return total;
}

static void logit_entropy_task(void *context, int64_t index, int32_t worker) {
    const maps_job *job = context;
    MK_MAP_ROWS(job, index, first, last);
    double total = 0;
    for (int64_t r = first; r < last; r++) {
        const double factor = map_factor(job, r);
        if (factor == 0) continue;
        const float *a = map_a(job, r), *b = map_b(job, r);
        total += factor * (is_plain(&job->p) ? plain_entropy(a, b, job->p.width) : focal_entropy(&job->p, a, b));
    }
    job->partial[index] = total;
}

static void logit_entropy(mk_pool *pool, const mk_maps *p, void *loss) {
    maps_job job = {*p, NULL, NULL, NULL, NULL, 0};
    maps_run(pool, &job, logit_entropy_task, p->rows * p->width, loss);
}

static void logit_entropy_gradient_task(void *context, int64_t index, int32_t worker) {
    const maps_job *job = context;
    const mk_maps *p = &job->p;
    MK_MAP_ROWS(job, index, first, last);
    for (int64_t r = first; r < last; r++) {
        const double factor = job->factor * map_factor(job, r);
        const float *a = map_a(job, r), *b = map_b(job, r);
        float *da = job->da + r * p->width;
        if (factor == 0) {
            mk_zero(da, p->width);
        } else if (is_plain(p)) {
            MK_EACH_VECTOR(i, n, p->width, {
                const vf target = vf_load_part(b + i, n), slope = (vf_sigmoid(vf_load_part(a + i, n)) - target) * (float)factor;
                vf_store_part(da + i, vf_select(target < 0.0f, vf_splat(0), slope), n);
            });
        } else {
            for (int64_t i = 0; i < p->width; i++) {
                const double yes = log_sigmoid(a[i]), no = log_sigmoid(-(double)a[i]), share = exp(yes), rest = exp(no), t = b[i];
                const double slope = t * p->positive * exp(p->gamma * no) * (rest - p->gamma * share * yes) +
                                     (1 - t) * p->negative * exp(p->gamma * yes) * (p->gamma * rest * no - share);
                da[i] = t < 0 ? 0 : (float)(-factor * slope);
            }
        }
    }
}

static void logit_entropy_gradient(mk_pool *pool, const mk_maps *p, const void *loss_gradient, void *a_gradient) {
    maps_job job = {*p, NULL, NULL, a_gradient, NULL, 0};
    maps_run_gradient(pool, &job, logit_entropy_gradient_task, loss_gradient, p->rows * p->width);
}

/* log(max(x, 1e-6)) */
MK_INLINE vf vf_kept_log(vf x) { return vf_log(vf_max(x, vf_splat(1e-6f))); }

static void map_entropy_task(void *context, int64_t index, int32_t worker) {
    const maps_job *job = context;
    MK_MAP_ROWS(job, index, first, last);
    double total = 0;
    for (int64_t r = first; r < last; r++) {
        const double factor = map_factor(job, r);
        if (factor == 0) continue;
        const float *a = map_a(job, r), *b = map_b(job, r);
        for (int64_t start = 0; start < job->p.width; start += MK_SUM_RUN) {
            vf sum = vf_splat(0);
            MK_EACH_VECTOR(i, n, mk_least(MK_SUM_RUN, job->p.width - start), {
                const vf share = vf_load_part(a + start + i, n), target = vf_load_part(b + start + i, n);
                const vf value = vf_fma(target, vf_kept_log(share), (1.0f - target) * vf_kept_log(1.0f - share));
                sum -= vf_keep_first(vf_select(target < 0.0f, vf_splat(0), value), n, 0);
            });
            total += factor * vf_reduce_add(sum);
        }
    }
    job->partial[index] = total;
}

static void map_entropy(mk_pool *pool, const mk_maps *p, void *loss) {
    maps_job job = {*p, NULL, NULL, NULL, NULL, 0};
    maps_run(pool, &job, map_entropy_task, p->rows * p->width, loss);
}

static void map_entropy_gradient_task(void *context, int64_t index, int32_t worker) {
    const maps_job *job = context;
    MK_MAP_ROWS(job, index, first, last);
    const int64_t width = job->p.width;
    const vf least = vf_splat(1e-6f), zero = vf_splat(0);
    for (int64_t r = first; r < last; r++) {
        const float factor = (float)(job->factor * map_factor(job, r)), *a = map_a(job, r), *b = map_b(job, r);
        MK_EACH_VECTOR(i, n, width, {
            const vf share = vf_load_part(a + i, n), target = vf_load_part(b + i, n), rest = 1.0f - share;
            const vi isKnown = target >= 0.0f;
            const vf pull = vf_select(share >= least, target / vf_max(share, least), zero);
            const vf push = vf_select(rest >= least, (1.0f - target) / vf_max(rest, least), zero);
            if (job->da) vf_store_part(job->da + r * width + i, vf_select(isKnown, (push - pull) * factor, zero), n);
            if (job->db) {
                const vf slope = (vf_kept_log(rest) - vf_kept_log(share)) * factor;
                vf_store_part(job->db + r * width + i, vf_select(isKnown, slope, zero), n);
            }
        });
    }
}

static void map_entropy_gradient(mk_pool *pool, const mk_maps *p, const void *loss_gradient, void *a_gradient, void *b_gradient) {
    maps_job job = {*p, NULL, NULL, a_gradient, b_gradient, 0};
    maps_run_gradient(pool, &job, map_entropy_gradient_task, loss_gradient, p->rows * p->width);
}

/* N and A of a row. */
static void dice_sums(const mk_maps *p, const float *a, const float *b, double *both, double *all) {
    *both = p->squared ? 0 : 1, *all = p->squared ? 0.001 : 1;
    for (int64_t start = 0; start < p->width; start += MK_SUM_RUN) {
        vf products = vf_splat(0), sums = vf_splat(0);
        MK_EACH_VECTOR(i, n, mk_least(MK_SUM_RUN, p->width - start), {
            const vf target = vf_load_part(b + start + i, n);
            const vf x = vf_select(target < 0.0f, vf_splat(0), vf_load_part(a + start + i, n)), t = vf_max(target, vf_splat(0));
            products = vf_fma(x, t, products);
            sums += p->squared ? vf_fma(x, x, t * t) : x + t;
        });
        *both += 2 * (double)vf_reduce_add(products);
        *all += (double)vf_reduce_add(sums);
    }
}

static void map_dice_task(void *context, int64_t index, int32_t worker) {
    const maps_job *job = context;
    MK_MAP_ROWS(job, index, first, last);
    double total = 0;
    for (int64_t r = first; r < last; r++) {
        const double factor = map_factor(job, r);
        double both = 0, all = 1;
        if (factor != 0) dice_sums(&job->p, map_a(job, r), map_b(job, r), &both, &all);
        job->sums[2 * r] = (float)both, job->sums[2 * r + 1] = (float)all;
        total += factor * (1 - both / all);
    }
    job->partial[index] = total;
}

static void map_dice(mk_pool *pool, const mk_maps *p, void *sums, void *loss) {
    maps_job job = {*p, NULL, sums, NULL, NULL, 0};
    maps_run(pool, &job, map_dice_task, p->rows, loss);
}

static void map_dice_gradient_task(void *context, int64_t index, int32_t worker) {
    const maps_job *job = context;
    MK_MAP_ROWS(job, index, first, last);
    const int64_t width = job->p.width;
    const vf zero = vf_splat(0);
    for (int64_t r = first; r < last; r++) {
        const double factor = job->factor * map_factor(job, r), both = job->sums[2 * r], all = job->sums[2 * r + 1];
        const vf pull = vf_splat((float)(factor * both / (all * all))), push = vf_splat((float)(-2 * factor / all));
        const float *a = map_a(job, r), *b = map_b(job, r);
        MK_EACH_VECTOR(i, n, width, {
            const vf x = vf_load_part(a + i, n), t = vf_load_part(b + i, n);
            const vi isKnown = t >= 0.0f;
            if (job->da) {
                const vf slope = vf_fma(t, push, job->p.squared ? 2.0f * x * pull : pull);
                vf_store_part(job->da + r * width + i, vf_select(isKnown, slope, zero), n);
            }
            if (job->db) {
                const vf slope = vf_fma(x, push, job->p.squared ? 2.0f * t * pull : pull);
                vf_store_part(job->db + r * width + i, vf_select(isKnown, slope, zero), n);
            }
        });
    }
}

static void map_dice_gradient(mk_pool *pool, const mk_maps *p, const void *sums, const void *loss_gradient, void *a_gradient,
                              void *b_gradient) {
    maps_job job = {*p, NULL, (float *)sums, a_gradient, b_gradient, 0};
    maps_run_gradient(pool, &job, map_dice_gradient_task, loss_gradient, p->rows);
}

/* ---- The largest of rows ---- */

enum { MAXIMUM_BLOCK = 1024 };

typedef struct {
    mk_row_maximum p;
    const float *dy;
    float *dx, *dfactors;
} maximum_job;

/* A block of places of one image. */
static void row_maximum_task(void *context, int64_t index, int32_t worker) {
    const mk_row_maximum *p = &((const maximum_job *)context)->p;
    const int64_t blocks = mk_ceil_divide(p->width, MAXIMUM_BLOCK), b = index / blocks, start = index % blocks * MAXIMUM_BLOCK;
    const int64_t count = mk_least(MAXIMUM_BLOCK, p->width - start);
    const float *x = (const float *)p->x + b * p->rows * p->width + start, *factors = (const float *)p->factors + b * p->rows;
    float *y = (float *)p->y + b * p->width + start;
    int32_t *winners = p->winners + b * p->width + start;
    (void)worker;
    for (int64_t i = 0; i < count; i++) y[i] = x[i] * factors[0], winners[i] = 0;
    for (int32_t r = 1; r < p->rows; r++) {
        x += p->width;
        const float factor = factors[r];
        for (int64_t i = 0; i < count; i++) {
            const float value = x[i] * factor;
            winners[i] = value > y[i] ? r : winners[i];
            y[i] = value > y[i] ? value : y[i];
        }
    }
}

static void row_maximum(mk_pool *pool, const mk_row_maximum *p) {
    maximum_job job = {*p, NULL, NULL, NULL};
    mk_pool_run(pool, p->batch * mk_ceil_divide(p->width, MAXIMUM_BLOCK), row_maximum_task, &job);
}

/* One row of one image. */
static void row_maximum_gradient_task(void *context, int64_t row, int32_t worker) {
    const maximum_job *job = context;
    const mk_row_maximum *p = &job->p;
    const int64_t b = row / p->rows;
    const int32_t own = (int32_t)(row % p->rows), *winners = p->winners + b * p->width;
    const float *x = (const float *)p->x + row * p->width, *dy = job->dy + b * p->width, factor = ((const float *)p->factors)[row];
    double total = 0;
    (void)worker;
    for (int64_t start = 0; start < p->width; start += MAXIMUM_BLOCK) {
        const int64_t end = mk_least(p->width, start + MAXIMUM_BLOCK);
        float sum = 0;
        for (int64_t i = start; i < end; i++) {
            const float won = winners[i] == own ? dy[i] : 0;
            sum += won * x[i];
            if (job->dx) job->dx[row * p->width + i] = won * factor;
        }
        total += (double)sum;
    }
    if (job->dfactors) job->dfactors[row] = (float)total;
}

static void row_maximum_gradient(mk_pool *pool, const mk_row_maximum *p, const void *y_gradient, void *x_gradient, void *factors_gradient) {
    maximum_job job = {*p, y_gradient, x_gradient, factors_gradient};
    mk_pool_run(pool, p->batch * p->rows, row_maximum_gradient_task, &job);
}

/* ---- Columns ---- */

typedef struct {
    int64_t total, rows, width, extra;
    const float *from, *columns;
    float *to;
} columns_job;

static void append_columns_task(void *context, int64_t index, int32_t worker) {
    const columns_job *job = context;
    const int64_t wide = job->width + job->extra, each = mk_rows_per_task(wide);
    (void)worker;
    for (int64_t r = index * each; r < mk_least(job->total, (index + 1) * each); r++) {
        mk_copy(job->to + r * wide, job->from + r * job->width, job->width);
        mk_copy(job->to + r * wide + job->width, job->columns + r % job->rows * job->extra, job->extra);
    }
}

static void append_columns(mk_pool *pool, int64_t batch, int64_t rows, int64_t width, int64_t extra, const void *x, const void *columns,
                           void *y) {
    columns_job job = {batch * rows, rows, width, extra, x, columns, y};
    mk_pool_run(pool, mk_ceil_divide(job.total, mk_rows_per_task(width + extra)), append_columns_task, &job);
}

static void leading_columns_task(void *context, int64_t index, int32_t worker) {
    const columns_job *job = context;
    const int64_t wide = job->width + job->extra, each = mk_rows_per_task(wide);
    (void)worker;
    for (int64_t r = index * each; r < mk_least(job->total, (index + 1) * each); r++)
        mk_copy(job->to + r * job->width, job->from + r * wide, job->width);
}

static void leading_columns(mk_pool *pool, int64_t rows, int64_t width, int64_t extra, const void *y, void *x) {
    columns_job job = {rows, rows, width, extra, y, NULL, x};
    mk_pool_run(pool, mk_ceil_divide(rows, mk_rows_per_task(width + extra)), leading_columns_task, &job);
}
