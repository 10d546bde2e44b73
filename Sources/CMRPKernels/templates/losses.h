/* Squared error, cross entropy and softmax. Losses add partial sums in double, one per task, in order. */
#include "loops.h"

/* Runs the tasks; *loss = the sum of their partial sums, divided by `count`. */
static void mean_loss(mk_pool *pool, int64_t tasks, mk_task task, void *job, const double *partial, int64_t count, void *loss) {
    double sum = 0;
    mk_pool_run(pool, tasks, task, job);
    for (int64_t i = 0; i < tasks; i++) sum += partial[i];
    *(float *)loss = (float)(sum / (double)count);
}

/* Losses of the distance between prediction and target. */
typedef struct {
    int64_t count;
    const float *prediction, *target;
    double *partial;
    float *out;
    float beta, factor;
} distance_job;

static void squared_error_task(void *context, int64_t index, int32_t worker) {
    const distance_job *job = context;
    int64_t start = index * MK_TASK_VALUES, end = mk_least(job->count, start + MK_TASK_VALUES);
    double total = 0;
    (void)worker;
    for (; start < end; start += MK_SUM_RUN) {
        const float *prediction = job->prediction + start, *target = job->target + start;
        int64_t run = mk_least(MK_SUM_RUN, end - start), pairs = run / (2 * MK_WIDTH) * (2 * MK_WIDTH);
        vf even = vf_splat(0), odd = vf_splat(0);
        for (int64_t i = 0; i < pairs; i += 2 * MK_WIDTH) {
            vf d0 = vf_load(prediction + i) - vf_load(target + i);
            vf d1 = vf_load(prediction + i + MK_WIDTH) - vf_load(target + i + MK_WIDTH);
            even = vf_fma(d0, d0, even);
            odd = vf_fma(d1, d1, odd);
        }
        MK_EACH_VECTOR(i, n, run - pairs, {
            vf d = vf_load_part(prediction + pairs + i, n) - vf_load_part(target + pairs + i, n);
            even = vf_fma(d, d, even);
        });
        total += vf_reduce_add(even + odd);
    }
    job->partial[index] = total;
}

static mk_scratch squared_error_scratch(int64_t count) {
    return (mk_scratch){0, mk_ceil_divide(count, MK_TASK_VALUES) * (int64_t)sizeof(double)};
}

static void squared_error(mk_pool *pool, int64_t count, const void *prediction, const void *target, void *loss) {
    distance_job job = {count, prediction, target, mk_pool_shared(pool), NULL, 0, 0};
    const int64_t tasks = mk_ceil_divide(count, MK_TASK_VALUES);
    mean_loss(pool, tasks, squared_error_task, &job, job.partial, count, loss);
}

static void squared_error_gradient_task(void *context, int64_t index, int32_t worker) {
    const distance_job *job = context;
    int64_t start = index * MK_TASK_VALUES;
    const float *prediction = job->prediction + start, *target = job->target + start;
    float *out = job->out + start;
    vf factor = vf_splat(job->factor);
    (void)worker;
    MK_EACH_VECTOR(i, n, mk_least(MK_TASK_VALUES, job->count - start),
                   { vf_store_part(out + i, (vf_load_part(prediction + i, n) - vf_load_part(target + i, n)) * factor, n); });
}

static void squared_error_gradient(mk_pool *pool, int64_t count, const void *prediction, const void *target, const void *loss_gradient,
                                   void *out) {
    float factor = (float)(2.0 * *(const float *)loss_gradient / (double)count);
    distance_job job = {count, prediction, target, NULL, out, 0, factor};
    mk_pool_run(pool, mk_ceil_divide(count, MK_TASK_VALUES), squared_error_gradient_task, &job);
}

