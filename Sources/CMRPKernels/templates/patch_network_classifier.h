/* mk_patch_classifier: cross entropy on a linear head, and its gradients. */

typedef struct {
    const mk_patch_classifier *call;
    const network_plan *plan;
    mk_pool *pool;
} classifier_job;

/* Logits, loss and the errors e[r] = sum_i D_i head[i,r] of one sample from its features h; D = scale (softmax - onehot). */
static double classify(const mk_patch_classifier *call, const network_plan *p, int64_t entry, int64_t chunk, const REAL *h, REAL *e,
                       REAL *logits) {
    const int32_t label = call->labels[entry];
    int64_t best = 0;
    for (int64_t i = 0; i < p->classes; i++) {
        V sum = (V)(REAL)0;
        for (int64_t r = 0; r < p->padded; r += LANES) sum += vector_load(p->head + i * p->padded + r) * vector_load(h + r);
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
            vector_store(e + r, vector_load(e + r) + vector_load(head + r) * error);
            if (call->head_gradient) vector_store(head_gradient + r, vector_load(head_gradient + r) + vector_load(h + r) * error);
        }
    }
    return loss;
}

ALWAYS void classifier_block(const classifier_job *job, const int q, sample_block *block, int64_t chunk, char *memory, double *loss) {
    const mk_patch_classifier *call = job->call;
    const network_plan *p = job->plan;
    REAL *scores = (REAL *)(memory + p->scores_at), *h = (REAL *)(memory + p->features_at);
    REAL *e = (REAL *)(memory + p->errors_at);
    const int64_t rows = block->count * p->patches;
    V slope;
    for (int64_t r0 = 0; r0 < p->padded; r0 += 2 * LANES) {
        int nv = (int)panel_vectors(p, r0);
        REAL *a = scores + r0 * rows;
        products_panel(nv, block, p->d, p->packed + r0 * p->d, a);
        for (int64_t s = 0; s < block->count; s++)
            for (int v = 0; v < nv; v++) {
                V sum = (V)(REAL)0;
                for (int64_t i = 0; i < p->patches; i++) {
                    REAL *at = a + ((s * p->patches + i) * nv + v) * LANES;
                    sum += activate(vector_load(at), q, &p->activation, &slope);
                    vector_store(at, slope); /* all that the gradient needs */
                }
                vector_store(h + s * p->padded + r0 + v * LANES, sum);
            }
    }
    for (int64_t s = 0; s < block->count; s++)
        *loss += classify(call, p, block->first + s, chunk, h + s * p->padded, e + s * p->padded, (REAL *)(memory + p->logits_at));
    if (!call->weight_gradient) return;
    for (int64_t r0 = 0; r0 < p->padded; r0 += 2 * LANES) {
        int nv = (int)panel_vectors(p, r0);
        REAL *a = scores + r0 * rows;
        for (int64_t s = 0; s < block->count; s++)
            for (int v = 0; v < nv; v++) {
                V error = vector_load(e + s * p->padded + r0 + v * LANES);
                for (int64_t i = 0; i < p->patches; i++) {
                    REAL *at = a + ((s * p->patches + i) * nv + v) * LANES;
                    vector_store(at, vector_load(at) * error);
                }
            }
        gradient_panel(nv, block, p->d, a, p->gradients + chunk * p->padded * p->d + r0 * p->d);
    }
}

static void classifier_chunk(void *context, int64_t index, int32_t worker) {
    const classifier_job *job = context;
    const network_plan *p = job->plan;
    char *memory = mk_pool_scratch(job->pool, worker);
    int64_t last = (index + 1) * p->chunk_samples < p->samples ? (index + 1) * p->chunk_samples : p->samples;
    double loss = 0;
    p->correct[index] = 0;
    memset(p->gradients + index * p->padded * p->d, 0, (size_t)(p->padded * p->d) * sizeof(REAL));
    memset(p->head_gradients + index * p->classes * p->padded, 0, (size_t)(p->classes * p->padded) * sizeof(REAL));
    for (int64_t first = index * p->chunk_samples; first < last; first += p->classifier_block_samples) {
        sample_block block;
        int64_t count = last - first < p->classifier_block_samples ? last - first : p->classifier_block_samples;
        whole_block(&job->call->batch, p, first, count, &block);
        block.ahead = plan_prefetch(&job->call->batch, p, first + count, count, 2);
        switch (p->activation.power) {
        case 3: classifier_block(job, 3, &block, index, memory, &loss); break;
        case 4: classifier_block(job, 4, &block, index, memory, &loss); break;
        case 5: classifier_block(job, 5, &block, index, memory, &loss); break;
        default: classifier_block(job, 0, &block, index, memory, &loss);
        }
    }
    p->losses[index] = loss;
}

static void network_classifier(mk_pool *pool, const mk_patch_classifier *call) {
    network_plan plan = make_plan(&call->network, call->batch.samples, call->classes, mk_pool_shared(pool));
    classifier_job job = {call, &plan, pool};
    const network_plan *p = &plan;
    pack_weights(p, call->weights);
    memset(p->head, 0, (size_t)(p->classes * p->padded) * sizeof(REAL));
    for (int64_t i = 0; i < p->classes; i++)
        memcpy(p->head + i * p->padded, (const REAL *)call->head + i * p->kernels, (size_t)p->kernels * sizeof(REAL));
    mk_pool_run(pool, p->chunks, classifier_chunk, &job);
    if (call->weight_gradient) {
        gradient_reduction reduction = {p, call->accumulate, call->weight_gradient, 0};
        mk_pool_run(pool, (p->padded + 2 * LANES - 1) / (2 * LANES), reduce_panel, &reduction);
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
