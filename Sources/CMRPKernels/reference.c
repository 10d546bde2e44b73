/* The two reference tables: reference/reference_kernels.h in float32 and in float64. */
#include <math.h>
#include <stddef.h>

#include "mk_kernels.h"

#define REAL float
#define MK(name) mk_reference_float32_##name
#define MK_NAME "reference_float32"
#include "reference/reference_kernels.h"
#undef REAL
#undef MK
#undef MK_NAME

#define REAL double
#define MK(name) mk_reference_float64_##name
#define MK_NAME "reference_float64"
#include "reference/reference_kernels.h"

const mk_kernels *mk_kernels_reference_float32(void) { return &mk_reference_float32_table; }

const mk_kernels *mk_kernels_reference_float64(void) { return &mk_reference_float64_table; }
