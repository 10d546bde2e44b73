/* The patch network's kernels for NEON: 12 x 2 accumulators of 32 registers. */
typedef int mk_patch_network_neon_not_empty;
#ifdef __aarch64__
#define ISA neon
#define ISA_NAME "neon"
#define VECTOR_BYTES 16
#define TILE_ROWS 12
#include "templates/patch_network_types.h"
#endif
