/* The kernels for x86-64 with AVX-512 (F, BW, DQ, VL). */
#if defined(__x86_64__)
#include <immintrin.h>

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mk_kernels.h"
#include "mk_memory.h"

#define MK_WIDTH 16
#define MK_FMA 1
#define MK_TABLE mk_avx512_table
#define MK_TABLE_NAME "avx512"

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx2"))), apply_to = function)
#include "templates/simd.h"
#include "templates/table.h"
#pragma clang attribute pop

#endif
