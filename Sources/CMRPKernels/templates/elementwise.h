/* Sums, scaling, column sums and means over tokens. */
#include "loops.h"

typedef struct {
    int64_t count;
    const float *a, *b;
    float *y;
    float factor;
} elementwise_job;

static void add_task(void *context, int64_t index, int32_t worker) {
    const elementwise_job *job = context;
    int64_t start = index * MK_TASK_VALUES;
    const float *a = job->a + start, *b = job->b + start;
    float *y = job->y + start;
    (void)worker;
    MK_EACH_VECTOR(i, n, mk_least(MK_TASK_VALUES, job->count - start),
                   { vf_store_part(y + i, vf_load_part(a + i, n) + vf_load_part(b + i, n), n); });
}

static void add_values(mk_pool *pool, int64_t count, const void *a, const void *b, void *y) {
    elementwise_job job = {count, a, b, y, 0};
    mk_pool_run(pool, mk_ceil_divide(count, MK_TASK_VALUES), add_task, &job);
}

typedef struct {
    int64_t rows, width;
    const float *x, *row;
    float *y;
} add_row_job;

static void add_row_task(void *context, int64_t index, int32_t worker) {
    const add_row_job *job = context;
    int64_t first = index * mk_rows_per_task(job->width), last = mk_least(job->rows, first + mk_rows_per_task(job->width));
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        const float *x = job->x + r * job->width;
        float *y = job->y + r * job->width;
        MK_EACH_VECTOR(c, n, job->width, { vf_store_part(y + c, vf_load_part(x + c, n) + vf_load_part(job->row + c, n), n); });
    }
}

static void add_row(mk_pool *pool, int64_t rows, int64_t width, const void *x, const void *row, void *y) {
    add_row_job job = {rows, width, x, row, y};
    mk_pool_run(pool, mk_ceil_divide(rows, mk_rows_per_task(width)), add_row_task, &job);
}

static void scale_task(void *context, int64_t index, int32_t worker) {
    const elementwise_job *job = context;
    int64_t start = index * MK_TASK_VALUES;
    const float *x = job->a + start;
    float *y = job->y + start;
    vf factor = vf_splat(job->factor);
    (void)worker;
    MK_EACH_VECTOR(i, n, mk_least(MK_TASK_VALUES, job->count - start), { vf_store_part(y + i, vf_load_part(x + i, n) * factor, n); });
}

static void scale_values(mk_pool *pool, int64_t count, double factor, const void *x, void *y) {
    elementwise_job job = {count, x, NULL, y, (float)factor};
    mk_pool_run(pool, mk_ceil_divide(count, MK_TASK_VALUES), scale_task, &job);
}

typedef struct {
    int64_t count;
    float keep, share;
    const float *x;
    float *y;
} blend_job;

static void blend_task(void *context, int64_t index, int32_t worker) {
    const blend_job *job = context;
    const int64_t start = index * MK_TASK_VALUES;
    const int fresh = job->keep == 0;
    (void)worker;
    MK_EACH_VECTOR(i, n, mk_least(MK_TASK_VALUES, job->count - start), {
        vf old = fresh ? vf_splat(0) : vf_load_part(job->y + start + i, n) * job->keep;
        vf_store_part(job->y + start + i, vf_fma(vf_load_part(job->x + start + i, n), vf_splat(job->share), old), n);
    });
}

static void blend(mk_pool *pool, int64_t count, double keep, double share, const void *x, void *y) {
    blend_job job = {count, (float)keep, (float)share, x, y};
    mk_pool_run(pool, mk_ceil_divide(count, MK_TASK_VALUES), blend_task, &job);
}

typedef struct {
    int64_t values;
    const float *factors, *x, *residual;
    float *y;
} images_job;

static void scale_images_task(void *context, int64_t image, int32_t worker) {
    const images_job *job = context;
    const int64_t start = image * job->values;
    const vf factor = vf_splat(job->factors[image]);
    (void)worker;
    MK_EACH_VECTOR(i, n, job->values, {
        vf sum = job->residual ? vf_load_part(job->residual + start + i, n) : vf_splat(0);
        vf_store_part(job->y + start + i, vf_fma(vf_load_part(job->x + start + i, n), factor, sum), n);
    });
}

static void scale_images(mk_pool *pool, int64_t images, int64_t values, const void *factors, const void *x, const void *residual, void *y) {
    images_job job = {values, factors, x, residual, y};
    mk_pool_run(pool, images, scale_images_task, &job);
}

