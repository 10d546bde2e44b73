/* Symmetric eigenvectors. The matrix is symmetric, so its rows are taken for its columns: all inner loops run along memory. */
#include <math.h>

#include "mk_clusters.h"
#include "mk_interrupt.h"

enum { MOST_ROTATIONS = 64, INTERRUPTED = 2 };

static double dot(const double *a, const double *b, int64_t n) {
    double sum[8] = {0};
    int64_t k = 0;
    for (; k + 8 <= n; k += 8) {
        for (int64_t i = 0; i < 8; i++) sum[i] += a[k + i] * b[k + i];
    }
    for (; k < n; k++) sum[k % 8] += a[k] * b[k];
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

/* One Householder step: the vector d of column i, the matrix left of it updated on both sides. */
static void reflect(int64_t n, int64_t i, double scale, double *v, double *d, double *e) {
    for (int64_t k = 0; k < i; k++) d[k] /= scale;
    double h = dot(d, d, i), f = d[i - 1], g = f > 0 ? -sqrt(h) : sqrt(h);
    e[i] = scale * g;
    h -= f * g;
    d[i - 1] = f - g;
    for (int64_t j = 0; j < i; j++) e[j] = 0;
    for (int64_t j = 0; j < i; j++) {
        double *column = v + j * n;
        f = d[j];
        v[i * n + j] = f;
        e[j] += column[j] * f + dot(column + j + 1, d + j + 1, i - j - 1);
        for (int64_t k = j + 1; k < i; k++) e[k] += column[k] * f;
    }
    for (int64_t j = 0; j < i; j++) e[j] /= h;
    const double half = dot(e, d, i) / (h + h);
    for (int64_t j = 0; j < i; j++) e[j] -= half * d[j];
    for (int64_t j = 0; j < i; j++) {
        double *column = v + j * n;
        f = d[j];
        g = e[j];
        for (int64_t k = j; k < i; k++) column[k] -= f * e[k] + g * d[k];
        d[j] = column[i - 1];
        column[i] = 0;
    }
    d[i] = h;
}

/* The product of the reflections, column by column. */
static int32_t accumulate(int64_t n, double *v, double *d) {
    for (int64_t i = 0; i < n - 1; i++) {
        if (mk_interrupted()) return INTERRUPTED;
        v[i * n + n - 1] = v[i * n + i];
        v[i * n + i] = 1;
        double *next = v + (i + 1) * n;
        const double h = d[i + 1];
        if (h != 0) {
            for (int64_t k = 0; k <= i; k++) d[k] = next[k] / h;
            for (int64_t j = 0; j <= i; j++) {
                double *column = v + j * n;
                const double g = dot(next, column, i + 1);
                for (int64_t k = 0; k <= i; k++) column[k] -= g * d[k];
            }
        }
        for (int64_t k = 0; k <= i; k++) next[k] = 0;
    }
    for (int64_t j = 0; j < n; j++) {
        d[j] = v[j * n + n - 1];
        v[j * n + n - 1] = 0;
    }
    v[n * n - 1] = 1;
    return 0;
}

static int32_t tridiagonal(int64_t n, double *v, double *d, double *e) {
    for (int64_t j = 0; j < n; j++) d[j] = v[j * n + n - 1];
    for (int64_t i = n - 1; i > 0; i--) {
        if (mk_interrupted()) return INTERRUPTED;
        double scale = 0;
        for (int64_t k = 0; k < i; k++) scale += fabs(d[k]);
        if (scale != 0) {
            reflect(n, i, scale, v, d, e);
            continue;
        }
        e[i] = d[i - 1];
        for (int64_t j = 0; j < i; j++) {
            d[j] = v[j * n + i - 1];
            v[j * n + i] = 0;
            v[i * n + j] = 0;
        }
        d[i] = 0;
    }
    const int32_t end = accumulate(n, v, d);
    e[0] = 0;
    return end;
}

/* One sweep of implicit QL from place m up to l. */
static void sweep(int64_t n, int64_t l, int64_t m, double first_of_e, double next, double *v, double *d, double *e) {
    double p = d[m], c = 1, c2 = 1, c3 = 1, s = 0, s2 = 0;
    for (int64_t i = m - 1; i >= l; i--) {
        c3 = c2;
        c2 = c;
        s2 = s;
        double g = c * e[i], h = c * p, r = hypot(p, e[i]);
        e[i + 1] = s * r;
        s = e[i] / r;
        c = p / r;
        p = c * d[i] - s * g;
        d[i + 1] = h + s * (c * g + s * d[i]);
        double *low = v + i * n, *high = low + n;
        for (int64_t k = 0; k < n; k++) {
            const double upper = high[k];
            high[k] = s * low[k] + c * upper;
            low[k] = c * low[k] - s * upper;
        }
    }
    p = -s * s2 * c3 * first_of_e * e[l] / next;
    e[l] = s * p;
    d[l] = c * p;
}

static int32_t diagonal(int64_t n, double *v, double *d, double *e) {
    for (int64_t i = 1; i < n; i++) e[i - 1] = e[i];
    e[n - 1] = 0;
    double f = 0, largest = 0;
    for (int64_t l = 0; l < n; l++) {
        largest = fmax(largest, fabs(d[l]) + fabs(e[l]));
        int64_t m = l;
        while (m < n - 1 && fabs(e[m]) > 0x1p-52 * largest) m++;
        for (int32_t turn = 0; m > l; turn++) {
            if (mk_interrupted()) return INTERRUPTED;
            if (turn == MOST_ROTATIONS) return 1;
            const double g = d[l];
            double p = (d[l + 1] - g) / (2 * e[l]), r = p < 0 ? -hypot(p, 1) : hypot(p, 1);
            d[l] = e[l] / (p + r);
            d[l + 1] = e[l] * (p + r);
            const double next = d[l + 1], h = g - d[l], first = e[l + 1];
            for (int64_t i = l + 2; i < n; i++) d[i] -= h;
            f += h;
            sweep(n, l, m, first, next, v, d, e);
            if (!(fabs(e[l]) > 0x1p-52 * largest)) break;
        }
        d[l] += f;
        e[l] = 0;
    }
    return 0;
}

static void sort_falling(int64_t n, double *v, double *d) {
    for (int64_t i = 0; i < n - 1; i++) {
        int64_t best = i;
        for (int64_t j = i + 1; j < n; j++) {
            if (d[j] > d[best]) best = j;
        }
        if (best == i) continue;
        const double value = d[i];
        d[i] = d[best];
        d[best] = value;
        for (int64_t k = 0; k < n; k++) {
            const double element = v[i * n + k];
            v[i * n + k] = v[best * n + k];
            v[best * n + k] = element;
        }
    }
}

int32_t mk_symmetric_eigen(int64_t n, double *a, double *values, double *scratch) {
    for (int64_t i = 0; i < n * n; i++) {
        if (!isfinite(a[i])) return 1;
    }
    if (n == 0) return 0;
    int32_t end = tridiagonal(n, a, values, scratch);
    if (end == 0) end = diagonal(n, a, values, scratch);
    if (end == 0) sort_falling(n, a, values);
    return end;
}
