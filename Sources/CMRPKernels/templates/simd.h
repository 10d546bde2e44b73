/* Vectors of MK_WIDTH floats over the compiler's vector extensions. Included by each isa_*.c, which defines first:
 *   MK_WIDTH  floats per vector: 4, 8 or 16        MK_FMA         1 when the instruction set has fused multiply-add
 *   MK_TABLE  linkage name of its table            MK_TABLE_NAME  name that the table gives
 * Every function is always inlined, so that vectors never cross a call. A mask is a vi of 0 and -1. */
#ifndef MK_SIMD_H
#define MK_SIMD_H

#include <stdint.h>
#include <string.h>

#define MK_INLINE static inline __attribute__((always_inline, unused))

typedef float vf __attribute__((vector_size(4 * MK_WIDTH)));
typedef int32_t vi __attribute__((vector_size(4 * MK_WIDTH)));

MK_INLINE vf vf_splat(float x) { return x - (vf){0}; /* x - 0 is x, -0 and NaN included */ }

MK_INLINE vi vi_splat(int32_t x) { return x - (vi){0}; }

MK_INLINE vf vf_load(const float *from) {
    vf v;
    memcpy(&v, from, sizeof v);
    return v;
}

MK_INLINE void vf_store(float *to, vf v) { memcpy(to, &v, sizeof v); }

MK_INLINE vi vi_load(const int32_t *from) {
    vi v;
    memcpy(&v, from, sizeof v);
    return v;
}

MK_INLINE void vi_store(int32_t *to, vi v) { memcpy(to, &v, sizeof v); }

/* The first n lanes, 0 <= n <= MK_WIDTH; no byte beyond them is touched. Other lanes load as 0. */
#if MK_WIDTH == 16 && defined(__x86_64__)
MK_INLINE vf vf_load_n(const float *from, int64_t n) { return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), from); }

MK_INLINE void vf_store_n(float *to, vf v, int64_t n) { _mm512_mask_storeu_ps(to, (__mmask16)((1u << n) - 1), (__m512)v); }
#elif MK_WIDTH == 8 && defined(__x86_64__)
MK_INLINE vi vi_first(int64_t n) { return (vi){0, 1, 2, 3, 4, 5, 6, 7} < (int32_t)n; }

MK_INLINE vf vf_load_n(const float *from, int64_t n) { return (vf)_mm256_maskload_ps(from, (__m256i)vi_first(n)); }

MK_INLINE void vf_store_n(float *to, vf v, int64_t n) { _mm256_maskstore_ps(to, (__m256i)vi_first(n), (__m256)v); }
#elif MK_WIDTH == 4
MK_INLINE vf vf_load_n(const float *from, int64_t n) {
    switch (n) {
    case 0: return (vf){0};
    case 1: return (vf){from[0]};
    case 2: return (vf){from[0], from[1]};
    case 3: return (vf){from[0], from[1], from[2]};
    default: return vf_load(from);
    }
}

MK_INLINE void vf_store_n(float *to, vf v, int64_t n) {
    if (n >= 4) {
        vf_store(to, v);
        return;
    }
    if (n > 0) to[0] = v[0];
    if (n > 1) to[1] = v[1];
    if (n > 2) to[2] = v[2];
}
#else
#error "MK_WIDTH must be 4, 8 or 16"
#endif

/* a * b + c; rounded once where the instruction set can. */
MK_INLINE vf vf_fma(vf a, vf b, vf c) {
#if MK_FMA
    return __builtin_elementwise_fma(a, b, c);
#else
    return a * b + c;
#endif
}

/* mask ? a : b */
MK_INLINE vf vf_select(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }

/* Lane by lane; b where either lane is NaN: put the value that must pass through second. */
MK_INLINE vf vf_min(vf a, vf b) { return vf_select(a < b, a, b); }

MK_INLINE vf vf_max(vf a, vf b) { return vf_select(a > b, a, b); }

MK_INLINE vf vf_abs(vf v) { return (vf)((vi)v & 0x7fffffff); }