static void gelu_gradient_task(void *context, int64_t index, int32_t worker) {
    const elementwise_job *job = context;
    int64_t start = index * MK_TASK_VALUES;
    const float *x = job->a + start, *dy = job->b + start;
    float *dx = job->y + start;
    (void)worker;
    MK_EACH_VECTOR(i, n, mk_least(MK_TASK_VALUES, job->count - start),
                   { vf_store_part(dx + i, vf_load_part(dy + i, n) * vf_gelu_gradient(vf_load_part(x + i, n)), n); });
}

static void gelu_gradient(mk_pool *pool, int64_t count, const void *x, const void *y_gradient, void *x_gradient) {
    elementwise_job job = {count, x, y_gradient, x_gradient, 0};
    mk_pool_run(pool, mk_ceil_divide(count, MK_TASK_VALUES), gelu_gradient_task, &job);
}

typedef struct {
    int64_t rows, columns;
    const float *x;
    float *partial;
} column_sum_job;

/* partial[block] = sum over the block's rows, four rows at a time, so that a partial sum is loaded and stored less often. */
static void column_sum_task(void *context, int64_t block, int32_t worker) {
    const column_sum_job *job = context;
    int64_t columns = job->columns, size = mk_block_rows(job->rows), first = block * size;
    int64_t last = mk_least(job->rows, first + size), r = first;
    float *partial = job->partial + block * columns;
    (void)worker;
    mk_zero(partial, columns);
    for (; r + 4 <= last; r += 4) {
        const float *x0 = job->x + r * columns, *x1 = x0 + columns, *x2 = x1 + columns, *x3 = x2 + columns;
        MK_EACH_VECTOR(c, n, columns, {
            vf sum = (vf_load_part(x0 + c, n) + vf_load_part(x1 + c, n)) + (vf_load_part(x2 + c, n) + vf_load_part(x3 + c, n));
            vf_store_part(partial + c, vf_load_part(partial + c, n) + sum, n);
        });
    }
    for (; r < last; r++) mk_accumulate(partial, job->x + r * columns, columns);
}

static mk_scratch column_sum_scratch(int64_t rows, int64_t columns) {
    return (mk_scratch){0, mk_blocks(rows) * columns * (int64_t)sizeof(float)};
}

static void column_sum(mk_pool *pool, int64_t rows, int64_t columns, const void *x, void *out) {
    column_sum_job job = {rows, columns, x, mk_pool_shared(pool)};
    mk_pool_run(pool, mk_blocks(rows), column_sum_task, &job);
    mk_sum_blocks(mk_blocks(rows), columns, columns, job.partial, out);
}

typedef struct {
    int64_t batch, tokens, width, first;
    const float *from;
    float *to;
} mean_job;

static void mean_tokens_task(void *context, int64_t b, int32_t worker) {
    const mean_job *job = context;
    const float *x = job->from + b * job->tokens * job->width;
    float *y = job->to + b * job->width, factor = (float)(1.0 / (double)(job->tokens - job->first));
    (void)worker;
    MK_EACH_VECTOR(c, n, job->width, {
        vf even = vf_splat(0), odd = vf_splat(0);
        int64_t t = job->first;
        for (; t + 2 <= job->tokens; t += 2) {
            even += vf_load_part(x + t * job->width + c, n);
            odd += vf_load_part(x + (t + 1) * job->width + c, n);
        }
        if (t < job->tokens) even += vf_load_part(x + t * job->width + c, n);
        vf_store_part(y + c, (even + odd) * factor, n);
    });
}

static void mean_tokens(mk_pool *pool, int64_t batch, int64_t tokens, int64_t width, int64_t first, const void *x, void *y) {
    mean_job job = {batch, tokens, width, first, x, y};
    mk_pool_run(pool, batch, mean_tokens_task, &job);
}

static void mean_tokens_gradient_task(void *context, int64_t b, int32_t worker) {
    const mean_job *job = context;
    const float *dy = job->from + b * job->width;
    float *dx = job->to + b * job->tokens * job->width, factor = (float)(1.0 / (double)(job->tokens - job->first));
    (void)worker;
    mk_zero(dx, mk_least(job->first, job->tokens) * job->width);
    for (int64_t t = job->first; t < job->tokens; t++) {
        MK_EACH_VECTOR(c, n, job->width, { vf_store_part(dx + t * job->width + c, vf_load_part(dy + c, n) * factor, n); });
    }
}

static void mean_tokens_gradient(mk_pool *pool, int64_t batch, int64_t tokens, int64_t width, int64_t first, const void *y_gradient,
                                 void *x_gradient) {
    mean_job job = {batch, tokens, width, first, y_gradient, x_gradient};
    mk_pool_run(pool, batch, mean_tokens_gradient_task, &job);
}
