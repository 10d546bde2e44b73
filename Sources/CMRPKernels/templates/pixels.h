/* Dense prediction: bilinear resizing of channels-last images, and losses of classes of pixels. Lanes are channels or classes.
 * After elementwise.h and losses.h. */

/* The two neighbours of a source, and the share of the second. */
typedef struct {
    int64_t first, second;
    float share;
} resize_tap;

MK_INLINE resize_tap resize_source(int64_t at, int64_t from, int64_t to) {
    double place = ((double)at + 0.5) * (double)from / (double)to - 0.5;
    if (place < 0) place = 0;
    const int64_t first = mk_least((int64_t)place, from - 1), second = mk_least(first + 1, from - 1);
    return (resize_tap){first, second, second > first ? (float)(place - (double)first) : 0};
}

/* One row of y. */
static void resize_task(void *context, int64_t line, int32_t worker) {
    const mk_resize *p = context;
    const int64_t channels = p->channels, pitch = p->in_width * channels;
    const resize_tap row = resize_source(line % p->out_height, p->in_height, p->out_height);
    const float *image = (const float *)p->x + line / p->out_height * p->in_height * pitch;
    const float *upper = image + row.first * pitch, *lower = image + row.second * pitch;
    float *y = (float *)p->y + line * p->out_width * channels;
    (void)worker;
    for (int64_t at = 0; at < p->out_width; at++, y += channels) {
        const resize_tap column = resize_source(at, p->in_width, p->out_width);
        const int64_t left = column.first * channels, right = column.second * channels;
        MK_EACH_VECTOR(c, n, channels, {
            const vf a = vf_load_part(upper + left + c, n), b = vf_load_part(upper + right + c, n);
            const vf d = vf_load_part(lower + left + c, n), e = vf_load_part(lower + right + c, n);
            const vf above = vf_fma(b - a, vf_splat(column.share), a), below = vf_fma(e - d, vf_splat(column.share), d);
            vf_store_part(y + c, vf_fma(below - above, vf_splat(row.share), above), n);
        });
    }
}

static void resize_forward(mk_pool *pool, const mk_resize *p) { mk_pool_run(pool, p->batch * p->out_height, resize_task, (void *)p); }

/* Adds share x dy of one row of y to the row of dx. */
MK_INLINE void resize_collect(const mk_resize *p, const float *dy, float share, float *dx) {
    const int64_t channels = p->channels;
    for (int64_t at = 0; at < p->out_width; at++, dy += channels) {
        const resize_tap column = resize_source(at, p->in_width, p->out_width);
        const vf first = vf_splat(share * (1 - column.share)), second = vf_splat(share * column.share);
        float *left = dx + column.first * channels, *right = dx + column.second * channels;
        MK_EACH_VECTOR(c, n, channels, {
            const vf d = vf_load_part(dy + c, n);
            vf_store_part(left + c, vf_fma(d, first, vf_load_part(left + c, n)), n);
            vf_store_part(right + c, vf_fma(d, second, vf_load_part(right + c, n)), n);
        });
    }
}

/* One row of dx collects from the rows of y that read it, so that no two tasks write the same row. */
static void resize_gradient_task(void *context, int64_t line, int32_t worker) {
    const mk_resize *p = context;
    const int64_t pitch = p->out_width * p->channels, own = line % p->in_height;
    const float *image = (const float *)p->y + line / p->in_height * p->out_height * pitch;
    float *dx = (float *)p->x + line * p->in_width * p->channels;
    (void)worker;
    mk_zero(dx, p->in_width * p->channels);
    for (int64_t at = 0; at < p->out_height; at++) {
        const resize_tap row = resize_source(at, p->in_height, p->out_height);
        if (row.first > own) break;
        if (row.first == own) resize_collect(p, image + at * pitch, 1 - row.share, dx);
        if (row.second == own && row.share > 0) resize_collect(p, image + at * pitch, row.share, dx);
    }
}

static void resize_backward(mk_pool *pool, const mk_resize *p) {
    mk_pool_run(pool, p->batch * p->in_height, resize_gradient_task, (void *)p);
}

static void gelu_task(void *context, int64_t index, int32_t worker) {
    const elementwise_job *job = context;
    const int64_t start = index * MK_TASK_VALUES;
    (void)worker;
    MK_EACH_VECTOR(i, n, mk_least(MK_TASK_VALUES, job->count - start),
                   { vf_store_part(job->y + start + i, vf_gelu(vf_load_part(job->a + start + i, n)), n); });
}

static void gelu(mk_pool *pool, int64_t count, const void *x, void *y) {
    elementwise_job job = {count, x, NULL, y, 0};
    mk_pool_run(pool, mk_ceil_divide(count, MK_TASK_VALUES), gelu_task, &job);
}

