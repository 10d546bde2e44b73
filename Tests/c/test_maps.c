/* The kernels of instance masks: sigmoid, losses of maps, the largest of rows, columns; as test_kernels.c, against the float64 reference. */
#include "kernel_arrays.h"

static const float slope = 0.7f;
static const double slope_d = 0.7f;

static void test_sigmoid(void) {
    static const int64_t counts[] = {1, 17, 70003};
    for (int i = 0; i < 3; i++) {
        array x = array_make(counts[i], 12, 0), y = input(counts[i]), dy = input(counts[i]), dx = input(counts[i]);
        dx.floor = 0.25; /* 1 - y cancels */
        reference->sigmoid(reference_pool, counts[i], x.d, y.d);
        reference->sigmoid_gradient(reference_pool, counts[i], y.d, dy.d, dx.d);
        ON_EACH_POOL(p, {
            spoil(&y), spoil(&dx);
            fast->sigmoid(p, counts[i], x.f, y.f);
            check_array("sigmoid", "y", &y, 1e-6);
            fast->sigmoid_gradient(p, counts[i], y.f, dy.f, dx.f);
            check_array("sigmoid", "dx", &dx, 1e-6);
        })
        FREE(&x, &y, &dy, &dx);
    }
}

/* Shares in (0, 1); every seventh place of `b` has no target, a third of the rows no factor. */
typedef struct {
    array a, b, factors, sums, loss, da, db;
    mk_maps wide, narrow;
} maps;

static maps make_maps(int64_t rows, int64_t width, double scale, int weighted) {
    maps m = {array_make(rows * width, scale, scale < 1 ? 0.5 : 0),
              array_make(rows * width, 0.5, 0.5),
              array_make(rows, 0.5, 0.6),
              input(2 * rows),
              input(1),
              input(rows * width),
              input(rows * width),
              {rows, width, NULL, NULL, NULL, 1, 1, 0, 0},
              {rows, width, NULL, NULL, NULL, 1, 1, 0, 0}};
    for (int64_t i = 0; i < rows * width; i += 7) m.b.d[i] = m.b.f[i] = -1;
    for (int64_t r = 0; weighted && r < rows; r += 3) m.factors.d[r] = m.factors.f[r] = 0;
    m.wide.a = m.a.d, m.wide.b = m.b.d, m.wide.factors = weighted ? m.factors.d : NULL;
    m.narrow.a = m.a.f, m.narrow.b = m.b.f, m.narrow.factors = weighted ? m.factors.f : NULL;
    m.loss.floor = 1;
    need(fast->maps_scratch(&m.narrow), reference->maps_scratch(&m.wide));
    return m;
}

static void free_maps(maps *m) { FREE(&m->a, &m->b, &m->factors, &m->sums, &m->loss, &m->da, &m->db); }

static void check_logits(int64_t rows, int64_t width, int weighted, double positive, double negative, double gamma) {
    maps m = make_maps(rows, width, 8, weighted);
    m.wide.positive = m.narrow.positive = positive, m.wide.negative = m.narrow.negative = negative, m.wide.gamma = m.narrow.gamma = gamma;
    m.da.floor = slope_d / (double)(rows * width);
    reference->logit_entropy(reference_pool, &m.wide, m.loss.d);
    reference->logit_entropy_gradient(reference_pool, &m.wide, &slope_d, m.da.d);
    ON_EACH_POOL(p, {
        spoil(&m.loss), spoil(&m.da);
        fast->logit_entropy(p, &m.narrow, m.loss.f);
        check_array("logit entropy", "loss", &m.loss, 1e-6);
        fast->logit_entropy_gradient(p, &m.narrow, &slope, m.da.f);
        check_array("logit entropy", "gradient", &m.da, 2e-6);
    })
    free_maps(&m);
}

static void check_entropy(int64_t rows, int64_t width, int weighted) {
    maps m = make_maps(rows, width, 0.495, weighted);
    if (width > 2) m.a.d[1] = m.a.f[1] = 0, m.a.d[2] = m.a.f[2] = 1; /* beyond the clamp */
    m.da.floor = m.db.floor = slope_d / (double)(rows * width);
    reference->map_entropy(reference_pool, &m.wide, m.loss.d);
    reference->map_entropy_gradient(reference_pool, &m.wide, &slope_d, m.da.d, m.db.d);
    ON_EACH_POOL(p, {
        spoil(&m.loss), spoil(&m.da), spoil(&m.db);
        fast->map_entropy(p, &m.narrow, m.loss.f);
        check_array("map entropy", "loss", &m.loss, 2e-6);
        fast->map_entropy_gradient(p, &m.narrow, &slope, m.da.f, NULL);
        check_array("map entropy", "da", &m.da, 1e-5);
        fast->map_entropy_gradient(p, &m.narrow, &slope, NULL, m.db.f);
        check_array("map entropy", "db", &m.db, 2e-6);
    })
    free_maps(&m);
}