/* |d| - beta / 2, or d^2 / (2 beta) below beta. */
static void smooth_l1_task(void *context, int64_t index, int32_t worker) {
    const distance_job *job = context;
    int64_t start = index * MK_TASK_VALUES, end = mk_least(job->count, start + MK_TASK_VALUES);
    const float half = job->beta / 2;
    const vf beta = vf_splat(job->beta), inverse = vf_splat(job->beta > 0 ? 0.5f / job->beta : 0);
    double total = 0;
    (void)worker;
    for (; start < end; start += MK_SUM_RUN) {
        vf sum = vf_splat(0);
        MK_EACH_VECTOR(i, n, mk_least(MK_SUM_RUN, end - start), {
            vf d = vf_load_part(job->prediction + start + i, n) - vf_load_part(job->target + start + i, n);
            vf distance = vf_max(d, -d);
            vf value = vf_select(distance < beta, d * d * inverse, distance - half);
            sum += vf_keep_first(value, n, 0);
        });
        total += vf_reduce_add(sum);
    }
    job->partial[index] = total;
}

static void smooth_l1(mk_pool *pool, int64_t count, double beta, const void *prediction, const void *target, void *loss) {
    distance_job job = {count, prediction, target, mk_pool_shared(pool), NULL, (float)beta, 0};
    const int64_t tasks = mk_ceil_divide(count, MK_TASK_VALUES);
    mean_loss(pool, tasks, smooth_l1_task, &job, job.partial, count, loss);
}

static void smooth_l1_gradient_task(void *context, int64_t index, int32_t worker) {
    const distance_job *job = context;
    int64_t start = index * MK_TASK_VALUES;
    const vf beta = vf_splat(job->beta), inverse = vf_splat(job->beta > 0 ? 1 / job->beta : 0), one = vf_splat(1), zero = vf_splat(0);
    (void)worker;
    MK_EACH_VECTOR(i, n, mk_least(MK_TASK_VALUES, job->count - start), {
        vf d = vf_load_part(job->prediction + start + i, n) - vf_load_part(job->target + start + i, n);
        vf sign = vf_select(d > zero, one, vf_select(d < zero, -one, zero));
        vf slope = vf_select(vf_max(d, -d) < beta, d * inverse, sign);
        vf_store_part(job->out + start + i, slope * job->factor, n);
    });
}

static void smooth_l1_gradient(mk_pool *pool, int64_t count, double beta, const void *prediction, const void *target,
                               const void *loss_gradient, void *out) {
    float factor = (float)((double)*(const float *)loss_gradient / (double)count);
    distance_job job = {count, prediction, target, NULL, out, (float)beta, factor};
    mk_pool_run(pool, mk_ceil_divide(count, MK_TASK_VALUES), smooth_l1_gradient_task, &job);
}

MK_INLINE float row_largest(const float *x, int64_t width) {
    vf largest = vf_splat(-INFINITY);
    MK_EACH_VECTOR(c, n, width, { largest = vf_larger(largest, vf_keep_first(vf_load_part(x + c, n), n, -INFINITY)); });
    return vf_largest_lane(largest);
}

/* Against labels, smoothed, or against targets. */
typedef struct {
    int64_t rows, classes;
    const float *logits;
    const int32_t *labels;
    double smoothing;
    const float *targets, *weights;
    float *log_sum_exp;
    double *partial;
    float *out;
    float factor;
} cross_entropy_job;

/* The weight of a row; without weights 1. */
MK_INLINE float row_weight(const cross_entropy_job *job, int64_t row) { return job->weights ? job->weights[row] : 1; }

static void cross_entropy_task(void *context, int64_t index, int32_t worker) {
    const cross_entropy_job *job = context;
    int64_t classes = job->classes, first = index * mk_rows_per_task(classes);
    int64_t last = mk_least(job->rows, first + mk_rows_per_task(classes));
    double total = 0;
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        const float *logits = job->logits + r * classes;
        float largest = row_largest(logits, classes);
        vf exponentials = vf_splat(0), plain = vf_splat(0);
        MK_EACH_VECTOR(c, n, classes, {
            vf x = vf_load_part(logits + c, n);
            exponentials += vf_keep_first(vf_exp(x - largest), n, 0);
            plain += x;
        });
        double all = largest + log((double)vf_reduce_add(exponentials));
        double expected = (1 - job->smoothing) * logits[job->labels[r]];
        if (job->smoothing > 0) expected += job->smoothing / (double)classes * vf_reduce_add(plain);
        job->log_sum_exp[r] = (float)all;
        total += row_weight(job, r) * (all - expected);
    }
    job->partial[index] = total;
}

