/* Choice of the instruction set, and the small updates of the patch network (mk_patch_network.h). */
#include <math.h>

#include "include/mk_patch_network.h"
#include "include/mk_random.h"

const mk_patch_kernels *mk_patch_kernels_baseline(int32_t element_bytes);
const mk_patch_kernels *mk_patch_kernels_avx2(int32_t element_bytes);
const mk_patch_kernels *mk_patch_kernels_avx512(int32_t element_bytes);
const mk_patch_kernels *mk_patch_kernels_neon(int32_t element_bytes);

const mk_patch_kernels *mk_patch_kernels_for(int32_t isa, int32_t element_bytes) {
    if ((element_bytes != 4 && element_bytes != 8) || !mk_isa_available(isa)) return 0;
    switch (isa) {
    case MK_ISA_BASELINE: return mk_patch_kernels_baseline(element_bytes);
#ifdef __x86_64__
    case MK_ISA_AVX2: return mk_patch_kernels_avx2(element_bytes);
    case MK_ISA_AVX512: return mk_patch_kernels_avx512(element_bytes);
#endif
#ifdef __aarch64__
    case MK_ISA_NEON: return mk_patch_kernels_neon(element_bytes);
#endif
    default: return 0;
    }
}

#define REAL float
#define SUFFIX(name) name##_float32
#include "templates/patch_network_updates.h"
#undef REAL
#undef SUFFIX

#define REAL double
#define SUFFIX(name) name##_float64
#include "templates/patch_network_updates.h"
#undef REAL
#undef SUFFIX

void mk_patch_descend(int32_t element_bytes, int64_t count, double rate, const void *gradient, void *weights) {
    if (element_bytes == 4)
        descend_float32(count, rate, gradient, weights);
    else
        descend_float64(count, rate, gradient, weights);
}

void mk_patch_descend_relative(int32_t element_bytes, const mk_patch_network *network, double rate, double relative, const void *gradient,
                               const void *largest, void *weights) {
    if (element_bytes == 4)
        descend_relative_float32(network, rate, relative, gradient, largest, weights);
    else
        descend_relative_float64(network, rate, relative, gradient, largest, weights);
}

void mk_patch_correlations(int32_t element_bytes, const mk_patch_network *network, const void *weights, int64_t features, const double *v,
                           double *out) {
    if (element_bytes == 4)
        correlations_float32(network, weights, features, v, out);
    else
        correlations_float64(network, weights, features, v, out);
}

void mk_patch_initialize(int32_t element_bytes, int64_t count, double deviation, uint64_t seed, uint32_t stream, void *weights) {
    if (element_bytes == 4)
        initialize_float32(count, deviation, seed, stream, weights);
    else
        initialize_float64(count, deviation, seed, stream, weights);
}
