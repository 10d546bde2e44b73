/* Balanced k-means on features (`BalancedClusters` in Swift): sums in double, cut into tasks by shape and added in a fixed order, so that
 * results do not depend on the number of threads. Matrices are row-major; sizes were checked by the caller. */
#ifndef MK_CLUSTERS_H
#define MK_CLUSTERS_H

#include <stdint.h>

#include "mk_pool.h"

/* Eigenvalues and eigenvectors of a symmetric matrix: Householder's tridiagonal form and the QL method with implicit shifts (Martin,
 * Reinsch & Wilkinson 1968; Bowdler et al. 1968). a, n x n: overwritten by the eigenvectors, one a row; values: falling. `scratch`: n.
 * Returns 0, 1 when it did not converge (entries that are not finite), 2 when the call was interrupted. */
int32_t mk_symmetric_eigen(int64_t n, double *a, double *values, double *scratch);

/* mean[column] of x, rows x width. Returns the first row with a value that is not finite, or -1. */
int64_t mk_column_means(int64_t rows, int64_t width, const float *x, double *mean);

/* lower triangle of sums += (x - mean)^T (x - mean); sums is width x width. */
void mk_add_covariance(mk_pool *pool, int64_t rows, int64_t width, const float *x, const double *mean, double *sums);

/* The rows that k-means on a sphere works on: u = (x - mean) whitening, of length 1 (a row at the mean stays 0).
 * x rows x width, whitening width x directions, u rows x directions. Returns the first row that is not finite, or -1. */
int64_t mk_whitened_rows(mk_pool *pool, int64_t rows, int64_t width, int64_t directions, const float *x, const float *mean,
                         const float *whitening, double *u);

/* nearest[row] = the cluster with the largest u . centre, of equal ones the first. centres clusters x directions. */
void mk_nearest_clusters(mk_pool *pool, int64_t rows, int64_t directions, int64_t clusters, const double *u, const float *centres,
                         int32_t *nearest);

/* The same with balanced clusters (Sinkhorn & Knopp 1967; Caron et al. 2020): P = exp((u . c - 1) / epsilon), then `rounds` times columns to
 * rows / clusters and rows to 1; the largest entry of a row. Memory: weights rows x clusters, factors and sums clusters, partial
 * mk_balance_blocks(rows) x clusters. */
typedef struct mk_balance {
    int64_t rows, directions, clusters, rounds;
    double epsilon;
    const double *u;      /* rows x directions */
    const float *centres; /* clusters x directions */
    double *weights, *factors, *partial;
    int32_t *nearest; /* rows */
} mk_balance;

int64_t mk_balance_blocks(int64_t rows);
void mk_balanced_clusters(mk_pool *pool, const mk_balance *work);

/* sums[cluster] of the rows of u that are nearest to it, clusters x directions, and their numbers. */
void mk_cluster_sums(int64_t rows, int64_t directions, int64_t clusters, const double *u, const int32_t *nearest, double *sums,
                     int64_t *counts);

#endif
