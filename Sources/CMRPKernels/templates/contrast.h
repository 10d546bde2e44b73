/* Unit rows, running means of classes, and contrast against their distributions. Everything that is summed is summed in double. */
#include "../von_mises_fisher.h"
#include "loops.h"

typedef struct {
    int64_t rows, width;
    const float *x, *dy;
    float *y, *lengths;
} unit_rows_job;

static void unit_rows_task(void *context, int64_t index, int32_t worker) {
    const unit_rows_job *job = context;
    const int64_t width = job->width, first = index * mk_rows_per_task(width);
    const int64_t last = mk_least(job->rows, first + mk_rows_per_task(width));
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        const float *x = job->x + r * width;
        float *y = job->y + r * width;
        double square = 0;
        for (int64_t c = 0; c < width; c++) square += (double)x[c] * x[c];
        const double length = fmax(sqrt(square), 1e-12);
        for (int64_t c = 0; c < width; c++) y[c] = (float)(x[c] / length);
        job->lengths[r] = (float)length;
    }
}

static void unit_rows(mk_pool *pool, int64_t rows, int64_t width, const void *x, void *y, void *lengths) {
    unit_rows_job job = {rows, width, x, NULL, y, lengths};
    mk_pool_run(pool, mk_ceil_divide(rows, mk_rows_per_task(width)), unit_rows_task, &job);
}

static void unit_rows_gradient_task(void *context, int64_t index, int32_t worker) {
    const unit_rows_job *job = context;
    const int64_t width = job->width, first = index * mk_rows_per_task(width);
    const int64_t last = mk_least(job->rows, first + mk_rows_per_task(width));
    (void)worker;
    for (int64_t r = first; r < last; r++) {
        const float *unit = job->x + r * width, *dy = job->dy + r * width;
        float *dx = job->y + r * width;
        double radial = 0;
        for (int64_t c = 0; c < width; c++) radial += (double)dy[c] * unit[c];
        for (int64_t c = 0; c < width; c++) dx[c] = (float)((dy[c] - radial * unit[c]) / job->lengths[r]);
    }
}

static void unit_rows_gradient(mk_pool *pool, int64_t rows, int64_t width, const void *y, const void *lengths, const void *y_gradient,
                               void *x_gradient) {
    unit_rows_job job = {rows, width, y, y_gradient, x_gradient, (float *)lengths};
    mk_pool_run(pool, mk_ceil_divide(rows, mk_rows_per_task(width)), unit_rows_gradient_task, &job);
}

typedef struct {
    mk_pool *pool;
    int64_t rows, width, classes;
    const float *x, *means, *counts;
    const int32_t *labels;
    float *new_means, *new_counts;
} class_means_job;

static void class_means_task(void *context, int64_t index, int32_t worker) {
    const class_means_job *job = context;
    const int64_t width = job->width, first = index * mk_rows_per_task(width);
    const int64_t last = mk_least(job->classes, first + mk_rows_per_task(width));
    double *sum = mk_pool_scratch(job->pool, worker);
    for (int64_t j = first; j < last; j++) {
        const double before = job->counts[j];
        double found = 0;
        for (int64_t c = 0; c < width; c++) sum[c] = 0;
        for (int64_t r = 0; r < job->rows; r++) {
            if (job->labels[r] != j) continue;
            const float *x = job->x + r * width;
            for (int64_t c = 0; c < width; c++) sum[c] += x[c];
            found += 1;
        }
        const float *mean = job->means + j * width;
        float *out = job->new_means + j * width;
        for (int64_t c = 0; c < width; c++) out[c] = found > 0 ? (float)((before * mean[c] + sum[c]) / (before + found)) : mean[c];
        job->new_counts[j] = (float)(before + found);
    }
}

static mk_scratch class_means_scratch(int64_t width) { return (mk_scratch){width * (int64_t)sizeof(double), 0}; }