MK_INLINE vf vf_sqrt(vf v) { return __builtin_elementwise_sqrt(v); }

MK_INLINE vf vf_from_int(vi v) { return __builtin_convertvector(v, vf); }

/* Sum of the lanes, always as ((v0+v8)+(v4+v12)) + ... : halves are added, so the order is fixed. */
MK_INLINE float vf_reduce_add(vf v) {
#if MK_WIDTH == 16
    typedef float half8 __attribute__((vector_size(32)));
    half8 h = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#elif MK_WIDTH == 8
    vf h = v;
#endif
    typedef float half4 __attribute__((vector_size(16)));
#if MK_WIDTH >= 8
    half4 q = __builtin_shufflevector(h, h, 0, 1, 2, 3) + __builtin_shufflevector(h, h, 4, 5, 6, 7);
#else
    half4 q = v;
#endif
    return (q[0] + q[2]) + (q[1] + q[3]);
}

/* Largest lane; NaN when any lane is NaN. */
MK_INLINE float vf_reduce_max(vf v) {
    float largest = v[0];
    for (int i = 1; i < MK_WIDTH; ++i) largest = v[i] > largest || v[i] != v[i] ? v[i] : largest;
    return largest;
}

/* 2^n p for p near 1, n in -150 ... 128: two factors, so that the result may be denormal or infinite. */
MK_INLINE vf vf_scale_by_power(vf p, vi n) {
    vi half = n >> 1;
    return p * (vf)((half + 127) << 23) * (vf)((n - half + 127) << 23);
}

/* Adding this rounds |x| < 2^22 to the nearest integer, which then stands in the low bits. */
static const float MK_ROUNDER = 12582912.0f;

/* e^x to about 1 ulp; 0 below -104, infinity above 89, NaN stays. */
MK_INLINE vf vf_exp(vf x) {
    x = vf_min(vf_splat(89.0f), vf_max(vf_splat(-104.0f), x));
    vf shifted = vf_fma(x, vf_splat(1.44269504f), vf_splat(MK_ROUNDER));
    vf n = shifted - MK_ROUNDER;
    vf r = vf_fma(n, vf_splat(-0.693145752f), x); /* ln 2 in two parts; the first has trailing zeros, so that n times it is exact */
    r = vf_fma(n, vf_splat(-1.42860677e-6f), r);
    vf p = vf_splat(1.394652627e-03f);
    p = vf_fma(p, r, vf_splat(8.369215550e-03f));
    p = vf_fma(p, r, vf_splat(4.166626216e-02f));
    p = vf_fma(p, r, vf_splat(1.666651547e-01f));
    p = vf_fma(p, r, vf_splat(5.000000081e-01f));
    p = vf_fma(p * r, r, r) + 1.0f;
    return vf_scale_by_power(p, (vi)shifted - (vi)vf_splat(MK_ROUNDER));
}

/* Natural logarithm to about 1 ulp; log 0 = -infinity, negative and NaN give NaN. */
MK_INLINE vf vf_log(vf x) {
    vi denormal = x < 1.17549435e-38f;
    vf scaled = vf_select(denormal, x * 0x1p23f, x);
    /* scaled = 2^e m with m in [sqrt(1/2), sqrt(2)) */
    vi bits = (vi)scaled - 0x3f3504f3;
    vf e = vf_from_int((bits >> 23) - (denormal & 23));
    vf m = (vf)((bits & 0x007fffff) + 0x3f3504f3) - 1.0f;
    vf p = vf_splat(6.864568195e-02f);
    p = vf_fma(p, m, vf_splat(-1.169253700e-01f));
    p = vf_fma(p, m, vf_splat(1.184257113e-01f));
    p = vf_fma(p, m, vf_splat(-1.239953577e-01f));
    p = vf_fma(p, m, vf_splat(1.422519407e-01f));
    p = vf_fma(p, m, vf_splat(-1.666855374e-01f));
    p = vf_fma(p, m, vf_splat(2.000184639e-01f));
    p = vf_fma(p, m, vf_splat(-2.499999541e-01f));
    p = vf_fma(p, m, vf_splat(3.333331676e-01f));
    vf square = m * m;
    p = p * m * square;
    p = vf_fma(e, vf_splat(-2.12194440e-4f), p); /* ln 2 = 0.693359375 - 2.12194440e-4 */
    p = vf_fma(square, vf_splat(-0.5f), p);
    vf result = vf_fma(e, vf_splat(0.693359375f), m + p);
    result = vf_select(x == __builtin_inff(), x, result);
    result = vf_select(x == 0.0f, vf_splat(-__builtin_inff()), result);
    return vf_select((x < 0.0f) | (x != x), vf_splat(__builtin_nanf("")), result);
}

