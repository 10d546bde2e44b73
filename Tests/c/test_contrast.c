/* The Bessel function against mpmath; unit rows, class means and contrast of every instruction set against the float64 reference, which forms
 * kappa mu + z / temperature element by element where the others use the cosine. */
#include "kernel_arrays.h"

#include "../../Sources/CMRPKernels/von_mises_fisher.h"
#include "bessel_values.h"

static void test_bessel(void) {
    for (size_t i = 0; i < sizeof bessel_values / sizeof *bessel_values; i++) {
        const double nu = bessel_values[i].width / 2.0 - 1, x = bessel_values[i].x;
        double ratio;
        const double found = mk_log_bessel(nu, x, &ratio), plain = mk_log_bessel(nu, x, NULL);
        /* a double of 1e5 has a step of 1.5e-11 */
        const double limit = (nu >= 63 ? 3e-11 : 7e-10) + 4e-16 * fabs(bessel_values[i].logarithm);
        CHECK(fabs(found - bessel_values[i].logarithm) < limit, "log I of width %d at %g: %.15g, not %.15g", bessel_values[i].width, x,
              found, bessel_values[i].logarithm);
        CHECK(found == plain);
        CHECK(fabs(ratio - bessel_values[i].ratio) < 1e-9, "ratio of width %d at %g: %.15g", bessel_values[i].width, x, ratio);
    }
}

static void to_unit(array *rows, int64_t count, int64_t width, double least, double step) {
    for (int64_t r = 0; r < count; r++) {
        double square = 0, length = least + step * (double)r;
        for (int64_t c = 0; c < width; c++) square += rows->d[r * width + c] * rows->d[r * width + c];
        for (int64_t c = 0; c < width; c++) {
            const int64_t at = r * width + c;
            rows->f[at] = (float)(rows->d[at] * length / sqrt(square));
            rows->d[at] = rows->f[at];
        }
    }
}

static void check_contrast(int64_t rows, int64_t classes, int64_t width, double temperature, int32_t unbiased) {
    array z = input(rows * width), means = input(classes * width), counts = array_make(classes, 0, 0), images = array_make(classes, 0, 0);
    array scores = input(rows * classes), slopes = input(rows * classes), dz = input(rows * width);
    to_unit(&z, rows, width, 1, 0);
    to_unit(&means, classes, width, 0.05, 0.94 / (double)classes);
    for (int64_t j = 0; j < classes; j++) {
        counts.d[j] = counts.f[j] = (float)(2 * j); /* 0: none yet */
        images.d[j] = images.f[j] = (float)(j + 3);
    }
    mk_contrast c = {rows, classes, width, temperature, unbiased, 2, z.d, means.d, counts.d, images.d, scores.d, slopes.d, dz.d};
    need(fast->contrast_scratch(&c), reference->contrast_scratch(&c));
    reference->contrast_forward(reference_pool, &c);
    reference->contrast_backward(reference_pool, &c);
    scores.floor = 1, dz.floor = 0.05;
    mk_contrast f = {rows, classes, width, temperature, unbiased, 2, z.f, means.f, counts.f, images.f, scores.f, slopes.f, dz.f};
    ON_EACH_POOL(p, {
        spoil(&scores), spoil(&dz);
        fast->contrast_forward(p, &f);
        check_array("contrast", "scores", &scores, 2e-6);
        fast->contrast_backward(p, &f);
        check_array("contrast", "gradient", &dz, 5e-6);
    })
    FREE(&z, &means, &counts, &images, &scores, &slopes, &dz);
}

static void check_rows(int64_t rows, int64_t width, int64_t classes) {
    array x = array_make(rows * width, 3, 0.2), y = input(rows * width), lengths = input(rows), dy = input(rows * width);
    array dx = input(rows * width), means = input(classes * width), counts = array_make(classes, 0, 5);
    array new_means = input(classes * width), new_counts = input(classes);
    int32_t *labels = malloc((size_t)rows * 4);
    for (int64_t r = 0; r < rows; r++) labels[r] = (int32_t)(r * 7 % classes) / 2; /* some classes have none */
    reference->unit_rows(reference_pool, rows, width, x.d, y.d, lengths.d);
    reference->unit_rows_gradient(reference_pool, rows, width, y.d, lengths.d, dy.d, dx.d);
    reference->class_means(reference_pool, rows, width, classes, x.d, labels, means.d, counts.d, new_means.d, new_counts.d);
    need(fast->class_means_scratch(width), reference->class_means_scratch(width));
    ON_EACH_POOL(p, {
        spoil(&y), spoil(&lengths), spoil(&dx), spoil(&new_means), spoil(&new_counts);
        fast->unit_rows(p, rows, width, x.f, y.f, lengths.f);
        check_array("unit_rows", "y", &y, 2e-7);
        check_array("unit_rows", "lengths", &lengths, 2e-7);
        fast->unit_rows_gradient(p, rows, width, y.f, lengths.f, dy.f, dx.f);
        check_array("unit_rows", "gradient", &dx, 1e-6);
        fast->class_means(p, rows, width, classes, x.f, labels, means.f, counts.f, new_means.f, new_counts.f);
        check_array("class_means", "means", &new_means, 2e-7);
        check_array("class_means", "counts", &new_counts, 0);
    })
    FREE(&x, &y, &lengths, &dy, &dx, &means, &counts, &new_means, &new_counts);
    free(labels);
}

static void test_all(void) {
    test_bessel();
    check_rows(1, 1, 1);
    check_rows(33, 17, 5);
    check_rows(64, 128, 1000);
    check_contrast(1, 2, 16, 0.1, 0);
    check_contrast(9, 10, 64, 0.1, 0);
    check_contrast(9, 10, 64, 0.1, 1);
    check_contrast(5, 7, 33, 0.5, 1);
    check_contrast(3, 4, 128, 0.05, 0);
}

int main(void) { return on_every_isa(test_all, "test_contrast"); }
