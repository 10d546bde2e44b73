/* Matrix multiplication with fused epilogues, after Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication"
 * (ACM TOMS 2008), changed for the shapes of training, where every copy of an operand shows:
 *   - A task is a block of rows x columns of C, given by the shape alone, and runs over all of k: no sum is ever split.
 *   - Within a task a panel of MK_TILE_ROWS rows of A passes over a block of B that stays in the second cache.
 *   - A is read where it is, by rows or (transposed) by columns; B too when it is stored by rows of whole vectors.
 *     Otherwise B is packed into panels of MK_TILE_COLUMNS columns: the whole of it once, by all workers, when it is small;
 *     block by block into the worker's own scratch when it is not.
 *   - The epilogue runs on each tile while it is in the first cache.
 * Each element of C is a sum over blocks of k of chains of fused multiply-adds in rising k, in every tile size alike. */
#ifndef MK_GEMM_H
#define MK_GEMM_H

enum {
    MK_GEMM_K = 384,                                     /* k per pass over C */
    MK_GEMM_COLUMNS = MK_WIDTH == 16 ? 768 : 256,        /* columns of C per task */
    MK_GEMM_PACKED_COLUMNS = MK_WIDTH == 16 ? 384 : 192, /* the same when the task packs its block of B itself */
    MK_GEMM_ROWS = 224,                                  /* rows of C per task, about */
    MK_GEMM_PACKED_ROWS = 560,                           /* the same when each such task packs B anew */
    MK_GEMM_PACKED_TASKS = 4,                            /* tasks wanted there */
    MK_GEMM_LEAST_ROWS = 56,                             /* least rows of a task when k takes several passes: each reads B again */
    MK_GEMM_TASKS = 24,                                  /* tasks wanted, where they can be cut without loss */
    MK_GEMM_TASK_WORK = 1 << 20,                         /* least multiply-adds per task */
    MK_GEMM_SMALL_FLOATS = 1 << 18,                      /* an operand up to here stays in the second cache */
    MK_GEMM_PACK_FLOATS = 1 << 14,                       /* per packing task */
    MK_GEMM_A_PANELS = 8,                                /* panels of A packed at a time */
    MK_PREFETCH_STEPS = 8,                               /* rows of B fetched ahead in a tile */
};

#include "gemm_tile.h"

enum { MK_B_IN_PLACE, MK_B_SHARED, MK_B_OWN };

/* A packed panel of A is to[p * MK_PACKED_A_ROWS + row]: whole vectors, so that no store crosses a cache line. */
enum { MK_PACKED_A_ROWS = (MK_TILE_ROWS + MK_WIDTH - 1) / MK_WIDTH * MK_WIDTH };

/* How a product is cut: a function of its shape and strides. */
typedef struct MK_NAME(gemm_plan) {
    const mk_gemm *g;
    mk_pool *pool;
    int32_t b_mode, pack_a;
    int64_t block_k;                     /* per pass */
    int64_t row_panels, row_tasks;       /* panels of MK_TILE_ROWS, and how many tasks share them */
    int64_t column_panels, column_tasks; /* panels of MK_TILE_COLUMNS */
    int64_t pack_panels;                 /* per packing task */
} MK_NAME(gemm_plan);

MK_INLINE int64_t mk_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

MK_INLINE int64_t mk_smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* The size of each of the fewest equal parts of `total` that do not exceed `most`, rounded up to a multiple of `unit`. */
MK_INLINE int64_t mk_even_part(int64_t total, int64_t most, int64_t unit) {
    int64_t units = mk_ceil_div(total, unit), parts = mk_ceil_div(total, most);
    return parts <= 1 ? units * unit : mk_ceil_div(units, parts) * unit;
}

