/* The patch network's kernels for AVX-512 in float64: 12 x 2 accumulators of 32 registers. */
#if defined(__x86_64__)
#include <math.h>
#include <string.h>

#include "mk_patch_network.h"
#include "mk_random.h"

#define REAL double
#define REAL_EXP exp
#define VECTOR_BYTES 64
#define TILE_ROWS 12
#define MK_TABLE mk_patch_avx512_float64
#define MK_TABLE_NAME "avx512"

#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), apply_to = function)
#include "templates/patch_network.h"
#pragma clang attribute pop

#endif
