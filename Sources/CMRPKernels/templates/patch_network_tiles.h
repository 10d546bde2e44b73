/* Vectors, the activation, and the two register tiles of patch_network.h: scores A = X W^T and gradient dW += G^T X. */

typedef REAL V __attribute__((ext_vector_type(VECTOR_BYTES / sizeof(REAL))));

ALWAYS V vector_load(const REAL *p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
ALWAYS void vector_store(REAL *p, V v) { __builtin_memcpy(p, &v, sizeof v); }
/* The order of the operands lets NaN through. */
ALWAYS V vector_max(V floor, V v) { return (floor > v) ? floor : v; }
ALWAYS V vector_min(V ceiling, V v) { return (ceiling < v) ? ceiling : v; }

/* t^(q - 1) with q = 0 standing for "read power". */
ALWAYS V activation_power(V t, const int q, int32_t power) {
    V t2 = t * t;
    if (q == 3) return t2;
    if (q == 4) return t2 * t;
    if (q == 5) return t2 * t2;
    V y = t;
    for (int32_t e = 2; e < power; e++) y *= t;
    return y;
}

typedef struct {
    REAL inverse_radius, radius, radius_by_power; /* 1/rho, rho, rho/q */
    int32_t power;
} activation_constants;

ALWAYS V activation_slope(V a, const int q, const activation_constants *s) {
    V t = vector_min((V)(REAL)1, vector_max((V)(REAL)0, a * s->inverse_radius));
    return activation_power(t, q, s->power);
}
/* f(z) = (rho/q) t^q + max(z - rho, 0) with t = clip(z/rho, 0, 1); also gives f'. */
ALWAYS V activate(V a, const int q, const activation_constants *s, V *slope) {
    V t = vector_min((V)(REAL)1, vector_max((V)(REAL)0, a * s->inverse_radius));
    *slope = activation_power(t, q, s->power);
    return *slope * t * s->radius_by_power + vector_max((V)(REAL)0, a - s->radius);
}

/* Samples that come next, fetched a few cache lines per tile: their rows are read side by side, which no hardware prefetcher
 * foresees. */
typedef struct {
    const char *at, *end;
    int64_t bytes_per_tile;
} sample_prefetch;

ALWAYS void prefetch_next(sample_prefetch *ahead) {
    const char *stop = ahead->end - ahead->at < ahead->bytes_per_tile ? ahead->end : ahead->at + ahead->bytes_per_tile;
    for (; ahead->at < stop; ahead->at += 64) __builtin_prefetch(ahead->at, 0, 2);
}

/* out[i, 0 ..< nv] = <x row i, panel>, i < mr; x rows are d apart, out rows nv vectors. */
ALWAYS void products_tile(const int mr, const int nv, const REAL *x, int64_t d, const REAL *panel, REAL *out) {
    V sum[TILE_ROWS][2];
    _Pragma("clang loop unroll(full)") for (int i = 0; i < mr; i++) _Pragma("clang loop unroll(full)") for (int v = 0; v < nv; v++)
        sum[i][v] = (V)(REAL)0;
    /* One pointer per three rows, hidden from the optimiser: it would make each row's address wait for the one before. */
    const REAL *at[(TILE_ROWS + 2) / 3];
    _Pragma("clang loop unroll(full)") for (int i = 0; i < mr; i += 3) {
        at[i / 3] = x + i * d;
        __asm__("" : "+r"(at[i / 3]));
    }
    _Pragma("clang loop unroll_count(2)") for (int64_t j = 0; j < d; j++) {
        V w[2];
        _Pragma("clang loop unroll(full)") for (int v = 0; v < nv; v++) w[v] = vector_load(panel + v * LANES);
        panel += nv * LANES;
        _Pragma("clang loop unroll(full)") for (int i = 0; i < mr; i++) {
            V broadcast = (V)at[i / 3][i % 3 * d + j];
            _Pragma("clang loop unroll(full)") for (int v = 0; v < nv; v++) sum[i][v] += broadcast * w[v];
        }
    }
    _Pragma("clang loop unroll(full)") for (int i = 0; i < mr; i++) _Pragma("clang loop unroll(full)") for (int v = 0; v < nv; v++)
        vector_store(out + (i * nv + v) * LANES, sum[i][v]);
}

ALWAYS void products_rows(const int nv, const REAL *x, int64_t rows, int64_t d, const REAL *panel, REAL *out, sample_prefetch *ahead) {
    for (; rows >= TILE_ROWS; rows -= TILE_ROWS, x += TILE_ROWS * d, out += TILE_ROWS * nv * LANES) {
        prefetch_next(ahead);
        products_tile(TILE_ROWS, nv, x, d, panel, out);
    }
#define TAIL(count)                                               \
    if (rows >= count) {                                          \
        products_tile(count, nv, x, d, panel, out);               \
        rows -= count, x += count * d, out += count * nv * LANES; \
    }
#if TILE_ROWS > 8
    TAIL(8)
#endif
    TAIL(4) TAIL(2) TAIL(1)
#undef TAIL
}

/* A block of samples; the rows the student sees come first in each sample. */
enum { MAX_BLOCK = 32 };
typedef struct {
    int64_t count, first; /* samples, batch entry of the first */
    const REAL *x[MAX_BLOCK];
    int64_t student[MAX_BLOCK]; /* rows with gradient */
    int64_t rows[MAX_BLOCK];    /* rows with scores, at least student */
    sample_prefetch ahead;
} sample_block;

/* gradient[j + i, 0 ..< nv] += sum over the block's student rows of x[row, j + i] g[row], i < mr. */
ALWAYS void gradient_tile(const int mr, const int nv, sample_block *block, int64_t d, int64_t j, const REAL *g, REAL *gradient) {
    V sum[TILE_ROWS][2];
    _Pragma("clang loop unroll(full)") for (int i = 0; i < mr; i++) _Pragma("clang loop unroll(full)") for (int v = 0; v < nv; v++)
        sum[i][v] = vector_load(gradient + ((j + i) * nv + v) * LANES);
    for (int64_t s = 0; s < block->count; s++) {
        const REAL *x = block->x[s] + j;
        for (int64_t p = block->student[s]; p > 0; p--, x += d, g += nv * LANES) {
            V row[2];
            _Pragma("clang loop unroll(full)") for (int v = 0; v < nv; v++) row[v] = vector_load(g + v * LANES);
            _Pragma("clang loop unroll(full)") for (int i = 0; i < mr; i++) {
                V broadcast = (V)x[i];
                _Pragma("clang loop unroll(full)") for (int v = 0; v < nv; v++) sum[i][v] += broadcast * row[v];
            }
        }
    }
    _Pragma("clang loop unroll(full)") for (int i = 0; i < mr; i++) _Pragma("clang loop unroll(full)") for (int v = 0; v < nv; v++)
        vector_store(gradient + ((j + i) * nv + v) * LANES, sum[i][v]);
}

static void gradient_panel(int nv, sample_block *block, int64_t d, const REAL *g, REAL *gradient) {
    int64_t j = 0;
    if (nv == 2) {
        for (; j + TILE_ROWS <= d; j += TILE_ROWS) {
            prefetch_next(&block->ahead);
            gradient_tile(TILE_ROWS, 2, block, d, j, g, gradient);
        }
        for (; j + 4 <= d; j += 4) gradient_tile(4, 2, block, d, j, g, gradient);
        for (; j < d; j++) gradient_tile(1, 2, block, d, j, g, gradient);
    } else {
        for (; j + TILE_ROWS <= d; j += TILE_ROWS) {
            prefetch_next(&block->ahead);
            gradient_tile(TILE_ROWS, 1, block, d, j, g, gradient);
        }
        for (; j + 4 <= d; j += 4) gradient_tile(4, 1, block, d, j, g, gradient);
        for (; j < d; j++) gradient_tile(1, 1, block, d, j, g, gradient);
    }
}

/* Inner products of a block with one panel: rows of all samples, one after the other. */
static void products_panel(int nv, sample_block *block, int64_t d, const REAL *panel, REAL *out) {
    for (int64_t s = 0; s < block->count; s++) {
        int64_t rows = block->rows[s];
        /* Neighbours in memory go together, so that tiles do not end at every sample. */
        while (s + 1 < block->count && block->x[s + 1] == block->x[s] + block->rows[s] * d) rows += block->rows[++s];
        if (nv == 2)
            products_rows(2, block->x[s] - (rows - block->rows[s]) * d, rows, d, panel, out, &block->ahead);
        else
            products_rows(1, block->x[s] - (rows - block->rows[s]) * d, rows, d, panel, out, &block->ahead);
        out += rows * nv * LANES;
    }
}