static mk_scratch cross_entropy_scratch(int64_t rows, int64_t classes) {
    return (mk_scratch){0, mk_ceil_divide(rows, mk_rows_per_task(classes)) * (int64_t)sizeof(double)};
}

static void cross_entropy_run(mk_pool *pool, cross_entropy_job *job, mk_task task, void *loss) {
    job->partial = mk_pool_shared(pool);
    mean_loss(pool, mk_ceil_divide(job->rows, mk_rows_per_task(job->classes)), task, job, job->partial, job->rows, loss);
}

static void cross_entropy_run_gradient(mk_pool *pool, cross_entropy_job *job, mk_task task, const void *loss_gradient) {
    job->factor = (float)((double)*(const float *)loss_gradient / (double)job->rows);
    mk_pool_run(pool, mk_ceil_divide(job->rows, mk_rows_per_task(job->classes)), task, job);
}

static void cross_entropy(mk_pool *pool, int64_t rows, int64_t classes, const void *logits, const int32_t *labels, double smoothing,
                          const void *weights, void *log_sum_exp, void *loss) {
    cross_entropy_job job = {
        rows, classes, logits, .labels = labels, .smoothing = smoothing, .weights = weights, .log_sum_exp = log_sum_exp};
    cross_entropy_run(pool, &job, cross_entropy_task, loss);
}

static void cross_entropy_gradient_task(void *context, int64_t index, int32_t worker) {
    const cross_entropy_job *job = context;
    int64_t classes = job->classes, first = index * mk_rows_per_task(classes);
    int64_t last = mk_least(job->rows, first + mk_rows_per_task(classes));
    float uniform = (float)(job->smoothing / (double)classes), rest = (float)(1 - job->smoothing);
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        const float *logits = job->logits + r * classes;
        float *out = job->out + r * classes, all = job->log_sum_exp[r], factor = job->factor * row_weight(job, r);
        int64_t label = job->labels[r];
        float at_label = vf_exp(vf_splat(logits[label] - all))[0] - uniform - rest;
        MK_EACH_VECTOR(c, n, classes, { vf_store_part(out + c, (vf_exp(vf_load_part(logits + c, n) - all) - uniform) * factor, n); });
        out[label] = at_label * factor;
    }
}

static void cross_entropy_gradient(mk_pool *pool, int64_t rows, int64_t classes, const void *logits, const int32_t *labels,
                                   double smoothing, const void *weights, const void *log_sum_exp, const void *loss_gradient,
                                   void *logits_gradient) {
    cross_entropy_job job = {rows,
                             classes,
                             logits,
                             .labels = labels,
                             .smoothing = smoothing,
                             .weights = weights,
                             .log_sum_exp = (float *)log_sum_exp,
                             .out = logits_gradient};
    cross_entropy_run_gradient(pool, &job, cross_entropy_gradient_task, loss_gradient);
}

static void soft_cross_entropy_task(void *context, int64_t index, int32_t worker) {
    const cross_entropy_job *job = context;
    int64_t classes = job->classes, first = index * mk_rows_per_task(classes);
    int64_t last = mk_least(job->rows, first + mk_rows_per_task(classes));
    double total = 0;
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        const float *logits = job->logits + r * classes, *targets = job->targets + r * classes;
        float largest = row_largest(logits, classes);
        vf exponentials = vf_splat(0), distance = vf_splat(0); /* from the largest: the targets add up to 1 */
        MK_EACH_VECTOR(c, n, classes, {
            vf below = vf_load_part(logits + c, n) - largest;
            exponentials += vf_keep_first(vf_exp(below), n, 0);
            distance = vf_fma(vf_load_part(targets + c, n), vf_keep_first(below, n, 0), distance);
        });
        double above = log((double)vf_reduce_add(exponentials));
        job->log_sum_exp[r] = (float)(largest + above);
        total += row_weight(job, r) * (above - vf_reduce_add(distance));
    }
    job->partial[index] = total;
}

