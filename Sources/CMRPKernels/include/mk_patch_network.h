/* The two-layer convolutional network of "Towards Understanding Why Mask-Reconstruction Pretraining Helps in Downstream Tasks"
 * (arXiv 2206.03826), its losses and gradients, fused so that the samples x patches x kernels tensor is never stored.
 *
 *   a[n,p,r] = <w_r, x[n,p]>      h[n,r] = sum_p f(a[n,p,r])      f'(z) = clip(z / radius, 0, 1)^(q - 1)
 *   f(z) = 0 (z <= 0),  z^q / (q radius^(q-1)) (0 <= z <= radius),  z - (1 - 1/q) radius (z >= radius)
 *
 * Arrays are row-major and of the table's element type; `double` results are sums over fixed chunks of samples, added in a fixed
 * order, so everything is the same bit for bit for any thread count. NaN and Inf pass through. Sizes were checked by the caller:
 * samples, kernels, dimension, patches, classes >= 1, power >= 2, radius > 0. No function allocates: scratch comes from the pool
 * (mk_pool_reserve with what mk_patch_scratch says). */
#ifndef MK_PATCH_NETWORK_H
#define MK_PATCH_NETWORK_H

#include <stdint.h>

#include "mk_kernels.h"
#include "mk_pool.h"

typedef struct mk_patch_network {
    int64_t kernels;   /* K = k m */
    int64_t dimension; /* d */
    int64_t patches;   /* P */
    int32_t power;     /* q */
    double radius;     /* rho-bar */
} mk_patch_network;

/* The samples of x that a call reads. */
typedef struct mk_patch_batch {
    int64_t samples;
    const void *x;       /* (stored samples) x P x d */
    const int32_t *rows; /* stored sample of each batch entry; NULL: 0, 1, 2, ... */
    const int32_t *ids;  /* number of each batch entry in its dataset, which names its mask; NULL: first_id + entry */
    int64_t first_id;
} mk_patch_batch;

/* features[n,r] = sum_p f(factor <w_r, x[n,p]>). */
typedef struct mk_patch_features {
    mk_patch_network network;
    mk_patch_batch batch;
    const void *weights; /* K x d */
    double factor;
    void *features; /* samples x K */
} mk_patch_features;

/* The teacher-student loss and its gradient with respect to the student's weights.
 *   averaged masks: scale/2 sum_n sum_r [ (t - h)^2 + kappa sum_p f(a)^2 ],     kappa = 1/theta - 1
 *   sampled masks:  scale/2 sum_n sum_r ( t - (1/theta) sum_p eps_p f(a) )^2,   eps_p ~ Bernoulli(theta), 1 = kept
 * with t[n,r] = sum_p f(tau a[n,p,r]) (scaled teacher, from the same inner products) or the features given. No gradient flows
 * through t. With sampled masks hidden patches are skipped. scale is 1/N. */
typedef struct mk_patch_reconstruction {
    mk_patch_network network;
    mk_patch_batch batch;
    const void *weights; /* K x d */
    const void *teacher; /* samples x K (by batch entry); NULL: the scaled teacher */
    double tau, theta, scale;
    int32_t sampled;       /* 0: averaged masks; 1: sampled */
    uint64_t seed;         /* the mask of sample id at this step: mk_random_uniform(seed, stream, step, */
    uint32_t stream, step; /*   id * round_up(P, 4), P) < theta */
    int32_t accumulate;    /* 1: add to gradient and loss, keep the larger in largest; 0: overwrite */
    void *gradient;        /* K x d */
    double *loss;          /* 1 */
    void *largest;         /* K: the largest a[n,p,r] that was computed */
} mk_patch_reconstruction;

/* Cross entropy of F[n,i] = sum_r head[i,r] h[n,r] and its gradients. */
typedef struct mk_patch_classifier {
    mk_patch_network network;
    mk_patch_batch batch;
    int64_t classes;
    const int32_t *labels; /* by batch entry, each in 0 ..< classes */
    const void *weights;   /* K x d */
    const void *head;      /* classes x K */
    double scale;          /* 1/N */
    int32_t accumulate;    /* 1: add to the results below; 0: overwrite (logits are always written) */
    void *weight_gradient; /* K x d, or NULL */
    void *head_gradient;   /* classes x K, or NULL */
    double *loss;          /* 1: scale sum_n cross entropy */
    int64_t *correct;      /* 1: samples whose largest logit (the first, on ties) is the label's */
    void *logits;          /* samples x classes, or NULL */
} mk_patch_classifier;

typedef struct mk_patch_kernels {
    const char *name; /* "baseline", "avx2", "avx512", "neon" */
    int32_t element_bytes;
    /* Scratch for any of the three functions on at most `samples` samples (classes 0: no classifier). */
    mk_scratch (*scratch)(const mk_patch_network *network, int64_t samples, int64_t classes);
    void (*features)(mk_pool *pool, const mk_patch_features *call);
    void (*reconstruction)(mk_pool *pool, const mk_patch_reconstruction *call);
    void (*classifier)(mk_pool *pool, const mk_patch_classifier *call);
} mk_patch_kernels;

