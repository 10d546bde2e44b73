/* The loops of balanced k-means. */
#include "mk_clusters.h"

#include <math.h>

enum { BLOCK = 256, TILE = 32, GROUP = 4 };

static int64_t blocks_of(int64_t count, int64_t size) { return (count + size - 1) / size; }
static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

int64_t mk_column_means(int64_t rows, int64_t width, const float *x, double *mean) {
    for (int64_t column = 0; column < width; column++) mean[column] = 0;
    for (int64_t row = 0; row < rows; row++) {
        const float *values = x + row * width;
        int32_t finite = 1;
        for (int64_t column = 0; column < width; column++) {
            finite &= isfinite(values[column]) != 0;
            mean[column] += values[column];
        }
        if (!finite) return row;
    }
    for (int64_t column = 0; column < width; column++) mean[column] /= (double)rows;
    return -1;
}

/* Covariance: a task is one tile of the lower triangle. */

typedef struct covariance_work {
    int64_t rows, width, tiles;
    const float *x;
    const double *mean;
    double *sums;
} covariance_work;

static void centred(const covariance_work *work, int64_t row, int64_t first, int64_t count, double *values) {
    const float *x = work->x + row * work->width + first;
    for (int64_t i = 0; i < count; i++) values[i] = x[i] - work->mean[first + i];
}

static void covariance_tile(void *context, int64_t index, int32_t worker) {
    (void)worker;
    const covariance_work *work = context;
    const int64_t top = index / work->tiles, left = index % work->tiles;
    if (left > top) return;
    double sums[TILE][TILE] = {{0}}, a[GROUP][TILE] = {{0}}, b[GROUP][TILE] = {{0}};
    const int64_t height = smaller(TILE, work->width - top * TILE), breadth = smaller(TILE, work->width - left * TILE);
    for (int64_t row = 0; row < work->rows; row += GROUP) {
        for (int64_t member = 0; member < GROUP; member++) {
            if (row + member < work->rows) {
                centred(work, row + member, top * TILE, height, a[member]);
                centred(work, row + member, left * TILE, breadth, b[member]);
            } else {
                for (int64_t i = 0; i < TILE; i++) a[member][i] = 0;
            }
        }
        for (int64_t i = 0; i < height; i++) {
            const double f0 = a[0][i], f1 = a[1][i], f2 = a[2][i], f3 = a[3][i];
            for (int64_t j = 0; j < TILE; j++) sums[i][j] += f0 * b[0][j] + f1 * b[1][j] + f2 * b[2][j] + f3 * b[3][j];
        }
    }
    for (int64_t i = 0; i < height; i++) {
        double *line = work->sums + (top * TILE + i) * work->width + left * TILE;
        for (int64_t j = 0; j < breadth; j++) line[j] += sums[i][j];
    }
}

void mk_add_covariance(mk_pool *pool, int64_t rows, int64_t width, const float *x, const double *mean, double *sums) {
    covariance_work work = {rows, width, blocks_of(width, TILE), x, mean, sums};
    mk_pool_run(pool, work.tiles * work.tiles, covariance_tile, &work);
}

/* Whitened rows. */

typedef struct whitening_work {
    int64_t rows, width, directions;
    const float *x, *mean, *whitening;
    double *u;
} whitening_work;

static void whiten_block(void *context, int64_t index, int32_t worker) {
    (void)worker;
    const whitening_work *work = context;
    const int64_t end = smaller((index + 1) * BLOCK, work->rows), directions = work->directions;
    for (int64_t row = index * BLOCK; row < end; row++) {
        const float *x = work->x + row * work->width;
        double *u = work->u + row * directions;
        for (int64_t d = 0; d < directions; d++) u[d] = 0;
        for (int64_t column = 0; column < work->width; column++) {
            const double value = (double)x[column] - work->mean[column];
            const float *line = work->whitening + column * directions;
            for (int64_t d = 0; d < directions; d++) u[d] += value * line[d];
        }
        double squares = 0;
        for (int64_t d = 0; d < directions; d++) squares += u[d] * u[d];
        if (squares > 0) {
            const double length = sqrt(squares);
            for (int64_t d = 0; d < directions; d++) u[d] /= length;
        }
    }
}

int64_t mk_whitened_rows(mk_pool *pool, int64_t rows, int64_t width, int64_t directions, const float *x, const float *mean,
                         const float *whitening, double *u) {
    whitening_work work = {rows, width, directions, x, mean, whitening, u};
    mk_pool_run(pool, blocks_of(rows, BLOCK), whiten_block, &work);
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t d = 0; d < directions; d++) {
            if (!isfinite(u[row * directions + d])) return row;
        }
    }
    return -1;
}

/* Assignment. */

