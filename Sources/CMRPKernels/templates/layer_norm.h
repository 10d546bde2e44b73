/* Layer normalisation, its gradient, and MAE's per-patch standardisation. The formulas stand in reference/reference_kernels.h. */
#include "loops.h"

/* Mean of x[width], and the sum of (x - mean)^2, by two passes over a row that stays in the L1 cache. */
MK_INLINE float row_moments(const float *x, int64_t width, float *squares) {
    vf sum0 = vf_splat(0), sum1 = vf_splat(0);
    int64_t pairs = width / (2 * MK_WIDTH) * (2 * MK_WIDTH);
    for (int64_t c = 0; c < pairs; c += 2 * MK_WIDTH) {
        sum0 += vf_load(x + c);
        sum1 += vf_load(x + c + MK_WIDTH);
    }
    MK_EACH_VECTOR(c, n, width - pairs, { sum0 += vf_load_part(x + pairs + c, n); });
    float mean = vf_reduce_add(sum0 + sum1) / (float)width;
    vf square0 = vf_splat(0), square1 = vf_splat(0);
    for (int64_t c = 0; c < pairs; c += 2 * MK_WIDTH) {
        vf d0 = vf_load(x + c) - mean, d1 = vf_load(x + c + MK_WIDTH) - mean;
        square0 = vf_fma(d0, d0, square0);
        square1 = vf_fma(d1, d1, square1);
    }
    MK_EACH_VECTOR(c, n, width - pairs, {
        vf d = vf_keep_first(vf_load_part(x + pairs + c, n) - mean, n, 0);
        square0 = vf_fma(d, d, square0);
    });
    *squares = vf_reduce_add(square0 + square1);
    return mean;
}

typedef struct {
    int64_t rows, width;
    const float *x, *gamma, *beta;
    double epsilon;
    float *y, *mean, *rstd;
} layer_norm_job;

static void layer_norm_task(void *context, int64_t index, int32_t worker) {
    const layer_norm_job *job = context;
    int64_t width = job->width, first = index * mk_rows_per_task(width);
    int64_t last = mk_least(job->rows, first + mk_rows_per_task(width));
    const float *gamma = job->gamma, *beta = job->beta;
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        const float *x = job->x + r * width;
        float *y = job->y + r * width, squares, mean = row_moments(x, width, &squares);
        float rstd = 1.0f / sqrtf(squares / (float)width + (float)job->epsilon);
        MK_EACH_VECTOR(c, n, width, {
            vf h = (vf_load_part(x + c, n) - mean) * rstd;
            vf_store_part(y + c, vf_fma(h, vf_load_part(gamma + c, n), vf_load_part(beta + c, n)), n);
        });
        if (job->mean) job->mean[r] = mean;
        if (job->rstd) job->rstd[r] = rstd;
    }
}

static void layer_norm_forward(mk_pool *pool, int64_t rows, int64_t width, const void *x, const void *gamma, const void *beta,
                               double epsilon, void *y, void *mean, void *rstd) {
    layer_norm_job job = {rows, width, x, gamma, beta, epsilon, y, mean, rstd};
    mk_pool_run(pool, mk_ceil_divide(rows, mk_rows_per_task(width)), layer_norm_task, &job);
}

typedef struct {
    int64_t rows, width;
    const float *x, *gamma, *mean, *rstd, *dy, *addend;
    float *dx, *partial; /* partial: blocks x (dgamma, dbeta) x width */
} layer_norm_gradient_job;

