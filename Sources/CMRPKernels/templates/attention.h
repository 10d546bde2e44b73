/* Multi-head attention, forward and backward, for one (image, head) at a time and a block of queries at a time. The formulas and
 * names (z, p, L, delta) stand in reference/reference_kernels.h.
 *
 * Scores are held transposed, keys x queries, so that a vector's lanes are queries: the softmax over keys then needs no sums
 * across lanes, and the statistics of the queries (largest score, sum, L, delta) are plain vectors. A block has at most
 * MK_BLOCK_QUERIES + MK_LONE_QUERIES queries, and all keys that are attended to; the others are never read:
 *   forward    Z = K (scale Q)^T,  P = exp(Z - largest),  out = P^T V / sum
 *   backward   Z = K (scale Q)^T,  dP = V (scale dO)^T,  P = exp(Z - L),  dZ = P (dP - scale delta),
 *              dV += P dO,  dK += dZ Q,  dQ = dZ^T K
 * All products run in one tile of registers (attention_tile). Queries that would fill only a few lanes of a last vector (there is one in
 * 4^2 + 1 or 14^2 + 1 tokens) get their scores by dot products instead, and join the others in the columns behind the vectors. */
#include "loops.h"

/* A block is a multiple of 64 queries, or up to MK_LONE_QUERIES more. The stride is an odd number of cache lines, so that a
 * column of scores spreads over all sets of the cache. */
enum { MK_BLOCK_QUERIES = 64, MK_LONE_QUERIES = MK_WIDTH / 8 + 1, MK_SCORE_STRIDE = 80 };

#if MK_WIDTH == 16 || defined(__aarch64__)
enum { MK_ATTENTION_ROWS = 12 }; /* 24 of 32 registers hold sums */
#else
enum { MK_ATTENTION_ROWS = 6 }; /* 12 of 16 */
#endif

/* A matrix of head_dim columns inside the caller's tensor, or a copy of it in scratch whose rows are padded with zeros. */
typedef struct {
    float *at;
    int64_t stride, rows;
} rows_view;

/* The matrices that the next head will read and write, to be fetched while this one is computed: their rows are short pieces of long
 * ones, which the hardware does not foresee. A run is one cache line's width of all rows of a matrix; each step of a tile fetches one
 * line. */
typedef struct {
    rows_view matrix[8];
    int64_t width;
    int matrices, at; /* now in matrix[at] */
    int64_t row, column;
} attention_ahead;

typedef struct {
    const float *line;
    int64_t stride, count;
} ahead_run;

/* The next run of at most `steps` lines. */
MK_INLINE ahead_run next_run(attention_ahead *ahead, int64_t steps, const float *nothing) {
    if (ahead->at == ahead->matrices) return (ahead_run){nothing, 0, 0};
    const rows_view *matrix = &ahead->matrix[ahead->at];
    int64_t count = mk_least(steps, matrix->rows - ahead->row);
    ahead_run run = {matrix->at + ahead->row * matrix->stride + ahead->column, matrix->stride, count};
    ahead->row += count;
    if (ahead->row == matrix->rows) {
        ahead->row = 0;
        ahead->column += 16;
        if (ahead->column >= ahead->width) ahead->column = 0, ahead->at++;
    }
    return run;
}

/* The operand on the left of a product: row-major, or a transposed score matrix. */
enum { MK_LEFT_ROWS, MK_LEFT_SCORES };