/* For z = min(|x|, 12): bell = e^(-z^2/2) and tail = Phi(-z) = (1 - erf(z / sqrt 2)) / 2, with absolute errors below 1e-7.
 * tail = bell M(z) with M(z) = erfcx(z / sqrt 2) / 2, a polynomial fitted on [0, 6]; beyond, tail < 1e-9.
 * At 12 both are below 1e-31 and stand for 0: larger z would only give slow denormal numbers. */
MK_INLINE void vf_normal(vf x, vf *z, vf *bell, vf *tail) {
    vf c = *z = vf_min(vf_splat(12.0f), vf_abs(x));
    vf s = vf_fma(vf_min(vf_splat(6.0f), c), vf_splat(1.0f / 3.0f), vf_splat(-1.0f));
    /* Even and odd powers apart: two short chains of dependent steps keep the units busier than one long one. */
    vf s2 = s * s;
    vf even = vf_splat(-2.016423863e-03f), odd = vf_splat(-1.293100877e-02f);
    even = vf_fma(even, s2, vf_splat(2.056154632e-02f));
    odd = vf_fma(odd, s2, vf_splat(1.259726414e-02f));
    even = vf_fma(even, s2, vf_splat(1.315975920e-02f));
    odd = vf_fma(odd, s2, vf_splat(-2.166300486e-02f));
    even = vf_fma(even, s2, vf_splat(4.662856466e-02f));
    odd = vf_fma(odd, s2, vf_splat(-3.035709951e-02f));
    even = vf_fma(even, s2, vf_splat(8.231934030e-02f));
    odd = vf_fma(odd, s2, vf_splat(-6.226806989e-02f));
    even = vf_fma(even, s2, vf_splat(1.215144496e-01f));
    odd = vf_fma(odd, s2, vf_splat(-1.032104160e-01f));
    vf p = vf_fma(odd, s, even);
    vf y = c * c * -0.72134752f; /* bell = 2^y */
    vf shifted = y + MK_ROUNDER;
    vf r = y - (shifted - MK_ROUNDER);
    vf q = vf_splat(1.340043217e-03f);
    q = vf_fma(q, r, vf_splat(9.676037098e-03f));
    q = vf_fma(q, r, vf_splat(5.550327214e-02f));
    q = vf_fma(q, r, vf_splat(2.402210736e-01f));
    q = vf_fma(q, r, vf_splat(6.931472067e-01f));
    q = vf_fma(q, r, vf_splat(1.000000075f));
    *bell = (vf)((vi)q + ((vi)shifted << 23)); /* the shift drops all but the integer, as the rounder's low 9 bits are 0 */
    *tail = p * *bell;
}

/* x Phi(x), exact GELU (Hendrycks & Gimpel 2016), as max(x, 0) - |x| Phi(-|x|). */
MK_INLINE vf vf_gelu(vf x) {
    vf z, bell, tail;
    vf_normal(x, &z, &bell, &tail);
    return vf_fma(-z, tail, vf_max(vf_splat(0.0f), x));
}

/* d gelu / dx = Phi(x) + x e^(-x^2/2) / sqrt(2 pi); at -|x| it is h, at |x| it is 1 - h. */
MK_INLINE vf vf_gelu_gradient(vf x) {
    vf z, bell, tail;
    vf_normal(x, &z, &bell, &tail);
    vf h = vf_fma(z * -0.39894228f, bell, tail);
    return vf_select(x < 0.0f, h, 1.0f - h);
}

