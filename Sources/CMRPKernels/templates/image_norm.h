/* Group norm and global response normalisation: each image by itself, one task an image. Both come down to sums over rows for each
 * channel, then y = (x - shift) scale + offset by channel. The formulas stand at mk_image_norm. */
#include "loops.h"

enum { MK_IMAGE_NORM_ROWS = 128 /* added up in one float before it joins the sum */ };

/* Sums over the rows of one image, by channel: of a - a_shift, and of (a - a_shift) (x - x_shift). */
typedef struct {
    int64_t rows, width;
    const float *a, *a_shift, *x, *x_shift;
    float *sum, *product;
} image_sums;

MK_INLINE void image_sums_strip(const image_sums *s, int64_t c, const int vectors, const int64_t n) {
    vf sum[2], product[2], a_shift[2], x_shift[2];
    for (int j = 0; j < vectors; j++) {
        sum[j] = product[j] = vf_splat(0);
        a_shift[j] = vf_load_part(s->a_shift + c + j * MK_WIDTH, n);
        x_shift[j] = vf_load_part(s->x_shift + c + j * MK_WIDTH, n);
    }
    for (int64_t first = 0; first < s->rows; first += MK_IMAGE_NORM_ROWS) {
        vf some[2], some_product[2];
        for (int j = 0; j < vectors; j++) some[j] = some_product[j] = vf_splat(0);
        for (int64_t r = first; r < mk_least(s->rows, first + MK_IMAGE_NORM_ROWS); r++)
            _Pragma("clang loop unroll(full)") for (int j = 0; j < vectors; j++) {
                const int64_t at = r * s->width + c + j * MK_WIDTH;
                const vf a = vf_load_part(s->a + at, n) - a_shift[j];
                some[j] += a;
                some_product[j] = vf_fma(a, vf_load_part(s->x + at, n) - x_shift[j], some_product[j]);
            }
        for (int j = 0; j < vectors; j++) sum[j] += some[j], product[j] += some_product[j];
    }
    for (int j = 0; j < vectors; j++) {
        vf_store_part(s->sum + c + j * MK_WIDTH, sum[j], n);
        vf_store_part(s->product + c + j * MK_WIDTH, product[j], n);
    }
}

static void image_sums_of(const image_sums *s) {
    const int64_t strips = s->width / (2 * MK_WIDTH) * (2 * MK_WIDTH);
    for (int64_t c = 0; c < strips; c += 2 * MK_WIDTH) image_sums_strip(s, c, 2, MK_WIDTH);
    MK_EACH_VECTOR(c, n, s->width - strips, { image_sums_strip(s, strips + c, 1, n); });
}

/* y = (x - shift) scale + offset, plus dy factor when dy is given. */
typedef struct {
    int64_t rows, width;
    const float *x, *shift, *scale, *offset, *dy, *factor;
    float *y;
} image_affine;

static void image_affine_of(const image_affine *a) {
    for (int64_t r = 0; r < a->rows; r++) {
        const float *x = a->x + r * a->width, *dy = a->dy ? a->dy + r * a->width : NULL;
        float *y = a->y + r * a->width;
        MK_EACH_VECTOR(c, n, a->width, {
            vf v = vf_fma(vf_load_part(x + c, n) - vf_load_part(a->shift + c, n), vf_load_part(a->scale + c, n),
                          vf_load_part(a->offset + c, n));
            if (dy) v = vf_fma(vf_load_part(dy + c, n), vf_load_part(a->factor + c, n), v);
            vf_store_part(y + c, v, n);
        });
    }
}

typedef struct {
    const mk_image_norm *norm;
    mk_pool *pool;
    float *partial; /* backward: batch x (dgamma, dbeta) x width */
} image_norm_job;

/* Per worker seven lines of a channel each; shared the gradients of gamma and beta of each image. */
static mk_scratch image_norm_scratch(const mk_image_norm *v) {
    return (mk_scratch){7 * v->width * (int64_t)sizeof(float), 2 * v->batch * v->width * (int64_t)sizeof(float)};
}

static void group_norm_task(void *context, int64_t image, int32_t worker) {
    const image_norm_job *job = context;
    const mk_image_norm *v = job->norm;
    const int64_t rows = v->rows, width = v->width, channels = width / v->groups;
    const float *x = (const float *)v->x + image * rows * width, *gamma = v->gamma;
    float *shift = mk_pool_scratch(job->pool, worker), *scale = shift + width, *sum = scale + width, *product = sum + width;
    float *mean = (float *)v->mean + image * v->groups, *rstd = (float *)v->rstd + image * v->groups;
    mk_zero(shift, width);
    image_sums sums = {rows, width, x, shift, x, shift, sum, product};
    image_sums_of(&sums);
    for (int64_t g = 0; g < v->groups; g++) {
        double total = 0;
        for (int64_t c = g * channels; c < (g + 1) * channels; c++) total += sum[c];
        mean[g] = (float)(total / (double)(rows * channels));
        for (int64_t c = g * channels; c < (g + 1) * channels; c++) shift[c] = mean[g];
    }
    image_sums_of(&sums);
    for (int64_t g = 0; g < v->groups; g++) {
        double squares = 0;
        for (int64_t c = g * channels; c < (g + 1) * channels; c++) squares += product[c];
        rstd[g] = (float)(1 / sqrt(squares / (double)(rows * channels) + v->epsilon));
        for (int64_t c = g * channels; c < (g + 1) * channels; c++) scale[c] = gamma[c] * rstd[g];
    }
    image_affine y = {rows, width, x, shift, scale, v->beta, NULL, NULL, (float *)v->y + image * rows * width};
    image_affine_of(&y);
}

