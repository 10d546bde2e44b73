/* Kernels of instance masks; included by reference_kernels.h. See mk_maps and mk_row_maximum. */

static void sigmoid(mk_pool *pool, int64_t count, const void *x, void *y) {
    (void)pool;
    for (int64_t i = 0; i < count; i++) ((REAL *)y)[i] = (REAL)(1 / (1 + exp(-(double)((const REAL *)x)[i])));
}

/* dx = dy y (1 - y) */
static void sigmoid_gradient(mk_pool *pool, int64_t count, const void *y_, const void *y_gradient, void *x_gradient) {
    (void)pool;
    const REAL *y = y_, *dy = y_gradient;
    for (int64_t i = 0; i < count; i++) ((REAL *)x_gradient)[i] = (REAL)(dy[i] * (double)y[i] * (1 - (double)y[i]));
}

static mk_scratch maps_scratch(const mk_maps *p) {
    (void)p;
    return (mk_scratch){0, 0};
}

/* log(1 / (1 + exp(-x))) */
static double log_sigmoid(double x) { return x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x)); }

/* loss = mean over places of factor (t P (1 - p)^g (-log p) + (1 - t) N p^g (-log(1 - p))) */
static void logit_entropy(mk_pool *pool, const mk_maps *m, void *loss) {
    (void)pool;
    const REAL *a = m->a, *b = m->b;
    double sum = 0;
    for (int64_t i = 0; i < m->rows * m->width; i++) {
        const double x = a[i], t = b[i], yes = log_sigmoid(x), no = log_sigmoid(-x);
        if (t < 0) continue;
        sum -= row_weight(m->factors, i / m->width) *
               (t * m->positive * pow(exp(no), m->gamma) * yes + (1 - t) * m->negative * pow(exp(yes), m->gamma) * no);
    }
    *(REAL *)loss = (REAL)(sum / (double)(m->rows * m->width));
}

/* d/dx of (1 - p)^g log p is (1 - p)^g ((1 - p) - g p log p); of p^g log(1 - p) it is p^g (g (1 - p) log(1 - p) - p). */
static void logit_entropy_gradient(mk_pool *pool, const mk_maps *m, const void *loss_gradient, void *a_gradient) {
    (void)pool;
    const REAL *a = m->a, *b = m->b;
    const double factor = (double)*(const REAL *)loss_gradient / (double)(m->rows * m->width);
    for (int64_t i = 0; i < m->rows * m->width; i++) {
        const double x = a[i], t = b[i], yes = log_sigmoid(x), no = log_sigmoid(-x), p = exp(yes), q = exp(no);
        const double slope = t * m->positive * pow(q, m->gamma) * (q - m->gamma * p * yes) +
                             (1 - t) * m->negative * pow(p, m->gamma) * (m->gamma * q * no - p);
        ((REAL *)a_gradient)[i] = (REAL)(t < 0 ? 0 : -factor * row_weight(m->factors, i / m->width) * slope);
    }
}

/* loss = mean over places of -factor (b log a + (1 - b) log(1 - a)), a and 1 - a at least 1e-6 */
static void map_entropy(mk_pool *pool, const mk_maps *m, void *loss) {
    (void)pool;
    const REAL *a = m->a, *b = m->b;
    double sum = 0;
    for (int64_t i = 0; i < m->rows * m->width; i++) {
        if (b[i] < 0) continue;
        sum -= row_weight(m->factors, i / m->width) *
               (b[i] * log(fmax((double)a[i], 1e-6)) + (1 - (double)b[i]) * log(fmax(1 - (double)a[i], 1e-6)));
    }
    *(REAL *)loss = (REAL)(sum / (double)(m->rows * m->width));
}

static void map_entropy_gradient(mk_pool *pool, const mk_maps *m, const void *loss_gradient, void *a_gradient, void *b_gradient) {
    (void)pool;
    const REAL *a = m->a, *b = m->b;
    const double factor = (double)*(const REAL *)loss_gradient / (double)(m->rows * m->width);
    for (int64_t i = 0; i < m->rows * m->width; i++) {
        const double p = a[i], q = 1 - p, t = b[i], weight = t < 0 ? 0 : factor * row_weight(m->factors, i / m->width);
        if (a_gradient) ((REAL *)a_gradient)[i] = (REAL)(weight * ((q >= 1e-6 ? (1 - t) / q : 0) - (p >= 1e-6 ? t / p : 0)));
        if (b_gradient) ((REAL *)b_gradient)[i] = (REAL)(weight * (log(fmax(q, 1e-6)) - log(fmax(p, 1e-6))));
    }
}

