/* Matrix multiplication with fused epilogues, after Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication"
 * (ACM TOMS 2008), changed for the shapes of training:
 *   - B is packed once, by all workers, into shared scratch: panels of MK_TILE_COLUMNS columns, k running slowest.
 *   - A task is a block of rows x columns of C, given by the shape alone, and runs over all of k: no sum is ever split.
 *   - Within a task a panel of MK_TILE_ROWS rows of A stays in the first cache while the panels of B stream from the second.
 *     A is read in place when its rows are contiguous and packed otherwise.
 *   - The epilogue runs on each tile while it is still in the first cache.
 * Each element of C is a sum over blocks of k of chains of fused multiply-adds in rising k, in every tile size alike. */
#ifndef MK_GEMM_H
#define MK_GEMM_H

enum {
    MK_GEMM_K = 384,         /* k per pass over C: a panel of A takes 21 KB of the first cache (AVX-512) */
    MK_GEMM_PACKED_K = 3072, /* k packed at a time; a multiple of MK_GEMM_K */
    MK_GEMM_COLUMNS = 768,   /* columns of C per task: a block of B of MK_GEMM_K x this stays in the second cache */
    MK_GEMM_PACKED_FLOATS = 3 << 20, /* B packed at a time: at most about this many */
    MK_GEMM_TASKS = 48,      /* tasks wanted, so that 16 threads share them well */
    MK_GEMM_TASK_PANELS = 16,
    MK_GEMM_LEAST_PANELS = 4, /* rows of a task / MK_TILE_ROWS when k takes several passes: B is read again for each task */
    MK_GEMM_TASK_WORK = 1 << 19, /* least multiply-adds per task */
    MK_GEMM_PACK_FLOATS = 16384, /* per packing task */
    MK_PREFETCH_STEPS = 8,       /* rows of B fetched ahead in a tile */
};

#include "gemm_tile.h"

typedef struct MK_NAME(gemm_plan) {
    int64_t packed_columns; /* of B, packed at a time: a multiple of MK_TILE_COLUMNS */
    int64_t packed_k;
} MK_NAME(gemm_plan);

MK_INLINE int64_t mk_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

MK_INLINE int64_t mk_smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The size of each of the fewest equal parts of `total` that do not exceed `most`, rounded up to a multiple of `unit`. */
MK_INLINE int64_t mk_even_part(int64_t total, int64_t most, int64_t unit)
{
    int64_t units = mk_ceil_div(total, unit), parts = mk_ceil_div(total, most);
    return parts <= 1 ? units * unit : mk_ceil_div(units, parts) * unit;
}

static MK_NAME(gemm_plan) MK_NAME(gemm_make_plan)(const mk_gemm *g)
{
    MK_NAME(gemm_plan) plan;
    plan.packed_k = mk_smaller(g->k, MK_GEMM_PACKED_K);
    int64_t most = MK_GEMM_PACKED_FLOATS / (plan.packed_k + 1);
    plan.packed_columns = mk_even_part(g->n, most, MK_TILE_COLUMNS);
    return plan;
}

static mk_scratch MK_NAME(gemm_scratch)(const mk_gemm *g)
{
    MK_NAME(gemm_plan) plan = MK_NAME(gemm_make_plan)(g);
    mk_scratch need;
    /* Packing A writes whole vectors, the last of which may pass the end of the panel. */
    need.per_worker = (MK_TILE_ROWS * (int64_t)(MK_GEMM_K + MK_WIDTH) + MK_WIDTH) * (int64_t)sizeof(float);
    need.shared = plan.packed_k * plan.packed_columns * (int64_t)sizeof(float);
    return need;
}

/* One call's state for the tasks of one packed part of B: columns n0 ..< n0 + n, k0 ..< k0 + k. */
typedef struct MK_NAME(gemm_part) {
    const mk_gemm *g;
    mk_pool *pool;
    float *packed;
    int64_t n0, n, k0, k;
    int64_t block_k;                     /* per pass */
    int64_t pack_panels;                 /* per packing task */
    int64_t row_panels, row_tasks;       /* panels of MK_TILE_ROWS, and how many tasks share them */
    int64_t column_panels, column_tasks; /* panels of MK_TILE_COLUMNS */
    int32_t strided_a;                   /* A is read in place */
} MK_NAME(gemm_part);

