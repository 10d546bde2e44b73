/* Matrix multiplication with fused epilogues, after Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication"
 * (ACM TOMS 2008), changed for the shapes of training, where every copy of an operand shows:
 *   - C is cut into tasks, blocks of rows x columns given by the shape alone. k is cut into passes; no sum is split between tasks.
 *   - Within a task a panel of MK_TILE_ROWS rows of A, in the first cache, passes over a block of B that stays in the second.
 *   - B is read where it is when it is small and stored by rows of whole vectors; otherwise it is packed into panels of
 *     MK_TILE_COLUMNS columns, once, by all workers: the whole of it when it is small, pass by pass when it is not.
 *   - A is read where it is, by rows or (transposed) by columns, unless that would be slow; then it is packed like B.
 *   - The epilogue runs on each tile while it is in the first cache.
 * Each element of C is a sum over passes of chains of fused multiply-adds in rising k, in every tile size alike. */
#ifndef MK_GEMM_H
#define MK_GEMM_H

#include "loops.h"

enum {
    MK_GEMM_K = MK_WIDTH == 16 ? 512 : 320,       /* k per pass over C */
    MK_GEMM_COLUMNS = MK_WIDTH == 16 ? 512 : 256, /* columns of C per task */
    MK_GEMM_ROWS = 224,                           /* rows of C per task, about */
    MK_GEMM_LEAST_ROWS = 56,                      /* least rows of a task when k takes several passes: each reads B again */
    MK_GEMM_TASKS = 24,                           /* tasks wanted, where they can be cut without loss */
    MK_GEMM_TASK_WORK = 1 << 20,                  /* least multiply-adds per task */
    MK_GEMM_SMALL_FLOATS = 1 << 18,               /* an operand up to here stays in the second cache */
    MK_GEMM_PACK_FLOATS = 1 << 16,                /* per packing task, about */
    MK_GEMM_MOST_PACKED = 1 << 13,                /* rows of A, columns of B packed at a time, about: bounds the memory for it */
    MK_PREFETCH_STEPS = 8,                        /* rows of B fetched ahead in a tile */
    MK_PACK_AHEAD = 128,                          /* floats of a row fetched ahead while it is transposed */
    MK_PACK_ROWS_AHEAD = 8,                       /* rows fetched ahead while others are copied */
};

#include "gemm_tile.h"

/* A packed panel of A is to[p * MK_PACKED_A_ROWS + row]: whole vectors, so that no store crosses a cache line. */
enum { MK_PACKED_A_ROWS = (MK_TILE_ROWS + MK_WIDTH - 1) / MK_WIDTH * MK_WIDTH };

typedef struct range {
    int64_t begin, end;
} range;

/* The cutting of a product into rounds, passes and tasks: a function of its shape and strides. */
typedef struct gemm_plan {
    const mk_gemm *g;
    int32_t pack_a, pack_b;
    int64_t pass_k;                    /* per pass over C */
    int64_t round_k;                   /* per round: what is packed together. A round takes one or more passes */
    int64_t row_panels, column_panels; /* panels of MK_TILE_ROWS and MK_TILE_COLUMNS */
    int64_t round_rows, round_columns; /* panels per round */
    int64_t row_tasks, column_tasks;   /* per round, where it is whole */
    int64_t a_together, b_together;    /* panels per packing task */
    range rows, columns, steps;        /* of this round: panels, panels, k */
    int64_t b_tasks;                   /* that pack B before those that pack A; 0 when it is packed already */
    float *packed_a, *packed_b;
} gemm_plan;

/* The size of each of the fewest equal parts of `total` that do not exceed `most`. */
MK_INLINE int64_t mk_even_part(int64_t total, int64_t most) { return total == 0 ? 1 : mk_ceil_divide(total, mk_ceil_divide(total, most)); }

/* The index-th of `parts` nearly equal parts of a range. */
MK_INLINE range range_part(range whole, int64_t parts, int64_t index) {
    const int64_t length = whole.end - whole.begin;
    return (range){whole.begin + length * index / parts, whole.begin + length * (index + 1) / parts};
}