/* element_bytes 4 (float) or 8 (double); NULL when the instruction set is not available here. */
const mk_patch_kernels *mk_patch_kernels_for(int32_t isa, int32_t element_bytes);

/* Updates, each over all rows r of a K x d array of element_bytes 4 or 8. */

/* w -= rate g. */
void mk_patch_descend(int32_t element_bytes, int64_t count, double rate, const void *gradient, void *weights);
/* Every kernel on its own clock: w_r -= min(rate / f'(largest_r)^2, relative |w_r| / |g_r|) g_r. The loss is a sum over kernels,
 * so each still follows its own gradient flow. A kernel with g_r = 0 stays. */
void mk_patch_descend_relative(int32_t element_bytes, const mk_patch_network *network, double rate, double relative, const void *gradient,
                               const void *largest, void *weights);
/* out[r,j] = <w_r, v_j>, in double; v is `features` x d in double. */
void mk_patch_correlations(int32_t element_bytes, const mk_patch_network *network, const void *weights, int64_t features, const double *v,
                           double *out);
/* w ~ N(0, std^2) from (seed, stream). */
void mk_patch_initialize(int32_t element_bytes, int64_t count, double std, uint64_t seed, uint32_t stream, void *weights);

/* Distributions of samples of patches: x_p = z_p v_p + feature noise + N(0, deviation^2), v_p a row of a dictionary. */
enum {
    /* Allen-Zhu & Li 2020, "Towards Understanding Ensemble, Knowledge Distillation and Self-Distillation in Deep Learning", as arXiv
     * 2206.03826 uses it. 2 k orthonormal rows; feature 2 class + view. */
    MK_MULTI_VIEW = 0,
    /* arXiv 2410.23129. Two classes with k_s subclasses each; 2 + 2 k_s orthonormal rows: the common feature of each class, then
     * feature 2 + class k_s + subclass. A sample shows its subclass's feature in C_p patches. Easy ones show their class's common
     * feature in C_p more; hard ones the other class's, weakly, in one. */
    MK_HIERARCHICAL = 1,
    /* arXiv 2306.04073. Row 0 or 1 in one patch tells the class, which is the sample's number modulo 2; every other patch is drawn
     * from one of the p clusters around rows 2 ... 1 + p. All patches have norm 1. */
    MK_PATTERNS = 2
};

typedef struct mk_patch_data {
    int32_t law;
    int64_t classes, dimension, patches;        /* k, d, P */
    int64_t features;                           /* rows of the dictionary: 2 k, 2 + 2 k_s, 2 + p */
    int64_t patches_per_feature;                /* C_p; 2 C_p <= P */
    double presence;                            /* multi-view: s / k, the probability of each feature of the other classes */
    double single_fraction;                     /* share of single-view samples (mu), or of hard ones, when both kinds are drawn */
    double main_low, main_high;                 /* z_p of a shown feature of the label */
    double other_low, other_high;               /* sum_p z_p of other features, multi-view; z_p of a hard sample's wrong feature */
    double weak_low, weak_high;                 /* sum_p z_p of the label's hidden view, single-view: [rho, 2 rho] */
    double single_other_low, single_other_high; /* sum_p z_p of other features, single-view: [Gamma/2, Gamma] */
    double feature_noise;                       /* gamma: alpha ~ U[0, gamma] for every feature in every patch */
    double deviation;                           /* sigma_p; patterns: of a cluster, in each coordinate, before the norm is made 1 */
    int32_t kind;                               /* 0: by single_fraction; 1: multi-view or easy only; 2: single-view or hard only */
    uint64_t seed;
    uint32_t stream;    /* uniforms use stream, Gaussian noise stream + 256; the step of the counter is the sample's number */
    const double *rows; /* features x d */
} mk_patch_data;

/* Samples ids[i] (NULL: first + i), i < count, of the distribution; a sample is a function of (seed, stream, number) alone.
 * x: count x P x d. The rest may be NULL: labels: classes; single: 1 single-view or hard, else 0; shown: the view that a single-view
 * sample shows (-1 for multi-view), the subclass, or the patch that tells the class; origin: count x P, the row that a patch
 * carries or -1 (background). */
void mk_patch_data_generate(mk_pool *pool, int32_t element_bytes, const mk_patch_data *distribution, int64_t first, const int32_t *ids,
                            int64_t count, void *x, int32_t *labels, int32_t *single, int32_t *shown, int32_t *origin);
mk_scratch mk_patch_data_scratch(const mk_patch_data *distribution);

/* `rows` orthonormal rows of length d from Gaussian vectors (Gram-Schmidt, twice); rows <= d. Returns -1 when it fails to. */
int32_t mk_orthonormal(int64_t rows, int64_t dimension, uint64_t seed, uint32_t stream, double *out, float *scratch);

#endif
