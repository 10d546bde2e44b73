/* Batch normalisation and its gradient, with the sum and the ReLU that follow it in a residual network in the same pass over memory.
 * The formulas stand at mk_batch_norm. */
#include "loops.h"

typedef struct {
    int64_t rows, width;
    const float *x;
    float *partial; /* blocks x (shift, sum, squares) x width */
} moments_job;

/* Sums of (x - shift) and (x - shift)^2 over the rows of a block, with the first row as shift, so that a mean far from 0 costs no
 * digits; `vectors` whole vectors of columns at a time (a constant), the last with `n` lanes. */
MK_INLINE void moments_strip(const moments_job *job, int64_t first, int64_t last, int64_t c, const int vectors, const int64_t n,
                             float *partial) {
    vf shift[4], sum[4], squares[4];
    for (int j = 0; j < vectors; j++) {
        shift[j] = vf_load_part(job->x + first * job->width + c + j * MK_WIDTH, n);
        sum[j] = squares[j] = vf_splat(0);
    }
    for (int64_t r = first; r < last; r++) {
        const float *x = job->x + r * job->width + c;
        _Pragma("clang loop unroll(full)") for (int j = 0; j < vectors; j++) {
            vf d = vf_load_part(x + j * MK_WIDTH, n) - shift[j];
            sum[j] += d;
            squares[j] = vf_fma(d, d, squares[j]);
        }
    }
    for (int j = 0; j < vectors; j++) {
        vf_store_part(partial + c + j * MK_WIDTH, shift[j], n);
        vf_store_part(partial + job->width + c + j * MK_WIDTH, sum[j], n);
        vf_store_part(partial + 2 * job->width + c + j * MK_WIDTH, squares[j], n);
    }
}

static void moments_task(void *context, int64_t block, int32_t worker) {
    const moments_job *job = context;
    const int64_t size = mk_block_rows(job->rows), first = block * size, last = mk_least(job->rows, first + size);
    const int64_t strips = job->width / (4 * MK_WIDTH) * (4 * MK_WIDTH);
    float *partial = job->partial + block * 3 * job->width;
    (void)worker;
    for (int64_t c = 0; c < strips; c += 4 * MK_WIDTH) moments_strip(job, first, last, c, 4, MK_WIDTH, partial);
    MK_EACH_VECTOR(c, n, job->width - strips, { moments_strip(job, first, last, strips + c, 1, n, partial); });
}

static mk_scratch column_moments_scratch(int64_t rows, int64_t width) {
    return (mk_scratch){0, mk_blocks(rows) * 3 * width * (int64_t)sizeof(float)};
}

/* The moments of the blocks are joined by Chan, Golub & LeVeque 1979. */
static void column_moments(mk_pool *pool, int64_t rows, int64_t width, const void *x, void *mean_, void *variance_) {
    moments_job job = {rows, width, x, mk_pool_shared(pool)};
    float *mean_out = mean_, *variance_out = variance_;
    const int64_t blocks = mk_blocks(rows), size = mk_block_rows(rows);
    mk_pool_run(pool, blocks, moments_task, &job);
    for (int64_t c = 0; c < width; c++) {
        double mean = 0, squares = 0, count = 0;
        for (int64_t block = 0; block < blocks; block++) {
            const float *partial = job.partial + block * 3 * width + c;
            const double n = (double)mk_least(size, rows - block * size), shifted = partial[width] / n,
                         difference = partial[0] + shifted - mean;
            squares += partial[2 * width] - shifted * shifted * n + difference * difference * count * n / (count + n);
            mean += difference * n / (count + n);
            count += n;
        }
        mean_out[c] = (float)mean;
        variance_out[c] = (float)(squares > 0 || squares != squares ? squares / count : 0);
    }
}

typedef struct {
    const mk_batch_norm *b;
    float *scale;   /* width: gamma / sqrt(variance + epsilon) */
    float *average; /* backward: average of dz, and of dz h / sqrt(variance + epsilon), 2 x width */
    float *partial; /* backward: blocks x (sum dz, sum dz (x - mean)) x width */
} batch_norm_job;

static mk_scratch batch_norm_scratch(const mk_batch_norm *b) {
    return (mk_scratch){0, (3 + 2 * mk_blocks(b->rows)) * b->width * (int64_t)sizeof(float)};
}

static batch_norm_job batch_norm_prepare(mk_pool *pool, const mk_batch_norm *b) {
    batch_norm_job job = {b, mk_pool_shared(pool), NULL, NULL};
    const float *gamma = b->gamma, *variance = b->variance;
    job.average = job.scale + b->width;
    job.partial = job.average + 2 * b->width;
    for (int64_t c = 0; c < b->width; c++) job.scale[c] = (float)(gamma[c] / sqrt((double)variance[c] + b->epsilon));
    return job;
}

static void batch_norm_task(void *context, int64_t index, int32_t worker) {
    const batch_norm_job *job = context;
    const mk_batch_norm *b = job->b;
    const int64_t width = b->width, size = mk_rows_per_task(width), first = index * size, last = mk_least(b->rows, first + size);
    const float *beta = b->beta, *mean = b->mean, *scale = job->scale;
    const int32_t relu = b->relu;
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        const float *x = (const float *)b->x + r * width, *residual = b->residual ? (const float *)b->residual + r * width : NULL;
        float *y = (float *)b->y + r * width;
        if (residual) {
            MK_EACH_VECTOR(c, n, width, {
                vf v = vf_fma(vf_load_part(x + c, n) - vf_load_part(mean + c, n), vf_load_part(scale + c, n), vf_load_part(beta + c, n));
                vf_store_part(y + c, vf_relu(v + vf_load_part(residual + c, n), relu), n);
            });
        } else {
            MK_EACH_VECTOR(c, n, width, {
                vf v = vf_fma(vf_load_part(x + c, n) - vf_load_part(mean + c, n), vf_load_part(scale + c, n), vf_load_part(beta + c, n));
                vf_store_part(y + c, vf_relu(v, relu), n);
            });
        }
    }
}