static gemm_plan gemm_make_plan(const mk_gemm *g) {
    gemm_plan plan = {.g = g};
    if (g->m == 0 || g->n == 0) return plan;
    plan.row_panels = mk_ceil_divide(g->m, MK_TILE_ROWS);
    plan.column_panels = mk_ceil_divide(g->n, MK_TILE_COLUMNS);
    plan.pass_k = mk_even_part(g->k, MK_GEMM_K);
    const int small_b = g->k <= MK_GEMM_SMALL_FLOATS / (plan.column_panels * MK_TILE_COLUMNS + 1);
    plan.pack_b = g->transpose_b || !small_b || g->n % MK_WIDTH != 0 || g->scale != NULL;
    /* Rows of A a multiple of 4096 bytes apart fall on the same few places of the caches. */
    const int crowded = g->lda % 1024 == 0 && g->m > 1 && g->k > 1;
    plan.pack_a = crowded || (g->transpose_a && g->k > MK_GEMM_SMALL_FLOATS / (g->m + 1));
    plan.round_k = plan.pack_a || (plan.pack_b && !small_b) ? plan.pass_k : g->k + (g->k == 0);
    plan.round_rows = plan.pack_a ? mk_even_part(plan.row_panels, MK_GEMM_MOST_PACKED / MK_TILE_ROWS) : plan.row_panels;
    plan.round_columns = plan.pack_b ? mk_even_part(plan.column_panels, MK_GEMM_MOST_PACKED / MK_TILE_COLUMNS) : plan.column_panels;

    plan.column_tasks = mk_ceil_divide(plan.round_columns * MK_TILE_COLUMNS, MK_GEMM_COLUMNS);
    const int64_t columns = mk_ceil_divide(plan.round_columns * MK_TILE_COLUMNS, plan.column_tasks);
    int64_t least = mk_ceil_divide(MK_GEMM_TASK_WORK, MK_TILE_ROWS * (plan.round_k + 1) * columns);
    if (g->k > MK_GEMM_K && least < MK_GEMM_LEAST_ROWS / MK_TILE_ROWS) least = MK_GEMM_LEAST_ROWS / MK_TILE_ROWS;
    int64_t tasks = mk_ceil_divide(plan.round_rows * MK_TILE_ROWS, MK_GEMM_ROWS);
    if (tasks * plan.column_tasks < MK_GEMM_TASKS) tasks = mk_ceil_divide(MK_GEMM_TASKS, plan.column_tasks);
    plan.row_tasks = mk_least(tasks, mk_ceil_divide(plan.round_rows, least));

    plan.a_together = mk_ceil_divide(MK_GEMM_PACK_FLOATS, MK_TILE_ROWS * plan.round_k);
    plan.b_together = mk_ceil_divide(MK_GEMM_PACK_FLOATS, MK_TILE_COLUMNS * plan.round_k);
    return plan;
}

MK_INLINE int64_t packed_a_floats(const gemm_plan *plan) { return plan->pack_a ? plan->round_rows * MK_PACKED_A_ROWS * plan->round_k : 0; }

MK_INLINE int64_t packed_b_floats(const gemm_plan *plan) {
    return plan->pack_b ? plan->round_columns * MK_TILE_COLUMNS * plan->round_k : 0;
}

static mk_scratch gemm_scratch(const mk_gemm *g) {
    gemm_plan plan = gemm_make_plan(g);
    return (mk_scratch){.shared = (packed_a_floats(&plan) + packed_b_floats(&plan)) * (int64_t)sizeof(float)};
}

/* Up to MK_WIDTH rows of up to MK_WIDTH floats, transposed; what is missing is 0. `most` is a constant bound of rows. */
MK_INLINE void load_transposed(const float *from, int64_t stride, const int most, int64_t rows, int64_t length, vf block[MK_WIDTH]) {
    if (rows >= most && length >= MK_WIDTH) {
        MK_UNROLL for (int i = 0; i < most; ++i) __builtin_prefetch(from + i * stride + MK_PACK_AHEAD);
        MK_UNROLL for (int i = 0; i < MK_WIDTH; ++i) block[i] = i < most ? vf_load(from + i * stride) : (vf){0};
    } else {
        MK_UNROLL for (int i = 0; i < MK_WIDTH; ++i) block[i] =
            i < rows ? vf_load_n(from + i * stride, mk_least(length, MK_WIDTH)) : (vf){0};
    }
    vf_transpose(block);
}

