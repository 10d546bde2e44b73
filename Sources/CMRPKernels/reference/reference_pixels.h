/* Kernels of dense prediction; included by reference_kernels.h. */

/* The source of pixel `at` of `to` pixels among `from`: positions are centres, beyond the border is the border. */
static double resize_source(int64_t at, int64_t from, int64_t to) {
    const double place = ((double)at + 0.5) * (double)from / (double)to - 0.5;
    return place<0 ? 0 : place>(double)(from - 1) ? (double)(from - 1) : place;
}

/* Weight of source `from` in a pixel whose source is `place`. */
static double resize_weight(double place, int64_t from) {
    const double distance = fabs(place - (double)from);
    return distance < 1 ? 1 - distance : 0;
}

/* y[b, Y, X, c] = sum over y, x of weight(Y, y) weight(X, x) x[b, y, x, c]. */
static void resize_forward(mk_pool *pool, const mk_resize *p) {
    (void)pool;
    const REAL *x = p->x;
    REAL *y = p->y;
    for (int64_t at = 0; at < p->batch * p->out_height * p->out_width * p->channels; at++) {
        const int64_t c = at % p->channels, place = at / p->channels, line = place / p->out_width, image = line / p->out_height;
        const double row = resize_source(line % p->out_height, p->in_height, p->out_height);
        const double column = resize_source(place % p->out_width, p->in_width, p->out_width);
        double sum = 0;
        for (int64_t i = 0; i < p->in_height; i++)
            for (int64_t j = 0; j < p->in_width; j++)
                sum += resize_weight(row, i) * resize_weight(column, j) *
                       (double)x[((image * p->in_height + i) * p->in_width + j) * p->channels + c];
        y[at] = (REAL)sum;
    }
}

/* x = the gradient of the loss in x, from that in y: the transpose. */
static void resize_backward(mk_pool *pool, const mk_resize *p) {
    (void)pool;
    REAL *dx = p->x;
    const REAL *dy = p->y;
    for (int64_t at = 0; at < p->batch * p->in_height * p->in_width * p->channels; at++) {
        const int64_t c = at % p->channels, place = at / p->channels, line = place / p->in_width, image = line / p->in_height;
        double sum = 0;
        for (int64_t i = 0; i < p->out_height; i++)
            for (int64_t j = 0; j < p->out_width; j++)
                sum += resize_weight(resize_source(i, p->in_height, p->out_height), line % p->in_height) *
                       resize_weight(resize_source(j, p->in_width, p->out_width), place % p->in_width) *
                       (double)dy[((image * p->out_height + i) * p->out_width + j) * p->channels + c];
        dx[at] = (REAL)sum;
    }
}

static void gelu(mk_pool *pool, int64_t count, const void *x, void *y) {
    (void)pool;
    for (int64_t i = 0; i < count; i++) ((REAL *)y)[i] = (REAL)(((const REAL *)x)[i] * normal_cdf(((const REAL *)x)[i]));
}

/* loss = mean over rows of weight (1 - p)^gamma (-log p), p = exp(logits[label] - log_sum_exp). */
static void focal(mk_pool *pool, int64_t rows, int64_t classes, const void *logits_, const int32_t *labels, double gamma,
                  const void *weights, void *log_sum_exp_, void *loss) {
    (void)pool;
    REAL *log_sum_exp = log_sum_exp_;
    double sum = 0;
    for (int64_t r = 0; r < rows; r++) {
        const REAL *logits = (const REAL *)logits_ + r * classes;
        const double all = row_log_sum_exp(logits, classes), known = logits[labels[r]] - all;
        log_sum_exp[r] = (REAL)all;
        sum += row_weight(weights, r) * pow(-expm1(known), gamma) * -known;
    }
    *(REAL *)loss = (REAL)(sum / rows);
}

