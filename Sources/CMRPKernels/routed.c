/* Experts that see the patches a router gives them (mk_routed.h). */
#include <math.h>
#include <string.h>

#include "include/mk_routed.h"

typedef struct {
    double *scores;  /* P */
    double *gates;   /* l */
    double *sums;    /* l: u_j = sum_r a_r f(<w_r, x_j>) */
    double *slopes;  /* l x kernels: f' */
    int32_t *chosen; /* l */
} expert_scratch;

int64_t mk_routed_scratch(const mk_routed *net) {
    return net->experts * (net->patches + net->capacity * (3 + net->kernels)); /* int32 in the place of doubles */
}

static expert_scratch scratch_of(const mk_routed *net, double *memory, int64_t s) {
    const int64_t l = net->capacity;
    double *at = memory + s * (net->patches + l * (3 + net->kernels));
    return (expert_scratch){at, at + net->patches, at + net->patches + l, at + net->patches + 2 * l,
                            (int32_t *)(at + net->patches + l * (2 + net->kernels))};
}

static double product(const double *a, const double *b, int64_t d) {
    double sums[4] = {0, 0, 0, 0}, rest = 0;
    int64_t i = 0;
    for (; i + 4 <= d; i += 4)
        for (int lane = 0; lane < 4; lane++) sums[lane] += a[i + lane] * b[i + lane];
    for (; i < d; i++) rest += a[i] * b[i];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest;
}

static void add(double *to, double factor, const double *from, int64_t d) {
    for (int64_t i = 0; i < d; i++) to[i] += factor * from[i];
}

static double activate(const mk_routed *net, double z, double *slope) {
    if (z >= net->radius) {
        *slope = 1;
        return z - (1 - 1.0 / net->power) * net->radius;
    }
    *slope = 0;
    if (!(z > 0)) return z <= 0 ? 0 : z; /* NaN passes through */
    const double t = z / net->radius;
    double value = 1;
    for (int32_t i = 1; i < net->power; i++) value *= t;
    *slope = value;
    return net->radius * t * value / net->power;
}

/* The l largest scores, from large to small; -1 marks one that is taken. */
static void choose(const mk_routed *net, const expert_scratch *e) {
    for (int64_t i = 0; i < net->capacity; i++) {
        int64_t best = -1;
        for (int64_t j = 0; j < net->patches; j++) {
            int taken = 0;
            for (int64_t n = 0; n < i; n++) taken |= e->chosen[n] == j;
            if (!taken && (best < 0 || e->scores[j] > e->scores[best])) best = j;
        }
        e->chosen[i] = (int32_t)best;
    }
}

static void gate(const mk_routed *net, const expert_scratch *e) {
    double sum = 0;
    for (int64_t i = 0; i < net->capacity; i++) {
        e->gates[i] = net->gated ? exp(e->scores[e->chosen[i]] - e->scores[e->chosen[0]]) : 1;
        sum += e->gates[i];
    }
    if (net->gated)
        for (int64_t i = 0; i < net->capacity; i++) e->gates[i] /= sum;
}

static double forward(const mk_routed *net, const double *x, double *memory) {
    const int64_t d = net->dimension, K = net->kernels;
    double output = 0;
    for (int64_t s = 0; s < net->experts; s++) {
        const expert_scratch e = scratch_of(net, memory, s);
        for (int64_t j = 0; j < net->patches; j++) e.scores[j] = product(net->routers + s * d, x + j * d, d);
        choose(net, &e);
        gate(net, &e);
        for (int64_t i = 0; i < net->capacity; i++) {
            e.sums[i] = 0;
            for (int64_t r = 0; r < K; r++) {
                const double z = product(net->weights + (s * K + r) * d, x + e.chosen[i] * d, d);
                e.sums[i] += net->readout[s * K + r] * activate(net, z, e.slopes + i * K + r);
            }
            output += e.gates[i] * e.sums[i] / (double)net->capacity;
        }
    }
    return output;
}

/* dF/dw_{r,s} = (a / l) sum_j G_j f' x_j,   dF/dv_s = (1 / l) sum_j G_j (u_j - sum_i G_i u_i) x_j. */
static void backward(const mk_routed *net, const double *x, double factor, double *weights, double *routers, double *memory) {
    const int64_t d = net->dimension, K = net->kernels;
    for (int64_t s = 0; s < net->experts; s++) {
        const expert_scratch e = scratch_of(net, memory, s);
        double mean = 0;
        for (int64_t i = 0; i < net->capacity; i++) mean += e.gates[i] * e.sums[i];
        for (int64_t i = 0; i < net->capacity; i++) {
            const double *patch = x + e.chosen[i] * d, share = factor * e.gates[i] / (double)net->capacity;
            for (int64_t r = 0; weights && r < K; r++) {
                const double slope = e.slopes[i * K + r];
                if (slope != 0) add(weights + (s * K + r) * d, share * net->readout[s * K + r] * slope, patch, d);
            }
            if (routers && net->gated) add(routers + s * d, share * (e.sums[i] - mean), patch, d);
        }
    }
}

void mk_routed_outputs(const mk_routed *net, const double *x, int64_t count, double *outputs, double *scratch) {
    for (int64_t n = 0; n < count; n++) outputs[n] = forward(net, x + n * net->patches * net->dimension, scratch);
}

double mk_routed_gradients(const mk_routed *net, const double *x, const int32_t *labels, const int32_t *ids, int64_t count,
                           double *weight_gradient, double *router_gradient, double *scratch) {
    const int64_t weights = net->experts * net->kernels * net->dimension, routers = net->experts * net->dimension;
    if (weight_gradient) memset(weight_gradient, 0, (size_t)weights * sizeof(double));
    if (router_gradient) memset(router_gradient, 0, (size_t)routers * sizeof(double));
    double loss = 0;
    for (int64_t n = 0; n < count; n++) {
        const double *sample = x + ids[n] * net->patches * net->dimension;
        const double y = labels[ids[n]] == 0 ? 1 : -1;
        const double margin = y * forward(net, sample, scratch);
        loss += margin > 0 ? log1p(exp(-margin)) : log1p(exp(margin)) - margin;
        const double factor = -y / (1 + exp(margin)) / (double)count;
        backward(net, sample, factor, weight_gradient, router_gradient, scratch);
    }
    return loss / (double)count;
}

void mk_routed_ranks(const double *x, const int32_t *places, int64_t count, int64_t patches, int64_t dimension, const double *router,
                     int32_t *ranks) {
    for (int64_t n = 0; n < count; n++) {
        const double *sample = x + n * patches * dimension;
        const double own = product(router, sample + places[n] * dimension, dimension);
        ranks[n] = 0;
        for (int64_t j = 0; j < patches; j++) {
            const double score = product(router, sample + j * dimension, dimension);
            if (j != places[n]) ranks[n] += score > own || (score == own && j < places[n]);
        }
    }
}

void mk_routed_closed_form(const double *x, const int32_t *labels, int64_t count, int64_t patches, int64_t dimension, double *router) {
    int64_t of[2] = {0, 0};
    for (int64_t n = 0; n < count; n++) of[labels[n] != 0]++;
    memset(router, 0, (size_t)dimension * sizeof(double));
    for (int64_t n = 0; n < count; n++) {
        const double share = (labels[n] == 0 ? 1.0 : -1.0) / (double)of[labels[n] != 0];
        for (int64_t j = 0; j < patches; j++) add(router, share, x + (n * patches + j) * dimension, dimension);
    }
}
