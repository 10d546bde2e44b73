/* Distributions of samples of patches (mk_patch_network.h). */
#include <math.h>
#include <string.h>

#include "include/mk_memory.h"
#include "include/mk_patch_network.h"
#include "include/mk_random.h"

int32_t mk_orthonormal(int64_t rows, int64_t dimension, uint64_t seed, uint32_t stream, double *out, float *scratch) {
    for (int64_t i = 0; i < rows; i++) {
        double *v = out + i * dimension;
        mk_random_normal(seed, stream, (uint32_t)i, 0, dimension, scratch);
        for (int64_t j = 0; j < dimension; j++) v[j] = (double)scratch[j];
        for (int pass = 0; pass < 2; pass++)
            for (int64_t k = 0; k < i; k++) {
                const double *u = out + k * dimension;
                double dot = 0;
                for (int64_t j = 0; j < dimension; j++) dot += u[j] * v[j];
                for (int64_t j = 0; j < dimension; j++) v[j] -= dot * u[j];
            }
        double norm = 0;
        for (int64_t j = 0; j < dimension; j++) norm += v[j] * v[j];
        if (!(norm > 1e-12)) return -1;
        norm = 1 / sqrt(norm);
        for (int64_t j = 0; j < dimension; j++) v[j] *= norm;
    }
    return 0;
}

/* Uniform numbers of a sample, one after the other. */
typedef struct {
    uint64_t seed, next;
    uint32_t stream, step;
    float buffer[64];
    int32_t used;
} draws;

static double draw(draws *d) {
    if (d->used == 64) {
        mk_random_uniform(d->seed, d->stream, d->step, d->next, 64, d->buffer);
        d->next += 64, d->used = 0;
    }
    return (double)d->buffer[d->used++];
}

static double draw_between(draws *d, double low, double high) { return low + (high - low) * draw(d); }

/* A worker's memory for one sample's random choices. */
typedef struct {
    int32_t *order;   /* P: patches in random order */
    int32_t *carried; /* P: feature or -1 */
    double *size;     /* P: z_p */
    float *normal;    /* d, rounded up to a multiple of 4 */
    double *sum;      /* d */
} sample_scratch;

static int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

static int64_t scratch_layout(const mk_patch_data *m, char *memory, sample_scratch *out) {
    const int64_t P = m->patches, d4 = round_up(m->dimension, 4);
    int64_t at[6] = {0};
    const int64_t bytes[5] = {P * 4, P * 4, P * 8, d4 * 4, d4 * 8};
    for (int i = 0; i < 5; i++) at[i + 1] = at[i] + round_up(bytes[i], 64);
    if (memory)
        *out = (sample_scratch){.order = (int32_t *)(memory + at[0]),
                                .carried = (int32_t *)(memory + at[1]),
                                .size = (double *)(memory + at[2]),
                                .normal = (float *)(memory + at[3]),
                                .sum = (double *)(memory + at[4])};
    return at[5];
}

mk_scratch mk_patch_data_scratch(const mk_patch_data *m) { return (mk_scratch){.per_worker = scratch_layout(m, 0, 0), .shared = 0}; }

typedef struct {
    const mk_patch_data *m;
    mk_pool *pool;
    int32_t element_bytes;
    int64_t first, count;
    const int32_t *ids;
    void *x;
    int32_t *labels, *single, *shown, *origin;
} generation;

enum { SAMPLES_PER_TASK = 8 };

typedef struct {
    int32_t label, single, shown;
} choice;

/* A number below `count`. */
static int64_t draw_below(draws *u, int64_t count) {
    int64_t value = (int64_t)(draw(u) * (double)count);
    return value < count ? value : count - 1;
}

static int32_t draw_kind(const mk_patch_data *m, draws *u) {
    double by_fraction = draw(u);
    return m->kind == 1 ? 0 : m->kind == 2 ? 1 : by_fraction < m->single_fraction;
}

static void shuffle(int64_t P, draws *u, sample_scratch *s) {
    for (int64_t p = 0; p < P; p++) s->order[p] = (int32_t)p;
    for (int64_t p = P - 1; p > 0; p--) {
        int64_t other = draw_below(u, p + 1);
        int32_t swap = s->order[p];
        s->order[p] = s->order[other], s->order[other] = swap;
    }
}

/* The next patch in random order carries z of a feature. */
static void put(sample_scratch *s, int64_t *taken, int64_t feature, double z) {
    int32_t p = s->order[(*taken)++];
    s->carried[p] = (int32_t)feature, s->size[p] = z;
}

static void choose_views(const mk_patch_data *m, draws *u, sample_scratch *s, choice *c) {
    c->label = (int32_t)draw_below(u, m->classes);
    c->single = draw_kind(m, u);
    int32_t view = draw(u) < 0.5 ? 0 : 1;
    c->shown = c->single ? view : -1;
    shuffle(m->patches, u, s);
    int64_t taken = 0;
    /* The label's two features first, then the others from a random start, so that a full sample cuts no class short. */
    int64_t start = (int64_t)(draw(u) * (double)m->features);
    for (int64_t i = 0; i < m->features + 2; i++) {
        int64_t feature = i < 2 ? 2 * c->label + i : (start + i) % m->features;
        int own = feature / 2 == c->label;
        if (i >= 2 && (own || !(draw(u) < m->presence))) continue;
        if (taken + m->patches_per_feature > m->patches) break;
        int main_feature = own && (!c->single || feature % 2 == view);
        double total = 0;
        if (!main_feature)
            total = own         ? draw_between(u, m->weak_low, m->weak_high)
                    : c->single ? draw_between(u, m->single_other_low, m->single_other_high)
                                : draw_between(u, m->other_low, m->other_high);
        for (int64_t n = 0; n < m->patches_per_feature; n++)
            put(s, &taken, feature, main_feature ? draw_between(u, m->main_low, m->main_high) : total / (double)m->patches_per_feature);
    }
}

