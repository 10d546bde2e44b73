/* The patch network's kernels for NEON in float64: 12 x 2 accumulators of 32 registers. */
#if defined(__aarch64__)
#include <math.h>
#include <string.h>

#include "mk_patch_network.h"
#include "mk_random.h"

#define REAL double
#define REAL_EXP exp
#define VECTOR_BYTES 16
#define TILE_ROWS 12
#define MK_TABLE mk_patch_neon_float64
#define MK_TABLE_NAME "neon"

#include "templates/patch_network.h"

#endif