/* c[rows, vectors] = sum over depth of a[r, k] b[k, :], times factor[r] or plus c when asked. rows, vectors, left are constants. */
MK_INLINE void attention_tile(const int rows, const int vectors, const int left, int64_t depth, const float *a, int64_t a_stride,
                              const float *b, int64_t b_stride, float *c, int64_t c_stride, const float *factor, int accumulate,
                              ahead_run fetch) {
    vf sum[MK_ATTENTION_ROWS][2];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
        sum[r][0] = vf_splat(0);
        sum[r][1] = vf_splat(0);
    }
    for (int64_t k = 0; k < depth; k++) {
        vf b0 = vf_load(b), b1 = vectors > 1 ? vf_load(b + MK_WIDTH) : b0;
#pragma clang loop unroll(full)
        for (int r = 0; r < rows; r++) {
            vf x = vf_splat(left == MK_LEFT_ROWS ? a[r * a_stride + k] : a[k * MK_SCORE_STRIDE + r]);
            sum[r][0] = vf_fma(x, b0, sum[r][0]);
            if (vectors > 1) sum[r][1] = vf_fma(x, b1, sum[r][1]);
        }
        b += b_stride;
        __builtin_prefetch(fetch.line, 0, 2);
        fetch.line += k < fetch.count ? fetch.stride : 0;
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++) {
            float *to = c + r * c_stride + v * MK_WIDTH;
            vf x = sum[r][v];
            if (factor) x *= factor[r];
            if (accumulate) x += vf_load(to);
            vf_store(to, x);
        }
    }
}

/* c[m, vectors] = a[m, depth] b[depth, vectors], by tiles of nearly equal numbers of rows. */
MK_INLINE void attention_product_any(attention_ahead *ahead, const int left, int64_t m, int64_t vectors, int64_t depth, const float *a,
                                     int64_t a_stride, const float *b, int64_t b_stride, float *c, int64_t c_stride, const float *factor,
                                     int accumulate) {
    int64_t tiles = mk_ceil_divide(m, MK_ATTENTION_ROWS);
    for (int64_t v = 0; v < vectors; v += 2) {
        for (int64_t tile = 0; tile < tiles; tile++) {
            int64_t first = tile * m / tiles, rows = (tile + 1) * m / tiles - first;
            const float *a_tile = left == MK_LEFT_ROWS ? a + first * a_stride : a + first;
            const float *b_tile = b + v * MK_WIDTH, *f = factor ? factor + first : NULL;
            float *to = c + first * c_stride + v * MK_WIDTH;
            ahead_run run = next_run(ahead, depth, b);
#define MK_CASE(R)                                                                                                          \
    case R: attention_tile(R, 2, left, depth, a_tile, a_stride, b_tile, b_stride, to, c_stride, f, accumulate, run); break; \
    case R + 16: attention_tile(R, 1, left, depth, a_tile, a_stride, b_tile, b_stride, to, c_stride, f, accumulate, run); break;
            switch (rows + (v + 1 == vectors ? 16 : 0)) {
                MK_CASE(1)
                MK_CASE(2)
                MK_CASE(3)
                MK_CASE(4)
                MK_CASE(5)
                MK_CASE(6)
#if MK_WIDTH == 16 || defined(__aarch64__)
                MK_CASE(7)
                MK_CASE(8)
                MK_CASE(9)
                MK_CASE(10)
                MK_CASE(11)
                MK_CASE(12)
#endif
            }
#undef MK_CASE
        }
    }
}

static __attribute__((noinline)) void attention_product(attention_ahead *ahead, int64_t m, int64_t vectors, int64_t depth, const float *a,
                                                        int64_t a_stride, const float *b, int64_t b_stride, float *c, int64_t c_stride,
                                                        int accumulate) {
    attention_product_any(ahead, MK_LEFT_ROWS, m, vectors, depth, a, a_stride, b, b_stride, c, c_stride, NULL, accumulate);
}

/* The left operand is the transpose of `scores`, and row r of the result is multiplied by factor[r] unless NULL. */
static __attribute__((noinline)) void attention_product_scores(attention_ahead *ahead, int64_t m, int64_t vectors, int64_t depth,
                                                               const float *scores, const float *b, int64_t b_stride, float *c,
                                                               int64_t c_stride, const float *factor) {
    attention_product_any(ahead, MK_LEFT_SCORES, m, vectors, depth, scores, 0, b, b_stride, c, c_stride, factor, 0);
}

