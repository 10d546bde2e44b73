/* The kernels of dense prediction: resizing, focal and dice losses, GELU alone; as test_kernels.c, against the float64 reference. */
#include "kernel_arrays.h"

static void test_resize(void) {
    /* batch, channels, in (2), out (2) */
    static const int64_t sizes[][6] = {{1, 1, 1, 1, 1, 1},   {2, 3, 4, 5, 8, 10}, {1, 19, 3, 7, 12, 28},
                                       {2, 2, 8, 8, 3, 5},   {1, 33, 1, 4, 6, 4}, {3, 5, 5, 5, 5, 5},
                                       {1, 4, 7, 3, 20, 11}, {2, 17, 6, 9, 1, 1}, {1, 21, 16, 16, 64, 64}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int64_t *n = sizes[i];
        array x = input(n[0] * n[1] * n[2] * n[3]), y = input(n[0] * n[1] * n[4] * n[5]), dx = input(x.count), dy = input(y.count);
        mk_resize p = {n[0], n[1], n[2], n[3], n[4], n[5], x.d, y.d};
        reference->resize_forward(reference_pool, &p);
        p.x = dx.d, p.y = dy.d;
        reference->resize_backward(reference_pool, &p);
        ON_EACH_POOL(pool, {
            spoil(&y), spoil(&dx);
            p.x = x.f, p.y = y.f;
            fast->resize_forward(pool, &p);
            check_array("resize", "y", &y, 1e-6);
            p.x = dx.f, p.y = dy.f;
            fast->resize_backward(pool, &p);
            check_array("resize", "dx", &dx, 2e-6);
        })
        FREE(&x, &y, &dx, &dy);
    }
}

static void test_gelu(void) {
    static const int64_t counts[] = {1, 17, 70003};
    for (int i = 0; i < 3; i++) {
        array x = array_make(counts[i], 6, 0), y = input(counts[i]);
        y.floor = 1; /* of x: the tail of the distribution is a difference */
        reference->gelu(reference_pool, counts[i], x.d, y.d);
        ON_EACH_POOL(p, {
            spoil(&y);
            fast->gelu(p, counts[i], x.f, y.f);
            check_array("gelu", "y", &y, 1e-6);
        })
        FREE(&x, &y);
    }
}

static const float slope = 0.7f;

static void check_focal(int64_t rows, int64_t classes, double gamma, int weighted) {
    const double slope_d = slope;
    array x = array_make(rows * classes, 6, 1), dx = input(rows * classes), log_sum_exp = input(rows), loss = input(1);
    array weights = input(rows);
    const double *wide = weighted ? weights.d : NULL;
    const float *narrow = weighted ? weights.f : NULL;
    int32_t *labels = malloc((size_t)rows * 4);
    for (int64_t r = 0; r < rows; r++) labels[r] = (int32_t)((r * 5) % classes);
    dx.floor = slope_d / (double)rows;
    loss.floor = 1;
    reference->focal(reference_pool, rows, classes, x.d, labels, gamma, wide, log_sum_exp.d, loss.d);
    reference->focal_gradient(reference_pool, rows, classes, x.d, labels, gamma, wide, log_sum_exp.d, &slope_d, dx.d);
    need(fast->cross_entropy_scratch(rows, classes), reference->cross_entropy_scratch(rows, classes));
    ON_EACH_POOL(p, {
        spoil(&log_sum_exp), spoil(&loss), spoil(&dx);
        fast->focal(p, rows, classes, x.f, labels, gamma, narrow, log_sum_exp.f, loss.f);
        check_array("focal", "loss", &loss, 1e-6);
        fast->focal_gradient(p, rows, classes, x.f, labels, gamma, narrow, log_sum_exp.f, &slope, dx.f);
        check_array("focal", "gradient", &dx, 5e-6);
    })
    FREE(&x, &dx, &log_sum_exp, &loss, &weights);
    free(labels);
}

static void check_dice(int64_t rows, int64_t classes, int weighted) {
    const double slope_d = slope;
    array x = array_make(rows * classes, 6, 1), dx = input(rows * classes), log_sum_exp = input(rows), sums = input(2 * classes);
    array weights = array_make(rows, 0.5, 0.5), loss = input(1);
    const double *wide = weighted ? weights.d : NULL;
    const float *narrow = weighted ? weights.f : NULL;
    int32_t *labels = malloc((size_t)rows * 4);
    for (int64_t r = 0; r < rows; r++) labels[r] = (int32_t)((r * 5) % classes);
    dx.floor = slope_d / (double)rows;
    loss.floor = 1;
    reference->dice(reference_pool, rows, classes, x.d, labels, wide, 1, log_sum_exp.d, sums.d, loss.d);
    reference->dice_gradient(reference_pool, rows, classes, x.d, labels, wide, log_sum_exp.d, sums.d, &slope_d, dx.d);
    need(fast->dice_scratch(rows, classes), reference->dice_scratch(rows, classes));
    ON_EACH_POOL(p, {
        spoil(&log_sum_exp), spoil(&loss), spoil(&dx), spoil(&sums);
        fast->dice(p, rows, classes, x.f, labels, narrow, 1, log_sum_exp.f, sums.f, loss.f);
        check_array("dice", "log_sum_exp", &log_sum_exp, 3e-7);
        check_array("dice", "sums", &sums, 1e-6);
        check_array("dice", "loss", &loss, 1e-6);
        fast->dice_gradient(p, rows, classes, x.f, labels, narrow, log_sum_exp.f, sums.f, &slope, dx.f);
        check_array("dice", "gradient", &dx, 5e-6);
    })
    FREE(&x, &dx, &log_sum_exp, &loss, &weights, &sums);
    free(labels);
}

static void test_pixel_losses(void) {
    static const int64_t sizes[][2] = {{1, 2}, {7, 3}, {67, 17}, {300, 33}, {20000, 2}, {4200, 21}};
    for (int i = 0; i < 12; i++) {
        for (int gamma = 0; gamma < 4; gamma++) check_focal(sizes[i / 2][0], sizes[i / 2][1], (double[]){0, 0.5, 1, 2}[gamma], i % 2);
        check_dice(sizes[i / 2][0], sizes[i / 2][1], i % 2);
    }
}

static void test_montage(void) {
    /* count, grid, channels, height, width */
    static const int64_t sizes[][5] = {{1, 1, 1, 1, 1},  {3, 1, 3, 5, 7},  {2, 2, 3, 8, 4},
                                       {1, 4, 2, 8, 24}, {1, 8, 1, 16, 8}, {2, 3, 2, 9, 6}};
    enum { IMAGES = 5 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int64_t *n = sizes[i], image = n[2] * n[3] * n[4];
        int32_t sources[2 * 64];
        for (int64_t t = 0; t < n[0] * n[1] * n[1]; t++) sources[t] = (int32_t)((7 * t + 3) % IMAGES);
        array images = input(IMAGES * image), out = input(n[0] * image);
        reference->montage(reference_pool, n[0], n[1], n[2], n[3], n[4], images.d, sources, out.d);
        ON_EACH_POOL(pool, {
            spoil(&out);
            fast->montage(pool, n[0], n[1], n[2], n[3], n[4], images.f, sources, out.f);
            check_array("montage", "out", &out, 1e-6);
        })
        FREE(&images, &out);
    }
}

static void test_all(void) {
    test_montage();
    test_resize();
    test_gelu();
    test_pixel_losses();
}

int main(void) { return on_every_isa(test_all, "test_pixels"); }