static MK_NAME(gemm_plan) MK_NAME(gemm_make_plan)(mk_pool *pool, const mk_gemm *g) {
    MK_NAME(gemm_plan) plan = {.g = g, .pool = pool};
    plan.block_k = mk_even_part(g->k, MK_GEMM_K, 1);
    plan.row_panels = mk_ceil_div(g->m, MK_TILE_ROWS);
    plan.column_panels = mk_ceil_div(g->n, MK_TILE_COLUMNS);
    const int small_b = g->k <= MK_GEMM_SMALL_FLOATS / (plan.column_panels * MK_TILE_COLUMNS + 1);
    if (small_b)
        plan.b_mode = !g->transpose_b && g->n % MK_WIDTH == 0 ? MK_B_IN_PLACE : MK_B_SHARED;
    else
        plan.b_mode = MK_B_OWN;
    const int own = plan.b_mode == MK_B_OWN;
    plan.column_tasks = mk_ceil_div(g->n, own ? MK_GEMM_PACKED_COLUMNS : MK_GEMM_COLUMNS);
    int64_t columns = mk_ceil_div(g->n + 1, plan.column_tasks + (g->n == 0));

    int64_t least = mk_ceil_div(MK_GEMM_TASK_WORK, MK_TILE_ROWS * (g->k + 1) * columns);
    if (own) {
        /* Each task packs its columns of B again, so few tasks, but some for several threads. */
        least = mk_ceil_div(plan.row_panels * plan.column_tasks, MK_GEMM_PACKED_TASKS);
        least = least < MK_GEMM_A_PANELS ? MK_GEMM_A_PANELS : mk_smaller(least, MK_GEMM_PACKED_ROWS / MK_TILE_ROWS);
    } else if (g->k > MK_GEMM_K && least < MK_GEMM_LEAST_ROWS / MK_TILE_ROWS)
        least = MK_GEMM_LEAST_ROWS / MK_TILE_ROWS;
    int64_t tasks = mk_ceil_div(g->m, MK_GEMM_ROWS);
    if (tasks * plan.column_tasks < MK_GEMM_TASKS) tasks = mk_ceil_div(MK_GEMM_TASKS, plan.column_tasks + (g->n == 0));
    plan.row_tasks = mk_smaller(tasks, mk_ceil_div(plan.row_panels, least + (least == 0)));

    int64_t panel = MK_TILE_COLUMNS * g->k;
    plan.pack_panels = panel >= MK_GEMM_PACK_FLOATS ? 1 : MK_GEMM_PACK_FLOATS / (panel + 1) + 1;
    /* Rows of A a multiple of 4096 bytes apart fall on the same few places of the caches. */
    const int crowded = g->lda % 1024 == 0 && g->m > 1 && g->k > 1;
    plan.pack_a = crowded || (g->transpose_a && g->k > MK_GEMM_SMALL_FLOATS / (g->m + 1));
    return plan;
}

/* Of the panels packed together. load_transposed writes up to MK_WIDTH - 1 steps past the end. */
MK_INLINE int64_t MK_NAME(packed_a_floats)(const MK_NAME(gemm_plan) *plan) {
    return (MK_GEMM_A_PANELS * (plan->block_k + 15) / 16 * 16 + MK_WIDTH) * MK_PACKED_A_ROWS;
}

static mk_scratch MK_NAME(gemm_scratch)(const mk_gemm *g) {
    MK_NAME(gemm_plan) plan = MK_NAME(gemm_make_plan)(NULL, g);
    mk_scratch need = {0};
    if (plan.pack_a) need.per_worker += MK_NAME(packed_a_floats)(&plan) * (int64_t)sizeof(float);
    if (plan.b_mode == MK_B_OWN)
        need.per_worker += plan.block_k * mk_ceil_div(plan.column_panels, plan.column_tasks) * MK_TILE_COLUMNS * (int64_t)sizeof(float);
    if (plan.b_mode == MK_B_SHARED) need.shared = g->k * plan.column_panels * MK_TILE_COLUMNS * (int64_t)sizeof(float);
    return need;
}

