#include "kernels.h"

#include <stddef.h>

#include "mp_groups.h"

extern const mp_kernel_table mp_kernels_baseline;
#if defined(__x86_64__)
extern const mp_kernel_table mp_kernels_avx2, mp_kernels_avx512;
#endif

static const mp_kernel_table *find(int32_t isa) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (isa == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        return &mp_kernels_avx512;
    if (isa == 1 && __builtin_cpu_supports("avx2")) return &mp_kernels_avx2;
#endif
    return isa == 0 ? &mp_kernels_baseline : NULL;
}

static const mp_kernel_table *selected;

const mp_kernel_table *mp_kernels(void) {
    const mp_kernel_table *table = __atomic_load_n(&selected, __ATOMIC_ACQUIRE);
    if (table) return table;
    for (int32_t isa = 2; !table; isa--) table = find(isa);
    __atomic_store_n(&selected, table, __ATOMIC_RELEASE);
    return table;
}

int32_t mp_kernels_select(int32_t isa) {
    const mp_kernel_table *table = isa < 0 ? NULL : find(isa);
    if (isa >= 0 && !table) return 0;
    __atomic_store_n(&selected, table, __ATOMIC_RELEASE);
    return 1;
}