/* Up to MK_WIDTH rows of up to MK_WIDTH floats, transposed; what is missing is 0. `most` is a constant bound of rows. */
MK_INLINE void MK_NAME(load_transposed)(const float *from, int64_t stride, const int most, int64_t rows, int64_t length, vf block[MK_WIDTH])
{
    if (rows >= most && length >= MK_WIDTH) {
        MK_UNROLL for (int i = 0; i < MK_WIDTH; ++i) block[i] = i < most ? vf_load(from + i * stride) : (vf){0};
    } else {
        MK_UNROLL for (int i = 0; i < MK_WIDTH; ++i)
            block[i] = i < rows ? vf_load_n(from + i * stride, mk_smaller(length, MK_WIDTH)) : (vf){0};
    }
    vf_transpose(block);
}

/* Packs rows x k of A, stored by rows: to[p * MK_TILE_ROWS + row]. */
MK_INLINE void MK_NAME(pack_a_rows)(const float *a, int64_t lda, int64_t rows, int64_t k, float *to)
{
    enum { GROUP = MK_TILE_ROWS < MK_WIDTH ? MK_TILE_ROWS : MK_WIDTH };
    for (int64_t p = 0; p < k; p += MK_WIDTH)
        for (int64_t first = 0; first < MK_TILE_ROWS; first += GROUP) {
            vf block[MK_WIDTH];
            MK_NAME(load_transposed)(a + first * lda + p, lda, GROUP, rows - first, k - p, block);
            MK_UNROLL for (int i = 0; i < MK_WIDTH; ++i) vf_store(to + (p + i) * MK_TILE_ROWS + first, block[i]);
        }
}

/* Packs rows x k of A, stored transposed (k x m): to[p * MK_TILE_ROWS + row]. */
MK_INLINE void MK_NAME(pack_a_columns)(const float *a, int64_t lda, int64_t rows, int64_t k, float *to)
{
    for (int64_t p = 0; p < k; ++p)
        for (int64_t first = 0; first < MK_TILE_ROWS; first += MK_WIDTH) {
            int64_t lanes = mk_smaller(rows - first, MK_WIDTH);
            if (lanes > 0)
                vf_store(to + p * MK_TILE_ROWS + first, vf_load_n(a + p * lda + first, lanes));
        }
}

/* Packs a panel of k x columns of B, stored by rows. A narrow panel takes only the vectors it needs; lanes past `columns` are 0. */
MK_INLINE void MK_NAME(pack_b_rows)(const float *b, int64_t ldb, int64_t columns, int64_t k, float *to)
{
    if (columns == MK_TILE_COLUMNS) {
        for (int64_t p = 0; p < k; ++p)
            MK_UNROLL for (int j = 0; j < MK_TILE_COLUMNS; j += MK_WIDTH)
                vf_store(to + p * MK_TILE_COLUMNS + j, vf_load(b + p * ldb + j));
        return;
    }
    int64_t stride = mk_ceil_div(columns, MK_WIDTH) * MK_WIDTH;
    for (int64_t p = 0; p < k; ++p)
        for (int64_t j = 0; j < columns; j += MK_WIDTH)
            vf_store(to + p * stride + j, vf_load_n(b + p * ldb + j, mk_smaller(columns - j, MK_WIDTH)));
}

/* The same from B stored transposed (n x k). */
MK_INLINE void MK_NAME(pack_b_columns)(const float *b, int64_t ldb, int64_t columns, int64_t k, float *to)
{
    int64_t stride = mk_ceil_div(columns, MK_WIDTH) * MK_WIDTH;
    for (int64_t p = 0; p < k; p += MK_WIDTH)
        for (int64_t j = 0; j < columns; j += MK_WIDTH) {
            vf block[MK_WIDTH];
            MK_NAME(load_transposed)(b + j * ldb + p, ldb, MK_WIDTH, columns - j, k - p, block);
            float *at = to + p * stride + j;
            if (k - p >= MK_WIDTH) {
                MK_UNROLL for (int i = 0; i < MK_WIDTH; ++i) vf_store(at + i * stride, block[i]);
            } else {
                MK_UNROLL for (int i = 0; i < MK_WIDTH; ++i)
                {
                    if (i < k - p)
                        vf_store(at + i * stride, block[i]);
                }
            }
        }
}