/* 2^x for x <= about 1, to 1e-7; 2^-126 below, NaN stays. The polynomial is vf_normal's. */
MK_INLINE vf attention_exp2(vf x) {
    x = vf_max(vf_splat(-126.0f), x);
    vf shifted = x + MK_ROUNDER;
    vf r = x - (shifted - MK_ROUNDER);
    vf p = vf_splat(1.340043217e-03f);
    p = vf_fma(p, r, vf_splat(9.676037098e-03f));
    p = vf_fma(p, r, vf_splat(5.550327214e-02f));
    p = vf_fma(p, r, vf_splat(2.402210736e-01f));
    p = vf_fma(p, r, vf_splat(6.931472067e-01f));
    p = vf_fma(p, r, vf_splat(1.000000075f));
    return (vf)((vi)p + ((vi)shifted << 23)); /* the shift drops all but n, as the rounder's low 9 bits are 0 */
}

static const float MK_LOG2_E = 1.44269504f, MK_LN_2 = 0.693147181f;

/* One (image, head). k and v have the rows that are attended to; those behind them, `masked` in number, get gradients of 0. */
typedef struct {
    int64_t head_dim, padded, masked; /* padded: head_dim in whole vectors */
    rows_view q, k, v, out, dout, dq, dk, dv;
    float *log_sum_exp; /* or NULL */
    attention_ahead *ahead;
    float *q_copy, *k_copy, *v_copy, *dout_copy;
    float *qt, *doutt;       /* head_dim x MK_SCORE_STRIDE: the block's queries and output gradients, transposed and scaled */
    float *scores, *dscores; /* keys x MK_SCORE_STRIDE */
    float *row, *drow;       /* one query's scores by dot products */
    float *lse, *delta;      /* MK_SCORE_STRIDE: L log2(e), delta scale */
    float *factor;           /* MK_SCORE_STRIDE: 1 / sum */
    float *spare_rows, *spare_keys, *spare_values; /* results of padded rows, before they are copied out */
} attention_head;

MK_INLINE int64_t padded_width(int64_t width) { return mk_ceil_divide(width, MK_WIDTH) * MK_WIDTH; }

/* Lays the scratch out; `at` NULL only counts. Returns the number of floats. */
static int64_t attention_layout(const mk_attention *a, float *at, attention_head *head) {
    int64_t D = a->head_dim, padded = padded_width(D), used = 0;
#define MK_TAKE(count) (used += ((count) + 15) / 16 * 16, at ? at + used - ((count) + 15) / 16 * 16 : NULL)
    head->head_dim = D, head->padded = padded;
    head->q_copy = MK_TAKE(a->queries * padded);
    head->k_copy = MK_TAKE(a->keys * padded);
    head->v_copy = MK_TAKE(a->keys * padded);
    head->dout_copy = MK_TAKE(a->queries * padded);
    head->qt = MK_TAKE(D * MK_SCORE_STRIDE);
    head->doutt = MK_TAKE(D * MK_SCORE_STRIDE);
    head->scores = MK_TAKE(a->keys * MK_SCORE_STRIDE);
    head->dscores = MK_TAKE(a->keys * MK_SCORE_STRIDE);
    head->row = MK_TAKE(padded_width(a->keys));
    head->drow = MK_TAKE(padded_width(a->keys));
    head->lse = MK_TAKE(MK_SCORE_STRIDE);
    head->delta = MK_TAKE(MK_SCORE_STRIDE);
    head->factor = MK_TAKE(MK_SCORE_STRIDE);
    head->spare_rows = MK_TAKE(MK_SCORE_STRIDE * padded);
    head->spare_keys = MK_TAKE(a->keys * padded);
    head->spare_values = MK_TAKE(a->keys * padded);
#undef MK_TAKE
    return used;
}

static mk_scratch attention_scratch(const mk_attention *a) {
    attention_head head;
    return (mk_scratch){attention_layout(a, NULL, &head) * (int64_t)sizeof(float), 0};
}

/* Copies a matrix into scratch when its rows are no whole vectors, or when it is read again and again and has so many rows that
 * their distance (often a multiple of the page) costs more than the copy. */
