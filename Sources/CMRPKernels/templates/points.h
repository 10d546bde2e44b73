/* Chamfer distance between sets of points: lanes are points of b. One pass over the pairs of a set finds the nearest of both sides. */
#ifndef MK_POINTS_H
#define MK_POINTS_H

#include "loops.h"

typedef struct {
    const mk_chamfer *p;
    double *partial;
    mk_pool *pool;
} chamfer_job;

static int64_t chamfer_padded(int64_t rows) { return mk_ceil_divide(rows, 16) * 16; }

/* Per worker: the columns of b one after another, then the smallest distances of b's points and their indices. */
static mk_scratch chamfer_scratch(const mk_chamfer *p) {
    return (mk_scratch){(p->width + 2) * chamfer_padded(p->rows_b) * 4, p->sets * (int64_t)sizeof(double)};
}

/* The lane of the smallest value, of equal ones that with the smallest index; 0 where nothing was smaller than infinity. */
MK_INLINE int32_t chamfer_winner(vf smallest, vi index) {
    float best = INFINITY;
    int32_t winner = 0;
    for (int lane = 0; lane < MK_WIDTH; lane++) {
        if (smallest[lane] < best || (smallest[lane] == best && best < INFINITY && index[lane] < winner)) {
            best = smallest[lane];
            winner = index[lane];
        }
    }
    return winner;
}

MK_INLINE void chamfer_nearest(const float *a, int64_t rows_a, int64_t padded, int64_t width, const float *columns, float *smallest_b,
                               int32_t *nearest_b, int32_t *nearest_a) {
    vi lanes = vi_splat(0);
    for (int lane = 0; lane < MK_WIDTH; lane++) lanes[lane] = lane;
    for (int64_t i = 0; i < rows_a; i++) {
        vf smallest = vf_splat(INFINITY);
        vi index = vi_splat(0);
        for (int64_t j = 0; j < padded; j += MK_WIDTH) {
            vf squares = vf_splat(0);
            for (int64_t c = 0; c < width; c++) {
                const vf difference = a[i * width + c] - vf_load(columns + c * padded + j);
                squares = vf_fma(difference, difference, squares);
            }
            const vi nearer = squares < smallest;
            smallest = vf_select(nearer, squares, smallest);
            index = (nearer & (lanes + (int32_t)j)) | (~nearer & index);
            const vf so_far = vf_load(smallest_b + j);
            const vi new = squares < so_far;
            vf_store(smallest_b + j, vf_select(new, squares, so_far));
            vi_store(nearest_b + j, (new &(int32_t)i) | (~new &vi_load(nearest_b + j)));
        }
        nearest_a[i] = chamfer_winner(smallest, index);
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

static void chamfer_task(void *context, int64_t set, int32_t worker) {
    const chamfer_job *job = context;
    const mk_chamfer *p = job->p;
    const int64_t padded = chamfer_padded(p->rows_b), width = p->width;
    const float *a = (const float *)p->a + set * p->rows_a * width, *b = (const float *)p->b + set * p->rows_b * width;
    int32_t *nearest_a = p->nearest_a + set * p->rows_a, *nearest_b = p->nearest_b + set * p->rows_b;
    float *columns = mk_pool_scratch(job->pool, worker), *smallest_b = columns + width * padded;
    int32_t *index_b = (int32_t *)(smallest_b + padded);
    for (int64_t c = 0; c < width; c++)
        for (int64_t j = 0; j < padded; j++) columns[c * padded + j] = j < p->rows_b ? b[j * width + c] : INFINITY;
    for (int64_t j = 0; j < padded; j++) smallest_b[j] = INFINITY, index_b[j] = 0;
    if (width == 3)
        chamfer_nearest(a, p->rows_a, padded, 3, columns, smallest_b, index_b, nearest_a);
    else
        chamfer_nearest(a, p->rows_a, padded, width, columns, smallest_b, index_b, nearest_a);
    double to_b = 0, to_a = 0;
    for (int64_t i = 0; i < p->rows_a; i++) to_b += chamfer_square(a + i * width, b + nearest_a[i] * width, width);
    for (int64_t j = 0; j < p->rows_b; j++) {
        nearest_b[j] = index_b[j];
        to_a += chamfer_square(a + nearest_b[j] * width, b + j * width, width);
    }
    job->partial[set] = to_b / (double)p->rows_a + to_a / (double)p->rows_b;
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