/* Up to MK_WIDTH rows of up to MK_WIDTH floats, transposed; what is missing is 0. `most` is a constant bound of rows. */
MK_INLINE void MK_NAME(load_transposed)(const float *from, int64_t stride, const int most, int64_t rows, int64_t length,
                                        vf block[MK_WIDTH]) {
    if (rows >= most && length >= MK_WIDTH) {
        MK_UNROLL for (int i = 0; i < MK_WIDTH; ++i) block[i] = i < most ? vf_load(from + i * stride) : (vf){0};
    } else {
        MK_UNROLL for (int i = 0; i < MK_WIDTH; ++i) block[i] =
            i < rows ? vf_load_n(from + i * stride, mk_smaller(length, MK_WIDTH)) : (vf){0};
    }
    vf_transpose(block);
}

/* Packs panels of A, stored by rows, `rows` rows in all: panel after panel. */
MK_INLINE void MK_NAME(pack_a_rows)(const float *a, int64_t lda, int64_t rows, int64_t k, float *to) {
    enum { GROUP = MK_TILE_ROWS < MK_WIDTH ? MK_TILE_ROWS : MK_WIDTH };
    for (int64_t row = 0; row < rows; row += MK_TILE_ROWS, to += k * MK_PACKED_A_ROWS)
        for (int64_t p = 0; p < k; p += MK_WIDTH)
            for (int64_t first = 0; first < MK_TILE_ROWS; first += GROUP) {
                vf block[MK_WIDTH];
                MK_NAME(load_transposed)(a + (row + first) * lda + p, lda, GROUP, rows - row - first, k - p, block);
                MK_UNROLL for (int i = 0; i < MK_WIDTH; ++i) vf_store(to + (p + i) * MK_PACKED_A_ROWS + first, block[i]);
            }
}

/* The same for A stored transposed (k x m). */
MK_INLINE void MK_NAME(pack_a_columns)(const float *a, int64_t lda, int64_t rows, int64_t k, float *to) {
    for (int64_t p = 0; p < k; ++p) {
        const float *from = a + p * lda;
        float *at = to + p * MK_PACKED_A_ROWS;
        int64_t row = 0;
        for (; row + MK_PACKED_A_ROWS <= rows; row += MK_TILE_ROWS, at += k * MK_PACKED_A_ROWS)
            MK_UNROLL for (int first = 0; first < MK_PACKED_A_ROWS; first += MK_WIDTH) vf_store(at + first, vf_load(from + row + first));
        for (; row < rows; row += MK_TILE_ROWS, at += k * MK_PACKED_A_ROWS)
            for (int64_t first = 0; first < MK_PACKED_A_ROWS && row + first < rows; first += MK_WIDTH)
                vf_store(at + first, vf_load_n(from + row + first, mk_smaller(rows - row - first, MK_WIDTH)));
    }
}

/* Packs a panel of k x columns of B, stored by rows. A narrow panel takes only the vectors it needs; lanes past `columns` are 0. */
MK_INLINE void MK_NAME(pack_b_rows)(const float *b, int64_t ldb, int64_t columns, int64_t k, float *to) {
    if (columns == MK_TILE_COLUMNS) {
        for (int64_t p = 0; p < k; ++p)
            MK_UNROLL for (int j = 0; j < MK_TILE_COLUMNS; j += MK_WIDTH) vf_store(to + p * MK_TILE_COLUMNS + j, vf_load(b + p * ldb + j));
        return;
    }
    int64_t stride = mk_ceil_div(columns, MK_WIDTH) * MK_WIDTH;
    for (int64_t p = 0; p < k; ++p)
        for (int64_t j = 0; j < columns; j += MK_WIDTH)
            vf_store(to + p * stride + j, vf_load_n(b + p * ldb + j, mk_smaller(columns - j, MK_WIDTH)));
}

