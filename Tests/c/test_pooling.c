/* Maximum and average pooling on every instruction set that this processor has, against the float64 reference: odd sizes, strides,
 * paddings, lists of visible positions, 1 to 3 threads with equal bits, NaN. */
#include "places.h"

typedef struct {
    int64_t batch, height, width, channels, kernel, stride, padding;
} pool_size;

static const pool_size sizes[] = {
    /* batch, height, width, channels, kernel, stride, padding */
    {1, 1, 1, 1, 1, 1, 0}, {2, 8, 8, 16, 3, 2, 1}, {2, 9, 7, 19, 2, 2, 0}, {1, 12, 12, 300, 3, 1, 1}, {3, 5, 6, 7, 4, 3, 2},
};

/* share: percent of the positions that are visible, 0: whole tensors. */
static mk_pool2d pool_shape(pool_size s, int average, int share) {
    mk_pool2d v = {.batch = s.batch, .channels = s.channels, .average = average};
    v.rows = window(s.height, s.kernel, s.stride, s.padding, 1);
    v.columns = window(s.width, s.kernel, s.stride, s.padding, 1);
    v.in = share ? visible_places(s.batch, s.height, s.width, share, 1) : all_places(s.batch * s.height * s.width);
    v.out = share ? visible_places(s.batch, v.rows.out, v.columns.out, share, 1) : all_places(s.batch * v.rows.out * v.columns.out);
    return v;
}

static void check_case(pool_size s, int average, int share) {
    const char *name = average ? "average pool" : "max pool";
    mk_pool2d shape = pool_shape(s, average, share);
    array x = input(shape.in.count * s.channels), y = input(shape.out.count * s.channels), dx = input(x.count), dy = input(y.count);
    int32_t *expected_from = malloc((size_t)y.count * 4), *from = malloc((size_t)y.count * 4);
    mk_pool2d r = shape;
    r.x = x.d, r.y = y.d, r.from = expected_from;
    reference->pool2d_forward(reference_pool, &r);
    r.x = dx.d, r.y = dy.d;
    reference->pool2d_backward(reference_pool, &r);
    ON_EACH_POOL(p, {
        mk_pool2d f = shape;
        f.x = x.f, f.y = y.f, f.from = from;
        spoil(&y), spoil(&dx);
        fast->pool2d_forward(p, &f);
        check_array(name, "y", &y, 1e-6);
        if (!average) CHECK(memcmp(expected_from, from, (size_t)y.count * 4) == 0, "indices of maxima");
        f.x = dx.f, f.y = dy.f;
        fast->pool2d_backward(p, &f);
        check_array(name, "dx", &dx, 1e-6);
    })
    free(expected_from), free(from);
    places_free(shape.in), places_free(shape.out);
    FREE(&x, &y, &dx, &dy);
}

static void test_sizes(void) {
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int share = 0; share <= 100; share += 50)
            for (int average = 0; average < 2; average++) check_case(sizes[i], average, share);
}

static void test_not_a_number(void) {
    array x = input(4 * 4 * 3), y = input(2 * 2 * 3);
    int32_t from[2 * 2 * 3];
    x.f[4] = NAN; /* row 0, column 1, channel 1 */
    mk_pool2d v = {.batch = 1, .channels = 3, .x = x.f, .y = y.f, .from = from};
    v.rows = v.columns = window(4, 2, 2, 0, 1);
    v.in = all_places(16), v.out = all_places(4);
    fast->pool2d_forward(pools[0], &v);
    CHECK(isnan(y.f[1]) && from[1] == 1 && !isnan(y.f[0]) && !isnan(y.f[4]));
    FREE(&x, &y);
}

static void test_all(void) {
    test_sizes();
    test_not_a_number();
}

int main(void) { return on_every_isa(test_all, "test_pooling"); }
