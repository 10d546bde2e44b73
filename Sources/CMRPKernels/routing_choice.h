/* The choice of experts: who goes where, and with which factor. Plain loops on few numbers, the same in all tables; REAL is float or
 * double. Included by reference/reference_routing.h and templates/routing.h. Sums run in double. */
#ifndef MK_ROUTING_CHOICE_H
#define MK_ROUTING_CHOICE_H

static void route_to_one(mk_pool *pool, int64_t rows, int64_t experts, int64_t tokens, const void *scores_, int32_t *sources,
                         int32_t *places, int32_t *offsets) {
    const REAL *scores = scores_;
    (void)pool;
    for (int64_t e = 0; e <= experts; e++) offsets[e] = 0;
    for (int64_t r = 0; r < rows; r++) { /* the expert of a row waits where its place will be */
        int32_t largest = 0;
        for (int32_t e = 1; e < experts; e++)
            if (scores[r * experts + e] > scores[r * experts + largest]) largest = e;
        places[r * tokens] = largest;
        offsets[largest + 1] += (int32_t)tokens;
    }
    for (int64_t e = 0; e < experts; e++) offsets[e + 1] += offsets[e];
    for (int64_t r = 0; r < rows; r++) {
        const int32_t e = places[r * tokens];
        for (int64_t t = 0; t < tokens; t++) {
            const int32_t place = offsets[e]++;
            places[r * tokens + t] = place;
            sources[place] = (int32_t)(r * tokens + t);
        }
    }
    for (int64_t e = experts; e > 0; e--) offsets[e] = offsets[e - 1]; /* each had moved on to the next one's */
    offsets[0] = 0;
}

static mk_scratch route_to_many_scratch(int64_t capacity) { return (mk_scratch){capacity * (int64_t)sizeof(int32_t), 0}; }

typedef struct {
    int64_t batch, tokens, experts, first, capacity;
    const REAL *scores;
    int32_t *sources, *places;
    mk_pool *pool;
} many_job;

/* Whether token a of an expert's scores comes after token b: it has the smaller score, or of equal ones the larger number. */
static int comes_after(const REAL *scores, int64_t experts, int32_t a, int32_t b) {
    const REAL x = scores[a * experts], y = scores[b * experts];
    return x < y || (x == y && a > b);
}

/* Lets the token at place i of a heap, whose first is the last of all, sink to where it belongs. */
static void sink(int32_t *heap, int64_t count, int64_t i, const REAL *scores, int64_t experts) {
    for (int64_t child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && comes_after(scores, experts, heap[child + 1], heap[child])) child++;
        if (!comes_after(scores, experts, heap[child], heap[i])) return;
        const int32_t moved = heap[i];
        heap[i] = heap[child], heap[child] = moved;
    }
}

/* One image and expert. */
static void route_to_many_task(void *context, int64_t index, int32_t worker) {
    const many_job *job = context;
    int32_t *heap = mk_pool_scratch(job->pool, worker);
    const int64_t b = index / job->experts, e = index % job->experts, capacity = job->capacity;
    const REAL *scores = job->scores + b * job->tokens * job->experts + e;
    for (int64_t i = 0; i < capacity; i++) heap[i] = (int32_t)(job->first + i);
    for (int64_t i = capacity / 2; i-- > 0;) sink(heap, capacity, i, scores, job->experts);
    for (int32_t t = (int32_t)(job->first + capacity); t < job->tokens; t++) {
        if (capacity == 0 || !comes_after(scores, job->experts, heap[0], t)) continue;
        heap[0] = t;
        sink(heap, capacity, 0, scores, job->experts);
    }
    int32_t *place = job->places + b * job->tokens * job->experts + e;
    for (int64_t t = 0; t < job->tokens; t++) place[t * job->experts] = -1;
    for (int64_t i = 0; i < capacity; i++) place[heap[i] * job->experts] = 0;
    int64_t at = (e * job->batch + b) * capacity;
    for (int64_t t = 0; t < job->tokens; t++) {
        if (place[t * job->experts] < 0) continue;
        place[t * job->experts] = (int32_t)at;
        job->sources[at++] = (int32_t)(b * job->tokens + t);
    }
}

static void route_to_many(mk_pool *pool, int64_t batch, int64_t tokens, int64_t experts, int64_t first, int64_t capacity,
                          const void *scores, int32_t *sources, int32_t *places, int32_t *offsets) {
    many_job job = {batch, tokens, experts, first, capacity, scores, sources, places, pool};
    for (int64_t e = 0; e <= experts; e++) offsets[e] = (int32_t)(e * batch * capacity);
    mk_pool_run(pool, batch * experts, route_to_many_task, &job);
}

