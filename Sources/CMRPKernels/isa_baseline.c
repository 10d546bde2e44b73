/* The kernels for any processor: SSE2 on x86-64. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mk_kernels.h"
#include "mk_memory.h"

#define MK_WIDTH 4
#define MK_FMA 0
#define MK_TABLE mk_baseline_table
#define MK_TABLE_NAME "baseline"

#include "templates/simd.h"
#include "templates/table.h"
