/* The kernels of losses and of what they compare with, and the mean over tokens: as test_kernels.c, against the float64 reference. */
#include "kernel_arrays.h"

static void test_smooth_l1(void) {
    static const int64_t counts[] = {1, 7, 33, 1025, 16400, 70003};
    static const double betas[] = {0, 0.5, 2};
    for (int i = 0; i < 18; i++) {
        int64_t n = counts[i / 3];
        double beta = betas[i % 3];
        array a = input(n), b = input(n), loss = input(1), out = input(n);
        float dloss_f = 0.7f;
        double dloss_d = dloss_f;
        if (n > 8) a.f[5] = b.f[5], a.d[5] = b.d[5]; /* no difference, no slope */
        reference->smooth_l1(reference_pool, n, beta, a.d, b.d, loss.d);
        reference->smooth_l1_gradient(reference_pool, n, beta, a.d, b.d, &dloss_d, out.d);
        ON_EACH_POOL(p, {
            spoil(&loss), spoil(&out);
            need(fast->squared_error_scratch(n), reference->squared_error_scratch(n));
            fast->smooth_l1(p, n, beta, a.f, b.f, loss.f);
            check_array("smooth_l1", "loss", &loss, 5e-7);
            fast->smooth_l1_gradient(p, n, beta, a.f, b.f, &dloss_f, out.f);
            check_array("smooth_l1", "gradient", &out, 5e-7);
        })
        FREE(&a, &b, &loss, &out);
    }
}

static void test_add_row(void) {
    static const int64_t sizes[][2] = {{1, 1}, {3, 7}, {300, 129}, {2, 20000}};
    for (int i = 0; i < 4; i++) {
        int64_t rows = sizes[i][0], width = sizes[i][1];
        array x = input(rows * width), row = input(width), y = input(rows * width);
        reference->add_row(reference_pool, rows, width, x.d, row.d, y.d);
        ON_EACH_POOL(p, {
            spoil(&y);
            fast->add_row(p, rows, width, x.f, row.f, y.f);
            check_array("add_row", "y", &y, 1e-6);
        })
        FREE(&x, &row, &y);
    }
}

static void test_argmax(void) {
    static const int64_t sizes[][2] = {{1, 1}, {3, 7}, {5, 16}, {2, 33}, {300, 129}};
    for (int i = 0; i < 5; i++) {
        int64_t rows = sizes[i][0], width = sizes[i][1];
        array x = input(rows * width);
        int32_t expected[300], found[300];
        if (width > 4) x.f[3] = x.f[1] = 9, x.d[3] = x.d[1] = 9; /* the first of two */
        reference->argmax_rows(reference_pool, rows, width, x.d, expected);
        ON_EACH_POOL(p, {
            memset(found, 1, sizeof found);
            fast->argmax_rows(p, rows, width, x.f, found);
            CHECK(!memcmp(found, expected, (size_t)rows * sizeof *found), "argmax of %d x %d", (int)rows, (int)width);
        })
        FREE(&x);
    }
}

static void test_hog(void) {
    /* batch, channels, height, width, grid (2), cells of a patch (2), cell (2), bins */
    static const int64_t sizes[][11] = {{2, 3, 32, 32, 8, 8, 1, 1, 4, 4, 9},
                                        {1, 1, 24, 40, 3, 5, 2, 2, 4, 4, 9},
                                        {3, 2, 9, 10, 3, 2, 1, 1, 3, 5, 6},
                                        {1, 4, 7, 5, 1, 1, 1, 1, 7, 5, 64}};
    for (int i = 0; i < 4; i++) {
        const int64_t *n = sizes[i];
        int64_t count = n[0] * n[4] * n[5] * n[6] * n[7] * n[1] * n[10];
        array x = input(n[0] * n[1] * n[2] * n[3]), out = input(count);
        mk_hog problem = {n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], 1e-5, x.d, out.d};
        for (int64_t at = 0; at < n[3] * 3; at++) x.f[at] = 0.5f, x.d[at] = 0.5; /* where nothing changes, all is zero */
        reference->hog(reference_pool, &problem);
        problem.images = x.f, problem.out = out.f;
        ON_EACH_POOL(p, {
            spoil(&out);
            fast->hog(p, &problem);
            check_array("hog", "histograms", &out, 2e-6);
        })
        FREE(&x, &out);
    }
}