/* Packs panels of A, stored by rows, `rows` rows in all: panel after panel. */
MK_INLINE void pack_a_rows(const float *a, int64_t lda, int64_t rows, int64_t k, float *to) {
    enum { GROUP = MK_TILE_ROWS < MK_WIDTH ? MK_TILE_ROWS : MK_WIDTH };
    for (int64_t row = 0; row < rows; row += MK_TILE_ROWS, to += k * MK_PACKED_A_ROWS)
        for (int64_t p = 0; p < k; p += MK_WIDTH)
            for (int64_t first = 0; first < MK_TILE_ROWS; first += GROUP) {
                vf block[MK_WIDTH];
                load_transposed(a + (row + first) * lda + p, lda, GROUP, rows - row - first, k - p, block);
                MK_UNROLL for (int i = 0; i < MK_WIDTH; ++i) {
                    if (i < k - p) vf_store(to + (p + i) * MK_PACKED_A_ROWS + first, block[i]);
                }
            }
}

/* The same for A stored transposed (k x m). */
MK_INLINE void pack_a_columns(const float *a, int64_t lda, int64_t rows, int64_t k, float *to) {
    for (int64_t p = 0; p < k; ++p) {
        const float *from = a + p * lda;
        float *at = to + p * MK_PACKED_A_ROWS;
        int64_t row = 0;
        for (; row + MK_PACKED_A_ROWS <= rows; row += MK_TILE_ROWS, at += k * MK_PACKED_A_ROWS)
            MK_UNROLL for (int first = 0; first < MK_PACKED_A_ROWS; first += MK_WIDTH) {
                __builtin_prefetch(from + MK_PACK_ROWS_AHEAD * lda + row + first);
                vf_store(at + first, vf_load(from + row + first));
            }
        for (; row < rows; row += MK_TILE_ROWS, at += k * MK_PACKED_A_ROWS)
            for (int64_t first = 0; first < MK_PACKED_A_ROWS && row + first < rows; first += MK_WIDTH)
                vf_store(at + first, vf_load_n(from + row + first, mk_least(rows - row - first, MK_WIDTH)));
    }
}

/* Packs a panel of k x columns of B, stored by rows. A narrow panel takes only the vectors it needs; lanes past `columns` are 0. */
MK_INLINE void pack_b_rows(const float *b, int64_t ldb, int64_t columns, int64_t k, float *to) {
    if (columns == MK_TILE_COLUMNS) {
        for (int64_t p = 0; p < k; ++p) MK_UNROLL for (int j = 0; j < MK_TILE_COLUMNS; j += MK_WIDTH) {
                __builtin_prefetch(b + (p + MK_PACK_ROWS_AHEAD) * ldb + j);
                vf_store(to + p * MK_TILE_COLUMNS + j, vf_load(b + p * ldb + j));
            }
        return;
    }
    int64_t stride = mk_ceil_divide(columns, MK_WIDTH) * MK_WIDTH;
    for (int64_t p = 0; p < k; ++p)
        for (int64_t j = 0; j < columns; j += MK_WIDTH)
            vf_store(to + p * stride + j, vf_load_n(b + p * ldb + j, mk_least(columns - j, MK_WIDTH)));
}

