/* The reference kernels in float64. */
#include <math.h>
#include <stddef.h>

#include "mk_kernels.h"

#define REAL double
#define MK_TABLE_NAME "reference_float64"

#include "reference/reference_kernels.h"

const mk_kernels *mk_kernels_reference_float64(void) { return &table; }