static void class_means(mk_pool *pool, int64_t rows, int64_t width, int64_t classes, const void *x, const int32_t *labels,
                        const void *means, const void *counts, void *new_means, void *new_counts) {
    class_means_job job = {pool, rows, width, classes, x, means, counts, labels, new_means, new_counts};
    mk_pool_run(pool, mk_ceil_divide(classes, mk_rows_per_task(width)), class_means_task, &job);
}

/* By class: concentration, 1 / |mean|, log C(concentration). */
typedef struct {
    const mk_contrast *problem;
    double *concentration, *inverse, *constant;
} contrast_job;

static mk_scratch contrast_scratch(const mk_contrast *c) { return (mk_scratch){0, 3 * c->classes * (int64_t)sizeof(double)}; }

static double contrast_images(const mk_contrast *c, int64_t j) {
    return fmin(((const float *)c->counts)[j] / c->views, ((const float *)c->images)[j]);
}

static contrast_job contrast_prepare(mk_pool *pool, const mk_contrast *c) {
    double *shared = mk_pool_shared(pool);
    contrast_job job = {c, shared, shared + c->classes, shared + 2 * c->classes};
    for (int64_t j = 0; j < c->classes; j++) {
        const float *mean = (const float *)c->means + j * c->width;
        double square = 0;
        for (int64_t i = 0; i < c->width; i++) square += (double)mean[i] * mean[i];
        job.concentration[j] = square;
        job.inverse[j] = 1 / fmax(sqrt(square), 1e-12);
    }
    mk_concentrations(c, contrast_images, job.concentration);
    for (int64_t j = 0; j < c->classes; j++) job.constant[j] = mk_log_vmf((double)c->width / 2 - 1, job.concentration[j], NULL);
    return job;
}

/* |kappa mu + z / temperature| from the cosine of mu and z, which both have length 1. */
MK_INLINE double contrast_joint(const contrast_job *job, const float *z, int64_t j) {
    const mk_contrast *c = job->problem;
    const float *mean = (const float *)c->means + j * c->width;
    double cosine = 0;
    for (int64_t i = 0; i < c->width; i++) cosine += (double)z[i] * mean[i];
    const double kappa = job->concentration[j], inverse = 1 / c->temperature;
    const double square = kappa * kappa + 2 * kappa * cosine * job->inverse[j] * inverse + inverse * inverse;
    return sqrt(fmax(square, 1e-6));
}

static void contrast_forward_task(void *context, int64_t r, int32_t worker) {
    const contrast_job *job = context;
    const mk_contrast *c = job->problem;
    (void)worker;
    for (int64_t j = 0; j < c->classes; j++) {
        const double k = contrast_joint(job, (const float *)c->z + r * c->width, j);
        ((float *)c->scores)[r * c->classes + j] = (float)(mk_log_vmf((double)c->width / 2 - 1, k, NULL) - job->constant[j]);
    }
}

static void contrast_forward(mk_pool *pool, const mk_contrast *c) {
    contrast_job job = contrast_prepare(pool, c);
    mk_pool_run(pool, c->rows, contrast_forward_task, &job);
}

static void contrast_backward_task(void *context, int64_t r, int32_t worker) {
    const contrast_job *job = context;
    const mk_contrast *c = job->problem;
    float *out = (float *)c->z_gradient + r * c->width;
    (void)worker;
    for (int64_t i = 0; i < c->width; i++) out[i] = 0;
    for (int64_t j = 0; j < c->classes; j++) {
        const double k = contrast_joint(job, (const float *)c->z + r * c->width, j);
        const double slope = ((const float *)c->scores_gradient)[r * c->classes + j];
        const float *mean = (const float *)c->means + j * c->width;
        double ratio;
        mk_log_vmf((double)c->width / 2 - 1, k, &ratio);
        const float factor = (float)(slope * ratio * job->concentration[j] / (c->temperature * k) * job->inverse[j]);
        for (int64_t i = 0; i < c->width; i++) out[i] += factor * mean[i];
    }
}

static void contrast_backward(mk_pool *pool, const mk_contrast *c) {
    contrast_job job = contrast_prepare(pool, c);
    mk_pool_run(pool, c->rows, contrast_backward_task, &job);
}