MK_INLINE double row_log_sum_exp(const float *logits, int64_t classes) {
    const float largest = row_largest(logits, classes);
    vf sum = vf_splat(0);
    MK_EACH_VECTOR(c, n, classes, { sum += vf_keep_first(vf_exp(vf_load_part(logits + c, n) - largest), n, 0); });
    return largest + log((double)vf_reduce_add(sum));
}

/* ---- The focal loss ---- */

typedef struct {
    cross_entropy_job base;
    double gamma;
} focal_job;

static void focal_task(void *context, int64_t index, int32_t worker) {
    const cross_entropy_job *job = context;
    const double gamma = ((const focal_job *)context)->gamma;
    const int64_t classes = job->classes, first = index * mk_rows_per_task(classes);
    const int64_t last = mk_least(job->rows, first + mk_rows_per_task(classes));
    double total = 0;
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        const float *logits = job->logits + r * classes;
        const double all = row_log_sum_exp(logits, classes), known = logits[job->labels[r]] - all;
        job->log_sum_exp[r] = (float)all;
        total -= row_weight(job, r) * pow(-expm1(known), gamma) * known;
    }
    job->partial[index] = total;
}

static void focal(mk_pool *pool, int64_t rows, int64_t classes, const void *logits, const int32_t *labels, double gamma,
                  const void *weights, void *log_sum_exp, void *loss) {
    focal_job job = {{rows, classes, logits, .labels = labels, .weights = weights, .log_sum_exp = log_sum_exp}, gamma};
    cross_entropy_run(pool, &job.base, focal_task, loss);
}

static void focal_gradient_task(void *context, int64_t index, int32_t worker) {
    const cross_entropy_job *job = context;
    const double gamma = ((const focal_job *)context)->gamma;
    const int64_t classes = job->classes, first = index * mk_rows_per_task(classes);
    const int64_t last = mk_least(job->rows, first + mk_rows_per_task(classes));
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        const float *logits = job->logits + r * classes, all = job->log_sum_exp[r];
        float *out = job->out + r * classes;
        const int64_t label = job->labels[r];
        const double known = (double)logits[label] - all, rest = -expm1(known);
        double slope = -pow(rest, gamma);
        if (gamma > 0 && rest > 0) slope += gamma * pow(rest, gamma - 1) * exp(known) * known;
        const float factor = (float)(slope * job->factor * row_weight(job, r));
        MK_EACH_VECTOR(c, n, classes, { vf_store_part(out + c, vf_exp(vf_load_part(logits + c, n) - all) * -factor, n); });
        out[label] = (float)rest * factor;
    }
}

static void focal_gradient(mk_pool *pool, int64_t rows, int64_t classes, const void *logits, const int32_t *labels, double gamma,
                           const void *weights, const void *log_sum_exp, const void *loss_gradient, void *logits_gradient) {
    focal_job job = {
        {rows, classes, logits, .labels = labels, .weights = weights, .log_sum_exp = (float *)log_sum_exp, .out = logits_gradient}, gamma};
    cross_entropy_run_gradient(pool, &job.base, focal_gradient_task, loss_gradient);
}

/* ---- Dice ---- */

/* Rows whose shares are added in float before they go over to double. */
enum { DICE_RUN = 64 };

static mk_scratch dice_scratch(int64_t rows, int64_t classes) {
    const int64_t tasks = mk_ceil_divide(rows, mk_rows_per_task(classes));
    return (mk_scratch){classes * (int64_t)sizeof(float), tasks * 2 * classes * (int64_t)sizeof(double)};
}

typedef struct {
    cross_entropy_job base;
    mk_pool *pool;
    const float *sums;
} dice_job;

static void dice_task(void *context, int64_t index, int32_t worker) {
    const cross_entropy_job *job = context;
    const int64_t classes = job->classes, first = index * mk_rows_per_task(classes);
    const int64_t last = mk_least(job->rows, first + mk_rows_per_task(classes));
    double *both = job->partial + index * 2 * classes, *all = both + classes;
    float *shares = mk_pool_scratch(((const dice_job *)context)->pool, worker);
    for (int64_t c = 0; c < 2 * classes; c++) both[c] = 0;
    for (int64_t start = first; start < last; start += DICE_RUN) {
        mk_zero(shares, classes);
        for (int64_t r = start; r < mk_least(last, start + DICE_RUN); r++) {
            const float *logits = job->logits + r * classes;
            const int64_t label = job->labels[r];
            const float log_sum_exp = (float)row_log_sum_exp(logits, classes), weight = row_weight(job, r);
            job->log_sum_exp[r] = log_sum_exp;
            both[label] += 2.0 * weight * vf_exp(vf_splat(logits[label] - log_sum_exp))[0];
            all[label] += weight;
            MK_EACH_VECTOR(c, n, classes, {
                const vf share = vf_exp(vf_load_part(logits + c, n) - log_sum_exp);
                vf_store_part(shares + c, vf_fma(share, vf_splat(weight), vf_load_part(shares + c, n)), n);
            });
        }
        for (int64_t c = 0; c < classes; c++) all[c] += shares[c];
    }
}