static void choose_subclass(const mk_patch_data *m, draws *u, sample_scratch *s, choice *c) {
    const int64_t subclasses = (m->features - 2) / 2;
    c->label = (int32_t)draw_below(u, 2);
    c->single = draw_kind(m, u);
    c->shown = (int32_t)draw_below(u, subclasses);
    shuffle(m->patches, u, s);
    int64_t taken = 0;
    for (int64_t n = 0; n < m->patches_per_feature; n++)
        put(s, &taken, 2 + c->label * subclasses + c->shown, draw_between(u, m->main_low, m->main_high));
    if (c->single) put(s, &taken, 1 - c->label, draw_between(u, m->other_low, m->other_high));
    for (int64_t n = 0; !c->single && n < m->patches_per_feature; n++) put(s, &taken, c->label, draw_between(u, m->main_low, m->main_high));
}

static void choose_patterns(const mk_patch_data *m, uint32_t id, draws *u, sample_scratch *s, choice *c) {
    c->label = (int32_t)(id % 2);
    c->single = 0;
    c->shown = (int32_t)draw_below(u, m->patches);
    for (int64_t p = 0; p < m->patches; p++) {
        s->carried[p] = (int32_t)(p == c->shown ? c->label : 2 + draw_below(u, m->features - 2));
        s->size[p] = 1;
    }
}

/* Label, kind, features, and the size z_p of the feature in each patch that carries one. */
static void choose(const mk_patch_data *m, uint32_t id, draws *u, sample_scratch *s, choice *c) {
    for (int64_t p = 0; p < m->patches; p++) s->carried[p] = -1, s->size[p] = 0;
    if (m->law == MK_MULTI_VIEW) choose_views(m, u, s, c);
    if (m->law == MK_HIERARCHICAL) choose_subclass(m, u, s, c);
    if (m->law == MK_PATTERNS) choose_patterns(m, id, u, s, c);
}

static void make_unit(double *v, int64_t d) {
    double norm = 0;
    for (int64_t j = 0; j < d; j++) norm += v[j] * v[j];
    norm = 1 / sqrt(norm);
    for (int64_t j = 0; j < d; j++) v[j] *= norm;
}

/* x_p = z_p v + sum_v' alpha v' + xi_p. */
static void fill(const mk_patch_data *m, uint32_t id, draws *u, sample_scratch *s, int32_t element_bytes, char *x) {
    const int64_t d = m->dimension, d4 = round_up(d, 4);
    for (int64_t p = 0; p < m->patches; p++) {
        mk_random_normal(m->seed, m->stream + 256, id, (uint64_t)(p * d4), d, s->normal);
        const int tells = m->law == MK_PATTERNS && s->carried[p] < 2; /* the patch itself, without noise */
        for (int64_t j = 0; j < d; j++) s->sum[j] = tells ? 0 : m->deviation * (double)s->normal[j];
        if (m->feature_noise > 0)
            for (int64_t i = 0; i < m->features; i++) {
                double alpha = m->feature_noise * draw(u);
                const double *v = m->rows + i * d;
                for (int64_t j = 0; j < d; j++) s->sum[j] += alpha * v[j];
            }
        if (s->carried[p] >= 0) {
            const double *v = m->rows + s->carried[p] * d, z = s->size[p];
            for (int64_t j = 0; j < d; j++) s->sum[j] += z * v[j];
        }
        if (m->law == MK_PATTERNS && !tells) make_unit(s->sum, d);
        if (element_bytes == 4)
            for (int64_t j = 0; j < d; j++) ((float *)x)[p * d + j] = (float)s->sum[j];
        else
            memcpy((double *)x + p * d, s->sum, (size_t)d * sizeof(double));
    }
}

static void generate_task(void *context, int64_t index, int32_t worker) {
    const generation *g = context;
    const mk_patch_data *m = g->m;
    sample_scratch s;
    scratch_layout(m, mk_pool_scratch(g->pool, worker), &s);
    int64_t last = (index + 1) * SAMPLES_PER_TASK < g->count ? (index + 1) * SAMPLES_PER_TASK : g->count;
    for (int64_t i = index * SAMPLES_PER_TASK; i < last; i++) {
        uint32_t id = (uint32_t)(g->ids ? g->ids[i] : g->first + i);
        draws u = {.seed = m->seed, .next = 0, .stream = m->stream, .step = id, .used = 64};
        choice c;
        choose(m, id, &u, &s, &c);
        if (g->x) fill(m, id, &u, &s, g->element_bytes, (char *)g->x + i * m->patches * m->dimension * g->element_bytes);
        if (g->labels) g->labels[i] = c.label;
        if (g->single) g->single[i] = c.single;
        if (g->shown) g->shown[i] = c.shown;
        if (g->origin) memcpy(g->origin + i * m->patches, s.carried, (size_t)m->patches * sizeof(int32_t));
    }
}

void mk_patch_data_generate(mk_pool *pool, int32_t element_bytes, const mk_patch_data *distribution, int64_t first, const int32_t *ids,
                            int64_t count, void *x, int32_t *labels, int32_t *single, int32_t *shown, int32_t *origin) {
    generation g = {distribution, pool, element_bytes, first, count, ids, x, labels, single, shown, origin};
    mk_pool_run(pool, (count + SAMPLES_PER_TASK - 1) / SAMPLES_PER_TASK, generate_task, &g);
}
