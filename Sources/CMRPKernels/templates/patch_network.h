/* The fast kernels of mk_patch_network.h for one element type and one vector width. Included by patch_network_*.c with REAL,
 * REAL_EXP, VECTOR_BYTES, TILE_ROWS, MK_TABLE and MK_TABLE_NAME defined.
 *
 * The lanes of a vector are kernels r, so the activation and its derivative are vertical and need no transposition. Weights are
 * packed into panels of two vectors of kernels (one in the last panel when that is enough): panel at offset r0 d, rows of d,
 * zeros behind the last kernel. Samples go in blocks whose scores stay in cache:
 *   products   A = X W^T     for the block's patches and one panel
 *   scores     h, t, loss    and A overwritten by G = dL/dA
 *   gradient   dW += G^T X   for the same panel
 * Work is cut into chunks of samples, at most MAX_CHUNKS, each with its own sums, which are added in order at the end. */

#define LANES ((int64_t)(VECTOR_BYTES / sizeof(REAL)))
#define ALWAYS static inline __attribute__((always_inline))

#include "patch_network_tiles.h"
#include "patch_network_plan.h"
#include "patch_network_features.h"
#include "patch_network_reconstruction.h"
#include "patch_network_classifier.h"

const mk_patch_kernels MK_TABLE = {
    .name = MK_TABLE_NAME,
    .element_bytes = sizeof(REAL),
    .scratch = network_scratch,
    .features = network_features,
    .reconstruction = network_reconstruction,
    .classifier = network_classifier,
};
