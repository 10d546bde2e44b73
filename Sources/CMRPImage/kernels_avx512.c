/* The kernels for AVX-512. */
#if defined(__x86_64__) && defined(__clang__)
#include <string.h>

#include "kernels.h"

#define MI_TABLE mi_kernels_avx512

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))), apply_to = function)
#include "kernels_template.h"
#pragma clang attribute pop

#endif