static void dice(mk_pool *pool, int64_t rows, int64_t classes, const void *logits, const int32_t *labels, const void *weights,
                 double smooth, void *log_sum_exp, void *sums, void *loss) {
    dice_job job = {{rows, classes, logits, .labels = labels, .weights = weights, .log_sum_exp = log_sum_exp}, pool, NULL};
    const int64_t tasks = mk_ceil_divide(rows, mk_rows_per_task(classes));
    const double *partial = job.base.partial = mk_pool_shared(pool);
    double total = 0;
    mk_pool_run(pool, tasks, dice_task, &job);
    for (int64_t c = 0; c < classes; c++) {
        double both = smooth, all = smooth;
        for (int64_t task = 0; task < tasks; task++) {
            both += partial[task * 2 * classes + c];
            all += partial[(task * 2 + 1) * classes + c];
        }
        ((float *)sums)[c] = (float)both;
        ((float *)sums)[classes + c] = (float)all;
        total += 1 - both / all;
    }
    *(float *)loss = (float)(total / (double)classes);
}

static void dice_gradient_task(void *context, int64_t index, int32_t worker) {
    const cross_entropy_job *job = context;
    const int64_t classes = job->classes, first = index * mk_rows_per_task(classes);
    const int64_t last = mk_least(job->rows, first + mk_rows_per_task(classes));
    const float *both = ((const dice_job *)context)->sums, *all = both + classes;
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        const float *logits = job->logits + r * classes, log_sum_exp = job->log_sum_exp[r], factor = job->factor * row_weight(job, r);
        float *out = job->out + r * classes;
        const int64_t label = job->labels[r];
        const float known = vf_exp(vf_splat(logits[label] - log_sum_exp))[0], pull = 2 / all[label];
        vf sum = vf_splat(0);
        MK_EACH_VECTOR(c, n, classes, {
            const vf share = vf_exp(vf_load_part(logits + c, n) - log_sum_exp), whole = vf_load_part(all + c, n);
            const vf slope = vf_load_part(both + c, n) / (whole * whole);
            sum += vf_keep_first(share * slope, n, 0);
        });
        const float mean = vf_reduce_add(sum) - known * pull;
        MK_EACH_VECTOR(c, n, classes, {
            const vf share = vf_exp(vf_load_part(logits + c, n) - log_sum_exp), whole = vf_load_part(all + c, n);
            const vf slope = vf_load_part(both + c, n) / (whole * whole);
            vf_store_part(out + c, share * (slope - mean) * factor, n);
        });
        out[label] = known * (both[label] / (all[label] * all[label]) - pull - mean) * factor;
    }
}

static void dice_gradient(mk_pool *pool, int64_t rows, int64_t classes, const void *logits, const int32_t *labels, const void *weights,
                          const void *log_sum_exp, const void *sums, const void *loss_gradient, void *logits_gradient) {
    dice_job job = {{rows, classes, logits, .labels = labels, .weights = weights, .log_sum_exp = (float *)log_sum_exp,
                     .out = logits_gradient, .factor = *(const float *)loss_gradient / (float)classes},
                    pool,
                    sums};
    mk_pool_run(pool, mk_ceil_divide(rows, mk_rows_per_task(classes)), dice_gradient_task, &job);
}

/* ---- Montages ---- */

typedef struct {
    int64_t grid, channels, height, width;
    const float *images;
    const int32_t *sources;
    float *out;
} montage_job;

/* One plane of a montage, row by row; each row has a part of `grid` tiles. */
static void montage_task(void *context, int64_t plane, int32_t worker) {
    const montage_job *job = context;
    const int64_t grid = job->grid, height = job->height, width = job->width, tile_width = width / grid;
    const float share = 1 / (float)(grid * grid);
    float *out = job->out + plane * height * width;
    (void)worker;
    for (int64_t y = 0; y < height; y++) {
        const int64_t tiles = plane / job->channels * grid * grid + y / (height / grid) * grid, first = y % (height / grid) * grid;
        for (int64_t tile = 0; tile < grid; tile++, out += tile_width) {
            const int64_t from = (job->sources[tiles + tile] * job->channels + plane % job->channels) * height + first;
            for (int64_t x = 0; x < tile_width; x++) {
                const float *at = job->images + from * width + x * grid;
                float sum = 0;
                for (int64_t i = 0; i < grid; i++, at += width)
                    for (int64_t j = 0; j < grid; j++) sum += at[j];
                out[x] = sum * share;
            }
        }
    }
}

static void montage(mk_pool *pool, int64_t count, int64_t grid, int64_t channels, int64_t height, int64_t width, const void *images,
                    const int32_t *sources, void *out) {
    montage_job job = {grid, channels, height, width, images, sources, out};
    mk_pool_run(pool, count * channels, montage_task, &job);
}
