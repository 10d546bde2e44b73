/* The reference kernels in float32. */
#include <math.h>
#include <stddef.h>

#include "mk_kernels.h"

#define REAL float
#define MK_TABLE_NAME "reference_float32"

#include "reference/reference_kernels.h"

const mk_kernels *mk_kernels_reference_float32(void) { return &table; }
