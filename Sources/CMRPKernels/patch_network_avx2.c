/* The patch network's kernels for AVX2 and FMA: 6 x 2 accumulators of 16 registers. */
typedef int mk_patch_network_avx2_not_empty;
#ifdef __x86_64__
#include <math.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#define ISA avx2
#define ISA_NAME "avx2"
#define VECTOR_BYTES 32
#define TILE_ROWS 6
#include "templates/patch_network_types.h"
#pragma clang attribute pop
#endif
