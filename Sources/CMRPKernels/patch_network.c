/* Choice of the instruction set and the element type for mk_patch_network.h. */
#include <stddef.h>

#include "mk_patch_network.h"
#include "patch_updates.h"

extern const mk_patch_kernels mk_patch_baseline_float32, mk_patch_baseline_float64;
#if defined(__x86_64__)
extern const mk_patch_kernels mk_patch_avx2_float32, mk_patch_avx2_float64, mk_patch_avx512_float32, mk_patch_avx512_float64;
#elif defined(__aarch64__)
extern const mk_patch_kernels mk_patch_neon_float32, mk_patch_neon_float64;
#endif

const mk_patch_kernels *mk_patch_kernels_for(int32_t isa, int32_t element_bytes) {
    if ((element_bytes != 4 && element_bytes != 8) || !mk_isa_available(isa)) return NULL;
    const int single = element_bytes == 4;
    switch (isa) {
#if defined(__x86_64__)
    case MK_ISA_AVX2: return single ? &mk_patch_avx2_float32 : &mk_patch_avx2_float64;
    case MK_ISA_AVX512: return single ? &mk_patch_avx512_float32 : &mk_patch_avx512_float64;
#elif defined(__aarch64__)
    case MK_ISA_NEON: return single ? &mk_patch_neon_float32 : &mk_patch_neon_float64;
#endif
    default: return single ? &mk_patch_baseline_float32 : &mk_patch_baseline_float64;
    }
}

static const mk_patch_updates *updates(int32_t element_bytes) {
    return element_bytes == 4 ? &mk_patch_updates_float32 : &mk_patch_updates_float64;
}

void mk_patch_descend(int32_t element_bytes, int64_t count, double rate, const void *gradient, void *weights) {
    updates(element_bytes)->descend(count, rate, gradient, weights);
}

void mk_patch_descend_relative(int32_t element_bytes, const mk_patch_network *network, double rate, double relative, const void *gradient,
                               const void *largest, void *weights) {
    updates(element_bytes)->descend_relative(network, rate, relative, gradient, largest, weights);
}

void mk_patch_correlations(int32_t element_bytes, const mk_patch_network *network, const void *weights, int64_t features, const double *v,
                           double *out) {
    updates(element_bytes)->correlations(network, weights, features, v, out);
}

void mk_patch_initialize(int32_t element_bytes, int64_t count, double std, uint64_t seed, uint32_t stream, void *weights) {
    updates(element_bytes)->initialize(count, std, seed, stream, weights);
}
