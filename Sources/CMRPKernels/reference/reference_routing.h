/* Rows of tokens on their way to experts and back, as plain loops; see mk_routed_rows. */
#include "../routing_choice.h"

static void dispatch_rows(mk_pool *pool, const mk_routed_rows *g, const void *x_, const void *other_, void *y_, void *products_) {
    const REAL *x = x_, *other = other_, *gates = g->gates;
    REAL *y = y_, *products = products_;
    (void)pool;
    for (int64_t i = 0; i < g->count; i++) {
        const REAL *from = x + g->sources[i] * g->width;
        for (int64_t c = 0; c < g->width; c++) y[i * g->width + c] = gates ? gates[i] * from[c] : from[c];
        if (other) products[i] = (REAL)dot(from, other + i * g->width, g->width);
    }
}

static void combine_rows(mk_pool *pool, const mk_routed_rows *g, const void *y_, const void *addend_, void *out_) {
    const REAL *y = y_, *addend = addend_, *gates = g->gates;
    REAL *out = out_;
    (void)pool;
    for (int64_t r = 0; r < g->rows; r++) {
        for (int64_t c = 0; c < g->width; c++) {
            double sum = addend ? addend[r * g->width + c] : 0;
            for (int64_t way = 0; way < g->ways; way++) {
                const int64_t i = g->places[r * g->ways + way];
                if (i >= 0) sum += (gates ? gates[i] : 1) * (double)y[i * g->width + c];
            }
            out[r * g->width + c] = (REAL)sum;
        }
    }
}
