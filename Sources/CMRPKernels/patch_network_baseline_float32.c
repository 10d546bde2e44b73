/* The patch network's kernels for any processor (SSE2 on x86-64) in float32: 6 x 2 accumulators of 16 registers. */
#include <math.h>
#include <string.h>

#include "mk_patch_network.h"
#include "mk_random.h"

#define REAL float
#define REAL_EXP expf
#define VECTOR_BYTES 16
#define TILE_ROWS 6
#define MK_TABLE mk_patch_baseline_float32
#define MK_TABLE_NAME "baseline"

#include "templates/patch_network.h"
