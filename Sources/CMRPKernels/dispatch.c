#include <stddef.h>

#include "mk_kernels.h"

extern const mk_kernels mk_baseline_table;
#if defined(__x86_64__)
extern const mk_kernels mk_avx2_table, mk_avx512_table;
#elif defined(__aarch64__)
extern const mk_kernels mk_neon_table;
#endif

/* The builtins ask the processor and the operating system (which must save the wide registers); their answer is computed once
 * before main, so that this needs no lock. */
int32_t mk_isa_available(int32_t isa) {
    switch (isa) {
    case MK_ISA_BASELINE: return 1;
#if defined(__x86_64__)
    case MK_ISA_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case MK_ISA_AVX512:
        return mk_isa_available(MK_ISA_AVX2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#elif defined(__aarch64__)
    case MK_ISA_NEON: return 1;
#endif
    default: return 0;
    }
}

int32_t mk_isa_best(void) {
    int32_t best = MK_ISA_BASELINE;
    for (int32_t isa = MK_ISA_BASELINE; isa <= MK_ISA_NEON; ++isa)
        if (mk_isa_available(isa)) best = isa;
    return best;
}

const mk_kernels *mk_kernels_float32(int32_t isa) {
    if (!mk_isa_available(isa)) return NULL;
    switch (isa) {
#if defined(__x86_64__)
    case MK_ISA_AVX2: return &mk_avx2_table;
    case MK_ISA_AVX512: return &mk_avx512_table;
#elif defined(__aarch64__)
    case MK_ISA_NEON: return &mk_neon_table;
#endif
    default: return &mk_baseline_table;
    }
}
