/* Shapes and scratch memory of patch_network.h, packing of weights, sums over chunks, and blocks of samples with their masks. */

/* Shapes, and the layout of the scratch memory. */
typedef struct {
    int64_t kernels, padded, d, patches, classes, samples;
    int64_t chunks, chunk_samples, block_samples, classifier_block_samples;
    activation_constants activation;
    /* shared */
    REAL *packed, *gradients, *largest, *head, *head_gradients;
    double *losses;
    int64_t *correct;
    /* offsets in a worker's memory */
    int64_t scores_at, rows_at, uniform_at, features_at, errors_at, logits_at;
    int64_t worker_bytes, shared_bytes;
} network_plan;

enum { MAX_CHUNKS = 16 };

ALWAYS int64_t carve(int64_t *offset, int64_t bytes) {
    int64_t at = *offset;
    *offset += (bytes + 63) / 64 * 64;
    return at;
}

static network_plan make_plan(const mk_patch_network *network, int64_t samples, int64_t classes, void *memory) {
    network_plan p = {.kernels = network->kernels, .d = network->dimension, .patches = network->patches};
    p.padded = (p.kernels + LANES - 1) / LANES * LANES;
    p.classes = classes, p.samples = samples;
    p.chunks = samples / 32 < 1 ? 1 : samples / 32 > MAX_CHUNKS ? MAX_CHUNKS : samples / 32;
    p.chunk_samples = (samples + p.chunks - 1) / p.chunks;
    p.block_samples = 128 / p.patches < 1 ? 1 : 128 / p.patches > MAX_BLOCK ? MAX_BLOCK : 128 / p.patches;
    int64_t fit = 256 * 1024 / (p.patches * p.padded * (int64_t)sizeof(REAL));
    p.classifier_block_samples = fit < 1 ? 1 : fit > p.block_samples ? p.block_samples : fit;
    p.activation = (activation_constants){.inverse_radius = (REAL)(1 / network->radius),
                                          .radius = (REAL)network->radius,
                                          .radius_by_power = (REAL)(network->radius / network->power),
                                          .power = network->power};
    const int64_t real = sizeof(REAL);
    const uintptr_t shared = (uintptr_t)memory; /* 0 when only the sizes are wanted */
    int64_t at = 0;
    p.packed = (REAL *)(shared + (uintptr_t)carve(&at, p.padded * p.d * real));
    p.gradients = (REAL *)(shared + (uintptr_t)carve(&at, p.chunks * p.padded * p.d * real));
    p.largest = (REAL *)(shared + (uintptr_t)carve(&at, p.chunks * p.padded * real));
    p.head = (REAL *)(shared + (uintptr_t)carve(&at, classes * p.padded * real));
    p.head_gradients = (REAL *)(shared + (uintptr_t)carve(&at, p.chunks * classes * p.padded * real));
    p.losses = (double *)(shared + (uintptr_t)carve(&at, p.chunks * (int64_t)sizeof(double)));
    p.correct = (int64_t *)(shared + (uintptr_t)carve(&at, p.chunks * (int64_t)sizeof(int64_t)));
    p.shared_bytes = at;
    at = 0;
    int64_t panel_scores = p.block_samples * p.patches * 2 * LANES;
    int64_t all_scores = classes ? p.classifier_block_samples * p.patches * p.padded : 0;
    p.scores_at = carve(&at, (all_scores > panel_scores ? all_scores : panel_scores) * real);
    p.rows_at = carve(&at, p.block_samples * p.patches * p.d * real);
    p.uniform_at = carve(&at, (p.patches + 3) / 4 * 4 * (int64_t)sizeof(float));
    p.features_at = carve(&at, p.block_samples * p.padded * real);
    p.errors_at = carve(&at, p.block_samples * p.padded * real);
    p.logits_at = carve(&at, classes * real);
    p.worker_bytes = at;
    return p;
}

