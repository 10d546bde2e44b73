/* Experts that see the patches a router gives them (patch-level mixture of experts, arXiv 2306.04073), in double; sizes are small, so one
 * thread and plain loops.
 *
 *   g[j,s] = <v_s, x_j>      J_s: the l patches of largest g[.,s], the smaller number first on ties
 *   F(x) = sum_s sum_r (a[r,s] / l) sum_{j in J_s} G[j,s] f(<w_{r,s}, x_j>)
 *
 * with G = 1, or the softmax of g over J_s; f is the smoothed ReLU of mk_patch_network.h. The loss is log(1 + exp(-y F)), y = 1 for
 * class 0 and -1 for class 1. No gradient flows through the choice of J_s. */
#ifndef MK_ROUTED_H
#define MK_ROUTED_H

#include <stdint.h>

typedef struct mk_routed {
    int64_t experts, kernels;             /* k, kernels of each expert */
    int64_t dimension, patches, capacity; /* d, P, l <= P */
    int32_t power;                        /* of f */
    double radius;
    int32_t gated;         /* 1: G is the softmax; 0: G = 1 */
    const double *readout; /* experts x kernels: a */
    double *weights;       /* experts x kernels x d */
    double *routers;       /* experts x d */
} mk_routed;

/* Doubles of scratch for the calls below. */
int64_t mk_routed_scratch(const mk_routed *net);
/* F of `count` samples x (count x P x d). */
void mk_routed_outputs(const mk_routed *net, const double *x, int64_t count, double *outputs, double *scratch);
/* The mean loss of samples ids[0 ..< count], and its gradients in the layout of weights and routers (NULL: not wanted). */
double mk_routed_gradients(const mk_routed *net, const double *x, const int32_t *labels, const int32_t *ids, int64_t count,
                           double *weight_gradient, double *router_gradient, double *scratch);
/* Of each sample the patches that have a larger score <router, x_j> than patch places[n], or the same and a smaller number. */
void mk_routed_ranks(const double *x, const int32_t *places, int64_t count, int64_t patches, int64_t dimension, const double *router,
                     int32_t *ranks);
/* The router that gradient descent on the paper's equation (6) goes to, up to its length, which the choice of patches ignores: the mean over
 * class 0 minus the mean over class 1 of sum_j x_j. */
void mk_routed_closed_form(const double *x, const int32_t *labels, int64_t count, int64_t patches, int64_t dimension, double *router);

#endif
