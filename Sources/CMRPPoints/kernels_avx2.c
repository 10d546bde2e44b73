/* The kernels for AVX2. */
#if defined(__x86_64__)
#include <math.h>
#include <string.h>

#include "kernels.h"

#define MP_WIDTH 8
#define MP_TABLE mp_kernels_avx2

#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#include "kernels_template.h"
#pragma clang attribute pop

#endif