static void batch_norm_forward(mk_pool *pool, const mk_batch_norm *b) {
    batch_norm_job job = batch_norm_prepare(pool, b);
    mk_pool_run(pool, mk_ceil_divide(b->rows, mk_rows_per_task(b->width)), batch_norm_task, &job);
}

static void batch_norm_fold(mk_pool *pool, const mk_batch_norm *b, void *scale_, void *shift_) {
    const float *gamma = b->gamma, *beta = b->beta, *mean = b->mean, *variance = b->variance;
    float *scale = scale_, *shift = shift_;
    (void)pool;
    for (int64_t c = 0; c < b->width; c++) {
        const double factor = gamma[c] / sqrt((double)variance[c] + b->epsilon);
        scale[c] = (float)factor;
        shift[c] = (float)(beta[c] - mean[c] * factor);
    }
}

MK_INLINE vf relu_gradient(const mk_batch_norm *b, int64_t at, int64_t n) {
    vf dy = vf_load_part((const float *)b->y_gradient + at, n);
    if (!b->relu) return dy;
    const vf y = vf_load_part((const float *)b->y + at, n), most = vf_splat(b->relu == 6 ? 6.0f : __builtin_inff());
    return vf_select((y > 0.0f) & (y < most), dy, vf_splat(0));
}

MK_INLINE void batch_norm_sums_strip(const mk_batch_norm *b, int64_t first, int64_t last, int64_t c, const int vectors, const int64_t n,
                                     float *partial) {
    vf mean[4], sum[4], product[4];
    for (int j = 0; j < vectors; j++) {
        mean[j] = vf_load_part((const float *)b->mean + c + j * MK_WIDTH, n);
        sum[j] = product[j] = vf_splat(0);
    }
    for (int64_t r = first; r < last; r++) {
        _Pragma("clang loop unroll(full)") for (int j = 0; j < vectors; j++) {
            const int64_t at = r * b->width + c + j * MK_WIDTH;
            vf dz = relu_gradient(b, at, n);
            sum[j] += dz;
            product[j] = vf_fma(dz, vf_load_part((const float *)b->x + at, n) - mean[j], product[j]);
        }
    }
    for (int j = 0; j < vectors; j++) {
        vf_store_part(partial + c + j * MK_WIDTH, sum[j], n);
        vf_store_part(partial + b->width + c + j * MK_WIDTH, product[j], n);
    }
}

static void batch_norm_sums_task(void *context, int64_t block, int32_t worker) {
    const batch_norm_job *job = context;
    const mk_batch_norm *b = job->b;
    const int64_t size = mk_block_rows(b->rows), first = block * size, last = mk_least(b->rows, first + size);
    const int64_t strips = b->width / (4 * MK_WIDTH) * (4 * MK_WIDTH);
    float *partial = job->partial + block * 2 * b->width;
    (void)worker;
    for (int64_t c = 0; c < strips; c += 4 * MK_WIDTH) batch_norm_sums_strip(b, first, last, c, 4, MK_WIDTH, partial);
    MK_EACH_VECTOR(c, n, b->width - strips, { batch_norm_sums_strip(b, first, last, strips + c, 1, n, partial); });
}

static void batch_norm_gradient_task(void *context, int64_t index, int32_t worker) {
    const batch_norm_job *job = context;
    const mk_batch_norm *b = job->b;
    const int64_t width = b->width, size = mk_rows_per_task(width), first = index * size, last = mk_least(b->rows, first + size);
    const float *mean = b->mean, *average = job->average, *slope = average + width;
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        const float *x = (const float *)b->x + r * width;
        float *dx = (float *)b->x_gradient + r * width;
        float *dresidual = b->residual_gradient ? (float *)b->residual_gradient + r * width : NULL;
        MK_EACH_VECTOR(c, n, width, {
            vf dz = relu_gradient(b, r * width + c, n);
            if (dresidual) vf_store_part(dresidual + c, dz, n);
            vf v =
                vf_fma(vf_load_part(mean + c, n) - vf_load_part(x + c, n), vf_load_part(slope + c, n), dz - vf_load_part(average + c, n));
            vf_store_part(dx + c, v * vf_load_part(job->scale + c, n), n);
        });
    }
}

static void batch_norm_backward(mk_pool *pool, const mk_batch_norm *b) {
    batch_norm_job job = batch_norm_prepare(pool, b);
    const float *variance = b->variance;
    float *dgamma = b->gamma_gradient, *dbeta = b->beta_gradient;
    const int64_t blocks = mk_blocks(b->rows), width = b->width;
    mk_pool_run(pool, blocks, batch_norm_sums_task, &job);
    for (int64_t c = 0; c < width; c++) {
        double sum = 0, product = 0, inverse = 1 / sqrt((double)variance[c] + b->epsilon);
        for (int64_t block = 0; block < blocks; block++) {
            sum += job.partial[block * 2 * width + c];
            product += job.partial[(block * 2 + 1) * width + c];
        }
        dgamma[c] = (float)(product * inverse);
        dbeta[c] = (float)sum;
        job.average[c] = b->frozen ? 0 : (float)(sum / (double)b->rows);
        job.average[width + c] = b->frozen ? 0 : (float)(product * inverse * inverse / (double)b->rows);
    }
    mk_pool_run(pool, mk_ceil_divide(b->rows, mk_rows_per_task(width)), batch_norm_gradient_task, &job);
}