static rows_view attention_view(const attention_head *head, rows_view from, int reread, float *copy) {
    if (head->padded == head->head_dim && (!reread || from.rows <= 128)) return from;
    for (int64_t t = 0; t < from.rows; t++) {
        MK_EACH_VECTOR(d, n, head->head_dim, { vf_store(copy + t * head->padded + d, vf_load_part(from.at + t * from.stride + d, n)); });
    }
    return (rows_view){copy, head->padded, from.rows};
}

/* The place for a result with rows of whole vectors: the caller's tensor or a spare matrix. */
static rows_view attention_result(const attention_head *head, rows_view result, float *spare) {
    return head->padded == head->head_dim ? result : (rows_view){spare, head->padded, result.rows};
}

static void attention_copy_out(const attention_head *head, rows_view result, rows_view from) {
    if (from.at == result.at) return;
    for (int64_t t = 0; t < result.rows; t++) mk_copy(result.at + t * result.stride, from.at + t * from.stride, head->head_dim);
}

/* to[d, t] = from[t, d] factor for `queries` rows, which are padded to whole vectors with zeros. */
static void attention_transpose(const attention_head *head, const float *from, int64_t stride, int64_t queries, float factor, float *to) {
    for (int64_t t = 0; t < queries; t += MK_WIDTH) {
        for (int64_t d = 0; d < head->head_dim; d += MK_WIDTH) {
            vf block[MK_WIDTH];
#pragma clang loop unroll(full)
            for (int i = 0; i < MK_WIDTH; i++) { block[i] = t + i < queries ? vf_load(from + (t + i) * stride + d) * factor : vf_splat(0); }
            vf_transpose(block);
            if (d + MK_WIDTH <= head->head_dim) {
#pragma clang loop unroll(full)
                for (int i = 0; i < MK_WIDTH; i++) vf_store(to + (d + i) * MK_SCORE_STRIDE + t, block[i]);
            } else {
                for (int i = 0; d + i < head->head_dim; i++) vf_store(to + (d + i) * MK_SCORE_STRIDE + t, block[i]);
            }
        }
    }
}

/* to[s] = factor x . rows_s, over padded rows. */
static void attention_dots(const attention_head *head, const float *x, rows_view rows, float factor, float *to) {
    for (int64_t s = 0; s < rows.rows; s++) {
        const float *y = rows.at + s * rows.stride;
        vf sum = vf_splat(0);
        for (int64_t d = 0; d < head->padded; d += MK_WIDTH) sum = vf_fma(vf_load(x + d), vf_load(y + d), sum);
        to[s] = factor * vf_reduce_add(sum);
    }
}

/* The number of a block's queries that are handled in vectors: all, or all but a few beyond the last whole vector. */
MK_INLINE int64_t vector_queries(int64_t queries) {
    int64_t rest = queries % MK_WIDTH;
    return rest > MK_LONE_QUERIES ? queries : queries - rest;
}

