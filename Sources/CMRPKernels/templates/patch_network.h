/* The fast kernels of mk_patch_network.h for one element type and one vector width. Included by patch_network_isa.h with
 * REAL, REAL_EXP, SUFFIX, VECTOR_BYTES and TILE_ROWS defined.
 *
 * The lanes of a vector are kernels r, so the activation and its derivative are vertical and need no transposition. Weights are
 * packed into panels of two vectors of kernels (one in the last panel when that is enough): panel at offset r0 d, rows of d,
 * zeros behind the last kernel. Samples go in blocks whose scores stay in cache:
 *   products   A = X W^T     for the block's patches and one panel
 *   scores     h, t, loss    and A overwritten by G = dL/dA
 *   gradient   dW += G^T X   for the same panel
 * Work is cut into chunks of samples, at most MAX_CHUNKS, each with its own sums, which are added in order at the end. */

#define LANES ((int64_t)(VECTOR_BYTES / sizeof(REAL)))
#define PASTE2(a, b) a##_##b
#define PASTE(a, b) PASTE2(a, b)
#define NAME(x) PASTE(x, SUFFIX)
#define ALWAYS static inline __attribute__((always_inline))

typedef REAL NAME(vector) __attribute__((ext_vector_type(VECTOR_BYTES / sizeof(REAL))));
#define V NAME(vector)