static double similarity(const double *u, const float *centre, int64_t directions) {
    double sum[4] = {0};
    int64_t d = 0;
    for (; d + 4 <= directions; d += 4) {
        for (int64_t i = 0; i < 4; i++) sum[i] += u[d + i] * centre[d + i];
    }
    for (; d < directions; d++) sum[d % 4] += u[d] * centre[d];
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

typedef struct nearest_work {
    int64_t rows, directions, clusters;
    const double *u;
    const float *centres;
    int32_t *nearest;
} nearest_work;

static void nearest_block(void *context, int64_t index, int32_t worker) {
    (void)worker;
    const nearest_work *work = context;
    const int64_t end = smaller((index + 1) * BLOCK, work->rows);
    for (int64_t row = index * BLOCK; row < end; row++) {
        double best = -HUGE_VAL;
        for (int64_t k = 0; k < work->clusters; k++) {
            const double value = similarity(work->u + row * work->directions, work->centres + k * work->directions, work->directions);
            if (value > best) {
                best = value;
                work->nearest[row] = (int32_t)k;
            }
        }
    }
}

void mk_nearest_clusters(mk_pool *pool, int64_t rows, int64_t directions, int64_t clusters, const double *u, const float *centres,
                         int32_t *nearest) {
    nearest_work work = {rows, directions, clusters, u, centres, nearest};
    mk_pool_run(pool, blocks_of(rows, BLOCK), nearest_block, &work);
}

/* Balanced assignment. With P = r_i K_ik f_k a round is f_k = rows / (clusters sum_i r_i K_ik), then r_i = 1 / sum_k K_ik f_k: K stays as it is,
 * and one pass over it does the rows of a round and the column sums of the next. */

int64_t mk_balance_blocks(int64_t rows) { return blocks_of(rows, BLOCK); }

static void weigh_block(void *context, int64_t index, int32_t worker) {
    (void)worker;
    const mk_balance *work = context;
    const int64_t end = smaller((index + 1) * BLOCK, work->rows), clusters = work->clusters;
    double *sums = work->partial + index * clusters;
    for (int64_t k = 0; k < clusters; k++) sums[k] = 0;
    for (int64_t row = index * BLOCK; row < end; row++) {
        double *weights = work->weights + row * clusters;
        for (int64_t k = 0; k < clusters; k++) {
            const double cosine = similarity(work->u + row * work->directions, work->centres + k * work->directions, work->directions);
            weights[k] = exp((cosine - 1) / work->epsilon);
            sums[k] += weights[k];
        }
    }
}

static void balance_block(void *context, int64_t index, int32_t worker) {
    (void)worker;
    const mk_balance *work = context;
    const int64_t end = smaller((index + 1) * BLOCK, work->rows), clusters = work->clusters;
    double *sums = work->partial + index * clusters;
    for (int64_t k = 0; k < clusters; k++) sums[k] = 0;
    for (int64_t row = index * BLOCK; row < end; row++) {
        const double *weights = work->weights + row * clusters;
        double total[4] = {0};
        for (int64_t k = 0; k < clusters; k++) total[k % 4] += weights[k] * work->factors[k];
        const double factor = 1 / ((total[0] + total[2]) + (total[1] + total[3]));
        for (int64_t k = 0; k < clusters; k++) sums[k] += factor * weights[k];
    }
}

static void choose_block(void *context, int64_t index, int32_t worker) {
    (void)worker;
    const mk_balance *work = context;
    const int64_t end = smaller((index + 1) * BLOCK, work->rows);
    for (int64_t row = index * BLOCK; row < end; row++) {
        const double *weights = work->weights + row * work->clusters;
        double best = -1;
        for (int64_t k = 0; k < work->clusters; k++) {
            const double value = weights[k] * work->factors[k];
            if (value > best) {
                best = value;
                work->nearest[row] = (int32_t)k;
            }
        }
    }
}

void mk_balanced_clusters(mk_pool *pool, const mk_balance *work) {
    const int64_t blocks = mk_balance_blocks(work->rows), clusters = work->clusters;
    for (int64_t round = 0; round < work->rounds; round++) {
        mk_pool_run(pool, blocks, round == 0 ? weigh_block : balance_block, (void *)work);
        for (int64_t k = 0; k < clusters; k++) {
            double sum = 0;
            for (int64_t block = 0; block < blocks; block++) sum += work->partial[block * clusters + k];
            work->factors[k] = (double)work->rows / ((double)clusters * sum);
        }
    }
    mk_pool_run(pool, blocks, choose_block, (void *)work);
}

void mk_cluster_sums(int64_t rows, int64_t directions, int64_t clusters, const double *u, const int32_t *nearest, double *sums,
                     int64_t *counts) {
    for (int64_t i = 0; i < clusters * directions; i++) sums[i] = 0;
    for (int64_t k = 0; k < clusters; k++) counts[k] = 0;
    for (int64_t row = 0; row < rows; row++) {
        const int64_t k = nearest[row];
        counts[k]++;
        for (int64_t d = 0; d < directions; d++) sums[k * directions + d] += u[row * directions + d];
    }
}