static void attention_forward_block(const attention_head *head, int64_t first, int64_t queries, float scale) {
    int64_t keys = head->k.rows, in_vectors = vector_queries(queries), vectors = mk_ceil_divide(in_vectors, MK_WIDTH);
    const float *q = head->q.at + first * head->q.stride;
    float *log_sum_exp = head->log_sum_exp;
    attention_transpose(head, q, head->q.stride, in_vectors, scale * MK_LOG2_E, head->qt);
    attention_product(head->ahead, keys, vectors, head->head_dim, head->k.at, head->k.stride, head->qt, MK_SCORE_STRIDE, head->scores,
                      MK_SCORE_STRIDE, 0);
    for (int64_t v = 0; v < vectors; v++) {
        float *column = head->scores + v * MK_WIDTH;
        vf largest = vf_load(column), sum = vf_splat(0);
        for (int64_t s = 1; s < keys; s++) largest = vf_larger(largest, vf_load(column + s * MK_SCORE_STRIDE));
        for (int64_t s = 0; s < keys; s++) {
            vf p = attention_exp2(vf_load(column + s * MK_SCORE_STRIDE) - largest);
            vf_store(column + s * MK_SCORE_STRIDE, p);
            sum += p;
        }
        vf_store(head->factor + v * MK_WIDTH, 1.0f / sum);
        if (log_sum_exp) {
            int64_t n = mk_least(MK_WIDTH, queries - v * MK_WIDTH);
            vf_store_part(log_sum_exp + first + v * MK_WIDTH, vf_fma(largest, vf_splat(MK_LN_2), vf_log(sum)), n);
        }
    }
    for (int64_t t = in_vectors; t < queries; t++) {
        attention_dots(head, q + t * head->q.stride, head->k, scale * MK_LOG2_E, head->row);
        float largest = head->row[0], sum;
        vf lanes = vf_splat(largest), sums = vf_splat(0);
        MK_EACH_VECTOR(s, n, keys, { lanes = vf_larger(lanes, vf_keep_first(vf_load(head->row + s), n, largest)); });
        largest = vf_largest_lane(lanes);
        MK_EACH_VECTOR(s, n, keys, {
            vf p = vf_keep_first(attention_exp2(vf_load(head->row + s) - largest), n, 0);
            vf_store(head->row + s, p);
            sums += p;
        });
        sum = vf_reduce_add(sums);
        for (int64_t s = 0; s < keys; s++) head->scores[s * MK_SCORE_STRIDE + t] = head->row[s];
        head->factor[t] = 1.0f / sum;
        if (log_sum_exp) log_sum_exp[first + t] = largest * MK_LN_2 + logf(sum);
    }
    rows_view result = {head->out.at + first * head->out.stride, head->out.stride, queries};
    rows_view to = attention_result(head, result, head->spare_rows);
    attention_product_scores(head->ahead, queries, head->padded / MK_WIDTH, keys, head->scores, head->v.at, head->v.stride, to.at,
                             to.stride, head->factor);
    attention_copy_out(head, result, to);
}

static void attention_backward_block(const attention_head *head, int64_t first, int64_t queries, float scale) {
    int64_t keys = head->k.rows, in_vectors = vector_queries(queries), vectors = mk_ceil_divide(in_vectors, MK_WIDTH);
    int64_t D = head->head_dim, padded = head->padded;
    const float *q = head->q.at + first * head->q.stride, *dout = head->dout.at + first * head->dout.stride;
    attention_transpose(head, q, head->q.stride, in_vectors, scale * MK_LOG2_E, head->qt);
    attention_transpose(head, dout, head->dout.stride, in_vectors, scale, head->doutt);
    mk_zero(head->lse, MK_SCORE_STRIDE);
    mk_zero(head->delta, MK_SCORE_STRIDE);
    for (int64_t t = 0; t < queries; t++) {
        const float *out = head->out.at + (first + t) * head->out.stride;
        vf sum = vf_splat(0);
        MK_EACH_VECTOR(d, n, D, { sum = vf_fma(vf_load_part(out + d, n), vf_load_part(dout + t * head->dout.stride + d, n), sum); });
        head->delta[t] = scale * vf_reduce_add(sum);
        head->lse[t] = head->log_sum_exp[first + t] * MK_LOG2_E;
    }
    attention_product(head->ahead, keys, vectors, D, head->k.at, head->k.stride, head->qt, MK_SCORE_STRIDE, head->scores, MK_SCORE_STRIDE,
                      0);
    attention_product(head->ahead, keys, vectors, D, head->v.at, head->v.stride, head->doutt, MK_SCORE_STRIDE, head->dscores,
                      MK_SCORE_STRIDE, 0);
    for (int64_t v = 0; v < vectors; v++) {
        float *column = head->scores + v * MK_WIDTH, *dcolumn = head->dscores + v * MK_WIDTH;
        vf lse = vf_load(head->lse + v * MK_WIDTH), delta = vf_load(head->delta + v * MK_WIDTH);
        for (int64_t s = 0; s < keys; s++) {
            vf p = attention_exp2(vf_load(column + s * MK_SCORE_STRIDE) - lse);
            vf_store(column + s * MK_SCORE_STRIDE, p);
            vf_store(dcolumn + s * MK_SCORE_STRIDE, p * (vf_load(dcolumn + s * MK_SCORE_STRIDE) - delta));
        }
    }
    for (int64_t t = in_vectors; t < queries; t++) {
        attention_dots(head, q + t * head->q.stride, head->k, scale * MK_LOG2_E, head->row);
        attention_dots(head, dout + t * head->dout.stride, head->v, scale, head->drow);
        MK_EACH_VECTOR(s, n, keys, {
            vf p = attention_exp2(vf_load(head->row + s) - head->lse[t]);
            vf_store(head->row + s, p);
            vf_store(head->drow + s, p * (vf_load(head->drow + s) - head->delta[t]));
        });
        for (int64_t s = 0; s < keys; s++) {
            head->scores[s * MK_SCORE_STRIDE + t] = head->row[s];
            head->dscores[s * MK_SCORE_STRIDE + t] = head->drow[s];
        }
    }
    rows_view dk = attention_result(head, head->dk, head->spare_keys), dv = attention_result(head, head->dv, head->spare_values);
    attention_product(head->ahead, keys, padded / MK_WIDTH, queries, head->scores, MK_SCORE_STRIDE, dout, head->dout.stride, dv.at,
                      dv.stride, first > 0);
    attention_product(head->ahead, keys, padded / MK_WIDTH, queries, head->dscores, MK_SCORE_STRIDE, q, head->q.stride, dk.at, dk.stride,
                      first > 0);
    rows_view result = {head->dq.at + first * head->dq.stride, head->dq.stride, queries};
    rows_view dq = attention_result(head, result, head->spare_rows);
    attention_product_scores(head->ahead, queries, padded / MK_WIDTH, keys, head->dscores, head->k.at, head->k.stride, dq.at, dq.stride,
                             NULL);
    attention_copy_out(head, result, dq);
    if (first + queries == head->q.rows) {
        attention_copy_out(head, head->dk, dk);
        attention_copy_out(head, head->dv, dv);
    }
}