/* With l = log p: d loss / dl = weight (gamma (1 - p)^(gamma - 1) p l - (1 - p)^gamma), dl / dlogits = one_hot - exp(logits - log_sum_exp). */
static void focal_gradient(mk_pool *pool, int64_t rows, int64_t classes, const void *logits_, const int32_t *labels, double gamma,
                           const void *weights, const void *log_sum_exp_, const void *loss_gradient, void *dlogits_) {
    (void)pool;
    const REAL *log_sum_exp = log_sum_exp_;
    const double factor = (double)*(const REAL *)loss_gradient / rows;
    for (int64_t r = 0; r < rows; r++) {
        const REAL *logits = (const REAL *)logits_ + r * classes;
        REAL *dlogits = (REAL *)dlogits_ + r * classes;
        const double known = logits[labels[r]] - (double)log_sum_exp[r], rest = -expm1(known);
        double slope = -pow(rest, gamma);
        if (gamma > 0 && rest > 0) slope += gamma * pow(rest, gamma - 1) * exp(known) * known;
        for (int64_t c = 0; c < classes; c++) {
            const double share = exp((double)logits[c] - log_sum_exp[r]);
            dlogits[c] = (REAL)(((c == labels[r]) - share) * slope * factor * row_weight(weights, r));
        }
    }
}

static mk_scratch dice_scratch(int64_t rows, int64_t classes) {
    (void)rows, (void)classes;
    return (mk_scratch){0, 0};
}

/* With p = softmax(logits), t = one_hot(label), w = weight: sums[0][c] = 2 sum w p t + smooth, sums[1][c] = sum w (p + t) + smooth,
 * loss = mean over c of 1 - sums[0][c] / sums[1][c]. */
static void dice(mk_pool *pool, int64_t rows, int64_t classes, const void *logits_, const int32_t *labels, const void *weights,
                 double smooth, void *log_sum_exp_, void *sums_, void *loss) {
    (void)pool;
    REAL *log_sum_exp = log_sum_exp_, *sums = sums_;
    double total = 0;
    for (int64_t r = 0; r < rows; r++) log_sum_exp[r] = (REAL)row_log_sum_exp((const REAL *)logits_ + r * classes, classes);
    for (int64_t c = 0; c < classes; c++) {
        double both = smooth, all = smooth;
        for (int64_t r = 0; r < rows; r++) {
            const double share = exp((double)((const REAL *)logits_)[r * classes + c] - log_sum_exp[r]), weight = row_weight(weights, r);
            both += labels[r] == c ? 2 * weight * share : 0;
            all += weight * (share + (labels[r] == c));
        }
        sums[c] = (REAL)both;
        sums[classes + c] = (REAL)all;
        total += 1 - both / all;
    }
    *(REAL *)loss = (REAL)(total / classes);
}

/* With N, D = sums: d loss / dp[c] = w (N / D^2 - 2 t / D) / classes, and dlogits = p (dp - sum of p dp). */
static void dice_gradient(mk_pool *pool, int64_t rows, int64_t classes, const void *logits_, const int32_t *labels, const void *weights,
                          const void *log_sum_exp_, const void *sums_, const void *loss_gradient, void *dlogits_) {
    (void)pool;
    const REAL *log_sum_exp = log_sum_exp_, *both = sums_, *all = both + classes;
    const double factor = (double)*(const REAL *)loss_gradient / classes;
    for (int64_t r = 0; r < rows; r++) {
        const REAL *logits = (const REAL *)logits_ + r * classes;
        REAL *dlogits = (REAL *)dlogits_ + r * classes;
        double mean = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t c = 0; c < classes; c++) {
                const double share = exp((double)logits[c] - log_sum_exp[r]);
                const double slope = both[c] / ((double)all[c] * all[c]) - (labels[r] == c ? 2.0 / all[c] : 0);
                if (pass == 0) mean += share * slope;
                if (pass == 1) dlogits[c] = (REAL)(row_weight(weights, r) * factor * share * (slope - mean));
            }
    }
}

/* out[m, c, y, x] = mean over i, j < grid of images[source, c, y' grid + i, x' grid + j], y' and x' the place inside the tile. */
static void montage(mk_pool *pool, int64_t count, int64_t grid, int64_t channels, int64_t height, int64_t width, const void *images,
                    const int32_t *sources, void *out) {
    (void)pool;
    const int64_t rows = height / grid, columns = width / grid;
    for (int64_t at = 0; at < count * channels * height * width; at++) {
        const int64_t x = at % width, y = at / width % height, c = at / width / height % channels, m = at / width / height / channels;
        const int64_t source = sources[(m * grid + y / rows) * grid + x / columns];
        double sum = 0;
        for (int64_t i = 0; i < grid * grid; i++) {
            const int64_t row = y % rows * grid + i / grid, column = x % columns * grid + i % grid;
            sum += ((const REAL *)images)[((source * channels + c) * height + row) * width + column];
        }
        ((REAL *)out)[at] = (REAL)(sum / (double)(grid * grid));
    }
}