/* One packing task: some panels of B. */
static void MK_NAME(gemm_pack_b)(void *context, int64_t index, int32_t worker)
{
    (void)worker;
    const MK_NAME(gemm_part) *part = context;
    const mk_gemm *g = part->g;
    int64_t last_panel = mk_smaller((index + 1) * part->pack_panels, part->column_panels);
    for (int64_t panel = index * part->pack_panels; panel < last_panel; ++panel) {
        float *to = part->packed + panel * MK_TILE_COLUMNS * part->k;
        int64_t columns = mk_smaller(part->n - panel * MK_TILE_COLUMNS, MK_TILE_COLUMNS);
        int64_t column = part->n0 + panel * MK_TILE_COLUMNS;
        if (g->transpose_b)
            MK_NAME(pack_b_columns)((const float *)g->b + column * g->ldb + part->k0, g->ldb, columns, part->k, to);
        else
            MK_NAME(pack_b_rows)((const float *)g->b + part->k0 * g->ldb + column, g->ldb, columns, part->k, to);
    }
}

/* c = gelu(v), or c = v * gelu'(auxiliary) with v in c: on a finished tile, while it is in the first cache. */
static void MK_NAME(gemm_activate)(int32_t activation, int64_t rows, int64_t columns, const float *v, const float *auxiliary,
                                   float *c, int64_t ldc)
{
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; j += MK_WIDTH) {
            int64_t at = i * ldc + j, lanes = mk_smaller(columns - j, MK_WIDTH);
            vf x = vf_load_n(v + at, lanes);
            if (activation == MK_ACTIVATION_GELU)
                x = vf_gelu(x);
            else
                x *= vf_gelu_gradient(vf_load_n(auxiliary + at, lanes));
            vf_store_n(c + at, x, lanes);
        }
}

/* One task: a block of C, over the part's k. */
static void MK_NAME(gemm_block)(void *context, int64_t index, int32_t worker)
{
    const MK_NAME(gemm_part) *part = context;
    const mk_gemm *g = part->g;
    float *packed_a = mk_pool_scratch(part->pool, worker);
    const int64_t row_task = index / part->column_tasks, column_task = index % part->column_tasks;
    const int64_t row_begin = part->row_panels * row_task / part->row_tasks;
    const int64_t row_end = part->row_panels * (row_task + 1) / part->row_tasks;
    const int64_t column_begin = part->column_panels * column_task / part->column_tasks;
    const int64_t column_end = part->column_panels * (column_task + 1) / part->column_tasks;

    int64_t k = 0;
    do {
        if (k > 0 && mk_pool_cancelled(part->pool))
            return;
        const int64_t steps = mk_smaller(part->k - k, part->block_k);
        const int64_t k_at = part->k0 + k; /* in the whole of k */
        const int finished = k_at + steps >= g->k;
        for (int64_t row_panel = row_begin; row_panel < row_end; ++row_panel) {
            const int64_t row = row_panel * MK_TILE_ROWS;
            const int64_t rows = mk_smaller(g->m - row, MK_TILE_ROWS);
            MK_NAME(tile) tile;
            tile.k = steps;
            tile.a_stride = g->lda;
            tile.ldc = g->ldc;
            if (part->strided_a) {
                tile.a = (const float *)g->a + row * g->lda + k_at;
            } else {
                if (g->transpose_a)
                    MK_NAME(pack_a_columns)((const float *)g->a + k_at * g->lda + row, g->lda, rows, steps, packed_a);
                else
                    MK_NAME(pack_a_rows)((const float *)g->a + row * g->lda + k_at, g->lda, rows, steps, packed_a);
                tile.a = packed_a;
            }
            for (int64_t panel = column_begin; panel < column_end; ++panel) {
                const int64_t columns = mk_smaller(part->n - panel * MK_TILE_COLUMNS, MK_TILE_COLUMNS);
                const int64_t vectors = mk_ceil_div(columns, MK_WIDTH);
                const int64_t column = part->n0 + panel * MK_TILE_COLUMNS;
                const int64_t at = row * g->ldc + column;
                float *c = (float *)g->c + at;
                float *auxiliary = g->auxiliary == NULL ? NULL : (float *)g->auxiliary + at;
                tile.b_stride = vectors * MK_WIDTH;
                tile.b = part->packed + panel * MK_TILE_COLUMNS * part->k + k * tile.b_stride;
                tile.last_lanes = columns - (vectors - 1) * MK_WIDTH;
                /* The residual joins the first block of k (it may be c itself), as the bias does. */
                tile.bias = k_at == 0 && g->bias != NULL ? (const float *)g->bias + column : NULL;
                tile.addend = c;
                if (k_at == 0)
                    tile.addend = g->activation == MK_ACTIVATION_NONE && g->residual != NULL ? (const float *)g->residual + at : NULL;
                tile.c = finished && g->activation == MK_ACTIVATION_GELU && auxiliary != NULL ? auxiliary : c;
                MK_NAME(tile_functions)[!part->strided_a][vectors - 1][rows - 1](&tile);
                if (finished && g->activation != MK_ACTIVATION_NONE)
                    MK_NAME(gemm_activate)(g->activation, rows, columns, tile.c, auxiliary, c, g->ldc);
            }
        }
        k += steps;
    } while (k < part->k);
}

