/* The patch network's kernels for AVX-512: 12 x 2 accumulators of 32 registers. */
typedef int mk_patch_network_avx512_not_empty;
#ifdef __x86_64__
#include <math.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), apply_to = function)
#define ISA avx512
#define ISA_NAME "avx512"
#define VECTOR_BYTES 64
#define TILE_ROWS 12
#include "templates/patch_network_types.h"
#pragma clang attribute pop
#endif