/* The same from B stored transposed (n x k). */
MK_INLINE void MK_NAME(pack_b_columns)(const float *b, int64_t ldb, int64_t columns, int64_t k, float *to) {
    int64_t stride = mk_ceil_div(columns, MK_WIDTH) * MK_WIDTH;
    for (int64_t p = 0; p < k; p += MK_WIDTH)
        for (int64_t j = 0; j < columns; j += MK_WIDTH) {
            vf block[MK_WIDTH];
            MK_NAME(load_transposed)(b + j * ldb + p, ldb, MK_WIDTH, columns - j, k - p, block);
            float *at = to + p * stride + j;
            if (k - p >= MK_WIDTH) {
                MK_UNROLL for (int i = 0; i < MK_WIDTH; ++i) vf_store(at + i * stride, block[i]);
            } else {
                MK_UNROLL for (int i = 0; i < MK_WIDTH; ++i) {
                    if (i < k - p) vf_store(at + i * stride, block[i]);
                }
            }
        }
}

/* Packs columns panel_begin ..< panel_end (in panels) of B, k ..< k + steps: panel after panel, `steps` rows each. */
MK_INLINE void MK_NAME(pack_b)(const mk_gemm *g, int64_t panel_begin, int64_t panel_end, int64_t k, int64_t steps, float *to) {
    for (int64_t panel = panel_begin; panel < panel_end; ++panel, to += MK_TILE_COLUMNS * steps) {
        const int64_t column = panel * MK_TILE_COLUMNS, columns = mk_smaller(g->n - column, MK_TILE_COLUMNS);
        if (g->transpose_b)
            MK_NAME(pack_b_columns)((const float *)g->b + column * g->ldb + k, g->ldb, columns, steps, to);
        else
            MK_NAME(pack_b_rows)((const float *)g->b + k * g->ldb + column, g->ldb, columns, steps, to);
    }
}

/* One task of packing the whole of B: some panels over all of k. */
static void MK_NAME(gemm_pack_task)(void *context, int64_t index, int32_t worker) {
    (void)worker;
    const MK_NAME(gemm_plan) *plan = context;
    int64_t begin = index * plan->pack_panels, end = mk_smaller(begin + plan->pack_panels, plan->column_panels);
    float *shared = mk_pool_shared(plan->pool);
    MK_NAME(pack_b)(plan->g, begin, end, 0, plan->g->k, shared + begin * MK_TILE_COLUMNS * plan->g->k);
}

