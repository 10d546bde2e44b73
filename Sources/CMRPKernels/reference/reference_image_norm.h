/* Group norm and global response normalisation as plain loops; included by reference_kernels.h. The formulas stand at mk_image_norm. */

static mk_scratch image_norm_scratch(const mk_image_norm *v) {
    (void)v;
    return (mk_scratch){0, 0};
}

static void group_norm_forward(mk_pool *pool, const mk_image_norm *v) {
    (void)pool;
    const REAL *x = v->x, *gamma = v->gamma, *beta = v->beta;
    REAL *y = v->y, *mean = v->mean, *rstd = v->rstd;
    int64_t channels = v->width / v->groups, count = v->rows * channels;
    for (int64_t image = 0; image < v->batch; image++) {
        for (int64_t g = 0; g < v->groups; g++) {
            int64_t first = image * v->rows * v->width + g * channels;
            double sum = 0, squares = 0;
            for (int64_t i = 0; i < count; i++) sum += x[first + i / channels * v->width + i % channels];
            double average = sum / count;
            for (int64_t i = 0; i < count; i++) {
                double d = x[first + i / channels * v->width + i % channels] - average;
                squares += d * d;
            }
            double inverse = 1 / sqrt(squares / count + v->epsilon);
            for (int64_t i = 0; i < count; i++) {
                int64_t at = first + i / channels * v->width + i % channels, c = g * channels + i % channels;
                y[at] = (REAL)((x[at] - average) * inverse * gamma[c] + beta[c]);
            }
            mean[image * v->groups + g] = (REAL)average;
            rstd[image * v->groups + g] = (REAL)inverse;
        }
    }
}

static void group_norm_backward(mk_pool *pool, const mk_image_norm *v) {
    (void)pool;
    const REAL *x = v->x, *gamma = v->gamma, *dy = v->y_gradient, *mean = v->mean, *rstd = v->rstd;
    REAL *dx = v->x_gradient, *dgamma = v->gamma_gradient, *dbeta = v->beta_gradient;
    int64_t channels = v->width / v->groups, count = v->rows * channels;
    for (int64_t c = 0; c < v->width; c++) {
        double scale = 0, shift = 0;
        for (int64_t r = 0; r < v->batch * v->rows; r++) {
            int64_t group = r / v->rows * v->groups + c / channels;
            scale += dy[r * v->width + c] * ((double)x[r * v->width + c] - mean[group]) * rstd[group];
            shift += dy[r * v->width + c];
        }
        dgamma[c] = (REAL)scale;
        dbeta[c] = (REAL)shift;
    }
    for (int64_t group = 0; group < v->batch * v->groups; group++) {
        int64_t first = group / v->groups * v->rows * v->width + group % v->groups * channels;
        double g_mean = 0, gh_mean = 0, inverse = rstd[group];
        for (int64_t i = 0; i < count; i++) {
            int64_t at = first + i / channels * v->width + i % channels;
            double g = (double)dy[at] * gamma[group % v->groups * channels + i % channels];
            g_mean += g / count;
            gh_mean += g * (x[at] - mean[group]) * inverse / count;
        }
        for (int64_t i = 0; i < count; i++) {
            int64_t at = first + i / channels * v->width + i % channels;
            double g = (double)dy[at] * gamma[group % v->groups * channels + i % channels];
            dx[at] = (REAL)(inverse * (g - g_mean - (x[at] - mean[group]) * inverse * gh_mean));
        }
    }
}

static void response_norm_forward(mk_pool *pool, const mk_image_norm *v) {
    (void)pool;
    const REAL *x = v->x, *gamma = v->gamma, *beta = v->beta;
    REAL *y = v->y, *norms = v->norms;
    for (int64_t image = 0; image < v->batch; image++) {
        int64_t first = image * v->rows * v->width;
        REAL *norm = norms + image * v->width;
        double average = v->epsilon;
        for (int64_t c = 0; c < v->width; c++) {
            double squares = 0;
            for (int64_t r = 0; r < v->rows; r++) squares += (double)x[first + r * v->width + c] * x[first + r * v->width + c];
            norm[c] = (REAL)sqrt(squares);
            average += sqrt(squares) / v->width;
        }
        for (int64_t i = 0; i < v->rows * v->width; i++) {
            int64_t c = i % v->width;
            y[first + i] = (REAL)(x[first + i] + gamma[c] * x[first + i] * (norm[c] / average) + beta[c]);
        }
    }
}

static void response_norm_backward(mk_pool *pool, const mk_image_norm *v) {
    (void)pool;
    const REAL *x = v->x, *gamma = v->gamma, *dy = v->y_gradient, *norms = v->norms;
    REAL *dx = v->x_gradient, *dgamma = v->gamma_gradient, *dbeta = v->beta_gradient;
    for (int64_t c = 0; c < v->width; c++) dgamma[c] = dbeta[c] = 0;
    for (int64_t image = 0; image < v->batch; image++) {
        int64_t first = image * v->rows * v->width;
        const REAL *norm = norms + image * v->width;
        double average = v->epsilon, common = 0;
        for (int64_t c = 0; c < v->width; c++) average += (double)norm[c] / v->width;
        for (int64_t i = 0; i < v->rows * v->width; i++) {
            int64_t c = i % v->width;
            double product = (double)dy[first + i] * x[first + i];
            dgamma[c] += (REAL)(product * norm[c] / average);
            dbeta[c] += dy[first + i];
            common += gamma[c] * product * norm[c] / (average * average * v->width);
        }
        for (int64_t c = 0; c < v->width; c++) {
            double gradient = -common; /* of the norm */
            for (int64_t r = 0; r < v->rows; r++)
                gradient += gamma[c] * (double)dy[first + r * v->width + c] * x[first + r * v->width + c] / average;
            for (int64_t r = 0; r < v->rows; r++) {
                int64_t at = first + r * v->width + c;
                dx[at] = (REAL)(dy[at] * (1 + gamma[c] * (norm[c] / average)) + (norm[c] == 0 ? 0 : gradient * x[at] / norm[c]));
            }
        }
    }
}
