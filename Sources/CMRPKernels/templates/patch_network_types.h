/* Both element types of templates/patch_network.h. Included with ISA, ISA_NAME, VECTOR_BYTES and TILE_ROWS defined. */
#include <math.h>
#include <string.h>

#include "../include/mk_patch_network.h"
#include "../include/mk_random.h"

#define ISA_SUFFIX2(isa, type) isa##_##type
#define ISA_SUFFIX(isa, type) ISA_SUFFIX2(isa, type)

#define REAL float
#define REAL_EXP expf
#define SUFFIX ISA_SUFFIX(ISA, float32)
#include "patch_network.h"
#undef REAL
#undef REAL_EXP
#undef SUFFIX

#define REAL double
#define REAL_EXP exp
#define SUFFIX ISA_SUFFIX(ISA, float64)
#include "patch_network.h"
#undef REAL
#undef REAL_EXP
#undef SUFFIX

#define TABLE2(isa) mk_patch_kernels_##isa
#define TABLE(isa) TABLE2(isa)
const mk_patch_kernels *TABLE(ISA)(int32_t element_bytes);
#define CHOOSE(type) ISA_SUFFIX(patch_kernels, ISA_SUFFIX(ISA, type))
const mk_patch_kernels *TABLE(ISA)(int32_t element_bytes) { return element_bytes == 4 ? &CHOOSE(float32) : &CHOOSE(float64); }