static void group_norm_gradient_task(void *context, int64_t image, int32_t worker) {
    const image_norm_job *job = context;
    const mk_image_norm *v = job->norm;
    const int64_t rows = v->rows, width = v->width, channels = width / v->groups;
    const float *x = (const float *)v->x + image * rows * width, *dy = (const float *)v->y_gradient + image * rows * width;
    const float *gamma = v->gamma, *mean = (const float *)v->mean + image * v->groups;
    const float *rstd = (const float *)v->rstd + image * v->groups;
    float *shift = mk_pool_scratch(job->pool, worker), *scale = shift + width, *offset = scale + width, *factor = offset + width;
    float *zero = factor + width, *dgamma = job->partial + 2 * image * width, *dbeta = dgamma + width;
    mk_zero(zero, width);
    for (int64_t c = 0; c < width; c++) shift[c] = mean[c / channels];
    image_sums sums = {rows, width, dy, zero, x, shift, dbeta, dgamma};
    image_sums_of(&sums);
    for (int64_t g = 0; g < v->groups; g++) {
        double average = 0, slope = 0, inverse = rstd[g], count = (double)(rows * channels);
        for (int64_t c = g * channels; c < (g + 1) * channels; c++) {
            dgamma[c] *= rstd[g];
            average += (double)gamma[c] * dbeta[c];
            slope += (double)gamma[c] * dgamma[c];
        }
        for (int64_t c = g * channels; c < (g + 1) * channels; c++) {
            factor[c] = (float)(gamma[c] * inverse);
            scale[c] = (float)(-inverse * inverse * slope / count);
            offset[c] = (float)(-inverse * average / count);
        }
    }
    image_affine dx = {rows, width, x, shift, scale, offset, dy, factor, (float *)v->x_gradient + image * rows * width};
    image_affine_of(&dx);
}

/* N of an image; returns the average of G plus epsilon. */
static double response_ratios(const mk_image_norm *v, const float *norms, float *ratios) {
    double average = 0;
    for (int64_t c = 0; c < v->width; c++) average += norms[c];
    average = average / (double)v->width + v->epsilon;
    for (int64_t c = 0; c < v->width; c++) ratios[c] = (float)(norms[c] / average);
    return average;
}

static void response_norm_task(void *context, int64_t image, int32_t worker) {
    const image_norm_job *job = context;
    const mk_image_norm *v = job->norm;
    const int64_t rows = v->rows, width = v->width;
    const float *x = (const float *)v->x + image * rows * width, *gamma = v->gamma;
    float *norms = (float *)v->norms + image * width;
    float *zero = mk_pool_scratch(job->pool, worker), *scale = zero + width, *sum = scale + width, *product = sum + width;
    mk_zero(zero, width);
    image_sums sums = {rows, width, x, zero, x, zero, sum, product};
    image_sums_of(&sums);
    for (int64_t c = 0; c < width; c++) norms[c] = sqrtf(product[c]);
    response_ratios(v, norms, scale);
    for (int64_t c = 0; c < width; c++) scale[c] = 1 + gamma[c] * scale[c];
    image_affine y = {rows, width, x, zero, scale, v->beta, NULL, NULL, (float *)v->y + image * rows * width};
    image_affine_of(&y);
}

static void response_norm_gradient_task(void *context, int64_t image, int32_t worker) {
    const image_norm_job *job = context;
    const mk_image_norm *v = job->norm;
    const int64_t rows = v->rows, width = v->width;
    const float *x = (const float *)v->x + image * rows * width, *dy = (const float *)v->y_gradient + image * rows * width;
    const float *gamma = v->gamma, *norms = (const float *)v->norms + image * width;
    float *zero = mk_pool_scratch(job->pool, worker), *scale = zero + width, *factor = scale + width, *product = factor + width;
    float *ratios = product + width, *dgamma = job->partial + 2 * image * width, *dbeta = dgamma + width;
    mk_zero(zero, width);
    image_sums sums = {rows, width, dy, zero, x, zero, dbeta, product};
    image_sums_of(&sums);
    const double average = response_ratios(v, norms, ratios);
    double common = 0; /* what every norm gets through the average */
    for (int64_t c = 0; c < width; c++) {
        dgamma[c] = product[c] * ratios[c];
        common += (double)gamma[c] * dgamma[c];
    }
    common /= average * (double)width;
    for (int64_t c = 0; c < width; c++) {
        const double gradient = (double)gamma[c] * product[c] / average - common;
        factor[c] = 1 + gamma[c] * ratios[c];
        scale[c] = norms[c] == 0 ? 0 : (float)(gradient / norms[c]);
    }
    image_affine dx = {rows, width, x, zero, scale, zero, dy, factor, (float *)v->x_gradient + image * rows * width};
    image_affine_of(&dx);
}

static void image_norm_run(mk_pool *pool, const mk_image_norm *v, mk_task task, int backward) {
    image_norm_job job = {v, pool, mk_pool_shared(pool)};
    mk_pool_run(pool, v->batch, task, &job);
    if (!backward) return;
    mk_sum_blocks(v->batch, 2 * v->width, v->width, job.partial, v->gamma_gradient);
    mk_sum_blocks(v->batch, 2 * v->width, v->width, job.partial + v->width, v->beta_gradient);
}

static void group_norm_forward(mk_pool *pool, const mk_image_norm *v) { image_norm_run(pool, v, group_norm_task, 0); }

static void group_norm_backward(mk_pool *pool, const mk_image_norm *v) { image_norm_run(pool, v, group_norm_gradient_task, 1); }

static void response_norm_forward(mk_pool *pool, const mk_image_norm *v) { image_norm_run(pool, v, response_norm_task, 0); }

static void response_norm_backward(mk_pool *pool, const mk_image_norm *v) { image_norm_run(pool, v, response_norm_gradient_task, 1); }