/* c = gelu(v), or c = v * gelu'(auxiliary) with v in c: on a finished tile, while it is in the first cache. */
static void MK_NAME(gemm_activate)(int32_t activation, int64_t rows, int64_t columns, const float *v, const float *auxiliary, float *c,
                                   int64_t ldc) {
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

/* Lets the call-th tile fetch its share of rows of `floats` floats, `stride` bytes apart; returns the rows per tile. */
MK_INLINE int64_t MK_NAME(gemm_rows_ahead)(MK_NAME(tile) *tile, const char *rows, int64_t stride, int64_t floats, int64_t call,
                                           int64_t steps) {
    int32_t shift = 2; /* 2^shift lines take one row */
    while ((int64_t)16 << shift < floats) ++shift;
    int64_t rows_per_call = steps / 2 >> shift;
    rows_per_call += rows_per_call == 0;
    tile->ahead = rows + call * rows_per_call * stride;
    tile->ahead_jump = stride;
    tile->ahead_shift = shift;
    return rows_per_call;
}

/* Says what the tile at (row_panel, panel) fetches for later: the next tile's C; the next panel's rows of A where A is read in
 * place; the next pass's rows of the operands that are packed. Addresses past the matrices are harmless: nothing is read. */
MK_INLINE void MK_NAME(gemm_look_ahead)(const MK_NAME(gemm_plan) *plan, MK_NAME(tile) *tile, int64_t k, int64_t steps, int64_t row_panel,
                                        int64_t panel, int64_t row_begin, int64_t row_end, int64_t column_begin, int64_t column_end) {
    enum { LINE = 64, FLOAT = sizeof(float) };
    const mk_gemm *g = plan->g;
    const int64_t panels = column_end - column_begin, column = panel - column_begin;
    const int last = panel + 1 == column_end;
    const int64_t next_row = row_panel + last, next_panel = last ? column_begin : panel + 1;
    const int64_t at = (next_row * MK_TILE_ROWS * g->ldc + next_panel * MK_TILE_COLUMNS) * FLOAT;
    const char *read = g->auxiliary != NULL ? g->auxiliary : k == 0 && g->residual != NULL ? g->residual : g->c;
    tile->next_c = (const char *)g->c + at;
    tile->next_read = read + at;

    const char *a = g->a, *b = g->b;
    const int64_t lda = g->lda * FLOAT, ldb = g->ldb * FLOAT, later = k + steps;
    const int64_t rows = (row_end - row_begin) * MK_TILE_ROWS;
    int64_t call = (row_panel - row_begin) * panels + column; /* of this pass */
    tile->ahead = tile->next_c;
    tile->ahead_jump = 0;
    tile->ahead_shift = 5;
    tile->ahead_step = LINE;
    if (g->transpose_a && plan->pack_a && later < g->k) {
        /* Row after row of the next pass: first of A, then of B. */
        int64_t rows_per_call = MK_NAME(gemm_rows_ahead)(tile, a + later * lda + row_begin * MK_TILE_ROWS * FLOAT, lda, rows, call, steps);
        int64_t calls = mk_ceil_div(steps, rows_per_call);
        if (call >= calls && !g->transpose_b && plan->b_mode == MK_B_OWN)
            MK_NAME(gemm_rows_ahead)(tile, b + later * ldb + column_begin * MK_TILE_COLUMNS * FLOAT, ldb, panels * MK_TILE_COLUMNS,
                                     call - calls, steps);
        return;
    }
    if (g->transpose_a) return;
    const char *next_a = a + k * FLOAT + (row_panel + 1) * MK_TILE_ROWS * lda;
    const int64_t rows_per_call = MK_NAME(gemm_rows_ahead)(tile, next_a, lda, steps, column, steps);
    const int64_t calls = mk_ceil_div(MK_TILE_ROWS, rows_per_call);
    if (column >= calls && g->transpose_b && plan->b_mode == MK_B_OWN && later < g->k) {
        call = (row_panel - row_begin) * (panels - calls) + column - calls;
        MK_NAME(gemm_rows_ahead)(tile, b + later * FLOAT + column_begin * MK_TILE_COLUMNS * ldb, ldb, steps, call, steps);
    }
}

/* One task: a block of C. */
static void MK_NAME(gemm_task)(void *context, int64_t index, int32_t worker) {
    const MK_NAME(gemm_plan) *plan = context;
    const mk_gemm *g = plan->g;
    float *packed_a = mk_pool_scratch(plan->pool, worker);
    float *own_b = plan->pack_a ? packed_a + MK_NAME(packed_a_floats)(plan) : packed_a;
    const int64_t row_task = index % plan->row_tasks, column_task = index / plan->row_tasks;
    const int64_t row_begin = plan->row_panels * row_task / plan->row_tasks;
    const int64_t row_end = plan->row_panels * (row_task + 1) / plan->row_tasks;
    const int64_t column_begin = plan->column_panels * column_task / plan->column_tasks;
    const int64_t column_end = plan->column_panels * (column_task + 1) / plan->column_tasks;
    const int by_columns = plan->pack_a || g->transpose_a;

    int64_t k = 0;
    do {
        if (k > 0 && mk_pool_cancelled(plan->pool)) return;
        const int64_t steps = mk_smaller(g->k - k, plan->block_k);
        const int finished = k + steps == g->k;
        /* The panel p of B begins at b + p * panel_floats. */
        const float *b;
        int64_t panel_floats;
        if (plan->b_mode == MK_B_IN_PLACE) {
            b = (const float *)g->b + k * g->ldb;
            panel_floats = MK_TILE_COLUMNS;
        } else if (plan->b_mode == MK_B_SHARED) {
            b = mk_pool_shared(plan->pool);
            panel_floats = MK_TILE_COLUMNS * g->k;
        } else {
            MK_NAME(pack_b)(g, column_begin, column_end, k, steps, own_b);
            panel_floats = MK_TILE_COLUMNS * steps;
            b = own_b - column_begin * panel_floats;
        }
        for (int64_t row_panel = row_begin; row_panel < row_end; ++row_panel) {
            const int64_t row = row_panel * MK_TILE_ROWS, rows = mk_smaller(g->m - row, MK_TILE_ROWS);
            const float *a = (const float *)g->a + (g->transpose_a ? k * g->lda + row : row * g->lda + k);
            MK_NAME(tile) tile = {.k = steps, .a = a, .a_stride = g->lda, .ldc = g->ldc};
            if (plan->pack_a) {
                const int64_t nth = (row_panel - row_begin) % MK_GEMM_A_PANELS; /* of those packed together */
                if (nth == 0) {
                    int64_t together = mk_smaller(g->m, mk_smaller(row_panel + MK_GEMM_A_PANELS, row_end) * MK_TILE_ROWS) - row;
                    if (g->transpose_a)
                        MK_NAME(pack_a_columns)(a, g->lda, together, steps, packed_a);
                    else
                        MK_NAME(pack_a_rows)(a, g->lda, together, steps, packed_a);
                }
                tile.a = packed_a + nth * MK_PACKED_A_ROWS * steps;
                tile.a_stride = MK_PACKED_A_ROWS;
            }
            for (int64_t panel = column_begin; panel < column_end; ++panel) {
                const int64_t column = panel * MK_TILE_COLUMNS, columns = mk_smaller(g->n - column, MK_TILE_COLUMNS);
                const int64_t vectors = mk_ceil_div(columns, MK_WIDTH);
                const int64_t at = row * g->ldc + column;
                float *c = (float *)g->c + at;
                float *auxiliary = g->auxiliary == NULL ? NULL : (float *)g->auxiliary + at;
                tile.b_stride = plan->b_mode == MK_B_IN_PLACE ? g->ldb : vectors * MK_WIDTH;
                tile.b = b + panel * panel_floats;
                if (plan->b_mode == MK_B_SHARED) tile.b += k * tile.b_stride;
                tile.last_lanes = columns - (vectors - 1) * MK_WIDTH;
                /* Bias and residual join the first pass: the residual may be c itself, which the pass overwrites. */
                tile.bias = k == 0 && g->bias != NULL ? (const float *)g->bias + column : NULL;
                tile.addend = c;
                if (k == 0)
                    tile.addend = g->activation == MK_ACTIVATION_NONE && g->residual != NULL ? (const float *)g->residual + at : NULL;
                tile.c = finished && g->activation == MK_ACTIVATION_GELU && auxiliary != NULL ? auxiliary : c;
                MK_NAME(gemm_look_ahead)(plan, &tile, k, steps, row_panel, panel, row_begin, row_end, column_begin, column_end);
                MK_NAME(tile_functions)[by_columns][vectors - 1][rows - 1](&tile);
                if (finished && g->activation != MK_ACTIVATION_NONE)
                    MK_NAME(gemm_activate)(g->activation, rows, columns, tile.c, auxiliary, c, g->ldc);
            }
        }
        k += steps;
    } while (k < g->k);
}

static void MK_NAME(gemm)(mk_pool *pool, const mk_gemm *g) {
    if (g->m == 0 || g->n == 0) return;
    MK_NAME(gemm_plan) plan = MK_NAME(gemm_make_plan)(pool, g);
    if (plan.b_mode == MK_B_SHARED) mk_pool_run(pool, mk_ceil_div(plan.column_panels, plan.pack_panels), MK_NAME(gemm_pack_task), &plan);
    mk_pool_run(pool, plan.row_tasks * plan.column_tasks, MK_NAME(gemm_task), &plan);
}

#endif