/* sums = N, A of each row, loss = mean over rows of factor (1 - N / A) */
static void map_dice(mk_pool *pool, const mk_maps *m, void *sums_, void *loss) {
    (void)pool;
    REAL *sums = sums_;
    double total = 0;
    for (int64_t r = 0; r < m->rows; r++) {
        const REAL *a = (const REAL *)m->a + r * m->width, *b = (const REAL *)m->b + r * m->width;
        double both = m->squared ? 0 : 1, all = m->squared ? 0.001 : 1;
        for (int64_t i = 0; i < m->width; i++) {
            if (b[i] < 0) continue;
            both += 2 * (double)a[i] * b[i];
            all += m->squared ? (double)a[i] * a[i] + (double)b[i] * b[i] : (double)a[i] + b[i];
        }
        sums[2 * r] = (REAL)both, sums[2 * r + 1] = (REAL)all;
        total += row_weight(m->factors, r) * (1 - both / all);
    }
    *(REAL *)loss = (REAL)(total / (double)m->rows);
}

/* d(1 - N / A)/da = -2 b / A + N / A^2, squared -2 b / A + 2 a N / A^2; in b the same with a and b exchanged. */
static void map_dice_gradient(mk_pool *pool, const mk_maps *m, const void *sums_, const void *loss_gradient, void *a_gradient,
                              void *b_gradient) {
    (void)pool;
    const REAL *a = m->a, *b = m->b, *sums = sums_;
    for (int64_t i = 0; i < m->rows * m->width; i++) {
        const int64_t r = i / m->width;
        const double both = sums[2 * r], all = sums[2 * r + 1], pull = both / (all * all);
        const double factor = b[i] < 0 ? 0 : (double)*(const REAL *)loss_gradient / (double)m->rows * row_weight(m->factors, r);
        if (a_gradient) ((REAL *)a_gradient)[i] = (REAL)(factor * ((m->squared ? 2 * a[i] * pull : pull) - 2 * b[i] / all));
        if (b_gradient) ((REAL *)b_gradient)[i] = (REAL)(factor * ((m->squared ? 2 * b[i] * pull : pull) - 2 * a[i] / all));
    }
}

static void row_maximum(mk_pool *pool, const mk_row_maximum *p) {
    (void)pool;
    const REAL *x = p->x, *factors = p->factors;
    for (int64_t at = 0; at < p->batch * p->width; at++) {
        const int64_t b = at / p->width, w = at % p->width;
        int32_t winner = 0;
#define PRODUCT(r) ((REAL)(factors[b * p->rows + (r)] * x[(b * p->rows + (r)) * p->width + w]))
        for (int32_t r = 1; r < p->rows; r++)
            if (PRODUCT(r) > PRODUCT(winner)) winner = r;
        ((REAL *)p->y)[at] = PRODUCT(winner);
#undef PRODUCT
        p->winners[at] = winner;
    }
}

static void row_maximum_gradient(mk_pool *pool, const mk_row_maximum *p, const void *y_gradient, void *x_gradient, void *factors_gradient) {
    (void)pool;
    const REAL *x = p->x, *factors = p->factors;
    for (int64_t row = 0; row < p->batch * p->rows; row++) {
        const int64_t b = row / p->rows;
        double sum = 0;
        for (int64_t w = 0; w < p->width; w++) {
            const double dy = p->winners[b * p->width + w] == row % p->rows ? ((const REAL *)y_gradient)[b * p->width + w] : 0;
            sum += dy * x[row * p->width + w];
            if (x_gradient) ((REAL *)x_gradient)[row * p->width + w] = (REAL)(dy * factors[row]);
        }
        if (factors_gradient) ((REAL *)factors_gradient)[row] = (REAL)sum;
    }
}

static void append_columns(mk_pool *pool, int64_t batch, int64_t rows, int64_t width, int64_t extra, const void *x, const void *columns,
                           void *y) {
    (void)pool;
    for (int64_t at = 0; at < batch * rows * (width + extra); at++) {
        const int64_t row = at / (width + extra), c = at % (width + extra);
        ((REAL *)y)[at] = c < width ? ((const REAL *)x)[row * width + c] : ((const REAL *)columns)[row % rows * extra + c - width];
    }
}

static void leading_columns(mk_pool *pool, int64_t rows, int64_t width, int64_t extra, const void *y, void *x) {
    (void)pool;
    for (int64_t at = 0; at < rows * width; at++) ((REAL *)x)[at] = ((const REAL *)y)[at / width * (width + extra) + at % width];
}
