/* The inner kernel of matrix multiplication: a tile of C of at most MK_TILE_ROWS x (MK_TILE_VECTORS vectors), whose sums stay in
 * registers while k runs. One function per number of rows and vectors, so that edges cost no more than they are worth. */
#ifndef MK_GEMM_TILE_H
#define MK_GEMM_TILE_H

/* Accumulators + B vectors + one broadcast of A fill the register file (32 of AVX-512 and NEON, 16 of AVX2 and SSE). */
#if MK_WIDTH == 16
enum { MK_TILE_ROWS = 14, MK_TILE_VECTORS = 2 };
#define MK_EACH_TILE_ROWS(f, v) \
    f(1, v) f(2, v) f(3, v) f(4, v) f(5, v) f(6, v) f(7, v) f(8, v) f(9, v) f(10, v) f(11, v) f(12, v) f(13, v) f(14, v)
#elif MK_WIDTH == 8
enum { MK_TILE_ROWS = 6, MK_TILE_VECTORS = 2 };
#define MK_EACH_TILE_ROWS(f, v) f(1, v) f(2, v) f(3, v) f(4, v) f(5, v) f(6, v)
#elif defined(__aarch64__)
enum { MK_TILE_ROWS = 8, MK_TILE_VECTORS = 3 };
#define MK_EACH_TILE_ROWS(f, v) f(1, v) f(2, v) f(3, v) f(4, v) f(5, v) f(6, v) f(7, v) f(8, v)
#else
enum { MK_TILE_ROWS = 4, MK_TILE_VECTORS = 2 };
#define MK_EACH_TILE_ROWS(f, v) f(1, v) f(2, v) f(3, v) f(4, v)
#endif

enum { MK_TILE_COLUMNS = MK_TILE_VECTORS * MK_WIDTH };

typedef struct gemm_tile {
    int64_t k;
    const float *a; /* by columns: a[p * a_stride + row]; by rows: a[row * a_stride + p] */
    int64_t a_stride;
    const float *b; /* b[p * b_stride + column] */
    int64_t b_stride;
    float *c; /* overwritten */
    int64_t ldc;
    const float *addend; /* row stride ldc, or NULL; may be c */
    const float *bias;   /* or NULL */
    int32_t relu;        /* of the sum of all, see vf_relu */
    int64_t last_lanes;  /* columns in the last vector, 1 ... MK_WIDTH */
    /* Addresses to prefetch meanwhile, little by little, because a burst of misses would wait for memory: the rows of the next tile of
     * C and of what its end reads; and lines v = 0, 1, ... k / 2 - 1 at ahead + (v >> shift) * jump + (v & (2^shift - 1)) * step. */
    const char *next_c, *next_read;
    const char *ahead;
    int64_t ahead_jump, ahead_step; /* bytes */
    int32_t ahead_shift;            /* at least 2 */
} gemm_tile;

typedef void (*gemm_tile_function)(const gemm_tile *);

#define MK_UNROLL _Pragma("clang loop unroll(full)")

enum { MK_TILE_CHUNK = 8 };

#define MK_TILE_STEP()                                                                                             \
    do {                                                                                                           \
        vf bv[MK_TILE_VECTORS];                                                                                    \
        MK_UNROLL for (int j = 0; j < vectors; ++j) bv[j] = vf_load(b + j * MK_WIDTH);                             \
        for (int j = 0; j < vectors * MK_WIDTH; j += 16) __builtin_prefetch(b + MK_PREFETCH_STEPS * b_stride + j); \
        MK_UNROLL for (int i = 0; i < rows; ++i) {                                                                 \
            vf av = vf_splat(by_columns ? a[i] : a[i * a_stride]);                                                 \
            MK_UNROLL for (int j = 0; j < vectors; ++j) sum[i][j] = vf_fma(av, bv[j], sum[i][j]);                  \
        }                                                                                                          \
        a += by_columns ? a_stride : 1;                                                                            \
        b += b_stride;                                                                                             \
    } while (0)

