/* AdamW. Bound by memory: four streams in, three out. */
#include "loops.h"

typedef struct {
    int64_t count;
    float *parameter, *first_moment, *second_moment;
    const float *gradient;
    float keep1, new1, keep2, new2, gradient_scale, decay, rate, inverse_correction, epsilon;
} MK_NAME(adamw_job);

static void MK_NAME(adamw_task)(void *context, int64_t index, int32_t worker) {
    const MK_NAME(adamw_job) *job = context;
    int64_t start = index * MK_TASK_VALUES;
    float *parameter = job->parameter + start, *first_moment = job->first_moment + start;
    float *second_moment = job->second_moment + start;
    const float *gradient = job->gradient + start;
    vf keep1 = vf_splat(job->keep1), new1 = vf_splat(job->new1), keep2 = vf_splat(job->keep2), new2 = vf_splat(job->new2);
    vf gradient_scale = vf_splat(job->gradient_scale), decay = vf_splat(job->decay), rate = vf_splat(job->rate);
    vf inverse_correction = vf_splat(job->inverse_correction), epsilon = vf_splat(job->epsilon);
    (void)worker;
    MK_EACH_VECTOR(i, n, mk_least(MK_TASK_VALUES, job->count - start), {
        vf g = vf_load_part(gradient + i, n) * gradient_scale;
        vf m = vf_fma(vf_load_part(first_moment + i, n), keep1, g * new1);
        vf v = vf_fma(vf_load_part(second_moment + i, n), keep2, g * g * new2);
        vf p = vf_load_part(parameter + i, n) * decay;
        p -= rate * m / vf_fma(vf_sqrt(v), inverse_correction, epsilon);
        vf_store_part(first_moment + i, m, n);
        vf_store_part(second_moment + i, v, n);
        vf_store_part(parameter + i, p, n);
    });
}

static void MK_NAME(adamw)(mk_pool *pool, const mk_adamw *a) {
    double step = (double)a->step;
    MK_NAME(adamw_job) job = {
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
        .rate = (float)(a->learning_rate / (1 - pow(a->beta1, step))),
        .inverse_correction = (float)(1 / sqrt(1 - pow(a->beta2, step))),
        .epsilon = (float)a->epsilon,
    };
    mk_pool_run(pool, mk_ceil_divide(a->count, MK_TASK_VALUES), MK_NAME(adamw_task), &job);
}