/* The same from B stored transposed (n x k). */
MK_INLINE void pack_b_columns(const float *b, int64_t ldb, int64_t columns, int64_t k, float *to) {
    int64_t stride = mk_ceil_divide(columns, MK_WIDTH) * MK_WIDTH;
    for (int64_t p = 0; p < k; p += MK_WIDTH)
        for (int64_t j = 0; j < columns; j += MK_WIDTH) {
            vf block[MK_WIDTH];
            load_transposed(b + j * ldb + p, ldb, MK_WIDTH, columns - j, k - p, block);
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

/* Multiplies the columns of a packed panel of B by their factors. */
static void scale_packed(const float *scale, int64_t columns, int64_t k, float *to) {
    const int64_t stride = mk_ceil_divide(columns, MK_WIDTH) * MK_WIDTH;
    for (int64_t j = 0; j < columns; j += MK_WIDTH) {
        const vf factor = vf_load_n(scale + j, mk_least(columns - j, MK_WIDTH));
        for (int64_t p = 0; p < k; ++p) vf_store(to + p * stride + j, vf_load(to + p * stride + j) * factor);
    }
}

/* One task of packing: some panels of B, then some of A. */
static void gemm_pack_task(void *context, int64_t index, int32_t worker) {
    (void)worker;
    const gemm_plan *plan = context;
    const mk_gemm *g = plan->g;
    const int64_t k = plan->steps.begin, steps = plan->steps.end - k;
    if (index < plan->b_tasks) {
        const int64_t begin = plan->columns.begin + index * plan->b_together, end = mk_least(begin + plan->b_together, plan->columns.end);
        for (int64_t panel = begin; panel < end; ++panel) {
            const int64_t column = panel * MK_TILE_COLUMNS, columns = mk_least(g->n - column, MK_TILE_COLUMNS);
            float *to = plan->packed_b + (panel - plan->columns.begin) * MK_TILE_COLUMNS * steps;
            if (g->transpose_b)
                pack_b_columns((const float *)g->b + column * g->ldb + k, g->ldb, columns, steps, to);
            else
                pack_b_rows((const float *)g->b + k * g->ldb + column, g->ldb, columns, steps, to);
            if (g->scale != NULL) scale_packed((const float *)g->scale + column, columns, steps, to);
        }
        return;
    }
    const int64_t begin = plan->rows.begin + (index - plan->b_tasks) * plan->a_together,
                  end = mk_least(begin + plan->a_together, plan->rows.end);
    const int64_t row = begin * MK_TILE_ROWS, rows = mk_least(g->m, end * MK_TILE_ROWS) - row;
    float *to = plan->packed_a + (begin - plan->rows.begin) * MK_PACKED_A_ROWS * steps;
    if (g->transpose_a)
        pack_a_columns((const float *)g->a + k * g->lda + row, g->lda, rows, steps, to);
    else
        pack_a_rows((const float *)g->a + row * g->lda + k, g->lda, rows, steps, to);
}

/* c = gelu(v), or c = v * gelu'(auxiliary) with v in c: on a finished tile, while it is in the first cache. */
static void gemm_activate(int32_t activation, int64_t rows, int64_t columns, const float *v, const float *auxiliary, float *c,
                          int64_t ldc) {
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; j += MK_WIDTH) {
            int64_t at = i * ldc + j, lanes = mk_least(columns - j, MK_WIDTH);
            vf x = vf_load_n(v + at, lanes);
            if (activation == MK_ACTIVATION_GELU)
                x = vf_gelu(x);
            else
                x *= vf_gelu_gradient(vf_load_n(auxiliary + at, lanes));
            vf_store_n(c + at, x, lanes);
        }
}

/* Says what the tile at (row_panel, panel) fetches for later: the next tile's C, and the next panel's rows of A where A is read in
 * place by rows. Addresses past the matrices are harmless: nothing is read. */
MK_INLINE void gemm_look_ahead(const gemm_plan *plan, gemm_tile *tile, int64_t k, int64_t steps, int64_t row_panel, int64_t panel,
                               range columns) {
    enum { LINE = 64, FLOAT = sizeof(float) };
    const mk_gemm *g = plan->g;
    const int last = panel + 1 == columns.end;
    const int64_t next_row = row_panel + last, next_panel = last ? columns.begin : panel + 1;
    const int64_t at = (next_row * MK_TILE_ROWS * g->ldc + next_panel * MK_TILE_COLUMNS) * FLOAT;
    const char *read = g->auxiliary != NULL ? g->auxiliary : k == 0 && g->residual != NULL ? g->residual : g->c;
    tile->next_c = (const char *)g->c + at;
    tile->next_read = read + at;
    tile->ahead = tile->next_c;
    tile->ahead_jump = 0;
    tile->ahead_shift = 5;
    tile->ahead_step = LINE;
    if (g->transpose_a || plan->pack_a) return;
    int32_t shift = 2; /* 2^shift lines take one row */
    while ((int64_t)16 << shift < steps) ++shift;
    int64_t rows_per_tile = steps / 2 >> shift;
    rows_per_tile += rows_per_tile == 0;
    tile->ahead =
        (const char *)g->a + k * FLOAT + ((row_panel + 1) * MK_TILE_ROWS + (panel - columns.begin) * rows_per_tile) * g->lda * FLOAT;
    tile->ahead_jump = g->lda * FLOAT;
    tile->ahead_shift = shift;
}

/* One task: a block of C, by what a round brings. */
static void gemm_task(void *context, int64_t index, int32_t worker) {
    (void)worker;
    const gemm_plan *plan = context;
    const mk_gemm *g = plan->g;
    const range rows = range_part(plan->rows, plan->row_tasks, index % plan->row_tasks);
    const range columns = range_part(plan->columns, plan->column_tasks, index / plan->row_tasks);
    const int by_columns = plan->pack_a || g->transpose_a;
    const int64_t round = plan->steps.end - plan->steps.begin;
    for (int64_t k = plan->steps.begin, steps; k < plan->steps.end || g->k == 0; k += steps) {
        steps = mk_least(plan->steps.end - k, plan->pass_k);
        const int finished = k + steps == g->k;
        for (int64_t row_panel = rows.begin; row_panel < rows.end; ++row_panel) {
            const int64_t row = row_panel * MK_TILE_ROWS, tile_rows = mk_least(g->m - row, MK_TILE_ROWS);
            gemm_tile tile = {.k = steps, .a_stride = g->lda, .ldc = g->ldc};
            tile.a = (const float *)g->a + (g->transpose_a ? k * g->lda + row : row * g->lda + k);
            if (plan->pack_a) {
                tile.a = plan->packed_a + (row_panel - plan->rows.begin) * MK_PACKED_A_ROWS * round;
                tile.a_stride = MK_PACKED_A_ROWS;
            }
            for (int64_t panel = columns.begin; panel < columns.end; ++panel) {
                const int64_t column = panel * MK_TILE_COLUMNS, tile_columns = mk_least(g->n - column, MK_TILE_COLUMNS);
                const int64_t vectors = mk_ceil_divide(tile_columns, MK_WIDTH);
                const int64_t at = row * g->ldc + column;
                float *c = (float *)g->c + at;
                float *auxiliary = g->auxiliary == NULL ? NULL : (float *)g->auxiliary + at;
                if (plan->pack_b) {
                    tile.b_stride = vectors * MK_WIDTH;
                    tile.b =
                        plan->packed_b + (panel - plan->columns.begin) * MK_TILE_COLUMNS * round + (k - plan->steps.begin) * tile.b_stride;
                } else {
                    tile.b_stride = g->ldb;
                    tile.b = (const float *)g->b + k * g->ldb + column;
                }
                tile.last_lanes = tile_columns - (vectors - 1) * MK_WIDTH;
                /* Bias and residual join the first pass: the residual may be c itself, which the pass overwrites. */
                tile.bias = k == 0 && g->bias != NULL ? (const float *)g->bias + column : NULL;
                tile.relu = finished ? g->relu : 0;
                tile.addend = c;
                if (k == 0)
                    tile.addend = g->activation == MK_ACTIVATION_NONE && g->residual != NULL ? (const float *)g->residual + at : NULL;
                tile.c = finished && g->activation == MK_ACTIVATION_GELU && auxiliary != NULL ? auxiliary : c;
                gemm_look_ahead(plan, &tile, k, steps, row_panel, panel, columns);
                gemm_tile_functions[by_columns][vectors - 1][tile_rows - 1](&tile);
                if (finished && g->activation != MK_ACTIVATION_NONE)
                    gemm_activate(g->activation, tile_rows, tile_columns, tile.c, auxiliary, c, g->ldc);
            }
        }
        if (g->k == 0) return;
    }
}

static void gemm(mk_pool *pool, const mk_gemm *g) {
    if (g->m == 0 || g->n == 0) return;
    gemm_plan plan = gemm_make_plan(g);
    plan.packed_b = mk_pool_shared(pool);
    plan.packed_a = plan.packed_b + packed_b_floats(&plan);
    for (int64_t column = 0; column < plan.column_panels; column += plan.round_columns) {
        plan.columns = (range){column, mk_least(column + plan.round_columns, plan.column_panels)};
        int64_t k = 0;
        do {
            plan.steps = (range){k, mk_least(k + plan.round_k, g->k)};
            for (int64_t row = 0; row < plan.row_panels; row += plan.round_rows) {
                plan.rows = (range){row, mk_least(row + plan.round_rows, plan.row_panels)};
                plan.b_tasks = plan.pack_b && row == 0 ? mk_ceil_divide(plan.columns.end - column, plan.b_together) : 0;
                const int64_t a_tasks = plan.pack_a ? mk_ceil_divide(plan.rows.end - row, plan.a_together) : 0,
                              packing = plan.b_tasks + a_tasks;
                if (packing > 0) mk_pool_run(pool, packing, gemm_pack_task, &plan);
                mk_pool_run(pool, plan.row_tasks * plan.column_tasks, gemm_task, &plan);
                if (mk_pool_cancelled(pool)) return;
            }
            k += plan.round_k;
        } while (k < g->k);
    }
}

#endif