/* `count` rows (a constant) from row r on: the sums over each row, while their parts of dgamma and dbeta are added up; then dx. */
MK_INLINE void layer_norm_gradient_rows(const layer_norm_gradient_job *job, int64_t r, const int count, float *dgamma, float *dbeta) {
    int64_t width = job->width;
    const float *x = job->x + r * width, *dy = job->dy + r * width, *gamma = job->gamma;
    const float *mean = job->mean + r, *rstd = job->rstd + r;
    vf g_sum[4], gh_sum[4];
    for (int i = 0; i < count; i++) g_sum[i] = gh_sum[i] = vf_splat(0);
    MK_EACH_VECTOR(c, n, width, {
        vf gamma_sum = vf_load_part(dgamma + c, n), beta_sum = vf_load_part(dbeta + c, n), factor = vf_load_part(gamma + c, n);
        _Pragma("clang loop unroll(full)") for (int i = 0; i < count; i++) {
            vf d = vf_load_part(dy + i * width + c, n), g = d * factor;
            vf h = (vf_load_part(x + i * width + c, n) - mean[i]) * rstd[i];
            gamma_sum = vf_fma(d, h, gamma_sum);
            beta_sum += d;
            g_sum[i] += g;
            gh_sum[i] = vf_fma(g, h, gh_sum[i]); /* lanes beyond n hold g = 0 */
        }
        vf_store_part(dgamma + c, gamma_sum, n);
        vf_store_part(dbeta + c, beta_sum, n);
    });
    for (int i = 0; i < count; i++) {
        float g_mean = vf_reduce_add(g_sum[i]) / (float)width, gh_mean = vf_reduce_add(gh_sum[i]) / (float)width;
        const float *x_row = x + i * width, *dy_row = dy + i * width;
        const float *addend = job->addend ? job->addend + (r + i) * width : NULL;
        float *dx = job->dx + (r + i) * width;
        vf inverse = vf_splat(rstd[i]);
#define MK_ROW_GRADIENT                                                                            \
    vf h = (vf_load_part(x_row + c, n) - mean[i]) * inverse;                                       \
    vf inner = vf_fma(vf_load_part(dy_row + c, n), vf_load_part(gamma + c, n), vf_splat(-g_mean)); \
    inner = vf_fma(h, vf_splat(-gh_mean), inner)
        if (addend) {
            MK_EACH_VECTOR(c, n, width, {
                MK_ROW_GRADIENT;
                vf_store_part(dx + c, vf_fma(inner, inverse, vf_load_part(addend + c, n)), n);
            });
        } else {
            MK_EACH_VECTOR(c, n, width, {
                MK_ROW_GRADIENT;
                vf_store_part(dx + c, inner * inverse, n);
            });
        }
#undef MK_ROW_GRADIENT
    }
}

static void layer_norm_gradient_task(void *context, int64_t block, int32_t worker) {
    const layer_norm_gradient_job *job = context;
    int64_t size = mk_block_rows(job->rows), r = block * size, last = mk_least(job->rows, r + size);
    float *dgamma = job->partial + block * 2 * job->width, *dbeta = dgamma + job->width;
    (void)worker;
    mk_zero(dgamma, 2 * job->width);
    for (; r + 4 <= last; r += 4) layer_norm_gradient_rows(job, r, 4, dgamma, dbeta);
    for (; r < last; r++) layer_norm_gradient_rows(job, r, 1, dgamma, dbeta);
}

static mk_scratch layer_norm_scratch(int64_t rows, int64_t width) {
    return (mk_scratch){0, mk_blocks(rows) * 2 * width * (int64_t)sizeof(float)};
}

static void layer_norm_backward(mk_pool *pool, int64_t rows, int64_t width, const void *x, const void *gamma, const void *mean,
                                const void *rstd, const void *y_gradient, const void *addend, void *x_gradient, void *gamma_gradient,
                                void *beta_gradient) {
    layer_norm_gradient_job job = {rows, width, x, gamma, mean, rstd, y_gradient, addend, x_gradient, mk_pool_shared(pool)};
    mk_pool_run(pool, mk_blocks(rows), layer_norm_gradient_task, &job);
    mk_sum_blocks(mk_blocks(rows), 2 * width, width, job.partial, gamma_gradient);
    mk_sum_blocks(mk_blocks(rows), 2 * width, width, job.partial + width, beta_gradient);
}

static void standardize_task(void *context, int64_t index, int32_t worker) {
    const layer_norm_job *job = context;
    int64_t width = job->width, first = index * mk_rows_per_task(width);
    int64_t last = mk_least(job->rows, first + mk_rows_per_task(width));
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        const float *x = job->x + r * width;
        float *y = job->y + r * width, squares, mean = row_moments(x, width, &squares);
        float rstd = 1.0f / sqrtf(squares / (float)(width - 1) + (float)job->epsilon);
        MK_EACH_VECTOR(c, n, width, { vf_store_part(y + c, (vf_load_part(x + c, n) - mean) * rstd, n); });
    }
}

static void standardize_rows(mk_pool *pool, int64_t rows, int64_t width, const void *x, double epsilon, void *y) {
    layer_norm_job job = {rows, width, x, NULL, NULL, epsilon, y, NULL, NULL};
    mk_pool_run(pool, mk_ceil_divide(rows, mk_rows_per_task(width)), standardize_task, &job);
}