MK_INLINE void gemm_tile_body(const gemm_tile *t, const int rows, const int vectors, const int by_columns) {
    vf sum[MK_TILE_ROWS][MK_TILE_VECTORS];
    MK_UNROLL for (int i = 0; i < rows; ++i) { MK_UNROLL for (int j = 0; j < vectors; ++j) sum[i][j] = (vf){0}; }
    const float *a = t->a, *b = t->b;
    const int64_t b_stride = t->b_stride, a_stride = t->a_stride, ldc = t->ldc, k = t->k;
    const float *addend = t->addend;
    float *c = t->c;
    int64_t p = 0;
    for (; p + MK_TILE_CHUNK <= k; p += MK_TILE_CHUNK) {
        const int64_t chunk = p / MK_TILE_CHUNK;
        if (chunk < MK_TILE_ROWS) {
            const int64_t at = chunk * ldc * (int64_t)sizeof(float);
            __builtin_prefetch(t->next_c + at, 1);
            __builtin_prefetch(t->next_c + at + MK_TILE_COLUMNS * sizeof(float) - 1, 1);
            __builtin_prefetch(t->next_read + at);
            __builtin_prefetch(t->next_read + at + MK_TILE_COLUMNS * sizeof(float) - 1);
        }
        const int64_t line = p / 2;
        const char *ahead =
            t->ahead + (line >> t->ahead_shift) * t->ahead_jump + (line & (((int64_t)1 << t->ahead_shift) - 1)) * t->ahead_step;
        MK_UNROLL for (int i = 0; i < MK_TILE_CHUNK / 2; ++i) __builtin_prefetch(ahead + i * t->ahead_step);
        _Pragma("clang loop unroll(disable)") for (int q = 0; q < MK_TILE_CHUNK; ++q) MK_TILE_STEP();
    }
    for (; p < k; ++p) MK_TILE_STEP();
    const int64_t last = t->last_lanes;
    if (addend != NULL) {
        MK_UNROLL for (int i = 0; i < rows; ++i) {
            MK_UNROLL for (int j = 0; j < vectors; ++j) {
                const float *from = addend + i * ldc + j * MK_WIDTH;
                sum[i][j] += j == vectors - 1 ? vf_load_n(from, last) : vf_load(from);
            }
        }
    }
    if (t->bias != NULL) {
        MK_UNROLL for (int j = 0; j < vectors; ++j) {
            const float *from = t->bias + j * MK_WIDTH;
            vf bias = j == vectors - 1 ? vf_load_n(from, last) : vf_load(from);
            MK_UNROLL for (int i = 0; i < rows; ++i) sum[i][j] += bias;
        }
    }
    if (t->relu) {
        const vf most = vf_splat(t->relu == 6 ? 6.0f : __builtin_inff());
        MK_UNROLL for (int i = 0; i < rows; ++i) {
            MK_UNROLL for (int j = 0; j < vectors; ++j) sum[i][j] = vf_min(most, vf_max(vf_splat(0), sum[i][j]));
        }
    }
    MK_UNROLL for (int i = 0; i < rows; ++i) {
        MK_UNROLL for (int j = 0; j < vectors; ++j) {
            float *to = c + i * ldc + j * MK_WIDTH;
            if (j == vectors - 1)
                vf_store_n(to, sum[i][j], last);
            else
                vf_store(to, sum[i][j]);
        }
    }
}

#define MK_DEFINE_TILE(rows, vectors)                                                                                \
    static void gemm_tile_by_columns_##rows##_##vectors(const gemm_tile *t) { gemm_tile_body(t, rows, vectors, 1); } \
    static void gemm_tile_by_rows_##rows##_##vectors(const gemm_tile *t) { gemm_tile_body(t, rows, vectors, 0); }
#define MK_BY_COLUMNS_ENTRY(rows, vectors) gemm_tile_by_columns_##rows##_##vectors,
#define MK_BY_ROWS_ENTRY(rows, vectors) gemm_tile_by_rows_##rows##_##vectors,

MK_EACH_TILE_ROWS(MK_DEFINE_TILE, 1)
MK_EACH_TILE_ROWS(MK_DEFINE_TILE, 2)
#if MK_WIDTH == 4 && defined(__aarch64__)
MK_EACH_TILE_ROWS(MK_DEFINE_TILE, 3)
#endif

/* [by columns][vectors - 1][rows - 1] */
static const gemm_tile_function gemm_tile_functions[2][MK_TILE_VECTORS][MK_TILE_ROWS] = {
    {
        {MK_EACH_TILE_ROWS(MK_BY_ROWS_ENTRY, 1)},
        {MK_EACH_TILE_ROWS(MK_BY_ROWS_ENTRY, 2)},
#if MK_WIDTH == 4 && defined(__aarch64__)
        {MK_EACH_TILE_ROWS(MK_BY_ROWS_ENTRY, 3)},
#endif
    },
    {
        {MK_EACH_TILE_ROWS(MK_BY_COLUMNS_ENTRY, 1)},
        {MK_EACH_TILE_ROWS(MK_BY_COLUMNS_ENTRY, 2)},
#if MK_WIDTH == 4 && defined(__aarch64__)
        {MK_EACH_TILE_ROWS(MK_BY_COLUMNS_ENTRY, 3)},
#endif
    },
};

#endif
