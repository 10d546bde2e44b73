/* Updates and probes of the patch network as plain loops. Included by patch_network_updates_*.c with REAL and MK_TABLE defined. */
#include <math.h>

#include "mk_random.h"
#include "../patch_updates.h"

static void descend(int64_t count, double rate, const void *gradient_, void *weights_) {
    const REAL *gradient = gradient_;
    REAL *weights = weights_;
    const REAL step = (REAL)rate;
    for (int64_t i = 0; i < count; i++) weights[i] -= step * gradient[i];
}

static void descend_relative(const mk_patch_network *network, double rate, double relative, const void *gradient, const void *largest_,
                             void *weights) {
    const REAL *largest = largest_;
    const int64_t d = network->dimension;
    for (int64_t r = 0; r < network->kernels; r++) {
        const REAL *g = (const REAL *)gradient + r * d;
        REAL *w = (REAL *)weights + r * d;
        double g2 = 0, w2 = 0;
        for (int64_t j = 0; j < d; j++) g2 += (double)g[j] * (double)g[j], w2 += (double)w[j] * (double)w[j];
        if (g2 == 0) continue; /* NaN goes on, to be seen */
        double t = (double)largest[r] / network->radius;
        t = t < 0 ? 0 : t > 1 ? 1 : t;
        double slope = pow(t, network->power - 1);
        double step = relative * sqrt(w2 / g2);
        if (rate < step * slope * slope) step = rate / (slope * slope);
        for (int64_t j = 0; j < d; j++) w[j] -= (REAL)(step * (double)g[j]);
    }
}

static void correlations(const mk_patch_network *network, const void *weights, int64_t features, const double *v, double *out) {
    const int64_t d = network->dimension;
    for (int64_t r = 0; r < network->kernels; r++)
        for (int64_t i = 0; i < features; i++) {
            double sum[4] = {0, 0, 0, 0}; /* four, so that additions do not wait for each other */
            const REAL *w = (const REAL *)weights + r * d;
            const double *u = v + i * d;
            int64_t j = 0;
            for (; j + 4 <= d; j += 4)
                for (int64_t k = 0; k < 4; k++) sum[k] += (double)w[j + k] * u[j + k];
            for (; j < d; j++) sum[0] += (double)w[j] * u[j];
            out[r * features + i] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        }
}

static void initialize(int64_t count, double std, uint64_t seed, uint32_t stream, void *weights_) {
    REAL *weights = weights_;
    float normal[256];
    for (int64_t i = 0; i < count; i += 256) {
        int64_t now = count - i < 256 ? count - i : 256;
        mk_random_normal(seed, stream, 0, (uint64_t)i, now, normal);
        for (int64_t j = 0; j < now; j++) weights[i + j] = (REAL)(std * (double)normal[j]);
    }
}

const mk_patch_updates MK_TABLE = {descend, descend_relative, correlations, initialize};
