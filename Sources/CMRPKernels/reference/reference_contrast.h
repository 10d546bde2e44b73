/* Unit rows, running means of classes, and contrast against their distributions: part of reference_kernels.h. */
#include "../von_mises_fisher.h"

/* y = x / max(|x|, 1e-12), lengths = the divisors (torch's normalize). */
static void unit_rows(mk_pool *pool, int64_t rows, int64_t width, const void *x_, void *y_, void *lengths) {
    (void)pool;
    for (int64_t r = 0; r < rows; r++) {
        const REAL *x = (const REAL *)x_ + r * width;
        double square = 0;
        for (int64_t c = 0; c < width; c++) square += (double)x[c] * x[c];
        const double length = fmax(sqrt(square), 1e-12);
        for (int64_t c = 0; c < width; c++) ((REAL *)y_)[r * width + c] = (REAL)(x[c] / length);
        ((REAL *)lengths)[r] = (REAL)length;
    }
}

/* dx = (dy - (dy . y) y) / length. */
static void unit_rows_gradient(mk_pool *pool, int64_t rows, int64_t width, const void *y_, const void *lengths, const void *dy_,
                               void *dx_) {
    (void)pool;
    for (int64_t r = 0; r < rows; r++) {
        const REAL *y = (const REAL *)y_ + r * width, *dy = (const REAL *)dy_ + r * width;
        double radial = 0;
        for (int64_t c = 0; c < width; c++) radial += (double)dy[c] * y[c];
        for (int64_t c = 0; c < width; c++)
            ((REAL *)dx_)[r * width + c] = (REAL)((dy[c] - radial * y[c]) / (double)((const REAL *)lengths)[r]);
    }
}

static mk_scratch class_means_scratch(int64_t width) {
    (void)width;
    return (mk_scratch){0, 0};
}

/* mean = (n mean + sum) / (n + c), count = n + c where c > 0 rows have the class. */
static void class_means(mk_pool *pool, int64_t rows, int64_t width, int64_t classes, const void *x, const int32_t *labels,
                        const void *means, const void *counts, void *new_means, void *new_counts) {
    (void)pool;
    for (int64_t j = 0; j < classes; j++) {
        double found = 0, n = ((const REAL *)counts)[j];
        for (int64_t r = 0; r < rows; r++) found += labels[r] == j;
        ((REAL *)new_counts)[j] = (REAL)(n + found);
        for (int64_t c = 0; c < width; c++) {
            double old = ((const REAL *)means)[j * width + c], sum = 0;
            for (int64_t r = 0; r < rows; r++) sum += labels[r] == j ? ((const REAL *)x)[r * width + c] : 0;
            ((REAL *)new_means)[j * width + c] = (REAL)(found > 0 ? (n * old + sum) / (n + found) : old);
        }
    }
}

static mk_scratch contrast_scratch(const mk_contrast *c) { return (mk_scratch){0, c->classes * (int64_t)sizeof(double)}; }

static double contrast_length(const mk_contrast *c, int64_t j) {
    double square = 0;
    for (int64_t i = 0; i < c->width; i++) square += pow(((const REAL *)c->means)[j * c->width + i], 2);
    return sqrt(square);
}

static double contrast_images(const mk_contrast *c, int64_t j) {
    return fmin(((const REAL *)c->counts)[j] / c->views, ((const REAL *)c->images)[j]);
}

static double *contrast_concentrations(mk_pool *pool, const mk_contrast *c) {
    double *kappa = mk_pool_shared(pool);
    for (int64_t j = 0; j < c->classes; j++) kappa[j] = pow(contrast_length(c, j), 2);
    mk_concentrations(c, contrast_images, kappa);
    return kappa;
}

/* |kappa mu + z / temperature|, element by element. */
static double contrast_joint(const mk_contrast *c, double kappa, int64_t r, int64_t j) {
    const double length = contrast_length(c, j);
    double square = 0;
    for (int64_t i = 0; i < c->width; i++)
        square +=
            pow(kappa * ((const REAL *)c->means)[j * c->width + i] / length + ((const REAL *)c->z)[r * c->width + i] / c->temperature, 2);
    return sqrt(square);
}

/* scores[r, j] = log C(k~) - log C(kappa_j). */
static void contrast_forward(mk_pool *pool, const mk_contrast *c) {
    const double nu = (double)c->width / 2 - 1, *kappa = contrast_concentrations(pool, c);
    for (int64_t r = 0; r < c->rows; r++)
        for (int64_t j = 0; j < c->classes; j++)
            ((REAL *)c->scores)[r * c->classes + j] =
                (REAL)(mk_log_vmf(nu, contrast_joint(c, kappa[j], r, j), NULL) - mk_log_vmf(nu, kappa[j], NULL));
}

static void contrast_backward(mk_pool *pool, const mk_contrast *c) {
    const double nu = (double)c->width / 2 - 1, *kappa = contrast_concentrations(pool, c);
    for (int64_t r = 0; r < c->rows; r++) {
        REAL *dz = (REAL *)c->z_gradient + r * c->width;
        for (int64_t i = 0; i < c->width; i++) {
            double sum = 0;
            for (int64_t j = 0; j < c->classes; j++) {
                const double k = contrast_joint(c, kappa[j], r, j), ds = ((const REAL *)c->scores_gradient)[r * c->classes + j];
                double ratio;
                mk_log_vmf(nu, k, &ratio);
                sum += ds * ratio * kappa[j] / (c->temperature * k) * ((const REAL *)c->means)[j * c->width + i] / contrast_length(c, j);
            }
            dz[i] = (REAL)sum;
        }
    }
}
