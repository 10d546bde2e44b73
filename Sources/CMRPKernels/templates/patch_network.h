/* The fast kernels of mk_patch_network.h for one element type and one vector width. Included by patch_network_isa.h with
 * REAL, REAL_EXP, SUFFIX, VECTOR_BYTES and TILE_ROWS defined.
 *
 * The lanes of a vector are kernels r, so the activation and its derivative are vertical and need no transposition. Weights are
 * packed into panels of two vectors of kernels (one in the last panel when that is enough): panel at offset r0 d, rows of d,
 * zeros behind the last kernel. Samples go in blocks whose scores stay in cache:
 *   products   A = X W^T     for the block's patches and one panel
 *   scores     h, t, loss    and A overwritten by G = dL/dA
 *   gradient   dW += G^T X   for the same panel
 * Work is cut into chunks of samples, at most MAX_CHUNKS, each with its own sums, which are added in order at the end. */

#define LANES ((int64_t)(VECTOR_BYTES / sizeof(REAL)))
#define PASTE2(a, b) a##_##b
#define PASTE(a, b) PASTE2(a, b)
#define NAME(x) PASTE(x, SUFFIX)
#define ALWAYS static inline __attribute__((always_inline))

#include "patch_network_tiles.h"
#include "patch_network_plan.h"
#include "patch_network_features.h"
#include "patch_network_reconstruction.h"
#include "patch_network_classifier.h"

static const mk_patch_kernels NAME(patch_kernels) = {
    .name = ISA_NAME,
    .element_bytes = sizeof(REAL),
    .scratch = NAME(scratch),
    .features = NAME(features),
    .reconstruction = NAME(reconstruction),
    .classifier = NAME(classifier),
};

#undef LANES
#undef NAME
#undef PASTE
#undef PASTE2
#undef ALWAYS
#undef V
