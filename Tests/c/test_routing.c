/* Routing of rows to experts: choices against plain sums over all rows, rows on their way against the float64 reference. */
#include "kernel_arrays.h"

/* The lists belong together: each place leads back to its row, and each expert's rows rise. */
static void check_lists(const char *name, int64_t rows, int64_t ways, int64_t count, int64_t experts, const int32_t *sources,
                        const int32_t *places, const int32_t *offsets) {
    int64_t found = 0;
    for (int64_t i = 0; i < rows * ways; i++) {
        if (places[i] < 0) continue;
        found++;
        CHECK(places[i] < count && sources[places[i]] == i / ways, "%s: place %d", name, (int)i);
    }
    CHECK(found == count && offsets[0] == 0 && offsets[experts] == count, "%s: %d places", name, (int)found);
    for (int64_t e = 0; e < experts; e++)
        for (int64_t i = offsets[e] + 1; i < offsets[e + 1]; i++)
            CHECK(sources[i] > sources[i - 1], "%s: the order of expert %d", name, (int)e);
}

/* Rows on their way, forth and back, with the lists of a choice. */
static void check_rows(int64_t rows, int64_t ways, int64_t count, int64_t width, const int32_t *sources, const int32_t *places) {
    array x = input(rows * width), other = input(count * width), gates = input(count), y = input(count * width), products = input(count);
    array addend = input(rows * width), out = input(rows * width);
    for (int gated = 0; gated < 2; gated++) {
        mk_routed_rows r = {rows, ways, count, width, sources, places, gated ? gates.d : NULL};
        reference->dispatch_rows(reference_pool, &r, x.d, other.d, y.d, products.d);
        reference->combine_rows(reference_pool, &r, other.d, gated ? NULL : addend.d, out.d);
        r.gates = gated ? gates.f : NULL;
        y.runs = products.runs = out.runs = 0;
        ON_EACH_POOL(p, {
            spoil(&y), spoil(&products), spoil(&out);
            fast->dispatch_rows(p, &r, x.f, other.f, y.f, products.f);
            check_array("dispatch_rows", "y", &y, 2e-7);
            check_array("dispatch_rows", "products", &products, 1e-6);
            fast->combine_rows(p, &r, other.f, gated ? NULL : addend.f, out.f);
            check_array("combine_rows", "out", &out, 1e-6);
        })
    }
    FREE(&x, &other, &gates, &y, &products, &addend, &out);
}

static void test_to_one(void) {
    static const int64_t sizes[][4] = {
        {1, 1, 1, 1}, {7, 3, 1, 5}, {64, 8, 1, 192}, {5, 4, 17, 33}, {300, 2, 3, 16}}; /* rows, experts, tokens */
    for (int i = 0; i < 5; i++) {
        const int64_t rows = sizes[i][0], experts = sizes[i][1], tokens = sizes[i][2], count = rows * tokens;
        array scores = input(rows * experts);
        if (experts > 2) scores.f[0] = scores.f[1] = scores.f[2] = 3; /* the first of equal ones */
        int32_t *sources = malloc((size_t)count * 4), *places = malloc((size_t)count * 4), offsets[9];
        ON_EACH_POOL(p, {
            fast->route_to_one(p, rows, experts, tokens, scores.f, sources, places, offsets);
            check_lists("route_to_one", count, 1, count, experts, sources, places, offsets);
            for (int64_t r = 0; r < rows; r++) {
                int64_t largest = 0;
                for (int64_t e = 1; e < experts; e++)
                    if (scores.f[r * experts + e] > scores.f[r * experts + largest]) largest = e;
                for (int64_t t = 0; t < tokens; t++) {
                    const int32_t place = places[r * tokens + t];
                    CHECK(place >= offsets[largest] && place < offsets[largest + 1], "route_to_one: row %d", (int)r);
                }
            }
        })
        check_rows(count, 1, count, sizes[i][3], sources, places);
        free(sources), free(places);
        FREE(&scores);
    }
}