static void MK_NAME(gemm_cut)(MK_NAME(gemm_part) *part)
{
    const mk_gemm *g = part->g;
    part->block_k = mk_even_part(part->k, MK_GEMM_K, 1);
    part->row_panels = mk_ceil_div(g->m, MK_TILE_ROWS);
    part->column_panels = mk_ceil_div(part->n, MK_TILE_COLUMNS);
    part->column_tasks = mk_ceil_div(part->n, MK_GEMM_COLUMNS);
    int64_t tasks = mk_ceil_div(part->row_panels, MK_GEMM_TASK_PANELS);
    if (tasks * part->column_tasks < MK_GEMM_TASKS)
        tasks = mk_ceil_div(MK_GEMM_TASKS, part->column_tasks);
    int64_t panel_work = MK_TILE_ROWS * (part->k + 1) * mk_smaller(part->n, MK_GEMM_COLUMNS);
    int64_t least = mk_ceil_div(MK_GEMM_TASK_WORK, panel_work);
    if (part->k > MK_GEMM_K && least < MK_GEMM_LEAST_PANELS)
        least = MK_GEMM_LEAST_PANELS;
    part->row_tasks = mk_smaller(tasks, mk_ceil_div(part->row_panels, least));
    int64_t floats = MK_TILE_COLUMNS * part->k;
    part->pack_panels = floats >= MK_GEMM_PACK_FLOATS ? 1 : MK_GEMM_PACK_FLOATS / (floats + 1) + 1;
}

static void MK_NAME(gemm)(mk_pool *pool, const mk_gemm *g)
{
    if (g->m == 0 || g->n == 0)
        return;
    const MK_NAME(gemm_plan) plan = MK_NAME(gemm_make_plan)(g);
    MK_NAME(gemm_part) part = {.g = g, .pool = pool, .packed = mk_pool_shared(pool)};
    part.strided_a = !g->transpose_a;
    for (part.n0 = 0; part.n0 < g->n; part.n0 += part.n) {
        part.n = mk_smaller(g->n - part.n0, plan.packed_columns);
        part.k0 = 0;
        do {
            part.k = mk_smaller(g->k - part.k0, plan.packed_k);
            MK_NAME(gemm_cut)(&part);
            mk_pool_run(pool, mk_ceil_div(part.column_panels, part.pack_panels), MK_NAME(gemm_pack_b), &part);
            mk_pool_run(pool, part.row_tasks * part.column_tasks, MK_NAME(gemm_block), &part);
            part.k0 += part.k;
        } while (part.k0 < g->k && !mk_pool_cancelled(pool));
    }
}

#endif