static void check_dice(int64_t rows, int64_t width, int weighted, int squared) {
    maps m = make_maps(rows, width, 0.5, weighted);
    m.wide.squared = m.narrow.squared = squared;
    m.da.floor = m.db.floor = slope_d / (double)(rows * width);
    reference->map_dice(reference_pool, &m.wide, m.sums.d, m.loss.d);
    reference->map_dice_gradient(reference_pool, &m.wide, m.sums.d, &slope_d, m.da.d, m.db.d);
    ON_EACH_POOL(p, {
        spoil(&m.loss), spoil(&m.da), spoil(&m.db);
        fast->map_dice(p, &m.narrow, m.sums.f, m.loss.f);
        check_array("map dice", "loss", &m.loss, 1e-6);
        fast->map_dice_gradient(p, &m.narrow, m.sums.f, &slope, m.da.f, NULL);
        check_array("map dice", "da", &m.da, 5e-6);
        fast->map_dice_gradient(p, &m.narrow, m.sums.f, &slope, NULL, m.db.f);
        check_array("map dice", "db", &m.db, 5e-6);
    })
    free_maps(&m);
}

static void test_losses(void) {
    static const int64_t sizes[][2] = {{1, 1}, {7, 3}, {67, 17}, {5, 3000}, {300, 64}, {2, 40000}};
    for (int i = 0; i < 12; i++) {
        const int64_t rows = sizes[i / 2][0], width = sizes[i / 2][1];
        check_logits(rows, width, i % 2, 1, 1, 0);
        check_logits(rows, width, i % 2, 0.25, 0.75, 2);
        check_entropy(rows, width, i % 2);
        check_dice(rows, width, i % 2, 0);
        check_dice(rows, width, i % 2, 1);
    }
}

static void check_maximum(int64_t batch, int64_t rows, int64_t width) {
    array x = array_make(batch * rows * width, 0.5, 0.5), factors = array_make(batch * rows, 0.5, 0.5), y = input(batch * width);
    array dy = input(batch * width), dx = input(x.count), df = input(factors.count);
    int32_t *first = malloc((size_t)(batch * width) * 4), *winners = malloc((size_t)(batch * width) * 4);
    for (int64_t i = 0; rows > 1 && i < width; i++) { /* equal rows: the first wins */
        x.d[width + i] = x.d[i], x.f[width + i] = x.f[i];
    }
    if (rows > 1) factors.d[1] = factors.d[0], factors.f[1] = factors.f[0];
    mk_row_maximum wide = {batch, rows, width, x.d, factors.d, y.d, first}, narrow = {batch, rows, width, x.f, factors.f, y.f, winners};
    reference->row_maximum(reference_pool, &wide);
    reference->row_maximum_gradient(reference_pool, &wide, dy.d, dx.d, df.d);
    ON_EACH_POOL(p, {
        spoil(&y), spoil(&dx), spoil(&df);
        fast->row_maximum(p, &narrow);
        check_array("row maximum", "y", &y, 1e-6);
        CHECK(rows < 2 || width == 0 || winners[0] != 1);
        memcpy(winners, first, (size_t)(batch * width) * 4); /* a close race may end otherwise in float */
        fast->row_maximum_gradient(p, &narrow, dy.f, dx.f, df.f);
        check_array("row maximum", "dx", &dx, 1e-6);
        check_array("row maximum", "dfactors", &df, 2e-6);
    })
    FREE(&x, &factors, &y, &dy, &dx, &df);
    free(first), free(winners);
}

static void test_rows(void) {
    static const int64_t sizes[][3] = {{1, 1, 1}, {2, 5, 7}, {3, 64, 1030}, {1, 9, 4096}};
    for (int i = 0; i < 4; i++) check_maximum(sizes[i][0], sizes[i][1], sizes[i][2]);
    static const int64_t columns[][4] = {{1, 1, 1, 1}, {2, 3, 17, 2}, {3, 700, 33, 1}};
    for (int i = 0; i < 3; i++) {
        const int64_t *n = columns[i];
        array x = input(n[0] * n[1] * n[2]), more = input(n[1] * n[3]), y = input(n[0] * n[1] * (n[2] + n[3])), back = input(x.count);
        reference->append_columns(reference_pool, n[0], n[1], n[2], n[3], x.d, more.d, y.d);
        reference->leading_columns(reference_pool, n[0] * n[1], n[2], n[3], y.d, back.d);
        ON_EACH_POOL(p, {
            spoil(&y), spoil(&back);
            fast->append_columns(p, n[0], n[1], n[2], n[3], x.f, more.f, y.f);
            check_array("columns", "y", &y, 0);
            fast->leading_columns(p, n[0] * n[1], n[2], n[3], y.f, back.f);
            check_array("columns", "x", &back, 0);
        })
        FREE(&x, &more, &y, &back);
    }
}

static void test_all(void) {
    test_sigmoid();
    test_losses();
    test_rows();
}

int main(void) { return on_every_isa(test_all, "test_maps"); }