static void test_to_many(void) {
    /* batch, tokens, experts, first, capacity, width */
    static const int64_t sizes[][6] = {
        {1, 1, 1, 0, 1, 1}, {2, 9, 3, 1, 2, 7}, {3, 65, 8, 1, 8, 192}, {4, 17, 4, 0, 17, 20}, {5, 50, 2, 1, 25, 16}};
    for (int i = 0; i < 5; i++) {
        const int64_t batch = sizes[i][0], tokens = sizes[i][1], experts = sizes[i][2], first = sizes[i][3], capacity = sizes[i][4];
        const int64_t count = experts * batch * capacity, rows = batch * tokens;
        array scores = input(rows * experts);
        for (int64_t j = 0; j < rows * experts; j += 3) scores.f[j] = 0.25f; /* many equal ones */
        int32_t *sources = malloc((size_t)count * 4), *places = malloc((size_t)(rows * experts) * 4), offsets[9];
        ON_EACH_POOL(p, {
            need(fast->route_to_many_scratch(capacity), reference->route_to_many_scratch(capacity));
            fast->route_to_many(p, batch, tokens, experts, first, capacity, scores.f, sources, places, offsets);
            check_lists("route_to_many", rows, experts, count, experts, sources, places, offsets);
            for (int64_t r = 0; r < rows; r++) {
                for (int64_t e = 0; e < experts; e++) {
                    int64_t before = 0; /* tokens of the image that the expert prefers */
                    for (int64_t t = first; t < tokens; t++) {
                        const float own = scores.f[r * experts + e], it = scores.f[((r / tokens) * tokens + t) * experts + e];
                        before += it > own || (it == own && t < r % tokens);
                    }
                    const int taken = r % tokens >= first && before < capacity;
                    CHECK((places[r * experts + e] >= 0) == taken, "route_to_many: row %d, expert %d", (int)r, (int)e);
                }
            }
        })
        check_rows(rows, experts, count, sizes[i][5], sources, places);
        free(sources), free(places);
        FREE(&scores);
    }
}

static void test_probabilities(void) {
    for (int i = 0; i < 2; i++) {
        const int64_t rows = i ? 301 : 4, experts = i ? 8 : 3;
        array p = array_make(rows * experts, 0.4, 0.5), dy = input(rows * experts), out = input(rows * experts), loss = input(1);
        float dloss_f = 0.7f;
        double dloss_d = dloss_f;
        reference->softmax_gradient(reference_pool, rows, experts, p.d, dy.d, out.d);
        fast->softmax_gradient(reference_pool, rows, experts, p.f, dy.f, out.f);
        check_array("softmax_gradient", "dx", &out, 1e-6);
        reference->balance_loss(reference_pool, rows, experts, p.d, loss.d);
        fast->balance_loss(reference_pool, rows, experts, p.f, loss.f);
        check_array("balance_loss", "loss", &loss, 1e-6);
        out.runs = loss.runs = 0;
        reference->balance_gradient(reference_pool, rows, experts, p.d, &dloss_d, out.d);
        fast->balance_gradient(reference_pool, rows, experts, p.f, &dloss_f, out.f);
        check_array("balance_gradient", "dp", &out, 1e-6);
        reference->entropy_loss(reference_pool, rows, experts, p.d, loss.d);
        fast->entropy_loss(reference_pool, rows, experts, p.f, loss.f);
        check_array("entropy_loss", "loss", &loss, 1e-6);
        out.runs = 0;
        reference->entropy_gradient(reference_pool, rows, experts, p.d, &dloss_d, out.d);
        fast->entropy_gradient(reference_pool, rows, experts, p.f, &dloss_f, out.f);
        check_array("entropy_gradient", "dp", &out, 1e-6);
        FREE(&p, &dy, &out, &loss);
    }
}

static void test_all(void) {
    test_to_one();
    test_to_many();
    test_probabilities();
}

int main(void) { return on_every_isa(test_all, "test_routing"); }