typedef struct {
    mk_pool *pool;
    const mk_attention *attention;
    int64_t heads_per_task;
    int backward;
} attention_job;

/* The rows of an (image, head) in a tensor of `rows` tokens an image, of which the first `taken` count. */
MK_INLINE rows_view attention_rows(const void *tensor, int64_t image, int64_t rows, int64_t stride, int64_t column, int64_t taken) {
    return (rows_view){(float *)tensor + image * rows * stride + column, stride, taken};
}

/* Finds one (image, head) in the caller's tensors. */
static void attention_locate(const mk_attention *a, int64_t index, int backward, attention_head *head) {
    int64_t image = index / a->heads, column = index % a->heads * a->head_dim, out_stride = a->heads * a->head_dim, taken = a->keys;
    if (a->lengths) taken = a->lengths[image] < 0 ? 0 : mk_least(a->keys, a->lengths[image]);
    head->masked = a->keys - taken;
    head->q = attention_rows(a->q, image, a->queries, a->q_stride, column, a->queries);
    head->k = attention_rows(a->k, image, a->keys, a->k_stride, column, taken);
    head->v = attention_rows(a->v, image, a->keys, a->v_stride, column, taken);
    head->out = attention_rows(a->out, image, a->queries, out_stride, column, a->queries);
    head->log_sum_exp = a->log_sum_exp ? (float *)a->log_sum_exp + index * a->queries : NULL;
    if (!backward) {
        head->dout = head->dq = head->dk = head->dv = (rows_view){NULL, 0, 0};
        return;
    }
    head->dout = attention_rows(a->out_gradient, image, a->queries, out_stride, column, a->queries);
    head->dq = attention_rows(a->q_gradient, image, a->queries, a->q_stride, column, a->queries);
    head->dk = attention_rows(a->k_gradient, image, a->keys, a->k_stride, column, taken);
    head->dv = attention_rows(a->v_gradient, image, a->keys, a->v_stride, column, taken);
}

MK_INLINE int64_t attention_blocks(int64_t queries) {
    int64_t blocks = (queries + MK_BLOCK_QUERIES - 1 - MK_LONE_QUERIES) / MK_BLOCK_QUERIES;
    return blocks > 1 ? blocks : 1;
}