static mk_scratch network_scratch(const mk_patch_network *network, int64_t samples, int64_t classes) {
    network_plan p = make_plan(network, samples, classes, 0);
    return (mk_scratch){.per_worker = p.worker_bytes, .shared = p.shared_bytes};
}

/* Kernel r of row-major w goes to lane r of the packed panels. */
ALWAYS int64_t panel_vectors(const network_plan *p, int64_t r0) { return p->padded - r0 >= 2 * LANES ? 2 : 1; }

static void pack_weights(const network_plan *p, const REAL *w) {
    for (int64_t r0 = 0; r0 < p->padded; r0 += 2 * LANES) {
        int64_t width = panel_vectors(p, r0) * LANES;
        REAL *panel = p->packed + r0 * p->d;
        for (int64_t r = 0; r < width; r++)
            for (int64_t j = 0; j < p->d; j++) panel[j * width + r] = r0 + r < p->kernels ? w[(r0 + r) * p->d + j] : (REAL)0;
    }
}

/* Adds the chunks' gradients in order and unpacks them: one task per panel. */
typedef struct {
    const network_plan *plan;
    int32_t accumulate;
    REAL *gradient, *largest;
} gradient_reduction;

static void reduce_panel(void *context, int64_t index, int32_t worker) {
    (void)worker;
    const gradient_reduction *job = context;
    const network_plan *p = job->plan;
    int64_t r0 = index * 2 * LANES, width = panel_vectors(p, r0) * LANES, size = width * p->d;
    REAL *total = p->gradients + r0 * p->d;
    for (int64_t c = 1; c < p->chunks; c++) {
        const REAL *part = total + c * p->padded * p->d;
        for (int64_t i = 0; i < size; i += LANES) vector_store(total + i, vector_load(total + i) + vector_load(part + i));
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

ALWAYS const REAL *sample_at(const mk_patch_batch *batch, const network_plan *p, int64_t entry) {
    return (const REAL *)batch->x + (batch->rows ? batch->rows[entry] : entry) * p->patches * p->d;
}

/* The next block, which follows in memory unless samples are named one by one; `passes`: how often a tile runs over it. */
ALWAYS sample_prefetch plan_prefetch(const mk_patch_batch *batch, const network_plan *p, int64_t next, int64_t count, int64_t passes) {
    const int64_t stop = next + count < p->samples ? next + count : p->samples;
    if (batch->rows || next >= stop) return (sample_prefetch){0, 0, 0};
    const int64_t bytes = (stop - next) * p->patches * p->d * (int64_t)sizeof(REAL);
    const int64_t tiles = (p->padded / (2 * LANES) + 1) * passes * (count * p->patches / TILE_ROWS + 1);
    const char *at = (const char *)sample_at(batch, p, next);
    return (sample_prefetch){at, at + bytes, (bytes / tiles / 64 + 1) * 64};
}

static void whole_block(const mk_patch_batch *batch, const network_plan *p, int64_t first, int64_t count, sample_block *block) {
    block->count = count, block->first = first;
    for (int64_t s = 0; s < count; s++) {
        block->x[s] = sample_at(batch, p, first + s);
        block->rows[s] = block->student[s] = p->patches;
    }
}

/* Copies the visible patches of each sample, and behind them the hidden ones when a scaled teacher wants their scores too. */
static void masked_block(const mk_patch_reconstruction *call, const network_plan *p, int64_t first, int64_t count, float *uniform,
                         REAL *rows, sample_block *block) {
    block->count = count, block->first = first;
    for (int64_t s = 0; s < count; s++) {
        int64_t entry = first + s, padded = (p->patches + 3) / 4 * 4;
        int64_t id = call->batch.ids ? call->batch.ids[entry] : call->batch.first_id + entry;
        mk_random_uniform(call->seed, call->stream, call->step, (uint64_t)(id * padded), p->patches, uniform);
        const REAL *x = sample_at(&call->batch, p, entry);
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
