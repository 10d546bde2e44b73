/* Convolution, batch normalisation and pooling as plain loops; included by reference_kernels.h. Shapes and formulas stand at
 * mk_conv2d, mk_batch_norm and mk_pool2d. */

/* The row of a tensor at a position of its image; -1 beyond the border and where nothing is. */
static int64_t place_row(const mk_places *places, int64_t height, int64_t width, int64_t image, int64_t y, int64_t x) {
    if (y < 0 || y >= height || x < 0 || x >= width) return -1;
    int64_t position = (image * height + y) * width + x;
    return places->rows ? places->rows[position] : position;
}

/* The row of x that tap (i, j) of the window of row `row` of y reads, or -1. */
static int64_t window_row(const mk_window *rows, const mk_window *columns, const mk_places *in, const mk_places *out, int64_t row,
                          int64_t i, int64_t j) {
    int64_t position = out->positions ? out->positions[row] : row;
    int64_t x = position % columns->out, y = position / columns->out % rows->out, image = position / columns->out / rows->out;
    return place_row(in, rows->in, columns->in, image, y * rows->stride - rows->padding + i * rows->dilation,
                     x * columns->stride - columns->padding + j * columns->dilation);
}

static mk_scratch conv2d_scratch(const mk_conv2d *v, int32_t pass) {
    if (pass == MK_CONV2D_FORWARD) return (mk_scratch){0, 0};
    int64_t weights = v->out_channels * (v->channels / v->groups) * v->rows.kernel * v->columns.kernel;
    return (mk_scratch){0, (pass == MK_CONV2D_INPUT_GRADIENT ? v->in.count * v->channels : weights) * (int64_t)sizeof(double)};
}

/* Every product of the sum once: `to` of each pass is the factor that the other two are given for. */
static void conv2d(mk_pool *pool, const mk_conv2d *v, int32_t pass) {
    REAL *x = v->x, *y = v->y, *weight = v->weight;
    const REAL *bias = v->bias, *addend = v->addend, *scale = v->scale;
    int64_t group_in = v->channels / v->groups, group_out = v->out_channels / v->groups, kh = v->rows.kernel, kw = v->columns.kernel;
    int64_t weights = v->out_channels * group_in * kh * kw;
    double *sums = mk_pool_shared(pool);
    if (pass == MK_CONV2D_INPUT_GRADIENT)
        for (int64_t i = 0; i < v->in.count * v->channels; i++) sums[i] = (bias ? bias[i % v->channels] : 0) + (addend ? addend[i] : 0);
    if (pass == MK_CONV2D_WEIGHT_GRADIENT)
        for (int64_t i = 0; i < weights; i++) sums[i] = 0;
    for (int64_t row = 0; row < v->out.count; row++) {
        for (int64_t o = 0; o < v->out_channels; o++) {
            REAL *at = y + row * v->out_channels + o;
            double sum = 0, gradient = pass == MK_CONV2D_FORWARD ? 0 : *at;
            for (int64_t i = 0; i < kh; i++) {
                for (int64_t j = 0; j < kw; j++) {
                    int64_t source = window_row(&v->rows, &v->columns, &v->in, &v->out, row, i, j);
                    if (source < 0) continue;
                    int64_t first = source * v->channels + o / group_out * group_in;
                    for (int64_t c = 0; c < group_in; c++) {
                        int64_t w = ((o * group_in + c) * kh + i) * kw + j;
                        if (pass == MK_CONV2D_FORWARD) sum += (double)weight[w] * x[first + c];
                        if (pass == MK_CONV2D_INPUT_GRADIENT) sums[first + c] += weight[w] * gradient;
                        if (pass == MK_CONV2D_WEIGHT_GRADIENT) sums[w] += x[first + c] * gradient;
                    }
                }
            }
            if (pass != MK_CONV2D_FORWARD) continue;
            if (scale) sum *= scale[o];
            if (bias) sum += bias[o];
            *at = (REAL)apply_relu(addend ? sum + addend[row * v->out_channels + o] : sum, v->relu);
        }
    }
    if (pass == MK_CONV2D_INPUT_GRADIENT)
        for (int64_t i = 0; i < v->in.count * v->channels; i++) x[i] = (REAL)sums[i];
    if (pass == MK_CONV2D_WEIGHT_GRADIENT)
        for (int64_t i = 0; i < weights; i++) weight[i] = (REAL)sums[i];
}

static mk_scratch column_moments_scratch(int64_t rows, int64_t width) {
    (void)rows, (void)width;
    return (mk_scratch){0, 0};
}

static void column_moments(mk_pool *pool, int64_t rows, int64_t width, const void *x_, void *mean_, void *variance_) {
    (void)pool;
    const REAL *x = x_;
    REAL *mean = mean_, *variance = variance_;
    for (int64_t c = 0; c < width; c++) {
        double sum = 0, squares = 0;
        for (int64_t r = 0; r < rows; r++) sum += x[r * width + c];
        sum /= rows;
        for (int64_t r = 0; r < rows; r++) squares += (x[r * width + c] - sum) * (x[r * width + c] - sum);
        mean[c] = (REAL)sum;
        variance[c] = (REAL)(squares / rows);
    }
}

