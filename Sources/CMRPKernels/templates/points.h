/* Chamfer distance between sets of points: lanes are points. */
#ifndef MK_POINTS_H
#define MK_POINTS_H

#include "loops.h"

typedef struct {
    const mk_chamfer *p;
    double *partial;
    mk_pool *pool;
} chamfer_job;

static int64_t chamfer_padded(int64_t rows) { return mk_ceil_divide(rows, 16) * 16; }

/* Per worker: the columns of one of the two. */
static mk_scratch chamfer_scratch(const mk_chamfer *p) {
    const int64_t rows = p->rows_a > p->rows_b ? p->rows_a : p->rows_b;
    return (mk_scratch){p->width * chamfer_padded(rows) * 4, p->sets * (int64_t)sizeof(double)};
}

/* The nearest of `others` points for each point of a set that lies in columns: lanes are points, so that nothing is summed across lanes, at the
 * price of each distance twice. */
MK_INLINE void chamfer_nearest(const float *others, int64_t count, int64_t padded, int64_t width, const float *columns, int64_t rows,
                               int32_t *nearest) {
    for (int64_t i = 0; i < rows; i += MK_WIDTH) {
        vf smallest = vf_splat(INFINITY);
        vi index = vi_splat(0);
        for (int64_t j = 0; j < count; j++) {
            vf squares = vf_splat(0);
            for (int64_t c = 0; c < width; c++) {
                const vf difference = vf_load(columns + c * padded + i) - others[j * width + c];
                squares = vf_fma(difference, difference, squares);
            }
            const vi nearer = squares < smallest;
            smallest = vf_select(nearer, squares, smallest);
            index = (nearer & (int32_t)j) | (~nearer & index);
        }
        int32_t found[MK_WIDTH];
        vi_store(found, index);
        for (int64_t lane = 0; lane < MK_WIDTH && i + lane < rows; lane++) nearest[i + lane] = found[lane];
    }
}

static double chamfer_square(const float *a, const float *b, int64_t width) {
    double sum = 0;
    for (int64_t c = 0; c < width; c++) {
        const double difference = (double)a[c] - b[c];
        sum += difference * difference;
    }
    return sum;
}

/* Nearest of `to` for each of `from`; the mean of the squared distances. */
static double chamfer_side(const float *from, int64_t rows, const float *to, int64_t others, int64_t width, int32_t *nearest,
                           float *columns) {
    const int64_t padded = chamfer_padded(rows);
    for (int64_t c = 0; c < width; c++)
        for (int64_t i = 0; i < padded; i++) columns[c * padded + i] = i < rows ? from[i * width + c] : 0;
    if (width == 3)
        chamfer_nearest(to, others, padded, 3, columns, rows, nearest);
    else
        chamfer_nearest(to, others, padded, width, columns, rows, nearest);
    double sum = 0;
    for (int64_t i = 0; i < rows; i++) sum += chamfer_square(from + i * width, to + nearest[i] * width, width);
    return sum / (double)rows;
}

static void chamfer_task(void *context, int64_t set, int32_t worker) {
    const chamfer_job *job = context;
    const mk_chamfer *p = job->p;
    const float *a = (const float *)p->a + set * p->rows_a * p->width, *b = (const float *)p->b + set * p->rows_b * p->width;
    float *columns = mk_pool_scratch(job->pool, worker);
    job->partial[set] = chamfer_side(a, p->rows_a, b, p->rows_b, p->width, p->nearest_a + set * p->rows_a, columns) +
                        chamfer_side(b, p->rows_b, a, p->rows_a, p->width, p->nearest_b + set * p->rows_b, columns);
}

static void chamfer(mk_pool *pool, const mk_chamfer *p, void *loss) {
    chamfer_job job = {p, mk_pool_shared(pool), pool};
    mk_pool_run(pool, p->sets, chamfer_task, &job);
    double sum = 0;
    for (int64_t set = 0; set < p->sets; set++) sum += job.partial[set];
    *(float *)loss = (float)(sum / (double)p->sets);
}

typedef struct {
    const mk_chamfer *p;
    float factor_a, factor_b;
    float *a_gradient, *b_gradient;
} chamfer_gradient_job;

/* a * b + c, rounded once where the instruction set can; spelt out, since the compiler fuses or not as it likes. */
MK_INLINE float chamfer_add(float a, float b, float c) {
#if MK_FMA
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/* One pair of nearest points: the difference goes to both ends. */
MK_INLINE void chamfer_pull(const float *a, const float *b, int64_t width, float factor, float *a_gradient, float *b_gradient) {
    for (int64_t c = 0; c < width; c++) {
        const float difference = a[c] - b[c];
        if (a_gradient) a_gradient[c] = chamfer_add(factor, difference, a_gradient[c]);
        if (b_gradient) b_gradient[c] = chamfer_add(-factor, difference, b_gradient[c]);
    }
}

static void chamfer_gradient_task(void *context, int64_t set, int32_t worker) {
    const chamfer_gradient_job *job = context;
    const mk_chamfer *p = job->p;
    const int64_t width = p->width, values_a = p->rows_a * width, values_b = p->rows_b * width;
    const float *a = (const float *)p->a + set * values_a, *b = (const float *)p->b + set * values_b;
    float *da = job->a_gradient ? job->a_gradient + set * values_a : NULL, *db = job->b_gradient ? job->b_gradient + set * values_b : NULL;
    (void)worker;
    if (da) mk_zero(da, values_a);
    if (db) mk_zero(db, values_b);
    for (int64_t i = 0; i < p->rows_a; i++) {
        const int64_t j = p->nearest_a[set * p->rows_a + i];
        chamfer_pull(a + i * width, b + j * width, width, job->factor_a, da ? da + i * width : NULL, db ? db + j * width : NULL);
    }
    for (int64_t j = 0; j < p->rows_b; j++) {
        const int64_t i = p->nearest_b[set * p->rows_b + j];
        chamfer_pull(a + i * width, b + j * width, width, job->factor_b, da ? da + i * width : NULL, db ? db + j * width : NULL);
    }
}

static void chamfer_gradient(mk_pool *pool, const mk_chamfer *p, const void *loss_gradient, void *a_gradient, void *b_gradient) {
    const double factor = 2 * (double)*(const float *)loss_gradient / (double)p->sets;
    chamfer_gradient_job job = {p, (float)(factor / (double)p->rows_a), (float)(factor / (double)p->rows_b), a_gradient, b_gradient};
    mk_pool_run(pool, p->sets, chamfer_gradient_task, &job);
}

#endif
