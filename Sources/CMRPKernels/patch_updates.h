/* Updates and probes of the patch network for one element type; the functions of mk_patch_network.h choose one of the two tables. */
#ifndef PATCH_UPDATES_H
#define PATCH_UPDATES_H

#include "mk_patch_network.h"

typedef struct mk_patch_updates {
    void (*descend)(int64_t count, double rate, const void *gradient, void *weights);
    void (*descend_relative)(const mk_patch_network *network, double rate, double relative, const void *gradient, const void *largest,
                             void *weights);
    void (*correlations)(const mk_patch_network *network, const void *weights, int64_t features, const double *v, double *out);
    void (*initialize)(int64_t count, double std, uint64_t seed, uint32_t stream, void *weights);
} mk_patch_updates;

extern const mk_patch_updates mk_patch_updates_float32, mk_patch_updates_float64;

#endif