/* rows[i][j] becomes rows[j][i]. Each step swaps the off-diagonal squares of side d within squares of side 2 d. */
MK_INLINE void vf_transpose(vf rows[MK_WIDTH]) {
#if MK_WIDTH == 4
#define MK_SHUFFLE_LOW(d, a, b) __builtin_shufflevector(a, b, MK_LOW(0, d), MK_LOW(1, d), MK_LOW(2, d), MK_LOW(3, d))
#define MK_SHUFFLE_HIGH(d, a, b) __builtin_shufflevector(a, b, MK_HIGH(0, d), MK_HIGH(1, d), MK_HIGH(2, d), MK_HIGH(3, d))
#elif MK_WIDTH == 8
#define MK_SHUFFLE_LOW(d, a, b)                                                                                                     \
    __builtin_shufflevector(a, b, MK_LOW(0, d), MK_LOW(1, d), MK_LOW(2, d), MK_LOW(3, d), MK_LOW(4, d), MK_LOW(5, d), MK_LOW(6, d), \
                            MK_LOW(7, d))
#define MK_SHUFFLE_HIGH(d, a, b)                                                                                                           \
    __builtin_shufflevector(a, b, MK_HIGH(0, d), MK_HIGH(1, d), MK_HIGH(2, d), MK_HIGH(3, d), MK_HIGH(4, d), MK_HIGH(5, d), MK_HIGH(6, d), \
                            MK_HIGH(7, d))
#else
#define MK_SHUFFLE_LOW(d, a, b)                                                                                                     \
    __builtin_shufflevector(a, b, MK_LOW(0, d), MK_LOW(1, d), MK_LOW(2, d), MK_LOW(3, d), MK_LOW(4, d), MK_LOW(5, d), MK_LOW(6, d), \
                            MK_LOW(7, d), MK_LOW(8, d), MK_LOW(9, d), MK_LOW(10, d), MK_LOW(11, d), MK_LOW(12, d), MK_LOW(13, d),   \
                            MK_LOW(14, d), MK_LOW(15, d))
#define MK_SHUFFLE_HIGH(d, a, b)                                                                                                           \
    __builtin_shufflevector(a, b, MK_HIGH(0, d), MK_HIGH(1, d), MK_HIGH(2, d), MK_HIGH(3, d), MK_HIGH(4, d), MK_HIGH(5, d), MK_HIGH(6, d), \
                            MK_HIGH(7, d), MK_HIGH(8, d), MK_HIGH(9, d), MK_HIGH(10, d), MK_HIGH(11, d), MK_HIGH(12, d), MK_HIGH(13, d),   \
                            MK_HIGH(14, d), MK_HIGH(15, d))
#endif
/* Lane of (a, b): low keeps a where bit d is clear and takes b's lane l - d where it is set; high the lanes l + d of a and b's own. */
#define MK_LOW(l, d) (((l) & (d)) ? MK_WIDTH + (l) - (d) : (l))
#define MK_HIGH(l, d) (((l) & (d)) ? MK_WIDTH + (l) : (l) + (d))
#define MK_TRANSPOSE_STEP(d)                                                                \
    _Pragma("clang loop unroll(full)") for (int i = 0; i < MK_WIDTH; ++i) if (!(i & (d))) { \
        vf a = rows[i], b = rows[i + (d)];                                                  \
        rows[i] = MK_SHUFFLE_LOW(d, a, b);                                                  \
        rows[i + (d)] = MK_SHUFFLE_HIGH(d, a, b);                                           \
    }
#if MK_WIDTH == 16
    MK_TRANSPOSE_STEP(8)
#endif
#if MK_WIDTH >= 8
    MK_TRANSPOSE_STEP(4)
#endif
    MK_TRANSPOSE_STEP(2)
    MK_TRANSPOSE_STEP(1)
#undef MK_TRANSPOSE_STEP
#undef MK_SHUFFLE_LOW
#undef MK_SHUFFLE_HIGH
#undef MK_LOW
#undef MK_HIGH
}

#endif
