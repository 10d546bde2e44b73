/* The kernels for arm64, whose every processor has NEON. */
#if defined(__aarch64__)
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mk_kernels.h"
#include "mk_memory.h"

#define MK_WIDTH 4
#define MK_FMA 1
#define MK_TABLE mk_neon_table
#define MK_TABLE_NAME "neon"

#include "templates/simd.h"
#include "templates/table.h"

#endif
