/* The kernels for x86-64 with AVX2 and FMA. */
#if defined(__x86_64__)
#include <immintrin.h>

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mk_kernels.h"
#include "mk_memory.h"

#define MK_WIDTH 8
#define MK_FMA 1
#define MK_TABLE mk_avx2_table
#define MK_TABLE_NAME "avx2"

#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#include "templates/simd.h"
#include "templates/table.h"
#pragma clang attribute pop

#endif
