#include "kernels.h"

#include <string.h>

/* The package says so too; this is for other builds. */
#pragma STDC FP_CONTRACT OFF

#define MI_JOIN(a, b) a##_##b

#define MI_NAME(name) MI_JOIN(name, baseline)
#include "kernels.inc"
#undef MI_NAME

#if defined(__x86_64__) && defined(__clang__)
#define MI_HAS_X86 1

#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#define MI_NAME(name) MI_JOIN(name, avx2)
#include "kernels.inc"
#undef MI_NAME
#pragma clang attribute pop

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))), apply_to = function)
#define MI_NAME(name) MI_JOIN(name, avx512)
#include "kernels.inc"
#undef MI_NAME
#pragma clang attribute pop
#endif

static const mi_kernel_table *find(int32_t isa) {
#ifdef MI_HAS_X86
    __builtin_cpu_init();
    if (isa == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        return &table_avx512;
    if (isa == 1 && __builtin_cpu_supports("avx2")) return &table_avx2;
#endif
    return isa == 0 ? &table_baseline : NULL;
}

static const mi_kernel_table *selected;

const mi_kernel_table *mi_kernels(void) {
    const mi_kernel_table *table = __atomic_load_n(&selected, __ATOMIC_ACQUIRE);
    if (table) return table;
    for (int32_t isa = 2; !table; isa--) table = find(isa);
    __atomic_store_n(&selected, table, __ATOMIC_RELEASE);
    return table;
}

int32_t mi_kernels_select(int32_t isa) {
    const mi_kernel_table *table = isa < 0 ? NULL : find(isa);
    if (isa >= 0 && !table) return 0;
    __atomic_store_n(&selected, table, __ATOMIC_RELEASE);
    return 1;
}
