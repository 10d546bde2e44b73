/* Rows of tokens on their way to experts and back; see mk_routed_rows. */
#ifndef MK_ROUTING_H
#define MK_ROUTING_H

#include "loops.h"

#define REAL float
#include "../routing_choice.h"
#undef REAL

typedef struct {
    const mk_routed_rows *rows;
    const float *from, *other;
    float *to, *products;
} routing_job;

static void dispatch_task(void *context, int64_t index, int32_t worker) {
    const routing_job *job = context;
    const mk_routed_rows *g = job->rows;
    const float *gates = g->gates;
    const int64_t width = g->width, first = index * mk_rows_per_task(width), last = mk_least(g->count, first + mk_rows_per_task(width));
    (void)worker;
    for (int64_t i = first; i < last; i++) {
        const float *from = job->from + g->sources[i] * width, *other = job->other + i * width;
        float *to = job->to + i * width;
        const vf gate = vf_splat(gates ? gates[i] : 1);
        if (job->other == NULL) {
            MK_EACH_VECTOR(c, n, width, { vf_store_part(to + c, gate * vf_load_part(from + c, n), n); });
            continue;
        }
        vf sum = vf_splat(0);
        MK_EACH_VECTOR(c, n, width, {
            const vf x = vf_load_part(from + c, n);
            sum = vf_fma(x, vf_load_part(other + c, n), sum);
            vf_store_part(to + c, gate * x, n);
        });
        job->products[i] = vf_reduce_add(sum);
    }
}

static void dispatch_rows(mk_pool *pool, const mk_routed_rows *g, const void *x, const void *other, void *y, void *products) {
    routing_job job = {g, x, other, y, products};
    mk_pool_run(pool, mk_ceil_divide(g->count, mk_rows_per_task(g->width)), dispatch_task, &job);
}

static void combine_task(void *context, int64_t index, int32_t worker) {
    const routing_job *job = context;
    const mk_routed_rows *g = job->rows;
    const float *gates = g->gates;
    const int64_t width = g->width, first = index * mk_rows_per_task(width), last = mk_least(g->rows, first + mk_rows_per_task(width));
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        float *to = job->to + r * width;
        const float *addend = job->other ? job->other + r * width : NULL;
        if (addend == NULL) {
            mk_zero(to, width);
        } else if (addend != to) {
            mk_copy(to, addend, width);
        }
        for (int64_t way = 0; way < g->ways; way++) {
            const int64_t i = g->places[r * g->ways + way];
            if (i < 0) continue;
            const float *from = job->from + i * width;
            const vf gate = vf_splat(gates ? gates[i] : 1);
            MK_EACH_VECTOR(c, n, width, { vf_store_part(to + c, vf_load_part(to + c, n) + gate * vf_load_part(from + c, n), n); });
        }
    }
}

static void combine_rows(mk_pool *pool, const mk_routed_rows *g, const void *y, const void *addend, void *out) {
    routing_job job = {g, y, addend, out, NULL};
    mk_pool_run(pool, mk_ceil_divide(g->rows, mk_rows_per_task(g->width)), combine_task, &job);
}

#endif
