/* The modified Bessel function of large order and the von Mises-Fisher distribution (Mardia & Jupp 2000), in double.
 *
 * A class j of unit features in p dimensions with the mean m_j has R = |m_j|, direction m_j / R and concentration
 * kappa = p R / (1 - R^2). With nu = p / 2 - 1 and log C(k) = log I_nu(k) - nu log k, the expectation of exp(x.z / tau) over its features x
 * is exp(log C(k~) - log C(kappa)), k~ = |kappa m_j / R + z / tau| (Du et al. 2024, ProCo). */
#ifndef MK_VON_MISES_FISHER_H
#define MK_VON_MISES_FISHER_H

#include <math.h>
#include <stdint.h>

#include "mk_kernels.h"

/* log I_nu(x) for nu >= 31, x > 0 by the uniform expansion of Debye (DLMF 10.41.3) with four terms: absolute error below 7e-10. */
static inline double mk_log_bessel_large(double nu, double x) {
    const double w = x / nu, r = sqrt(1 + w * w), t = 1 / r, s = t * t;
    const double eta = r + log(w / (1 + r));
    const double u1 = t * (3 - 5 * s) / 24;
    const double u2 = s * (81 + s * (-462 + s * 385)) / 1152;
    const double u3 = t * s * (30375 + s * (-369603 + s * (765765 - s * 425425))) / 414720;
    const double u4 = s * s * (4465125 + s * (-94121676 + s * (349922430 + s * (-446185740 + s * 185910725)))) / 39813120;
    const double sum = (u1 + (u2 + (u3 + u4 / nu) / nu) / nu) / nu;
    return nu * eta - 0.5 * log(6.283185307179586477 * nu) - 0.5 * log(r) + log1p(sum);
}

/* log I_nu(x), and the ratio I_{nu+1}(x) / I_nu(x) where it is wanted; nu > 0, x > 0. Smaller orders come down from an order of at least 31
 * by I_v / I_{v+1} = 2 (v + 1) / x + I_{v+2} / I_{v+1}, in which an error of the ratio dies out. */
static inline double mk_log_bessel(double nu, double x, double *ratio) {
    double order = nu;
    while (order < 31) order += 1;
    double result = mk_log_bessel_large(order, x);
    if (!ratio && order == nu) return result;
    double quotient = exp(mk_log_bessel_large(order + 1, x) - result);
    for (; order > nu; order -= 1) {
        quotient = 1 / (2 * order / x + quotient); /* I_order / I_{order - 1} */
        result -= log(quotient);
    }
    if (ratio) *ratio = quotient;
    return result;
}

/* log C(k) = log I_nu(k) - nu log k; its derivative is the ratio I_{nu+1}(k) / I_nu(k). */
static inline double mk_log_vmf(double nu, double k, double *ratio) { return mk_log_bessel(nu, k, ratio) - nu * log(k); }

enum { MK_LARGEST_CONCENTRATION = 100000 };

/* The estimate p R / (1 - R^2) (the published code's), at most the largest; `square` is R^2. */
static inline double mk_concentration(int64_t width, double square) {
    const double kappa = (double)width * sqrt(square > 0 ? square : 0) / (1 - square);
    if (!(square < 1) || !(kappa < MK_LARGEST_CONCENTRATION)) return MK_LARGEST_CONCENTRATION;
    return kappa > 1e-3 ? kappa : 1e-3;
}

/* Concentrations of all classes from the squares R^2 of their means' lengths, in place. Unbiased: |mean|^2 of n independent unit vectors is
 * R^2 + (1 - R^2) / n in expectation, so R^2 becomes max(0, (n R^2 - 1) / (n - 1)); the number of images counts, not that of their views, and a
 * class of fewer than two takes the mean concentration of the others. */
static inline void mk_concentrations(const mk_contrast *c, double (*count)(const mk_contrast *, int64_t), double *values) {
    double sum = 0;
    int64_t known = 0;
    for (int64_t j = 0; j < c->classes; j++) {
        const double n = c->unbiased ? count(c, j) : 0;
        if (n >= 2) {
            const double square = (n * values[j] - 1) / (n - 1);
            values[j] = mk_concentration(c->width, square > 0 ? square : 0);
            sum += values[j];
            known++;
        } else {
            values[j] = c->unbiased ? -values[j] - 1 : mk_concentration(c->width, values[j]); /* below -1: not known yet */
        }
    }
    for (int64_t j = 0; c->unbiased && j < c->classes; j++)
        if (values[j] < 0) values[j] = known > 0 ? sum / (double)known : mk_concentration(c->width, -values[j] - 1);
}

#endif
