/* Updates of weights: AdamW and SGD with momentum, each also with a trust ratio per tensor (LAMB, LARS). Bound by memory: one pass,
 * and one more where norms of the whole tensor are needed first. */
#include "loops.h"

/* The two values at a place whose squares are added. */
typedef struct {
    vf first, second;
} measured;

/* Sums of squares over the places of one task, into partial[2 task] and partial[2 task + 1]. `measure` is a constant and gives 0 in
 * the lanes past n. */
MK_INLINE void add_squares(measured (*const measure)(const void *job, int64_t at, int64_t n), const void *job, int64_t count, int64_t task,
                           double *partial) {
    int64_t start = task * MK_TASK_VALUES;
    const int64_t end = mk_least(count, start + MK_TASK_VALUES);
    double first = 0, second = 0;
    for (; start < end; start += MK_SUM_RUN) {
        vf firsts = vf_splat(0), seconds = vf_splat(0);
        MK_EACH_VECTOR(i, n, mk_least(MK_SUM_RUN, end - start), {
            const measured v = measure(job, start + i, n);
            firsts = vf_fma(v.first, v.first, firsts);
            seconds = vf_fma(v.second, v.second, seconds);
        });
        first += vf_reduce_add(firsts);
        second += vf_reduce_add(seconds);
    }
    partial[2 * task] = first;
    partial[2 * task + 1] = second;
}

/* The norm from the tasks' sums of squares, added in order: of the first values, or of the second (`odd`). */
MK_INLINE double mk_partial_norm(const double *partial, int64_t tasks, int odd) {
    double sum = 0;
    for (int64_t task = 0; task < tasks; task++) sum += partial[2 * task + odd];
    return sqrt(sum);
}

static mk_scratch update_scratch(int64_t count) {
    return (mk_scratch){0, 2 * mk_ceil_divide(count, MK_TASK_VALUES) * (int64_t)sizeof(double)};
}

typedef struct {
    int64_t count;
    float *parameter, *first_moment, *second_moment;
    const float *gradient;
    float keep1, new1, keep2, new2, gradient_scale, decay, rate, inverse_correction, epsilon;
    float correction1, weight_decay; /* of the update that the trust ratio scales */
    double *partial;                 /* per task: squares of the parameter, of the update */
} adamw_job;

MK_INLINE vf adamw_moments(const adamw_job *job, int64_t at, int64_t n, vf *second) {
    vf g = vf_load_part(job->gradient + at, n) * job->gradient_scale;
    vf m = vf_fma(vf_load_part(job->first_moment + at, n), vf_splat(job->keep1), g * job->new1);
    vf v = vf_fma(vf_load_part(job->second_moment + at, n), vf_splat(job->keep2), g * g * job->new2);
    vf_store_part(job->first_moment + at, m, n);
    vf_store_part(job->second_moment + at, v, n);
    *second = v;
    return m;
}

MK_INLINE vf adamw_denominator(const adamw_job *job, vf second) {
    return vf_fma(vf_sqrt(second), vf_splat(job->inverse_correction), vf_splat(job->epsilon));
}

static void adamw_task(void *context, int64_t index, int32_t worker) {
    const adamw_job *job = context;
    const int64_t start = index * MK_TASK_VALUES;
    (void)worker;
    MK_EACH_VECTOR(i, n, mk_least(MK_TASK_VALUES, job->count - start), {
        vf v;
        vf m = adamw_moments(job, start + i, n, &v);
        vf p = vf_load_part(job->parameter + start + i, n) * job->decay;
        vf_store_part(job->parameter + start + i, p - job->rate * m / adamw_denominator(job, v), n);
    });
}

/* m^ / (sqrt(v^) + epsilon) + weight_decay p */
MK_INLINE vf lamb_update(const adamw_job *job, vf m, vf v, vf p) {
    return job->correction1 * m / adamw_denominator(job, v) + job->weight_decay * p;
}

MK_INLINE measured lamb_measure(const void *context, int64_t at, int64_t n) {
    const adamw_job *job = context;
    vf v;
    vf m = adamw_moments(job, at, n, &v), p = vf_load_part(job->parameter + at, n);
    return (measured){p, vf_keep_first(lamb_update(job, m, v, p), n, 0)};
}

static void lamb_measure_task(void *context, int64_t index, int32_t worker) {
    const adamw_job *job = context;
    (void)worker;
    add_squares(lamb_measure, job, job->count, index, job->partial);
}

static void lamb_apply_task(void *context, int64_t index, int32_t worker) {
    const adamw_job *job = context;
    const int64_t start = index * MK_TASK_VALUES;
    (void)worker;
    MK_EACH_VECTOR(i, n, mk_least(MK_TASK_VALUES, job->count - start), {
        vf m = vf_load_part(job->first_moment + start + i, n), v = vf_load_part(job->second_moment + start + i, n);
        vf p = vf_load_part(job->parameter + start + i, n);
        vf_store_part(job->parameter + start + i, p - job->rate * lamb_update(job, m, v, p), n);
    });
}