static void compute_gates(mk_pool *pool, const mk_gates *g, void *gates_) {
    const REAL *scores = g->scores;
    REAL *gates = gates_;
    (void)pool;
    for (int64_t e = 0; e < g->experts; e++)
        for (int64_t i = g->offsets[e]; i < g->offsets[e + 1]; i++)
            gates[i] = g->kind == MK_GATE_UNIT ? 1 : scores[g->sources[i] / g->tokens * g->experts + e];
    if (g->kind != MK_GATE_SELECTED) return;
    for (int64_t first = 0; first < g->count; first += g->group) {
        REAL *s = gates + first;
        double largest = s[0], sum = 0;
        for (int64_t i = 1; i < g->group; i++) largest = s[i] > largest ? s[i] : largest;
        for (int64_t i = 0; i < g->group; i++) sum += exp(s[i] - largest);
        for (int64_t i = 0; i < g->group; i++) s[i] = (REAL)(exp(s[i] - largest) / sum);
    }
}

static void gates_gradient(mk_pool *pool, const mk_gates *g, const void *gates_, const void *gradient_, void *scores_gradient_) {
    const REAL *scores = g->scores, *gates = gates_, *gradient = gradient_;
    REAL *out = scores_gradient_;
    (void)pool;
    for (int64_t i = 0; i < g->rows * g->experts; i++) out[i] = 0;
    for (int64_t e = 0; e < g->experts; e++) {
        double mean = 0;
        for (int64_t i = g->offsets[e]; i < g->offsets[e + 1]; i++) {
            const int64_t at = g->sources[i] / g->tokens * g->experts + e;
            double d = gradient[i];
            if (g->kind == MK_GATE_UNIT) d /= scores[at];
            if (g->kind == MK_GATE_SELECTED) {
                if ((i - g->offsets[e]) % g->group == 0) { /* a new image begins */
                    mean = 0;
                    for (int64_t j = i; j < i + g->group; j++) mean += (double)gates[j] * gradient[j];
                }
                d = gates[i] * (d - mean);
            }
            out[at] += (REAL)d;
        }
    }
}

static void softmax_gradient(mk_pool *pool, int64_t rows, int64_t width, const void *y_, const void *dy_, void *dx_) {
    const REAL *y = y_, *dy = dy_;
    REAL *dx = dx_;
    (void)pool;
    for (int64_t r = 0; r < rows; r++, y += width, dy += width, dx += width) {
        double sum = 0;
        for (int64_t c = 0; c < width; c++) sum += (double)y[c] * dy[c];
        for (int64_t c = 0; c < width; c++) dx[c] = (REAL)(y[c] * (dy[c] - sum));
    }
}

/* The experts' mean probabilities are summed twice, not kept: there may be any number of experts. */
static double mean_probability(const REAL *p, int64_t rows, int64_t experts, int64_t e) {
    double sum = 0;
    for (int64_t r = 0; r < rows; r++) sum += p[r * experts + e];
    return sum / rows;
}

/* Mean and variance over experts of their mean probabilities. */
static void balance_moments(const REAL *p, int64_t rows, int64_t experts, double *mean, double *variance) {
    double sum = 0, squares = 0;
    for (int64_t e = 0; e < experts; e++) sum += mean_probability(p, rows, experts, e);
    *mean = sum / experts;
    for (int64_t e = 0; e < experts; e++) {
        const double d = mean_probability(p, rows, experts, e) - *mean;
        squares += d * d;
    }
    *variance = squares / experts;
}

static void balance_loss(mk_pool *pool, int64_t rows, int64_t experts, const void *p, void *loss) {
    double mean, variance;
    (void)pool;
    balance_moments(p, rows, experts, &mean, &variance);
    *(REAL *)loss = (REAL)(variance / (mean * mean));
}

/* With I_e, m their mean and v their variance: d(v / m^2) / dI_e = 2 (I_e - m) / (E m^2) - 2 v / (E m^3). */
static void balance_gradient(mk_pool *pool, int64_t rows, int64_t experts, const void *p, const void *loss_gradient, void *p_gradient) {
    double mean, variance;
    REAL *out = p_gradient;
    (void)pool;
    balance_moments(p, rows, experts, &mean, &variance);
    const double factor = 2 / (experts * mean * mean) * *(const REAL *)loss_gradient / rows;
    for (int64_t e = 0; e < experts; e++) {
        const REAL d = (REAL)(factor * (mean_probability(p, rows, experts, e) - mean - variance / mean));
        for (int64_t r = 0; r < rows; r++) out[r * experts + e] = d;
    }
}

#define MK_LEAST_PROBABILITY 1e-9

static void entropy_loss(mk_pool *pool, int64_t rows, int64_t experts, const void *p_, void *loss) {
    const REAL *p = p_;
    double sum = 0;
    (void)pool;
    for (int64_t i = 0; i < rows * experts; i++) sum -= p[i] * log(p[i] + MK_LEAST_PROBABILITY);
    *(REAL *)loss = (REAL)(sum / rows);
}

static void entropy_gradient(mk_pool *pool, int64_t rows, int64_t experts, const void *p_, const void *loss_gradient, void *p_gradient) {
    const REAL *p = p_;
    const double factor = -(double)*(const REAL *)loss_gradient / rows;
    REAL *out = p_gradient;
    (void)pool;
    for (int64_t i = 0; i < rows * experts; i++) {
        const double q = p[i] + MK_LEAST_PROBABILITY;
        out[i] = (REAL)(factor * (log(q) + p[i] / q));
    }
}

#endif
