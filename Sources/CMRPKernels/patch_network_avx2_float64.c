/* The patch network's kernels for AVX2 and FMA in float64: 6 x 2 accumulators of 16 registers. */
#if defined(__x86_64__)
#include <math.h>
#include <string.h>

#include "mk_patch_network.h"
#include "mk_random.h"

#define REAL double
#define REAL_EXP exp
#define VECTOR_BYTES 32
#define TILE_ROWS 6
#define MK_TABLE mk_patch_avx2_float64
#define MK_TABLE_NAME "avx2"

#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#include "templates/patch_network.h"
#pragma clang attribute pop

#endif