static void adamw(mk_pool *pool, const mk_adamw *a) {
    const double step = (double)a->step, correction1 = 1 / (1 - pow(a->beta1, step));
    const int64_t tasks = mk_ceil_divide(a->count, MK_TASK_VALUES);
    adamw_job job = {
        .count = a->count,
        .parameter = a->parameter,
        .first_moment = a->first_moment,
        .second_moment = a->second_moment,
        .gradient = a->gradient,
        .keep1 = (float)a->beta1,
        .new1 = (float)(1 - a->beta1),
        .keep2 = (float)a->beta2,
        .new2 = (float)(1 - a->beta2),
        .gradient_scale = (float)a->gradient_scale,
        .decay = (float)(1 - a->learning_rate * a->weight_decay),
        .rate = (float)(a->learning_rate * correction1),
        .inverse_correction = (float)(1 / sqrt(1 - pow(a->beta2, step))),
        .epsilon = (float)a->epsilon,
        .correction1 = (float)correction1,
        .weight_decay = (float)a->weight_decay,
    };
    if (!a->layer_wise) {
        mk_pool_run(pool, tasks, adamw_task, &job);
        return;
    }
    job.partial = mk_pool_shared(pool);
    mk_pool_run(pool, tasks, lamb_measure_task, &job);
    const double parameter = mk_partial_norm(job.partial, tasks, 0), update = mk_partial_norm(job.partial, tasks, 1);
    job.rate = (float)(a->learning_rate * (parameter > 0 && update > 0 ? parameter / update : 1));
    mk_pool_run(pool, tasks, lamb_apply_task, &job);
}

typedef struct {
    int64_t count;
    float *parameter, *buffer;
    const float *gradient;
    float gradient_scale, weight_decay, momentum, rate, ratio;
    int32_t nesterov;
    double *partial;
} sgd_job;

MK_INLINE vf sgd_gradient(const sgd_job *job, int64_t at, int64_t n, vf parameter) {
    return vf_fma(vf_load_part(job->gradient + at, n), vf_splat(job->gradient_scale), job->weight_decay * parameter);
}

MK_INLINE measured lars_measure(const void *context, int64_t at, int64_t n) {
    const sgd_job *job = context;
    const vf p = vf_load_part(job->parameter + at, n);
    return (measured){p, sgd_gradient(job, at, n, p)};
}

static void lars_measure_task(void *context, int64_t index, int32_t worker) {
    const sgd_job *job = context;
    (void)worker;
    add_squares(lars_measure, job, job->count, index, job->partial);
}

static void sgd_task(void *context, int64_t index, int32_t worker) {
    const sgd_job *job = context;
    const int64_t start = index * MK_TASK_VALUES;
    (void)worker;
    MK_EACH_VECTOR(i, n, mk_least(MK_TASK_VALUES, job->count - start), {
        vf p = vf_load_part(job->parameter + start + i, n);
        vf g = sgd_gradient(job, start + i, n, p) * job->ratio;
        vf buffer = vf_fma(vf_load_part(job->buffer + start + i, n), vf_splat(job->momentum), g);
        vf_store_part(job->buffer + start + i, buffer, n);
        vf step = job->nesterov ? vf_fma(buffer, vf_splat(job->momentum), g) : buffer;
        vf_store_part(job->parameter + start + i, p - job->rate * step, n);
    });
}

static void sgd(mk_pool *pool, const mk_sgd *s) {
    const int64_t tasks = mk_ceil_divide(s->count, MK_TASK_VALUES);
    sgd_job job = {
        .count = s->count,
        .parameter = s->parameter,
        .buffer = s->buffer,
        .gradient = s->gradient,
        .gradient_scale = (float)s->gradient_scale,
        .weight_decay = (float)s->weight_decay,
        .momentum = (float)s->momentum,
        .rate = (float)s->learning_rate,
        .ratio = 1,
        .nesterov = s->nesterov,
        .partial = mk_pool_shared(pool),
    };
    if (s->trust > 0) {
        mk_pool_run(pool, tasks, lars_measure_task, &job);
        const double parameter = mk_partial_norm(job.partial, tasks, 0), update = mk_partial_norm(job.partial, tasks, 1);
        if (parameter > 0 && update > 0) job.ratio = (float)(s->trust * parameter / update);
    }
    mk_pool_run(pool, tasks, sgd_task, &job);
}

typedef struct {
    int64_t count;
    const float *x;
    double *partial;
} squares_job;

MK_INLINE measured squares_measure(const void *context, int64_t at, int64_t n) {
    const squares_job *job = context;
    return (measured){vf_load_part(job->x + at, n), vf_splat(0)};
}

static void squares_task(void *context, int64_t index, int32_t worker) {
    const squares_job *job = context;
    (void)worker;
    add_squares(squares_measure, job, job->count, index, job->partial);
}

static void euclidean_norm(mk_pool *pool, int64_t count, const void *x, void *out) {
    const int64_t tasks = mk_ceil_divide(count, MK_TASK_VALUES);
    squares_job job = {count, x, mk_pool_shared(pool)};
    mk_pool_run(pool, tasks, squares_task, &job);
    *(float *)out = (float)mk_partial_norm(job.partial, tasks, 0);
}