ALWAYS V NAME(load)(const REAL *p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
ALWAYS void NAME(store)(REAL *p, V v) { __builtin_memcpy(p, &v, sizeof v); }
/* The order of the operands lets NaN through. */
ALWAYS V NAME(max)(V floor, V v) { return (floor > v) ? floor : v; }
ALWAYS V NAME(min)(V ceiling, V v) { return (ceiling < v) ? ceiling : v; }

/* t^(q - 1) with q = 0 standing for "read power". */
ALWAYS V NAME(power)(V t, const int q, int32_t power) {
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
} NAME(activation);

ALWAYS V NAME(slope)(V a, const int q, const NAME(activation) * s) {
    V t = NAME(min)((V)(REAL)1, NAME(max)((V)(REAL)0, a * s->inverse_radius));
    return NAME(power)(t, q, s->power);
}
/* f(z) = (rho/q) t^q + max(z - rho, 0) with t = clip(z/rho, 0, 1); also gives f'. */
ALWAYS V NAME(activate)(V a, const int q, const NAME(activation) * s, V *slope) {
    V t = NAME(min)((V)(REAL)1, NAME(max)((V)(REAL)0, a * s->inverse_radius));
    *slope = NAME(power)(t, q, s->power);
    return *slope * t * s->radius_by_power + NAME(max)((V)(REAL)0, a - s->radius);
}

/* out[i, 0 ..< nv] = <x row i, panel>, i < mr; x rows are d apart, out rows nv vectors. */
ALWAYS void NAME(products_tile)(const int mr, const int nv, const REAL *x, int64_t d, const REAL *panel, REAL *out) {
    V sum[TILE_ROWS][2];
    _Pragma("clang loop unroll(full)") for (int i = 0; i < mr; i++)
        _Pragma("clang loop unroll(full)") for (int v = 0; v < nv; v++) sum[i][v] = (V)(REAL)0;
    /* One pointer per three rows, hidden from the optimiser: it would make each row's address wait for the one before. */
    const REAL *at[(TILE_ROWS + 2) / 3];
    _Pragma("clang loop unroll(full)") for (int i = 0; i < mr; i += 3) {
        at[i / 3] = x + i * d;
        __asm__("" : "+r"(at[i / 3]));
    }
    _Pragma("clang loop unroll_count(2)") for (int64_t j = 0; j < d; j++) {
        V w[2];
        _Pragma("clang loop unroll(full)") for (int v = 0; v < nv; v++) w[v] = NAME(load)(panel + v * LANES);
        panel += nv * LANES;
        _Pragma("clang loop unroll(full)") for (int i = 0; i < mr; i++) {
            V broadcast = (V)at[i / 3][i % 3 * d + j];
            _Pragma("clang loop unroll(full)") for (int v = 0; v < nv; v++) sum[i][v] += broadcast * w[v];
        }
    }
    _Pragma("clang loop unroll(full)") for (int i = 0; i < mr; i++)
        _Pragma("clang loop unroll(full)") for (int v = 0; v < nv; v++)
            NAME(store)(out + (i * nv + v) * LANES, sum[i][v]);
}

ALWAYS void NAME(products_rows)(const int nv, const REAL *x, int64_t rows, int64_t d, const REAL *panel, REAL *out) {
    for (; rows >= TILE_ROWS; rows -= TILE_ROWS, x += TILE_ROWS * d, out += TILE_ROWS * nv * LANES)
        NAME(products_tile)(TILE_ROWS, nv, x, d, panel, out);
#define TAIL(count)                                                      \
    if (rows >= count) {                                                 \
        NAME(products_tile)(count, nv, x, d, panel, out);                \
        rows -= count, x += count * d, out += count * nv * LANES;        \
    }
#if TILE_ROWS > 8
    TAIL(8)
#endif
    TAIL(4) TAIL(2) TAIL(1)
#undef TAIL
}

/* A block of samples; the rows the student sees come first in each sample. */
enum { NAME(MAX_BLOCK) = 32 };
typedef struct {
    int64_t count, first; /* samples, batch entry of the first */
    const REAL *x[NAME(MAX_BLOCK)];
    int64_t student[NAME(MAX_BLOCK)]; /* rows with gradient */
    int64_t rows[NAME(MAX_BLOCK)];    /* rows with scores, at least student */
} NAME(block);

/* gradient[j + i, 0 ..< nv] += sum over the block's student rows of x[row, j + i] g[row], i < mr. */
ALWAYS void NAME(gradient_tile)(const int mr, const int nv, const NAME(block) * block, int64_t d, int64_t j, const REAL *g,
                                REAL *gradient) {
    V sum[TILE_ROWS][2];
    _Pragma("clang loop unroll(full)") for (int i = 0; i < mr; i++)
        _Pragma("clang loop unroll(full)") for (int v = 0; v < nv; v++)
            sum[i][v] = NAME(load)(gradient + ((j + i) * nv + v) * LANES);
    for (int64_t s = 0; s < block->count; s++) {
        const REAL *x = block->x[s] + j;
        for (int64_t p = block->student[s]; p > 0; p--, x += d, g += nv * LANES) {
            V row[2];
            _Pragma("clang loop unroll(full)") for (int v = 0; v < nv; v++) row[v] = NAME(load)(g + v * LANES);
            _Pragma("clang loop unroll(full)") for (int i = 0; i < mr; i++) {
                V broadcast = (V)x[i];
                _Pragma("clang loop unroll(full)") for (int v = 0; v < nv; v++) sum[i][v] += broadcast * row[v];
            }
        }
    }
    _Pragma("clang loop unroll(full)") for (int i = 0; i < mr; i++)
        _Pragma("clang loop unroll(full)") for (int v = 0; v < nv; v++)
            NAME(store)(gradient + ((j + i) * nv + v) * LANES, sum[i][v]);
}

static void NAME(gradient_panel)(int nv, const NAME(block) * block, int64_t d, const REAL *g, REAL *gradient) {
    int64_t j = 0;
    if (nv == 2) {
        for (; j + TILE_ROWS <= d; j += TILE_ROWS) NAME(gradient_tile)(TILE_ROWS, 2, block, d, j, g, gradient);
        for (; j + 4 <= d; j += 4) NAME(gradient_tile)(4, 2, block, d, j, g, gradient);
        for (; j < d; j++) NAME(gradient_tile)(1, 2, block, d, j, g, gradient);
    } else {
        for (; j + TILE_ROWS <= d; j += TILE_ROWS) NAME(gradient_tile)(TILE_ROWS, 1, block, d, j, g, gradient);
        for (; j + 4 <= d; j += 4) NAME(gradient_tile)(4, 1, block, d, j, g, gradient);
        for (; j < d; j++) NAME(gradient_tile)(1, 1, block, d, j, g, gradient);
    }
}

/* Inner products of a block with one panel: rows of all samples, one after the other. */
static void NAME(products_panel)(int nv, const NAME(block) * block, int64_t d, const REAL *panel, REAL *out) {
    for (int64_t s = 0; s < block->count; s++) {
        int64_t rows = block->rows[s];
        /* Neighbours in memory go together, so that tiles do not end at every sample. */
        while (s + 1 < block->count && block->x[s + 1] == block->x[s] + block->rows[s] * d) rows += block->rows[++s];
        if (nv == 2)
            NAME(products_rows)(2, block->x[s] - (rows - block->rows[s]) * d, rows, d, panel, out);
        else
            NAME(products_rows)(1, block->x[s] - (rows - block->rows[s]) * d, rows, d, panel, out);
        out += rows * nv * LANES;
    }
}

/* Shapes, and where things lie in the scratch memory. */
typedef struct {
    int64_t kernels, padded, d, patches, classes, samples;
    int64_t chunks, chunk_samples, block_samples, classifier_block_samples;
    NAME(activation) activation;
    /* shared */
    REAL *packed, *gradients, *largest, *head, *head_gradients;
    double *losses;
    int64_t *correct;
    /* offsets in a worker's memory */
    int64_t scores_at, rows_at, uniform_at, features_at, errors_at, logits_at;
    int64_t worker_bytes, shared_bytes;
} NAME(plan);

enum { NAME(MAX_CHUNKS) = 16 };

ALWAYS int64_t NAME(carve)(int64_t *offset, int64_t bytes) {
    int64_t at = *offset;
    *offset += (bytes + 63) / 64 * 64;
    return at;
}

static NAME(plan) NAME(make_plan)(const mk_patch_network *network, int64_t samples, int64_t classes, void *memory) {
    NAME(plan) p = {.kernels = network->kernels, .d = network->dimension, .patches = network->patches};
    p.padded = (p.kernels + LANES - 1) / LANES * LANES;
    p.classes = classes, p.samples = samples;
    p.chunks = samples / 32 < 1 ? 1 : samples / 32 > NAME(MAX_CHUNKS) ? NAME(MAX_CHUNKS) : samples / 32;
    p.chunk_samples = (samples + p.chunks - 1) / p.chunks;
    p.block_samples = 128 / p.patches < 1 ? 1 : 128 / p.patches > NAME(MAX_BLOCK) ? NAME(MAX_BLOCK) : 128 / p.patches;
    int64_t fit = 256 * 1024 / (p.patches * p.padded * (int64_t)sizeof(REAL));
    p.classifier_block_samples = fit < 1 ? 1 : fit > p.block_samples ? p.block_samples : fit;
    p.activation = (NAME(activation)){.inverse_radius = (REAL)(1 / network->radius),
                                      .radius = (REAL)network->radius,
                                      .radius_by_power = (REAL)(network->radius / network->power),
                                      .power = network->power};
    const int64_t real = sizeof(REAL);
    const uintptr_t shared = (uintptr_t)memory; /* 0 when only the sizes are wanted */
    int64_t at = 0;
    p.packed = (REAL *)(shared + (uintptr_t)NAME(carve)(&at, p.padded * p.d * real));
    p.gradients = (REAL *)(shared + (uintptr_t)NAME(carve)(&at, p.chunks * p.padded * p.d * real));
    p.largest = (REAL *)(shared + (uintptr_t)NAME(carve)(&at, p.chunks * p.padded * real));
    p.head = (REAL *)(shared + (uintptr_t)NAME(carve)(&at, classes * p.padded * real));
    p.head_gradients = (REAL *)(shared + (uintptr_t)NAME(carve)(&at, p.chunks * classes * p.padded * real));
    p.losses = (double *)(shared + (uintptr_t)NAME(carve)(&at, p.chunks * (int64_t)sizeof(double)));
    p.correct = (int64_t *)(shared + (uintptr_t)NAME(carve)(&at, p.chunks * (int64_t)sizeof(int64_t)));
    p.shared_bytes = at;
    at = 0;
    int64_t panel_scores = p.block_samples * p.patches * 2 * LANES;
    int64_t all_scores = classes ? p.classifier_block_samples * p.patches * p.padded : 0;
    p.scores_at = NAME(carve)(&at, (all_scores > panel_scores ? all_scores : panel_scores) * real);
    p.rows_at = NAME(carve)(&at, p.block_samples * p.patches * p.d * real);
    p.uniform_at = NAME(carve)(&at, (p.patches + 3) / 4 * 4 * (int64_t)sizeof(float));
    p.features_at = NAME(carve)(&at, p.block_samples * p.padded * real);
    p.errors_at = NAME(carve)(&at, p.block_samples * p.padded * real);
    p.logits_at = NAME(carve)(&at, classes * real);
    p.worker_bytes = at;
    return p;
}

static mk_scratch NAME(scratch)(const mk_patch_network *network, int64_t samples, int64_t classes) {
    NAME(plan) p = NAME(make_plan)(network, samples, classes, 0);
    return (mk_scratch){.per_worker = p.worker_bytes, .shared = p.shared_bytes};
}

/* Kernel r of row-major w goes to lane r of the packed panels. */
ALWAYS int64_t NAME(panel_vectors)(const NAME(plan) * p, int64_t r0) { return p->padded - r0 >= 2 * LANES ? 2 : 1; }

static void NAME(pack)(const NAME(plan) * p, const REAL *w) {
    for (int64_t r0 = 0; r0 < p->padded; r0 += 2 * LANES) {
        int64_t width = NAME(panel_vectors)(p, r0) * LANES;
        REAL *panel = p->packed + r0 * p->d;
        for (int64_t r = 0; r < width; r++)
            for (int64_t j = 0; j < p->d; j++)
                panel[j * width + r] = r0 + r < p->kernels ? w[(r0 + r) * p->d + j] : (REAL)0;
    }
}

/* Adds the chunks' gradients in order and unpacks them: one task per panel. */
typedef struct {
    const NAME(plan) * plan;
    int32_t accumulate;
    REAL *gradient, *largest;
} NAME(reduction);

static void NAME(reduce_panel)(void *context, int64_t index, int32_t worker) {
    (void)worker;
    const NAME(reduction) *job = context;
    const NAME(plan) *p = job->plan;
    int64_t r0 = index * 2 * LANES, width = NAME(panel_vectors)(p, r0) * LANES, size = width * p->d;
    REAL *total = p->gradients + r0 * p->d;
    for (int64_t c = 1; c < p->chunks; c++) {
        const REAL *part = total + c * p->padded * p->d;
        for (int64_t i = 0; i < size; i += LANES) NAME(store)(total + i, NAME(load)(total + i) + NAME(load)(part + i));
    }
    for (int64_t r = 0; r < width && r0 + r < p->kernels; r++) {
        REAL *out = job->gradient + (r0 + r) * p->d;
        for (int64_t j = 0; j < p->d; j++) out[j] = total[j * width + r] + (job->accumulate ? out[j] : (REAL)0);
        if (!job->largest) continue;
        REAL largest = p->largest[r0 + r];
        for (int64_t c = 1; c < p->chunks; c++) {
            REAL other = p->largest[c * p->padded + r0 + r];
            largest = largest > other ? largest : other;
        }
        if (job->accumulate && job->largest[r0 + r] > largest) largest = job->largest[r0 + r];
        job->largest[r0 + r] = largest;
    }
}

ALWAYS const REAL *NAME(sample)(const mk_patch_batch *batch, const NAME(plan) * p, int64_t entry) {
    return (const REAL *)batch->x + (batch->rows ? batch->rows[entry] : entry) * p->patches * p->d;
}

static void NAME(whole_block)(const mk_patch_batch *batch, const NAME(plan) * p, int64_t first, int64_t count,
                              NAME(block) * block) {
    block->count = count, block->first = first;
    for (int64_t s = 0; s < count; s++) {
        block->x[s] = NAME(sample)(batch, p, first + s);
        block->rows[s] = block->student[s] = p->patches;
    }
}

/* Copies the visible patches of each sample, and behind them the hidden ones when a scaled teacher wants their scores too. */
static void NAME(masked_block)(const mk_patch_reconstruction *call, const NAME(plan) * p, int64_t first, int64_t count,
                               float *uniform, REAL *rows, NAME(block) * block) {
    block->count = count, block->first = first;
    for (int64_t s = 0; s < count; s++) {
        int64_t entry = first + s, padded = (p->patches + 3) / 4 * 4;
        int64_t id = call->batch.ids ? call->batch.ids[entry] : call->batch.first_id + entry;
        mk_random_uniform(call->seed, call->stream, call->step, (uint64_t)(id * padded), p->patches, uniform);
        const REAL *x = NAME(sample)(&call->batch, p, entry);
        REAL *out = rows;
        for (int64_t i = 0; i < p->patches; i++)
            if (uniform[i] < call->theta) memcpy(out, x + i * p->d, (size_t)p->d * sizeof(REAL)), out += p->d;
        block->x[s] = rows;
        block->student[s] = block->rows[s] = (out - rows) / p->d;
        if (!call->teacher) {
            for (int64_t i = 0; i < p->patches; i++)
                if (!(uniform[i] < call->theta)) memcpy(out, x + i * p->d, (size_t)p->d * sizeof(REAL)), out += p->d;
            block->rows[s] = p->patches;
        }
        rows = out;
    }
}

/* ---- features ---- */

typedef struct {
    const mk_patch_features *call;
    const NAME(plan) * plan;
    mk_pool *pool;
} NAME(features_job);

ALWAYS void NAME(features_block)(const NAME(features_job) * job, const int q, NAME(block) * block, REAL *scores) {
    const NAME(plan) *p = job->plan;
    REAL factor = (REAL)job->call->factor;
    for (int64_t r0 = 0; r0 < p->padded; r0 += 2 * LANES) {
        int nv = (int)NAME(panel_vectors)(p, r0);
        NAME(products_panel)(nv, block, p->d, p->packed + r0 * p->d, scores);
        const REAL *a = scores;
        for (int64_t s = 0; s < block->count; s++) {
            REAL h[2 * LANES];
            for (int v = 0; v < nv; v++) {
                V sum = (V)(REAL)0, slope;
                for (int64_t i = 0; i < p->patches; i++)
                    sum += NAME(activate)(NAME(load)(a + (i * nv + v) * LANES) * factor, q, &p->activation, &slope);
                NAME(store)(h + v * LANES, sum);
            }
            a += p->patches * nv * LANES;
            int64_t left = p->kernels - r0 < nv * LANES ? p->kernels - r0 : nv * LANES;
            memcpy((REAL *)job->call->features + (block->first + s) * p->kernels + r0, h, (size_t)left * sizeof(REAL));
        }
    }
}

static void NAME(features_chunk)(void *context, int64_t index, int32_t worker) {
    const NAME(features_job) *job = context;
    const NAME(plan) *p = job->plan;
    char *memory = mk_pool_scratch(job->pool, worker);
    int64_t last = (index + 1) * p->chunk_samples < p->samples ? (index + 1) * p->chunk_samples : p->samples;
    for (int64_t first = index * p->chunk_samples; first < last; first += p->block_samples) {
        NAME(block) block;
        int64_t count = last - first < p->block_samples ? last - first : p->block_samples;
        NAME(whole_block)(&job->call->batch, p, first, count, &block);
        REAL *scores = (REAL *)(memory + p->scores_at);
        switch (p->activation.power) {
        case 3: NAME(features_block)(job, 3, &block, scores); break;
        case 4: NAME(features_block)(job, 4, &block, scores); break;
        case 5: NAME(features_block)(job, 5, &block, scores); break;
        default: NAME(features_block)(job, 0, &block, scores);
        }
    }
}

static void NAME(features)(mk_pool *pool, const mk_patch_features *call) {
    NAME(plan) plan = NAME(make_plan)(&call->network, call->batch.samples, 0, mk_pool_shared(pool));
    NAME(features_job) job = {call, &plan, pool};
    NAME(pack)(&plan, call->weights);
    mk_pool_run(pool, plan.chunks, NAME(features_chunk), &job);
}

/* ---- reconstruction ---- */

typedef struct {
    const mk_patch_reconstruction *call;
    const NAME(plan) * plan;
    mk_pool *pool;
} NAME(reconstruction_job);

/* Scores of one sample and one vector of kernels become gradients in place; `a` and `g` step by `stride`. Returns the lanes'
 * loss. */
ALWAYS V NAME(reconstruction_scores)(const int q, const int sampled, const int scaled, const mk_patch_reconstruction *call,
                                     const NAME(activation) * s, const REAL *a, int64_t stride, int64_t student, int64_t rows,
                                     V teacher, REAL *g, V *largest) {
    const REAL tau = (REAL)call->tau, kappa = (REAL)(1 / call->theta - 1), keep = (REAL)(1 / call->theta);
    const REAL scale = (REAL)call->scale;
    V h = (V)(REAL)0, squares = (V)(REAL)0, top = *largest, slope;
    for (int64_t i = 0; i < student; i++) {
        V z = NAME(load)(a + i * stride), f = NAME(activate)(z, q, s, &slope);
        h += f;
        if (!sampled) squares += f * f;
        if (scaled) teacher += NAME(activate)(z * tau, q, s, &slope);
        top = NAME(max)(top, z);
    }
    if (sampled && scaled)
        for (int64_t i = student; i < rows; i++) {
            V z = NAME(load)(a + i * stride);
            teacher += NAME(activate)(z * tau, q, s, &slope);
            top = NAME(max)(top, z);
        }
    *largest = top;
    V error = sampled ? teacher - h * keep : teacher - h;
    V weight = sampled ? error * (-keep * scale) : error * scale;
    for (int64_t i = 0; i < student; i++) {
        V z = NAME(load)(a + i * stride);
        if (sampled) {
            NAME(store)(g + i * stride, weight * NAME(slope)(z, q, s));
        } else {
            V f = NAME(activate)(z, q, s, &slope);
            NAME(store)(g + i * stride, slope * (f * (kappa * scale) - weight));
        }
    }
    return error * error + squares * kappa;
}

ALWAYS void NAME(reconstruction_block)(const NAME(reconstruction_job) * job, const int q, const int sampled, const int scaled,
                                       const NAME(block) * block, int64_t chunk, REAL *scores, double *loss) {
    const mk_patch_reconstruction *call = job->call;
    const NAME(plan) *p = job->plan;
    for (int64_t r0 = 0; r0 < p->padded; r0 += 2 * LANES) {
        int nv = (int)NAME(panel_vectors)(p, r0);
        int64_t stride = nv * LANES, left = p->kernels - r0 < stride ? p->kernels - r0 : stride;
        REAL *largest = p->largest + chunk * p->padded + r0;
        NAME(products_panel)(nv, block, p->d, p->packed + r0 * p->d, scores);
        const REAL *a = scores;
        REAL *g = scores; /* gradients close up: only the student's rows have one */
        for (int64_t s = 0; s < block->count; s++) {
            REAL teacher[2 * LANES];
            memset(teacher, 0, sizeof teacher);
            if (!scaled)
                memcpy(teacher, (const REAL *)call->teacher + (block->first + s) * p->kernels + r0, (size_t)left * sizeof(REAL));
            for (int v = 0; v < nv; v++) {
                V top = NAME(load)(largest + v * LANES);
                V parts = NAME(reconstruction_scores)(q, sampled, scaled, call, &p->activation, a + v * LANES, stride,
                                                      block->student[s], block->rows[s], NAME(load)(teacher + v * LANES),
                                                      g + v * LANES, &top);
                NAME(store)(largest + v * LANES, top);
                for (int64_t lane = 0; lane < LANES; lane++) *loss += (double)parts[lane];
            }
            a += block->rows[s] * stride, g += block->student[s] * stride;
        }
        NAME(gradient_panel)(nv, block, p->d, scores, p->gradients + chunk * p->padded * p->d + r0 * p->d);
    }
}

static void NAME(reconstruction_blocks)(const NAME(reconstruction_job) * job, const NAME(block) * block, int64_t chunk,
                                        REAL *scores, double *loss) {
    const int sampled = job->call->sampled, scaled = job->call->teacher == 0;
#define FOR_MODES(q)                                                                                          \
    if (sampled && scaled) NAME(reconstruction_block)(job, q, 1, 1, block, chunk, scores, loss);              \
    else if (sampled) NAME(reconstruction_block)(job, q, 1, 0, block, chunk, scores, loss);                   \
    else if (scaled) NAME(reconstruction_block)(job, q, 0, 1, block, chunk, scores, loss);                    \
    else NAME(reconstruction_block)(job, q, 0, 0, block, chunk, scores, loss);                                \
    break
    switch (job->plan->activation.power) {
    case 3: FOR_MODES(3);
    case 4: FOR_MODES(4);
    case 5: FOR_MODES(5);
    default: FOR_MODES(0);
    }
#undef FOR_MODES
}

static void NAME(reconstruction_chunk)(void *context, int64_t index, int32_t worker) {
    const NAME(reconstruction_job) *job = context;
    const mk_patch_reconstruction *call = job->call;
    const NAME(plan) *p = job->plan;
    char *memory = mk_pool_scratch(job->pool, worker);
    int64_t last = (index + 1) * p->chunk_samples < p->samples ? (index + 1) * p->chunk_samples : p->samples;
    double loss = 0;
    memset(p->gradients + index * p->padded * p->d, 0, (size_t)(p->padded * p->d) * sizeof(REAL));
    for (int64_t r = 0; r < p->padded; r++) p->largest[index * p->padded + r] = -(REAL)INFINITY;
    for (int64_t first = index * p->chunk_samples; first < last; first += p->block_samples) {
        NAME(block) block;
        int64_t count = last - first < p->block_samples ? last - first : p->block_samples;
        if (call->sampled)
            NAME(masked_block)(call, p, first, count, (float *)(memory + p->uniform_at), (REAL *)(memory + p->rows_at), &block);
        else
            NAME(whole_block)(&call->batch, p, first, count, &block);
        NAME(reconstruction_blocks)(job, &block, index, (REAL *)(memory + p->scores_at), &loss);
    }
    p->losses[index] = loss;
}

static void NAME(reconstruction)(mk_pool *pool, const mk_patch_reconstruction *call) {
    NAME(plan) plan = NAME(make_plan)(&call->network, call->batch.samples, 0, mk_pool_shared(pool));
    NAME(reconstruction_job) job = {call, &plan, pool};
    NAME(pack)(&plan, call->weights);
    mk_pool_run(pool, plan.chunks, NAME(reconstruction_chunk), &job);
    NAME(reduction) reduction = {&plan, call->accumulate, call->gradient, call->largest};
    mk_pool_run(pool, (plan.padded + 2 * LANES - 1) / (2 * LANES), NAME(reduce_panel), &reduction);
    double loss = 0;
    for (int64_t c = 0; c < plan.chunks; c++) loss += plan.losses[c];
    *call->loss = loss * call->scale / 2 + (call->accumulate ? *call->loss : 0);
}

/* ---- classifier ---- */

typedef struct {
    const mk_patch_classifier *call;
    const NAME(plan) * plan;
    mk_pool *pool;
} NAME(classifier_job);

/* Logits, loss and the errors e[r] = sum_i D_i head[i,r] of one sample from its features h; D = scale (softmax - onehot). */
static double NAME(classify)(const mk_patch_classifier *call, const NAME(plan) * p, int64_t entry, int64_t chunk, const REAL *h,
                             REAL *e, REAL *logits) {
    const int32_t label = call->labels[entry];
    int64_t best = 0;
    for (int64_t i = 0; i < p->classes; i++) {
        V sum = (V)(REAL)0;
        for (int64_t r = 0; r < p->padded; r += LANES) sum += NAME(load)(p->head + i * p->padded + r) * NAME(load)(h + r);
        REAL total = 0;
        for (int64_t lane = 0; lane < LANES; lane++) total += sum[lane];
        logits[i] = total;
        if (total > logits[best]) best = i;
    }
    if (call->logits) memcpy((REAL *)call->logits + entry * p->classes, logits, (size_t)p->classes * sizeof(REAL));
    p->correct[chunk] += best == label;
    REAL top = logits[best], sum = 0;
    double loss = (double)(top - logits[label]);
    for (int64_t i = 0; i < p->classes; i++) sum += logits[i] = REAL_EXP(logits[i] - top);
    loss += log((double)sum);
    if (!call->weight_gradient && !call->head_gradient) return loss;
    memset(e, 0, (size_t)p->padded * sizeof(REAL));
    for (int64_t i = 0; i < p->classes; i++) {
        REAL error = (logits[i] / sum - (REAL)(i == label)) * (REAL)call->scale;
        const REAL *head = p->head + i * p->padded;
        REAL *head_gradient = p->head_gradients + (chunk * p->classes + i) * p->padded;
        for (int64_t r = 0; r < p->padded; r += LANES) {
            NAME(store)(e + r, NAME(load)(e + r) + NAME(load)(head + r) * error);
            if (call->head_gradient) NAME(store)(head_gradient + r, NAME(load)(head_gradient + r) + NAME(load)(h + r) * error);
        }
    }
    return loss;
}

ALWAYS void NAME(classifier_block)(const NAME(classifier_job) * job, const int q, const NAME(block) * block, int64_t chunk,
                                   char *memory, double *loss) {
    const mk_patch_classifier *call = job->call;
    const NAME(plan) *p = job->plan;
    REAL *scores = (REAL *)(memory + p->scores_at), *h = (REAL *)(memory + p->features_at);
    REAL *e = (REAL *)(memory + p->errors_at);
    const int64_t rows = block->count * p->patches;
    V slope;
    for (int64_t r0 = 0; r0 < p->padded; r0 += 2 * LANES) {
        int nv = (int)NAME(panel_vectors)(p, r0);
        REAL *a = scores + r0 * rows;
        NAME(products_panel)(nv, block, p->d, p->packed + r0 * p->d, a);
        for (int64_t s = 0; s < block->count; s++)
            for (int v = 0; v < nv; v++) {
                V sum = (V)(REAL)0;
                for (int64_t i = 0; i < p->patches; i++) {
                    REAL *at = a + ((s * p->patches + i) * nv + v) * LANES;
                    sum += NAME(activate)(NAME(load)(at), q, &p->activation, &slope);
                    NAME(store)(at, slope); /* all that the gradient needs */
                }
                NAME(store)(h + s * p->padded + r0 + v * LANES, sum);
            }
    }
    for (int64_t s = 0; s < block->count; s++)
        *loss += NAME(classify)(call, p, block->first + s, chunk, h + s * p->padded, e + s * p->padded,
                                (REAL *)(memory + p->logits_at));
    if (!call->weight_gradient) return;
    for (int64_t r0 = 0; r0 < p->padded; r0 += 2 * LANES) {
        int nv = (int)NAME(panel_vectors)(p, r0);
        REAL *a = scores + r0 * rows;
        for (int64_t s = 0; s < block->count; s++)
            for (int v = 0; v < nv; v++) {
                V error = NAME(load)(e + s * p->padded + r0 + v * LANES);
                for (int64_t i = 0; i < p->patches; i++) {
                    REAL *at = a + ((s * p->patches + i) * nv + v) * LANES;
                    NAME(store)(at, NAME(load)(at) * error);
                }
            }
        NAME(gradient_panel)(nv, block, p->d, a, p->gradients + chunk * p->padded * p->d + r0 * p->d);
    }
}

static void NAME(classifier_chunk)(void *context, int64_t index, int32_t worker) {
    const NAME(classifier_job) *job = context;
    const NAME(plan) *p = job->plan;
    char *memory = mk_pool_scratch(job->pool, worker);
    int64_t last = (index + 1) * p->chunk_samples < p->samples ? (index + 1) * p->chunk_samples : p->samples;
    double loss = 0;
    p->correct[index] = 0;
    memset(p->gradients + index * p->padded * p->d, 0, (size_t)(p->padded * p->d) * sizeof(REAL));
    memset(p->head_gradients + index * p->classes * p->padded, 0, (size_t)(p->classes * p->padded) * sizeof(REAL));
    for (int64_t first = index * p->chunk_samples; first < last; first += p->classifier_block_samples) {
        NAME(block) block;
        int64_t count = last - first < p->classifier_block_samples ? last - first : p->classifier_block_samples;
        NAME(whole_block)(&job->call->batch, p, first, count, &block);
        switch (p->activation.power) {
        case 3: NAME(classifier_block)(job, 3, &block, index, memory, &loss); break;
        case 4: NAME(classifier_block)(job, 4, &block, index, memory, &loss); break;
        case 5: NAME(classifier_block)(job, 5, &block, index, memory, &loss); break;
        default: NAME(classifier_block)(job, 0, &block, index, memory, &loss);
        }
    }
    p->losses[index] = loss;
}

static void NAME(classifier)(mk_pool *pool, const mk_patch_classifier *call) {
    NAME(plan) plan = NAME(make_plan)(&call->network, call->batch.samples, call->classes, mk_pool_shared(pool));
    NAME(classifier_job) job = {call, &plan, pool};
    const NAME(plan) *p = &plan;
    NAME(pack)(p, call->weights);
    memset(p->head, 0, (size_t)(p->classes * p->padded) * sizeof(REAL));
    for (int64_t i = 0; i < p->classes; i++)
        memcpy(p->head + i * p->padded, (const REAL *)call->head + i * p->kernels, (size_t)p->kernels * sizeof(REAL));
    mk_pool_run(pool, p->chunks, NAME(classifier_chunk), &job);
    if (call->weight_gradient) {
        NAME(reduction) reduction = {p, call->accumulate, call->weight_gradient, 0};
        mk_pool_run(pool, (p->padded + 2 * LANES - 1) / (2 * LANES), NAME(reduce_panel), &reduction);
    }
    if (call->head_gradient)
        for (int64_t i = 0; i < p->classes; i++)
            for (int64_t r = 0; r < p->kernels; r++) {
                REAL sum = 0, *out = (REAL *)call->head_gradient + i * p->kernels + r;
                for (int64_t c = 0; c < p->chunks; c++) sum += p->head_gradients[(c * p->classes + i) * p->padded + r];
                *out = sum + (call->accumulate ? *out : (REAL)0);
            }
    double loss = 0;
    int64_t correct = 0;
    for (int64_t c = 0; c < p->chunks; c++) loss += p->losses[c], correct += p->correct[c];
    *call->loss = loss * call->scale + (call->accumulate ? *call->loss : 0);
    *call->correct = correct + (call->accumulate ? *call->correct : 0);
}

static const mk_patch_kernels NAME(patch_kernels) = {
    .name = ISA_NAME,
    .element_bytes = sizeof(REAL),
    .scratch = NAME(scratch),
    .features = NAME(features),
    .reconstruction = NAME(reconstruction),
    .classifier = NAME(classifier),
};

#undef LANES
#undef NAME
#undef PASTE
#undef PASTE2
#undef ALWAYS
#undef V
