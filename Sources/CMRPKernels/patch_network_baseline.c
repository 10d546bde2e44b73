/* The patch network's kernels for what every CPU of the architecture has (SSE2 on x86-64). */
#define ISA baseline
#define ISA_NAME "baseline"
#define VECTOR_BYTES 16
#define TILE_ROWS 6
#include "templates/patch_network_types.h"
