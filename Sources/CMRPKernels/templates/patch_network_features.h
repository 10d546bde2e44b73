/* mk_patch_features. */

typedef struct {
    const mk_patch_features *call;
    const network_plan *plan;
    mk_pool *pool;
} features_job;

ALWAYS void features_block(const features_job *job, const int q, sample_block *block, REAL *scores) {
    const network_plan *p = job->plan;
    REAL factor = (REAL)job->call->factor;
    for (int64_t r0 = 0; r0 < p->padded; r0 += 2 * LANES) {
        int nv = (int)panel_vectors(p, r0);
        products_panel(nv, block, p->d, p->packed + r0 * p->d, scores);
        const REAL *a = scores;
        for (int64_t s = 0; s < block->count; s++) {
            REAL h[2 * LANES];
            for (int v = 0; v < nv; v++) {
                V sum = (V)(REAL)0, slope;
                for (int64_t i = 0; i < p->patches; i++)
                    sum += activate(vector_load(a + (i * nv + v) * LANES) * factor, q, &p->activation, &slope);
                vector_store(h + v * LANES, sum);
            }
            a += p->patches * nv * LANES;
            int64_t left = p->kernels - r0 < nv * LANES ? p->kernels - r0 : nv * LANES;
            memcpy((REAL *)job->call->features + (block->first + s) * p->kernels + r0, h, (size_t)left * sizeof(REAL));
        }
    }
}

static void features_chunk(void *context, int64_t index, int32_t worker) {
    const features_job *job = context;
    const network_plan *p = job->plan;
    char *memory = mk_pool_scratch(job->pool, worker);
    int64_t last = (index + 1) * p->chunk_samples < p->samples ? (index + 1) * p->chunk_samples : p->samples;
    for (int64_t first = index * p->chunk_samples; first < last; first += p->block_samples) {
        sample_block block;
        int64_t count = last - first < p->block_samples ? last - first : p->block_samples;
        whole_block(&job->call->batch, p, first, count, &block);
        block.ahead = plan_prefetch(&job->call->batch, p, first + count, count, 1);
        REAL *scores = (REAL *)(memory + p->scores_at);
        switch (p->activation.power) {
        case 3: features_block(job, 3, &block, scores); break;
        case 4: features_block(job, 4, &block, scores); break;
        case 5: features_block(job, 5, &block, scores); break;
        default: features_block(job, 0, &block, scores);
        }
    }
}

static void network_features(mk_pool *pool, const mk_patch_features *call) {
    network_plan plan = make_plan(&call->network, call->batch.samples, 0, mk_pool_shared(pool));
    features_job job = {call, &plan, pool};
    pack_weights(&plan, call->weights);
    mk_pool_run(pool, plan.chunks, features_chunk, &job);
}