static mk_scratch batch_norm_scratch(const mk_batch_norm *b) {
    (void)b;
    return (mk_scratch){0, 0};
}

static void batch_norm_forward(mk_pool *pool, const mk_batch_norm *b) {
    (void)pool;
    const REAL *x = b->x, *gamma = b->gamma, *beta = b->beta, *mean = b->mean, *variance = b->variance, *residual = b->residual;
    REAL *y = b->y;
    for (int64_t i = 0; i < b->rows * b->width; i++) {
        int64_t c = i % b->width;
        double value = ((double)x[i] - mean[c]) / sqrt(variance[c] + b->epsilon) * gamma[c] + beta[c];
        if (residual) value += residual[i];
        y[i] = (REAL)apply_relu(value, b->relu);
    }
}

static void batch_norm_fold(mk_pool *pool, const mk_batch_norm *b, void *scale_, void *shift_) {
    (void)pool;
    const REAL *gamma = b->gamma, *beta = b->beta, *mean = b->mean, *variance = b->variance;
    REAL *scale = scale_, *shift = shift_;
    for (int64_t c = 0; c < b->width; c++) {
        double factor = gamma[c] / sqrt(variance[c] + b->epsilon);
        scale[c] = (REAL)factor;
        shift[c] = (REAL)(beta[c] - mean[c] * factor);
    }
}

static void batch_norm_backward(mk_pool *pool, const mk_batch_norm *b) {
    (void)pool;
    const REAL *x = b->x, *gamma = b->gamma, *mean = b->mean, *variance = b->variance, *y = b->y, *dy = b->y_gradient;
    REAL *dx = b->x_gradient, *dresidual = b->residual_gradient, *dgamma = b->gamma_gradient, *dbeta = b->beta_gradient;
    for (int64_t c = 0; c < b->width; c++) {
        double std = sqrt(variance[c] + b->epsilon), sum = 0, product = 0;
        for (int64_t i = c; i < b->rows * b->width; i += b->width) {
            double dz = b->relu && (!(y[i] > 0) || (b->relu == 6 && !(y[i] < 6))) ? 0 : dy[i];
            sum += dz;
            product += dz * (((double)x[i] - mean[c]) / std);
        }
        double mean_dz = b->frozen ? 0 : sum / b->rows, mean_product = b->frozen ? 0 : product / b->rows;
        for (int64_t i = c; i < b->rows * b->width; i += b->width) {
            double dz = b->relu && (!(y[i] > 0) || (b->relu == 6 && !(y[i] < 6))) ? 0 : dy[i], h = ((double)x[i] - mean[c]) / std;
            if (dresidual) dresidual[i] = (REAL)dz;
            dx[i] = (REAL)(gamma[c] / std * (dz - mean_dz - h * mean_product));
        }
        dgamma[c] = (REAL)product;
        dbeta[c] = (REAL)sum;
    }
}

static void pool2d_forward(mk_pool *pool, const mk_pool2d *p) {
    (void)pool;
    const REAL *x = p->x;
    for (int64_t at = 0; at < p->out.count * p->channels; at++) {
        double largest = 0, sum = 0;
        int32_t from = -1;
        for (int64_t i = 0; i < p->rows.kernel; i++) {
            for (int64_t j = 0; j < p->columns.kernel; j++) {
                int64_t row = window_row(&p->rows, &p->columns, &p->in, &p->out, at / p->channels, i, j);
                if (row < 0) continue;
                double value = x[row * p->channels + at % p->channels];
                sum += value;
                if (from < 0 || value > largest || value != value) largest = value, from = (int32_t)row;
            }
        }
        if (!p->average) p->from[at] = from;
        ((REAL *)p->y)[at] = (REAL)(p->average ? sum / (p->rows.kernel * p->columns.kernel) : largest);
    }
}

static void pool2d_backward(mk_pool *pool, const mk_pool2d *p) {
    (void)pool;
    REAL *dx = p->x;
    const REAL *dy = p->y;
    for (int64_t i = 0; i < p->in.count * p->channels; i++) dx[i] = 0;
    for (int64_t at = 0; at < p->out.count * p->channels; at++) {
        int64_t c = at % p->channels;
        if (!p->average) {
            if (p->from[at] >= 0) dx[p->from[at] * p->channels + c] += dy[at];
            continue;
        }
        for (int64_t i = 0; i < p->rows.kernel; i++) {
            for (int64_t j = 0; j < p->columns.kernel; j++) {
                int64_t row = window_row(&p->rows, &p->columns, &p->in, &p->out, at / p->channels, i, j);
                if (row >= 0) dx[row * p->channels + c] += dy[at] / (p->rows.kernel * p->columns.kernel);
            }
        }
    }
}