static void soft_cross_entropy(mk_pool *pool, int64_t rows, int64_t classes, const void *logits, const void *targets, const void *weights,
                               void *log_sum_exp, void *loss) {
    cross_entropy_job job = {rows, classes, logits, .targets = targets, .weights = weights, .log_sum_exp = log_sum_exp};
    cross_entropy_run(pool, &job, soft_cross_entropy_task, loss);
}

static void soft_cross_entropy_gradient_task(void *context, int64_t index, int32_t worker) {
    const cross_entropy_job *job = context;
    int64_t classes = job->classes, first = index * mk_rows_per_task(classes);
    int64_t last = mk_least(job->rows, first + mk_rows_per_task(classes));
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        const float *logits = job->logits + r * classes, *targets = job->targets + r * classes;
        float *out = job->out + r * classes, all = job->log_sum_exp[r], factor = job->factor * row_weight(job, r);
        MK_EACH_VECTOR(c, n, classes,
                       { vf_store_part(out + c, (vf_exp(vf_load_part(logits + c, n) - all) - vf_load_part(targets + c, n)) * factor, n); });
    }
}

static void soft_cross_entropy_gradient(mk_pool *pool, int64_t rows, int64_t classes, const void *logits, const void *targets,
                                        const void *weights, const void *log_sum_exp, const void *loss_gradient, void *logits_gradient) {
    cross_entropy_job job = {
        rows, classes, logits, .targets = targets, .weights = weights, .log_sum_exp = (float *)log_sum_exp, .out = logits_gradient};
    cross_entropy_run_gradient(pool, &job, soft_cross_entropy_gradient_task, loss_gradient);
}

typedef struct {
    int64_t rows, width;
    const float *x;
    float *y;
} softmax_job;

static void softmax_task(void *context, int64_t index, int32_t worker) {
    const softmax_job *job = context;
    int64_t width = job->width, first = index * mk_rows_per_task(width);
    int64_t last = mk_least(job->rows, first + mk_rows_per_task(width));
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        const float *x = job->x + r * width;
        float *y = job->y + r * width, largest = row_largest(x, width);
        vf sum = vf_splat(0);
        MK_EACH_VECTOR(c, n, width, {
            vf e = vf_exp(vf_load_part(x + c, n) - largest);
            sum += vf_keep_first(e, n, 0);
            vf_store_part(y + c, e, n);
        });
        float factor = 1.0f / vf_reduce_add(sum);
        MK_EACH_VECTOR(c, n, width, { vf_store_part(y + c, vf_load_part(y + c, n) * factor, n); });
    }
}

static void softmax_rows(mk_pool *pool, int64_t rows, int64_t width, const void *x, void *y) {
    softmax_job job = {rows, width, x, y};
    mk_pool_run(pool, mk_ceil_divide(rows, mk_rows_per_task(width)), softmax_task, &job);
}

typedef struct {
    int64_t rows, width;
    const float *x;
    int32_t *out;
} argmax_job;

static void argmax_task(void *context, int64_t index, int32_t worker) {
    const argmax_job *job = context;
    int64_t width = job->width, first = index * mk_rows_per_task(width);
    int64_t last = mk_least(job->rows, first + mk_rows_per_task(width));
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        const float *x = job->x + r * width, largest = row_largest(x, width);
        int64_t at = 0;
        while (at < width - 1 && x[at] != largest) at++;
        job->out[r] = (int32_t)(x[at] == largest ? at : 0);
    }
}

static void argmax_rows(mk_pool *pool, int64_t rows, int64_t width, const void *x, int32_t *out) {
    argmax_job job = {rows, width, x, out};
    mk_pool_run(pool, mk_ceil_divide(rows, mk_rows_per_task(width)), argmax_task, &job);
}
