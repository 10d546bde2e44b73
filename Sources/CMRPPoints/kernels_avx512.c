/* The kernels for AVX-512. */
#if defined(__x86_64__)
#include <math.h>
#include <string.h>

#include "kernels.h"

#define MP_WIDTH 16
#define MP_TABLE mp_kernels_avx512

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2"))), apply_to = function)
#include "kernels_template.h"
#pragma clang attribute pop

#endif