static void attention_plan_ahead(const mk_attention *a, int64_t index, int backward, attention_ahead *ahead) {
    *ahead = (attention_ahead){.width = a->head_dim};
    /* Fewer rows stay in the cache; more of them, each on its own page, cost more to look up than they gain. */
    int64_t most = a->queries > a->keys ? a->queries : a->keys;
    if (index >= a->batch * a->heads || most <= 32 || most > 128) return;
    attention_head next;
    attention_locate(a, index, backward, &next);
    rows_view matrices[8] = {next.q, next.k, next.v, next.out, next.dout, next.dq, next.dk, next.dv};
    for (int i = 0; i < (backward ? 8 : 4); i++)
        if (matrices[i].rows > 0) ahead->matrix[ahead->matrices++] = matrices[i];
}

static void attention_zero(const attention_head *head, rows_view rows) {
    for (int64_t t = 0; t < rows.rows; t++) mk_zero(rows.at + t * rows.stride, head->head_dim);
}

/* The result without keys or without queries: zeros. */
static void attention_without_scores(const attention_head *head, int backward) {
    if (backward) {
        attention_zero(head, head->dq), attention_zero(head, head->dk), attention_zero(head, head->dv);
        return;
    }
    attention_zero(head, head->out);
    for (int64_t t = 0; head->log_sum_exp && t < head->q.rows; t++) head->log_sum_exp[t] = -INFINITY;
}

static void attention_one(const mk_attention *a, int64_t index, float *scratch, int backward) {
    attention_head head;
    attention_ahead ahead;
    float scale = (float)(1 / sqrt((double)a->head_dim));
    attention_layout(a, scratch, &head);
    attention_locate(a, index, backward, &head);
    if (backward) {
        attention_zero(&head, (rows_view){head.dk.at + head.dk.rows * head.dk.stride, head.dk.stride, head.masked});
        attention_zero(&head, (rows_view){head.dv.at + head.dv.rows * head.dv.stride, head.dv.stride, head.masked});
    }
    if (head.q.rows == 0 || head.k.rows == 0) {
        attention_without_scores(&head, backward);
        return;
    }
    attention_plan_ahead(a, index + 1, backward, &ahead);
    head.ahead = &ahead;
    head.q = attention_view(&head, head.q, backward, head.q_copy);
    head.k = attention_view(&head, head.k, backward, head.k_copy);
    head.v = attention_view(&head, head.v, !backward, head.v_copy);
    if (backward) head.dout = attention_view(&head, head.dout, 1, head.dout_copy);
    int64_t blocks = attention_blocks(a->queries);
    for (int64_t block = 0; block < blocks; block++) {
        int64_t first = block * MK_BLOCK_QUERIES, queries = block + 1 < blocks ? MK_BLOCK_QUERIES : a->queries - first;
        if (backward) {
            attention_backward_block(&head, first, queries, scale);
        } else {
            attention_forward_block(&head, first, queries, scale);
        }
    }
}

static void attention_task(void *context, int64_t index, int32_t worker) {
    const attention_job *job = context;
    const mk_attention *a = job->attention;
    int64_t first = index * job->heads_per_task, last = mk_least(a->batch * a->heads, first + job->heads_per_task);
    float *scratch = mk_pool_scratch(job->pool, worker);
    for (int64_t i = first; i < last; i++) attention_one(a, i, scratch, job->backward);
}

/* A task takes as many heads as give it about 10 microseconds of work. */
static void attention_run(mk_pool *pool, const mk_attention *a, int backward) {
    if (a->head_dim < 1) return;
    int64_t heads_per_task = 1 + 250000 / (1 + a->queries * a->keys * a->head_dim);
    attention_job job = {pool, a, heads_per_task, backward};
    mk_pool_run(pool, mk_ceil_divide(a->batch * a->heads, heads_per_task), attention_task, &job);
}

static void attention_forward(mk_pool *pool, const mk_attention *a) { attention_run(pool, a, 0); }

static void attention_backward(mk_pool *pool, const mk_attention *a) { attention_run(pool, a, 1); }
