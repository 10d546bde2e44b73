/* The kernels for AVX2. */
#if defined(__x86_64__) && defined(__clang__)
#include <string.h>

#include "kernels.h"

#define MI_TABLE mi_kernels_avx2

#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#include "kernels_template.h"
#pragma clang attribute pop

#endif
