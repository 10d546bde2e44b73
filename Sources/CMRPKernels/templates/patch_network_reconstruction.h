/* mk_patch_reconstruction: loss and gradient of pretraining. */

typedef struct {
    const mk_patch_reconstruction *call;
    const network_plan *plan;
    mk_pool *pool;
} reconstruction_job;

/* Scores of one sample and one vector of kernels become gradients in place; `a` and `g` step by `stride`. Returns the lanes'
 * loss. */
ALWAYS V reconstruction_scores(const int q, const int sampled, const int scaled, const mk_patch_reconstruction *call,
                               const activation_constants *s, const REAL *a, int64_t stride, int64_t student, int64_t rows, V teacher,
                               REAL *g, V *largest) {
    const REAL tau = (REAL)call->tau, kappa = (REAL)(1 / call->theta - 1), keep = (REAL)(1 / call->theta);
    const REAL scale = (REAL)call->scale;
    V h = (V)(REAL)0, squares = (V)(REAL)0, top = *largest, slope;
    for (int64_t i = 0; i < student; i++) {
        V z = vector_load(a + i * stride), f = activate(z, q, s, &slope);
        h += f;
        if (!sampled) squares += f * f;
        if (scaled) teacher += activate(z * tau, q, s, &slope);
        top = vector_max(top, z);
    }
    if (sampled && scaled)
        for (int64_t i = student; i < rows; i++) {
            V z = vector_load(a + i * stride);
            teacher += activate(z * tau, q, s, &slope);
            top = vector_max(top, z);
        }
    *largest = top;
    V error = sampled ? teacher - h * keep : teacher - h;
    V weight = sampled ? error * (-keep * scale) : error * scale;
    for (int64_t i = 0; i < student; i++) {
        V z = vector_load(a + i * stride);
        if (sampled) {
            vector_store(g + i * stride, weight * activation_slope(z, q, s));
        } else {
            V f = activate(z, q, s, &slope);
            vector_store(g + i * stride, slope * (f * (kappa * scale) - weight));
        }
    }
    return error * error + squares * kappa;
}

ALWAYS void reconstruction_block(const reconstruction_job *job, const int q, const int sampled, const int scaled, sample_block *block,
                                 int64_t chunk, REAL *scores, double *loss) {
    const mk_patch_reconstruction *call = job->call;
    const network_plan *p = job->plan;
    for (int64_t r0 = 0; r0 < p->padded; r0 += 2 * LANES) {
        int nv = (int)panel_vectors(p, r0);
        int64_t stride = nv * LANES, left = p->kernels - r0 < stride ? p->kernels - r0 : stride;
        REAL *largest = p->largest + chunk * p->padded + r0;
        products_panel(nv, block, p->d, p->packed + r0 * p->d, scores);
        const REAL *a = scores;
        REAL *g = scores; /* gradients close up: only the student's rows have one */
        for (int64_t s = 0; s < block->count; s++) {
            REAL teacher[2 * LANES];
            memset(teacher, 0, sizeof teacher);
            if (!scaled) memcpy(teacher, (const REAL *)call->teacher + (block->first + s) * p->kernels + r0, (size_t)left * sizeof(REAL));
            for (int v = 0; v < nv; v++) {
                V top = vector_load(largest + v * LANES);
                V parts = reconstruction_scores(q, sampled, scaled, call, &p->activation, a + v * LANES, stride, block->student[s],
                                                block->rows[s], vector_load(teacher + v * LANES), g + v * LANES, &top);
                vector_store(largest + v * LANES, top);
                for (int64_t lane = 0; lane < LANES; lane++) *loss += (double)parts[lane];
            }
            a += block->rows[s] * stride, g += block->student[s] * stride;
        }
        gradient_panel(nv, block, p->d, scores, p->gradients + chunk * p->padded * p->d + r0 * p->d);
    }
}

static void reconstruction_blocks(const reconstruction_job *job, sample_block *block, int64_t chunk, REAL *scores, double *loss) {
    const int sampled = job->call->sampled, scaled = job->call->teacher == 0;
#define FOR_MODES(q)                                                    \
    if (sampled && scaled)                                              \
        reconstruction_block(job, q, 1, 1, block, chunk, scores, loss); \
    else if (sampled)                                                   \
        reconstruction_block(job, q, 1, 0, block, chunk, scores, loss); \
    else if (scaled)                                                    \
        reconstruction_block(job, q, 0, 1, block, chunk, scores, loss); \
    else                                                                \
        reconstruction_block(job, q, 0, 0, block, chunk, scores, loss); \
    break
    switch (job->plan->activation.power) {
    case 3: FOR_MODES(3);
    case 4: FOR_MODES(4);
    case 5: FOR_MODES(5);
    default: FOR_MODES(0);
    }
#undef FOR_MODES
}

static void reconstruction_chunk(void *context, int64_t index, int32_t worker) {
    const reconstruction_job *job = context;
    const mk_patch_reconstruction *call = job->call;
    const network_plan *p = job->plan;
    char *memory = mk_pool_scratch(job->pool, worker);
    int64_t last = (index + 1) * p->chunk_samples < p->samples ? (index + 1) * p->chunk_samples : p->samples;
    double loss = 0;
    memset(p->gradients + index * p->padded * p->d, 0, (size_t)(p->padded * p->d) * sizeof(REAL));
    for (int64_t r = 0; r < p->padded; r++) p->largest[index * p->padded + r] = -(REAL)INFINITY;
    for (int64_t first = index * p->chunk_samples; first < last; first += p->block_samples) {
        sample_block block;
        int64_t count = last - first < p->block_samples ? last - first : p->block_samples;
        if (call->sampled)
            masked_block(call, p, first, count, (float *)(memory + p->uniform_at), (REAL *)(memory + p->rows_at), &block);
        else
            whole_block(&call->batch, p, first, count, &block);
        block.ahead = plan_prefetch(&call->batch, p, first + count, count, 2);
        reconstruction_blocks(job, &block, index, (REAL *)(memory + p->scores_at), &loss);
    }
    p->losses[index] = loss;
}

static void network_reconstruction(mk_pool *pool, const mk_patch_reconstruction *call) {
    network_plan plan = make_plan(&call->network, call->batch.samples, 0, mk_pool_shared(pool));
    reconstruction_job job = {call, &plan, pool};
    pack_weights(&plan, call->weights);
    mk_pool_run(pool, plan.chunks, reconstruction_chunk, &job);
    gradient_reduction reduction = {&plan, call->accumulate, call->gradient, call->largest};
    mk_pool_run(pool, (plan.padded + 2 * LANES - 1) / (2 * LANES), reduce_panel, &reduction);
    double loss = 0;
    for (int64_t c = 0; c < plan.chunks; c++) loss += plan.losses[c];
    *call->loss = loss * call->scale / 2 + (call->accumulate ? *call->loss : 0);
}
