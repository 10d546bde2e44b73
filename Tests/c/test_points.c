/* Chamfer distance of every instruction set against the float64 reference; farthest points and nearest groups of every instruction set against
 * plain loops, index by index. */
#include "kernel_arrays.h"
#include "mp_groups.h"

static void check_chamfer(int64_t sets, int64_t rows_a, int64_t rows_b, int64_t width) {
    array a = input(sets * rows_a * width), b = input(sets * rows_b * width), loss = input(1);
    array da = input(a.count), db = input(b.count);
    const float slope_f = 0.5f;
    const double slope_d = slope_f;
    const size_t bytes_a = (size_t)(sets * rows_a) * 4, bytes_b = (size_t)(sets * rows_b) * 4;
    int32_t *expected_a = malloc(bytes_a), *expected_b = malloc(bytes_b), *nearest_a = malloc(bytes_a), *nearest_b = malloc(bytes_b);
    if (rows_b > 2) { /* the first of two that are the same */
        memcpy(b.f + width * (rows_b - 1), b.f, (size_t)width * 4);
        memcpy(b.d + width * (rows_b - 1), b.d, (size_t)width * 8);
        memcpy(a.f, b.f, (size_t)width * 4);
        memcpy(a.d, b.d, (size_t)width * 8);
    }
    mk_chamfer plain = {sets, rows_a, rows_b, width, a.d, b.d, expected_a, expected_b};
    reference->chamfer(reference_pool, &plain, loss.d);
    reference->chamfer_gradient(reference_pool, &plain, &slope_d, da.d, db.d);
    mk_chamfer problem = {sets, rows_a, rows_b, width, a.f, b.f, nearest_a, nearest_b};
    need(fast->chamfer_scratch(&problem), reference->chamfer_scratch(&plain));
    ON_EACH_POOL(p, {
        spoil(&loss), spoil(&da), spoil(&db);
        memset(nearest_a, 99, bytes_a), memset(nearest_b, 99, bytes_b);
        fast->chamfer(p, &problem, loss.f);
        CHECK(!memcmp(nearest_a, expected_a, bytes_a), "nearest of a, %dx%dx%d", (int)sets, (int)rows_a, (int)rows_b);
        CHECK(!memcmp(nearest_b, expected_b, bytes_b), "nearest of b, %dx%dx%d", (int)sets, (int)rows_a, (int)rows_b);
        check_array("chamfer", "loss", &loss, 1e-6);
        fast->chamfer_gradient(p, &problem, &slope_f, da.f, db.f);
        check_array("chamfer", "gradient of a", &da, 1e-6);
        check_array("chamfer", "gradient of b", &db, 1e-6);
        fast->chamfer_gradient(p, &problem, &slope_f, da.f, NULL);
        check_array("chamfer", "gradient of a alone", &da, 1e-6);
    })
    a.f[a.count - 1] = NAN; /* passes through, with indices in range */
    fast->chamfer(pools[1], &problem, loss.f);
    CHECK(isnan(loss.f[0]));
    for (int64_t i = 0; i < sets * rows_a; i++) CHECK(nearest_a[i] >= 0 && nearest_a[i] < rows_b);
    for (int64_t j = 0; j < sets * rows_b; j++) CHECK(nearest_b[j] >= 0 && nearest_b[j] < rows_a);
    FREE(&a, &b, &loss, &da, &db);
    free(expected_a), free(expected_b), free(nearest_a), free(nearest_b);
}

static void test_chamfer(void) {
    static const int64_t sizes[][4] = {{1, 1, 1, 3}, {3, 5, 7, 3}, {2, 16, 17, 1}, {4, 33, 31, 4}, {70, 32, 32, 3}, {2, 300, 129, 3}};
    for (int i = 0; i < 6; i++) check_chamfer(sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3]);
}

/* kind 0: random; 1: a grid, where most distances are equal; 2: all the same; 3: so far apart that squares are infinite. */
static void check_groups(int64_t count, int64_t channels, int64_t groups, int64_t size, int kind) {
    float *points = malloc((size_t)(count * channels) * 4);
    for (int64_t i = 0; i < count * channels; i++) {
        const int64_t row = i / channels, axis = i % channels;
        const double step = axis == 0 ? row % 5 : axis == 1 ? row / 5 % 5 : row / 25;
        points[i] = (float)(kind == 0 ? next_uniform() : kind == 1 ? step : kind == 2 ? 0.25 : 3e38 * next_uniform());
    }
    const mp_cloud cloud = {points, count, channels};
    void *scratch = aligned_alloc(64, (size_t)((mp_groups_scratch(count, size) + 63) / 64 * 64));
    int32_t *chosen = malloc((size_t)groups * 4), *expected = malloc((size_t)groups * 4);
    int32_t *ids = malloc((size_t)(groups * size) * 4), *wanted = malloc((size_t)(groups * size) * 4);
    const int64_t first = mp_outermost(&cloud);
    mp_farthest_reference(&cloud, first, groups, expected, scratch);
    mp_nearest_reference(&cloud, expected, groups, size, wanted, scratch);
    CHECK(kind != 0 || wanted[0] == expected[0], "a centre is in its group");
    for (int32_t isa = 0; isa <= 2; isa++) {
        if (!mp_kernels_select(isa)) continue;
        mp_farthest(&cloud, first, groups, chosen, scratch);
        CHECK(!memcmp(chosen, expected, (size_t)groups * 4), "farthest points, isa %d, kind %d, %d", isa, kind, (int)count);
        mp_nearest(&cloud, chosen, groups, size, ids, scratch);
        CHECK(!memcmp(ids, wanted, (size_t)(groups * size) * 4), "nearest, isa %d, kind %d, %d of %d", isa, kind, (int)size, (int)count);
    }
    mp_kernels_select(-1);
    free(points), free(scratch), free(chosen), free(expected), free(ids), free(wanted);
}

static void test_groups(void) {
    static const int64_t sizes[][4] = {{1, 3, 1, 1},     {5, 6, 5, 5},      {17, 3, 4, 16},
                                       {125, 4, 30, 40}, {1024, 3, 64, 32}, {3000, 3, 40, 1500}};
    for (int i = 0; i < 6; i++)
        for (int kind = 0; kind < 4; kind++) check_groups(sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3], kind);
    const float corner[] = {1, 0, 0, 0, 0, 0, -3, 0, 0, 0, 1, 0};
    CHECK(mp_outermost(&(mp_cloud){corner, 4, 3}) == 2);
}

int main(void) {
    test_groups();
    return on_every_isa(test_chamfer, "test_points");
}