static void test_squared_error(void) {
    static const int64_t counts[] = {1, 7, 16, 33, 1025, 16384, 16400, 70003};
    for (int i = 0; i < 8; i++) {
        int64_t n = counts[i];
        array a = input(n), b = input(n), loss = input(1), out = input(n);
        float dloss_f = 0.7f;
        double dloss_d = dloss_f;
        reference->squared_error(reference_pool, n, a.d, b.d, loss.d);
        reference->squared_error_gradient(reference_pool, n, a.d, b.d, &dloss_d, out.d);
        need(fast->squared_error_scratch(n), reference->squared_error_scratch(n));
        ON_EACH_POOL(p, {
            spoil(&loss), spoil(&out);
            fast->squared_error(p, n, a.f, b.f, loss.f);
            check_array("squared_error", "loss", &loss, 5e-7);
            fast->squared_error_gradient(p, n, a.f, b.f, &dloss_f, out.f);
            check_array("squared_error", "gradient", &out, 5e-7);
            memcpy(out.f, a.f, (size_t)n * 4);
            fast->squared_error_gradient(p, n, out.f, b.f, &dloss_f, out.f);
            check_array("squared_error", "gradient over prediction", &out, 5e-7);
        })
        FREE(&a, &b, &loss, &out);
    }
}

static const float slope = 0.5f; /* gradient of the loss */

static void check_cross_entropy(int64_t rows, int64_t classes, double smoothing, int weighted) {
    const double slope_d = slope;
    array x = array_make(rows * classes, 10, 2), dx = input(rows * classes), log_sum_exp = input(rows), loss = input(1);
    array weights = input(rows);
    const double *wide = weighted ? weights.d : NULL;
    const float *narrow = weighted ? weights.f : NULL;
    int32_t *labels = malloc((size_t)rows * 4);
    for (int64_t r = 0; r < rows; r++) labels[r] = (int32_t)((r * 5) % classes);
    dx.floor = slope_d / (double)rows; /* of a probability, whose rounding is what counts when the target is subtracted */
    loss.floor = 1;                    /* of the difference of two numbers of this size and more */
    reference->cross_entropy(reference_pool, rows, classes, x.d, labels, smoothing, wide, log_sum_exp.d, loss.d);
    reference->cross_entropy_gradient(reference_pool, rows, classes, x.d, labels, smoothing, wide, log_sum_exp.d, &slope_d, dx.d);
    need(fast->cross_entropy_scratch(rows, classes), reference->cross_entropy_scratch(rows, classes));
    ON_EACH_POOL(p, {
        spoil(&log_sum_exp), spoil(&loss), spoil(&dx);
        fast->cross_entropy(p, rows, classes, x.f, labels, smoothing, narrow, log_sum_exp.f, loss.f);
        check_array("cross_entropy", "log_sum_exp", &log_sum_exp, 3e-7);
        check_array("cross_entropy", "loss", &loss, 1e-6);
        fast->cross_entropy_gradient(p, rows, classes, x.f, labels, smoothing, narrow, log_sum_exp.f, &slope, dx.f);
        check_array("cross_entropy", "gradient", &dx, 5e-6);
    })
    FREE(&x, &dx, &log_sum_exp, &loss, &weights);
    free(labels);
}

/* Targets are the softmax of other numbers. */
static void check_soft_cross_entropy(int64_t rows, int64_t classes, int weighted) {
    const double slope_d = slope;
    array x = array_make(rows * classes, 10, 2), targets = array_make(rows * classes, 3, 1);
    array dx = input(rows * classes), log_sum_exp = input(rows), loss = input(1), weights = input(rows);
    const double *wide = weighted ? weights.d : NULL;
    const float *narrow = weighted ? weights.f : NULL;
    dx.floor = slope_d / (double)rows;
    loss.floor = 12; /* of a logit: a row of targets adds up to 1 only as exactly as floats do */
    reference->softmax_rows(reference_pool, rows, classes, targets.d, targets.d);
    for (int64_t i = 0; i < rows * classes; i++) targets.d[i] = targets.f[i] = (float)targets.d[i];
    reference->soft_cross_entropy(reference_pool, rows, classes, x.d, targets.d, wide, log_sum_exp.d, loss.d);
    reference->soft_cross_entropy_gradient(reference_pool, rows, classes, x.d, targets.d, wide, log_sum_exp.d, &slope_d, dx.d);
    need(fast->cross_entropy_scratch(rows, classes), reference->cross_entropy_scratch(rows, classes));
    ON_EACH_POOL(p, {
        spoil(&log_sum_exp), spoil(&loss), spoil(&dx);
        fast->soft_cross_entropy(p, rows, classes, x.f, targets.f, narrow, log_sum_exp.f, loss.f);
        check_array("soft_cross_entropy", "log_sum_exp", &log_sum_exp, 3e-7);
        check_array("soft_cross_entropy", "loss", &loss, 1e-6);
        fast->soft_cross_entropy_gradient(p, rows, classes, x.f, targets.f, narrow, log_sum_exp.f, &slope, dx.f);
        check_array("soft_cross_entropy", "gradient", &dx, 5e-6);
    })
    FREE(&x, &targets, &dx, &log_sum_exp, &loss, &weights);
}

static void check_softmax(int64_t rows, int64_t classes) {
    array x = array_make(rows * classes, 10, 2), y = input(rows * classes);
    reference->softmax_rows(reference_pool, rows, classes, x.d, y.d);
    ON_EACH_POOL(p, {
        spoil(&y);
        fast->softmax_rows(p, rows, classes, x.f, y.f);
        check_array("softmax_rows", "y", &y, 2e-6);
        memcpy(y.f, x.f, (size_t)y.count * 4);
        fast->softmax_rows(p, rows, classes, y.f, y.f);
        check_array("softmax_rows", "y = x", &y, 2e-6);
    })
    FREE(&x, &y);
}

static void test_cross_entropy(void) {
    for (int i = 1; i < SHAPES; i++) { /* the first has no rows */
        int64_t rows = shapes[i][0], classes = shapes[i][1];
        check_cross_entropy(rows, classes, 0, 0);
        check_cross_entropy(rows, classes, 0.1, i % 2);
        check_soft_cross_entropy(rows, classes, i % 2);
        check_softmax(rows, classes);
    }
}

static void test_mean_tokens(void) {
    static const int64_t sizes[][4] = {{1, 1, 1, 0}, {3, 17, 33, 1}, {2, 65, 192, 1}, {5, 8, 16, 0}, {2, 4, 7, 3}};
    for (int i = 0; i < 5; i++) {
        int64_t batch = sizes[i][0], tokens = sizes[i][1], width = sizes[i][2], first = sizes[i][3];
        array x = input(batch * tokens * width), y = input(batch * width), dy = input(batch * width);
        array dx = input(batch * tokens * width);
        reference->mean_tokens(reference_pool, batch, tokens, width, first, x.d, y.d);
        reference->mean_tokens_gradient(reference_pool, batch, tokens, width, first, dy.d, dx.d);
        ON_EACH_POOL(p, {
            spoil(&y), spoil(&dx);
            fast->mean_tokens(p, batch, tokens, width, first, x.f, y.f);
            check_array("mean_tokens", "y", &y, 1e-6);
            fast->mean_tokens_gradient(p, batch, tokens, width, first, dy.f, dx.f);
            check_array("mean_tokens", "gradient", &dx, 2e-7);
        })
        FREE(&x, &y, &dy, &dx);
    }
}

static void test_all(void) {
    test_squared_error();
    test_smooth_l1();
    test_add_row();
    test_argmax();
    test_hog();
    test_cross_entropy();
    test_mean_tokens();
}

int main(void) { return on_every_isa(test_all, "test_losses"); }
