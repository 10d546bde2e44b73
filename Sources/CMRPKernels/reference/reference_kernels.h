/* Every kernel as plain loops: the computation, nothing about speed. Included by reference_float32.c and reference_float64.c with REAL
 * and MK_TABLE_NAME defined. Sums run in double in both, so the float64 table serves gradient checks and the float32 table differs from
 * it only by the rounding of its inputs and outputs. The pool gives scratch; nothing runs in parallel.
 *
 * Each comment gives shapes and formula; a forward function is followed by its gradient. dX is the gradient of the loss in X. */

/* ---- Matrix product -------------------------------------------------------------------------------------------------- */

/* Phi(x), the standard normal distribution function; gelu(x) = x Phi(x) (Hendrycks & Gimpel 2016). */
static double normal_cdf(double x) { return 0.5 * (1 + erf(x * 0.7071067811865475244)); }

/* d gelu / dx = Phi(x) + x phi(x), phi(x) = exp(-x^2/2) / sqrt(2 pi). */
static double gelu_derivative(double x) { return normal_cdf(x) + x * exp(-0.5 * x * x) * 0.3989422804014326779; }

static mk_scratch gemm_scratch(const mk_gemm *g) {
    (void)g;
    return (mk_scratch){0, 0};
}

/* relu 0: v, 1: max(0, v), 6: min(max(0, v), 6). */
static double apply_relu(double v, int32_t relu) { return relu && v < 0 ? 0 : relu == 6 && v > 6 ? 6 : v; }

/* C[m,n] = epilogue(sum over k of op(A)[m,k] op(B)[k,n] + bias[n]); the epilogues are listed at mk_gemm. */
static void gemm(mk_pool *pool, const mk_gemm *g) {
    (void)pool;
    const REAL *a = g->a, *b = g->b, *bias = g->bias, *residual = g->residual, *scale = g->scale;
    REAL *c = g->c, *auxiliary = g->auxiliary;
    for (int64_t i = 0; i < g->m; i++) {
        for (int64_t j = 0; j < g->n; j++) {
            double sum = 0;
            for (int64_t k = 0; k < g->k; k++) {
                double left = g->transpose_a ? a[k * g->lda + i] : a[i * g->lda + k];
                double right = g->transpose_b ? b[j * g->ldb + k] : b[k * g->ldb + j];
                sum += left * right;
            }
            int64_t at = i * g->ldc + j;
            if (scale) sum *= scale[j];
            if (bias) sum += bias[j];
            if (g->activation == MK_ACTIVATION_GELU) {
                if (auxiliary) auxiliary[at] = (REAL)sum;
                c[at] = (REAL)(sum * normal_cdf(sum));
            } else if (g->activation == MK_ACTIVATION_GELU_GRADIENT) {
                c[at] = (REAL)(sum * gelu_derivative(auxiliary[at]));
            } else {
                c[at] = (REAL)apply_relu(residual ? sum + residual[at] : sum, g->relu);
            }
        }
    }
}

/* ---- Attention ------------------------------------------------------------------------------------------------------- */

/* Three rows of doubles, each as long as queries or keys. */
static mk_scratch attention_scratch(const mk_attention *a) {
    int64_t longest = a->queries > a->keys ? a->queries : a->keys;
    return (mk_scratch){3 * longest * (int64_t)sizeof(double), 0};
}

static double dot(const REAL *x, const REAL *y, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)x[i] * y[i];
    return sum;
}

/* The number of keys that an image attends to. */
static int64_t attended_keys(const mk_attention *a, int64_t image) {
    if (!a->lengths) return a->keys;
    return a->lengths[image] < 0 ? 0 : a->lengths[image] < a->keys ? a->lengths[image] : a->keys;
}

/* Within one (image, head), with q_t, k_s, v_s of length head_dim and sums over the keys that are attended to:
 *   z[t,s] = scale q_t . k_s,  L[t] = log sum_s exp z[t,s],  p[t,s] = exp(z[t,s] - L[t]),  out_t = sum_s p[t,s] v_s. */
static void attention_forward(mk_pool *pool, const mk_attention *a) {
    int64_t T = a->queries, H = a->heads, D = a->head_dim;
    double scale = 1 / sqrt((double)D), *p = mk_pool_scratch(pool, 0);
    for (int64_t image = 0; image < a->batch; image++) {
        for (int64_t head = 0; head < H; head++) {
            const REAL *q = (const REAL *)a->q + image * T * a->q_stride + head * D;
            const REAL *k = (const REAL *)a->k + image * a->keys * a->k_stride + head * D;
            const REAL *v = (const REAL *)a->v + image * a->keys * a->v_stride + head * D;
            REAL *out = (REAL *)a->out + image * T * H * D + head * D;
            REAL *log_sum_exp = a->log_sum_exp ? (REAL *)a->log_sum_exp + (image * H + head) * T : NULL;
            int64_t S = attended_keys(a, image);
            for (int64_t t = 0; t < T; t++) {
                double largest = -INFINITY, sum = 0;
                for (int64_t s = 0; s < S; s++) {
                    p[s] = scale * dot(q + t * a->q_stride, k + s * a->k_stride, D);
                    if (p[s] > largest) largest = p[s];
                }
                for (int64_t s = 0; s < S; s++) sum += p[s] = exp(p[s] - largest);
                for (int64_t d = 0; d < D; d++) {
                    double weighted = 0;
                    for (int64_t s = 0; s < S; s++) weighted += p[s] * v[s * a->v_stride + d];
                    out[t * H * D + d] = S > 0 ? (REAL)(weighted / sum) : 0;
                }
                if (log_sum_exp) log_sum_exp[t] = (REAL)(largest + log(sum));
            }
        }
    }
}

/* With o = out and delta[t] = do_t . o_t (which is sum_s p[t,s] dp[t,s], since dp[t,s] = do_t . v_s):
 *   dz[t,s] = p[t,s] (dp[t,s] - delta[t]),
 *   dq_t = scale sum_s dz[t,s] k_s,  dk_s = scale sum_t dz[t,s] q_t,  dv_s = sum_t p[t,s] do_t.
 * (Dao et al. 2022, FlashAttention, appendix B.2.) p is recomputed by rows for dq and by columns for dk and dv. */
static void attention_backward(mk_pool *pool, const mk_attention *a) {
    int64_t T = a->queries, H = a->heads, D = a->head_dim, longest = T > a->keys ? T : a->keys;
    double scale = 1 / sqrt((double)D);
    double *delta = mk_pool_scratch(pool, 0), *p = delta + longest, *dz = p + longest;
    for (int64_t image = 0; image < a->batch; image++) {
        for (int64_t head = 0; head < H; head++) {
            int64_t q_start = image * T * a->q_stride + head * D, out_start = image * T * H * D + head * D;
            int64_t k_start = image * a->keys * a->k_stride + head * D, v_start = image * a->keys * a->v_stride + head * D;
            const REAL *q = (const REAL *)a->q + q_start, *k = (const REAL *)a->k + k_start, *v = (const REAL *)a->v + v_start;
            const REAL *out = (const REAL *)a->out + out_start, *dout = (const REAL *)a->out_gradient + out_start;
            const REAL *log_sum_exp = (const REAL *)a->log_sum_exp + (image * H + head) * T;
            REAL *dq = (REAL *)a->q_gradient + q_start, *dk = (REAL *)a->k_gradient + k_start, *dv = (REAL *)a->v_gradient + v_start;
            int64_t S = attended_keys(a, image);
            for (int64_t t = 0; t < T; t++) delta[t] = dot(dout + t * H * D, out + t * H * D, D);
            for (int64_t t = 0; t < T; t++) {
                for (int64_t s = 0; s < S; s++) {
                    double z = scale * dot(q + t * a->q_stride, k + s * a->k_stride, D);
                    dz[s] = exp(z - log_sum_exp[t]) * (dot(dout + t * H * D, v + s * a->v_stride, D) - delta[t]);
                }
                for (int64_t d = 0; d < D; d++) {
                    double sum = 0;
                    for (int64_t s = 0; s < S; s++) sum += dz[s] * k[s * a->k_stride + d];
                    dq[t * a->q_stride + d] = (REAL)(scale * sum);
                }
            }
            for (int64_t s = 0; s < a->keys; s++) {
                for (int64_t t = 0; t < T; t++) {
                    double z = scale * dot(q + t * a->q_stride, k + s * a->k_stride, D);
                    p[t] = s < S ? exp(z - log_sum_exp[t]) : 0;
                    dz[t] = s < S ? p[t] * (dot(dout + t * H * D, v + s * a->v_stride, D) - delta[t]) : 0;
                }
                for (int64_t d = 0; d < D; d++) {
                    double key_sum = 0, value_sum = 0;
                    for (int64_t t = 0; t < T; t++) {
                        key_sum += dz[t] * q[t * a->q_stride + d];
                        value_sum += p[t] * dout[t * H * D + d];
                    }
                    dk[s * a->k_stride + d] = (REAL)(scale * key_sum);
                    dv[s * a->v_stride + d] = (REAL)value_sum;
                }
            }
        }
    }
}

/* ---- Normalisation --------------------------------------------------------------------------------------------------- */

/* Mean of x[width], and sum of (x - mean)^2. */
static double row_moments(const REAL *x, int64_t width, double *squares) {
    double sum = 0, mean;
    for (int64_t c = 0; c < width; c++) sum += x[c];
    mean = sum / width;
    *squares = 0;
    for (int64_t c = 0; c < width; c++) *squares += (x[c] - mean) * (x[c] - mean);
    return mean;
}

/* x, y: rows x width; gamma, beta: width; mean, rstd: rows, or NULL (Ba et al. 2016).
 *   h = (x - mean) rstd,  rstd = 1 / sqrt(mean of (x - mean)^2 + epsilon),  y = h gamma + beta. */
static void layer_norm_forward(mk_pool *pool, int64_t rows, int64_t width, const void *x_, const void *gamma_, const void *beta_,
                               double epsilon, void *y_, void *mean_, void *rstd_) {
    (void)pool;
    const REAL *gamma = gamma_, *beta = beta_;
    REAL *means = mean_, *rstds = rstd_;
    for (int64_t r = 0; r < rows; r++) {
        const REAL *x = (const REAL *)x_ + r * width;
        REAL *y = (REAL *)y_ + r * width;
        double squares, mean = row_moments(x, width, &squares);
        double rstd = 1 / sqrt(squares / width + epsilon);
        for (int64_t c = 0; c < width; c++) y[c] = (REAL)((x[c] - mean) * rstd * gamma[c] + beta[c]);
        if (means) means[r] = (REAL)mean;
        if (rstds) rstds[r] = (REAL)rstd;
    }
}

static mk_scratch layer_norm_scratch(int64_t rows, int64_t width) {
    (void)rows, (void)width;
    return (mk_scratch){0, 0};
}

/* With g = dy gamma and averages over the row:
 *   dx = rstd (g - average(g) - h average(g h)) + addend,  dgamma = sum over rows of dy h,  dbeta = sum of dy. */
static void layer_norm_backward(mk_pool *pool, int64_t rows, int64_t width, const void *x_, const void *gamma_, const void *mean_,
                                const void *rstd_, const void *dy_, const void *addend_, void *dx_, void *dgamma_, void *dbeta_) {
    (void)pool;
    const REAL *x = x_, *gamma = gamma_, *mean = mean_, *rstd = rstd_, *dy = dy_, *addend = addend_;
    REAL *dx = dx_, *dgamma = dgamma_, *dbeta = dbeta_;
    for (int64_t c = 0; c < width; c++) {
        double gamma_sum = 0, beta_sum = 0;
        for (int64_t r = 0; r < rows; r++) {
            double h = ((double)x[r * width + c] - mean[r]) * rstd[r];
            gamma_sum += dy[r * width + c] * h;
            beta_sum += dy[r * width + c];
        }
        dgamma[c] = (REAL)gamma_sum;
        dbeta[c] = (REAL)beta_sum;
    }
    for (int64_t r = 0; r < rows; r++) {
        int64_t start = r * width;
        double g_sum = 0, gh_sum = 0;
        for (int64_t c = 0; c < width; c++) {
            double h = ((double)x[start + c] - mean[r]) * rstd[r], g = (double)dy[start + c] * gamma[c];
            g_sum += g;
            gh_sum += g * h;
        }
        for (int64_t c = 0; c < width; c++) {
            double h = ((double)x[start + c] - mean[r]) * rstd[r], g = (double)dy[start + c] * gamma[c];
            double gradient = rstd[r] * (g - g_sum / width - h * (gh_sum / width));
            dx[start + c] = (REAL)(addend ? gradient + addend[start + c] : gradient);
        }
    }
}

/* x, y: rows x width. y = (x - mean) / sqrt(sum of (x - mean)^2 / (width - 1) + epsilon) (He et al. 2021, norm_pix_loss). */
static void standardize_rows(mk_pool *pool, int64_t rows, int64_t width, const void *x_, double epsilon, void *y_) {
    (void)pool;
    for (int64_t r = 0; r < rows; r++) {
        const REAL *x = (const REAL *)x_ + r * width;
        REAL *y = (REAL *)y_ + r * width;
        double squares, mean = row_moments(x, width, &squares);
        double std = sqrt(squares / (width - 1) + epsilon);
        for (int64_t c = 0; c < width; c++) y[c] = (REAL)((x[c] - mean) / std);
    }
}

/* ---- Sums, means, elementwise ---------------------------------------------------------------------------------------- */

static mk_scratch column_sum_scratch(int64_t rows, int64_t columns) {
    (void)rows, (void)columns;
    return (mk_scratch){0, 0};
}

/* x: rows x columns; out[column] = sum over rows. */
static void column_sum(mk_pool *pool, int64_t rows, int64_t columns, const void *x_, void *out_) {
    (void)pool;
    const REAL *x = x_;
    REAL *out = out_;
    for (int64_t c = 0; c < columns; c++) {
        double sum = 0;
        for (int64_t r = 0; r < rows; r++) sum += x[r * columns + c];
        out[c] = (REAL)sum;
    }
}

/* x: batch x tokens x width; y: batch x width. y[b] = mean of x[b, t] over first <= t < tokens. */
static void mean_tokens(mk_pool *pool, int64_t batch, int64_t tokens, int64_t width, int64_t first, const void *x_, void *y_) {
    (void)pool;
    const REAL *x = x_;
    REAL *y = y_;
    for (int64_t b = 0; b < batch; b++) {
        for (int64_t c = 0; c < width; c++) {
            double sum = 0;
            for (int64_t t = first; t < tokens; t++) sum += x[(b * tokens + t) * width + c];
            y[b * width + c] = (REAL)(sum / (tokens - first));
        }
    }
}

/* dx[b, t] = dy[b] / (tokens - first) for t >= first, else 0. */
static void mean_tokens_gradient(mk_pool *pool, int64_t batch, int64_t tokens, int64_t width, int64_t first, const void *dy_, void *dx_) {
    (void)pool;
    const REAL *dy = dy_;
    REAL *dx = dx_;
    for (int64_t b = 0; b < batch; b++) {
        for (int64_t t = 0; t < tokens; t++) {
            for (int64_t c = 0; c < width; c++) {
                dx[(b * tokens + t) * width + c] = t < first ? 0 : (REAL)((double)dy[b * width + c] / (tokens - first));
            }
        }
    }
}

/* y = a + b. */
static void add_values(mk_pool *pool, int64_t count, const void *a_, const void *b_, void *y_) {
    (void)pool;
    const REAL *a = a_, *b = b_;
    REAL *y = y_;
    for (int64_t i = 0; i < count; i++) y[i] = a[i] + b[i];
}

/* y = keep y + share x; with keep 0 y is not read. */
static void blend(mk_pool *pool, int64_t count, double keep, double share, const void *x_, void *y_) {
    (void)pool;
    const REAL *x = x_;
    REAL *y = y_;
    for (int64_t i = 0; i < count; i++) y[i] = (REAL)((keep == 0 ? 0 : keep * y[i]) + share * x[i]);
}

/* y[b] = residual[b] + factors[b] x[b]. */
static void scale_images(mk_pool *pool, int64_t images, int64_t values, const void *factors_, const void *x_, const void *residual_,
                         void *y_) {
    (void)pool;
    const REAL *factors = factors_, *x = x_, *residual = residual_;
    REAL *y = y_;
    for (int64_t i = 0; i < images * values; i++) y[i] = (residual ? residual[i] : 0) + factors[i / values] * x[i];
}

/* y[r,:] = x[r,:] + row. */
static void add_row(mk_pool *pool, int64_t rows, int64_t width, const void *x, const void *row, void *y) {
    (void)pool;
    for (int64_t i = 0; i < rows * width; i++) ((REAL *)y)[i] = ((const REAL *)x)[i] + ((const REAL *)row)[i % width];
}

/* y = factor x. */
static void scale_values(mk_pool *pool, int64_t count, double factor, const void *x_, void *y_) {
    (void)pool;
    const REAL *x = x_;
    REAL *y = y_;
    for (int64_t i = 0; i < count; i++) y[i] = (REAL)(factor * x[i]);
}

/* ---- Rows of tokens -------------------------------------------------------------------------------------------------- */

/* The row of x (or of the table) that output row i of image b comes from. */
static int64_t source_row(const int32_t *ids, int64_t stride, int64_t b, int64_t i) { return ids ? ids[b * stride + i] : i; }

/* x: batch x rows_in x width; y: batch x rows_out x width; ids, table_ids: batch x rows_out. See mk_gather:
 *   y[b,i] = (id in range ? x[b, id] : fill) + table[table_id]. */
static void gather(mk_pool *pool, const mk_gather *g) {
    (void)pool;
    const REAL *x = g->x, *fill = g->fill, *table = g->table;
    for (int64_t b = 0; b < g->batch; b++) {
        for (int64_t i = 0; i < g->rows_out; i++) {
            REAL *y = (REAL *)g->y + (b * g->rows_out + i) * g->width;
            int64_t id = source_row(g->ids, g->ids_stride, b, i);
            int64_t table_id = source_row(g->table_ids, g->table_ids_stride, b, i);
            for (int64_t c = 0; c < g->width; c++) {
                REAL value = 0;
                if (0 <= id && id < g->rows_in) {
                    value = x[(b * g->rows_in + id) * g->width + c];
                } else if (fill) {
                    value = fill[c];
                }
                y[c] = table ? value + table[table_id * g->width + c] : value;
            }
        }
    }
}

/* dx[b,r] = sum of dy[b,i] with id = r;  dfill = sum of dy[b,i] with id out of range;  dtable[r] = sum of dy[b,i] with
 * table_id = r. */
static void gather_gradient(mk_pool *pool, const mk_gather_gradient *gradient) {
    (void)pool;
    const mk_gather *g = &gradient->forward;
    const REAL *dy = gradient->y_gradient;
    REAL *dx = gradient->x_gradient, *dfill = gradient->fill_gradient, *dtable = gradient->table_gradient;
    int64_t width = g->width;
    for (int64_t b = 0; dx && b < g->batch; b++) {
        for (int64_t r = 0; r < g->rows_in; r++) {
            for (int64_t c = 0; c < width; c++) {
                double sum = 0;
                for (int64_t i = 0; i < g->rows_out; i++) {
                    if (source_row(g->ids, g->ids_stride, b, i) == r) sum += dy[(b * g->rows_out + i) * width + c];
                }
                dx[(b * g->rows_in + r) * width + c] = (REAL)sum;
            }
        }
    }
    for (int64_t c = 0; dfill && c < width; c++) {
        double sum = 0;
        for (int64_t b = 0; b < g->batch; b++) {
            for (int64_t i = 0; i < g->rows_out; i++) {
                int64_t id = source_row(g->ids, g->ids_stride, b, i);
                if (id < 0 || id >= g->rows_in) sum += dy[(b * g->rows_out + i) * width + c];
            }
        }
        dfill[c] = (REAL)sum;
    }
    for (int64_t r = 0; dtable && r < g->table_rows; r++) {
        for (int64_t c = 0; c < width; c++) {
            double sum = 0;
            for (int64_t b = 0; b < g->batch; b++) {
                for (int64_t i = 0; i < g->rows_out; i++) {
                    int64_t table_id = source_row(g->table_ids, g->table_ids_stride, b, i);
                    if (table_id == r) sum += dy[(b * g->rows_out + i) * width + c];
                }
            }
            dtable[r * width + c] = (REAL)sum;
        }
    }
}

/* The index of value f of patch row i of image b in images (batch x channels x height x width); f counts (channel, row, column),
 * or (row, column, channel) when channels_last. */
static int64_t pixel_index(const mk_patches *p, int64_t b, int64_t i, int64_t f) {
    int64_t patch = source_row(p->ids, p->ids_stride, b, i), grid_width = p->width / p->patch_width;
    int64_t area = p->patch_height * p->patch_width;
    int64_t channel = p->channels_last ? f % p->channels : f / area;
    int64_t place = p->channels_last ? f / p->channels : f % area;
    int64_t row = patch / grid_width * p->patch_height + place / p->patch_width;
    int64_t column = patch % grid_width * p->patch_width + place % p->patch_width;
    return ((b * p->channels + channel) * p->height + row) * p->width + column;
}

/* patches[b,i,f] = images[pixel_index(b, i, f)]; patches: batch x rows_out x (patch_height patch_width channels). */
static void extract_patches(mk_pool *pool, const mk_patches *p) {
    (void)pool;
    const REAL *images = p->images;
    REAL *patches = p->patches;
    int64_t width = p->channels * p->patch_height * p->patch_width;
    for (int64_t b = 0; b < p->batch; b++) {
        for (int64_t i = 0; i < p->rows_out; i++) {
            for (int64_t f = 0; f < width; f++) patches[(b * p->rows_out + i) * width + f] = images[pixel_index(p, b, i, f)];
        }
    }
}

/* images = 0, then images[pixel_index(b, i, f)] += patches[b,i,f]. */
static void scatter_patches(mk_pool *pool, const mk_patches *p) {
    (void)pool;
    REAL *images = p->images;
    const REAL *patches = p->patches;
    int64_t width = p->channels * p->patch_height * p->patch_width;
    for (int64_t at = 0; at < p->batch * p->channels * p->height * p->width; at++) images[at] = 0;
    for (int64_t b = 0; b < p->batch; b++) {
        for (int64_t i = 0; i < p->rows_out; i++) {
            for (int64_t f = 0; f < width; f++) images[pixel_index(p, b, i, f)] += patches[(b * p->rows_out + i) * width + f];
        }
    }
}

/* ---- Losses ---------------------------------------------------------------------------------------------------------- */

static mk_scratch squared_error_scratch(int64_t count) {
    (void)count;
    return (mk_scratch){0, 0};
}

/* prediction, target: count; loss = mean of (prediction - target)^2. */
static void squared_error(mk_pool *pool, int64_t count, const void *prediction_, const void *target_, void *loss) {
    (void)pool;
    const REAL *prediction = prediction_, *target = target_;
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        double difference = (double)prediction[i] - target[i];
        sum += difference * difference;
    }
    *(REAL *)loss = (REAL)(sum / count);
}

/* out = 2 (prediction - target) / count * dloss. */
static void squared_error_gradient(mk_pool *pool, int64_t count, const void *prediction_, const void *target_, const void *loss_gradient,
                                   void *out_) {
    (void)pool;
    const REAL *prediction = prediction_, *target = target_;
    REAL *out = out_;
    double factor = 2.0 * *(const REAL *)loss_gradient / count;
    for (int64_t i = 0; i < count; i++) out[i] = (REAL)(((double)prediction[i] - target[i]) * factor);
}

/* loss = mean of the smooth absolute error. */
static void smooth_l1(mk_pool *pool, int64_t count, double beta, const void *prediction_, const void *target_, void *loss) {
    (void)pool;
    const REAL *prediction = prediction_, *target = target_;
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        double distance = fabs((double)prediction[i] - target[i]);
        sum += distance < beta ? distance * distance / (2 * beta) : distance - beta / 2;
    }
    *(REAL *)loss = (REAL)(sum / count);
}

static void smooth_l1_gradient(mk_pool *pool, int64_t count, double beta, const void *prediction_, const void *target_,
                               const void *loss_gradient, void *out_) {
    (void)pool;
    const REAL *prediction = prediction_, *target = target_;
    REAL *out = out_;
    double factor = (double)*(const REAL *)loss_gradient / count;
    for (int64_t i = 0; i < count; i++) {
        double d = (double)prediction[i] - target[i];
        double slope = fabs(d) < beta ? d / beta : (double)((d > 0) - (d < 0));
        out[i] = (REAL)(slope * factor);
    }
}

static void argmax_rows(mk_pool *pool, int64_t rows, int64_t width, const void *x_, int32_t *out) {
    (void)pool;
    const REAL *x = x_;
    for (int64_t r = 0; r < rows; r++) {
        int64_t best = 0;
        for (int64_t c = 1; c < width; c++) best = x[r * width + c] > x[r * width + best] ? c : best;
        out[r] = (int32_t)best;
    }
}

/* Histograms of oriented gradients; see mk_hog. */
static void hog(mk_pool *pool, const mk_hog *p) {
    (void)pool;
    const int64_t cells = p->cell_rows * p->cell_columns, patches = p->grid_height * p->grid_width, pixels = p->cell_height * p->cell_width;
    for (int64_t cell = 0; cell < p->batch * patches * cells * p->channels; cell++) {
        const int64_t channel = cell % p->channels, place = cell / p->channels % cells, patch = cell / p->channels / cells % patches;
        const int64_t image = cell / p->channels / cells / patches;
        const int64_t top = (patch / p->grid_width * p->cell_rows + place / p->cell_columns) * p->cell_height;
        const int64_t left = (patch % p->grid_width * p->cell_columns + place % p->cell_columns) * p->cell_width;
        const REAL *x = (const REAL *)p->images + (image * p->channels + channel) * p->height * p->width;
        REAL *out = (REAL *)p->out + cell * p->bins;
        double histogram[MK_HOG_BINS] = {0}, squares = 0;
        for (int64_t pixel = 0; pixel < pixels; pixel++) {
            const int64_t row = top + pixel / p->cell_width, column = left + pixel % p->cell_width, at = row * p->width + column;
            const double vertical = row > 0 && row < p->height - 1 ? (double)x[at + p->width] - x[at - p->width] : 0;
            const double horizontal = column > 0 && column < p->width - 1 ? (double)x[at + 1] - x[at - 1] : 0;
            double angle = atan2(vertical, horizontal) * (180 / 3.14159265358979323846);
            if (angle < 0) angle += 180;
            if (angle >= 180) angle -= 180;
            int64_t bin = (int64_t)(angle / (180.0 / p->bins));
            histogram[bin < p->bins ? bin : p->bins - 1] += hypot(vertical, horizontal) / pixels;
        }
        for (int64_t bin = 0; bin < p->bins; bin++) squares += histogram[bin] * histogram[bin];
        for (int64_t bin = 0; bin < p->bins; bin++) out[bin] = (REAL)(histogram[bin] / sqrt(squares + p->epsilon * p->epsilon));
    }
}

/* log of the sum of exp(x[width]). */
static double row_log_sum_exp(const REAL *x, int64_t width) {
    double largest = -INFINITY, sum = 0;
    for (int64_t c = 0; c < width; c++) {
        if (x[c] > largest) largest = x[c];
    }
    for (int64_t c = 0; c < width; c++) sum += exp(x[c] - largest);
    return largest + log(sum);
}

static mk_scratch cross_entropy_scratch(int64_t rows, int64_t classes) {
    (void)rows, (void)classes;
    return (mk_scratch){0, 0};
}

/* The weight of a row; without weights 1. */
static double row_weight(const void *weights, int64_t row) { return weights ? (double)((const REAL *)weights)[row] : 1; }

/* logits: rows x classes; labels, weights, log_sum_exp: rows.
 *   loss = mean over rows of weight (log_sum_exp - sum_c target[c] logits[c]),
 *   target[c] = (1 - smoothing) [c = label] + smoothing / classes (Szegedy et al. 2016). */
static void cross_entropy(mk_pool *pool, int64_t rows, int64_t classes, const void *logits_, const int32_t *labels, double smoothing,
                          const void *weights, void *log_sum_exp_, void *loss) {
    (void)pool;
    REAL *log_sum_exp = log_sum_exp_;
    double sum = 0;
    for (int64_t r = 0; r < rows; r++) {
        const REAL *logits = (const REAL *)logits_ + r * classes;
        double all = row_log_sum_exp(logits, classes), expected = (1 - smoothing) * logits[labels[r]];
        for (int64_t c = 0; smoothing > 0 && c < classes; c++) expected += smoothing / classes * logits[c];
        log_sum_exp[r] = (REAL)all;
        sum += row_weight(weights, r) * (all - expected);
    }
    *(REAL *)loss = (REAL)(sum / rows);
}

/* dlogits = weight (exp(logits - log_sum_exp) - target) / rows * dloss. */
static void cross_entropy_gradient(mk_pool *pool, int64_t rows, int64_t classes, const void *logits_, const int32_t *labels,
                                   double smoothing, const void *weights, const void *log_sum_exp_, const void *loss_gradient,
                                   void *dlogits_) {
    (void)pool;
    const REAL *log_sum_exp = log_sum_exp_;
    double factor = (double)*(const REAL *)loss_gradient / rows;
    for (int64_t r = 0; r < rows; r++) {
        const REAL *logits = (const REAL *)logits_ + r * classes;
        REAL *dlogits = (REAL *)dlogits_ + r * classes;
        for (int64_t c = 0; c < classes; c++) {
            double target = smoothing / classes + (c == labels[r] ? 1 - smoothing : 0);
            dlogits[c] = (REAL)((exp((double)logits[c] - log_sum_exp[r]) - target) * factor * row_weight(weights, r));
        }
    }
}

/* loss = mean over rows of weight (log_sum_exp - sum_c target[c] logits[c]), where sum_c target[c] = 1. */
static void soft_cross_entropy(mk_pool *pool, int64_t rows, int64_t classes, const void *logits_, const void *targets_, const void *weights,
                               void *log_sum_exp_, void *loss) {
    (void)pool;
    REAL *log_sum_exp = log_sum_exp_;
    double sum = 0;
    for (int64_t r = 0; r < rows; r++) {
        const REAL *logits = (const REAL *)logits_ + r * classes, *target = (const REAL *)targets_ + r * classes;
        double all = row_log_sum_exp(logits, classes), expected = 0;
        for (int64_t c = 0; c < classes; c++) expected += (double)target[c] * logits[c];
        log_sum_exp[r] = (REAL)all;
        sum += row_weight(weights, r) * (all - expected);
    }
    *(REAL *)loss = (REAL)(sum / rows);
}

/* dlogits = weight (exp(logits - log_sum_exp) - target) / rows * dloss. */
static void soft_cross_entropy_gradient(mk_pool *pool, int64_t rows, int64_t classes, const void *logits_, const void *targets_,
                                        const void *weights, const void *log_sum_exp_, const void *loss_gradient, void *dlogits_) {
    (void)pool;
    const REAL *logits = logits_, *targets = targets_, *log_sum_exp = log_sum_exp_;
    REAL *dlogits = dlogits_;
    double factor = (double)*(const REAL *)loss_gradient / rows;
    for (int64_t i = 0; i < rows * classes; i++)
        dlogits[i] = (REAL)((exp((double)logits[i] - log_sum_exp[i / classes]) - targets[i]) * factor * row_weight(weights, i / classes));
}

/* x, y: rows x width; y = exp(x - log sum exp(x)) in each row. */
static void softmax_rows(mk_pool *pool, int64_t rows, int64_t width, const void *x_, void *y_) {
    (void)pool;
    for (int64_t r = 0; r < rows; r++) {
        const REAL *x = (const REAL *)x_ + r * width;
        REAL *y = (REAL *)y_ + r * width;
        double all = row_log_sum_exp(x, width);
        for (int64_t c = 0; c < width; c++) y[c] = (REAL)exp(x[c] - all);
    }
}

/* ---- Optimiser ------------------------------------------------------------------------------------------------------- */

/* One step of AdamW (Loshchilov & Hutter 2019) on `count` parameters p with moments m, v; t = step, g = gradient_scale dp:
 *   p *= 1 - lr wd;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
 *   p -= lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon). */
static void euclidean_norm(mk_pool *pool, int64_t count, const void *x, void *out) {
    double sum = 0;
    (void)pool;
    for (int64_t i = 0; i < count; i++) sum += (double)((const REAL *)x)[i] * ((const REAL *)x)[i];
    *(REAL *)out = (REAL)sqrt(sum);
}

static mk_scratch update_scratch(int64_t count) {
    (void)count;
    return (mk_scratch){0, 0};
}

/* m and v are new, p is old. */
static double adamw_step(const mk_adamw *a, double m, double v) {
    return m / (1 - pow(a->beta1, (double)a->step)) / (sqrt(v) / sqrt(1 - pow(a->beta2, (double)a->step)) + a->epsilon);
}

static void adamw(mk_pool *pool, const mk_adamw *a) {
    (void)pool;
    REAL *parameter = a->parameter, *first_moment = a->first_moment, *second_moment = a->second_moment;
    const REAL *gradient = a->gradient;
    double parameters = 0, updates = 0;
    for (int64_t i = 0; i < a->count; i++) {
        double g = a->gradient_scale * gradient[i], p = parameter[i];
        double m = a->beta1 * first_moment[i] + (1 - a->beta1) * g;
        double v = a->beta2 * second_moment[i] + (1 - a->beta2) * g * g;
        first_moment[i] = (REAL)m;
        second_moment[i] = (REAL)v;
        if (a->layer_wise) {
            double u = adamw_step(a, m, v) + a->weight_decay * p;
            parameters += p * p;
            updates += u * u;
        } else
            parameter[i] = (REAL)(p * (1 - a->learning_rate * a->weight_decay) - a->learning_rate * adamw_step(a, m, v));
    }
    const double trust = parameters > 0 && updates > 0 ? sqrt(parameters) / sqrt(updates) : 1;
    for (int64_t i = 0; a->layer_wise && i < a->count; i++) {
        double u = adamw_step(a, first_moment[i], second_moment[i]) + a->weight_decay * parameter[i];
        parameter[i] = (REAL)(parameter[i] - a->learning_rate * trust * u);
    }
}

static void sgd(mk_pool *pool, const mk_sgd *s) {
    (void)pool;
    REAL *parameter = s->parameter, *buffer = s->buffer;
    const REAL *gradient = s->gradient;
    double parameters = 0, updates = 0, ratio = 1;
    for (int64_t i = 0; s->trust > 0 && i < s->count; i++) {
        double p = parameter[i], g = s->gradient_scale * gradient[i] + s->weight_decay * p;
        parameters += p * p;
        updates += g * g;
    }
    if (parameters > 0 && updates > 0) ratio = s->trust * sqrt(parameters) / sqrt(updates);
    for (int64_t i = 0; i < s->count; i++) {
        double p = parameter[i], g = ratio * (s->gradient_scale * gradient[i] + s->weight_decay * p);
        double b = s->momentum * buffer[i] + g;
        buffer[i] = (REAL)b;
        parameter[i] = (REAL)(p - s->learning_rate * (s->nesterov ? g + s->momentum * b : b));
    }
}

static void gelu_gradient(mk_pool *pool, int64_t count, const void *x, const void *y_gradient, void *x_gradient) {
    (void)pool;
    for (int64_t i = 0; i < count; i++)
        ((REAL *)x_gradient)[i] = (REAL)(((const REAL *)y_gradient)[i] * gelu_derivative(((const REAL *)x)[i]));
}

#include "reference_contrast.h"
#include "reference_convolution.h"
#include "reference_image_norm.h"
#include "reference_pixels.h"
#include "reference_maps.h"
#include "reference_points.h"
#include "reference_routing.h"

static const mk_kernels table = {
    .name = MK_TABLE_NAME,
    .element_bytes = sizeof(REAL),
    .gemm_scratch = gemm_scratch,
    .gemm = gemm,
    .attention_scratch = attention_scratch,
    .attention_forward = attention_forward,
    .attention_backward = attention_backward,
    .layer_norm_forward = layer_norm_forward,
    .layer_norm_scratch = layer_norm_scratch,
    .layer_norm_backward = layer_norm_backward,
    .column_sum_scratch = column_sum_scratch,
    .column_sum = column_sum,
    .gather = gather,
    .gather_gradient = gather_gradient,
    .extract_patches = extract_patches,
    .scatter_patches = scatter_patches,
    .standardize_rows = standardize_rows,
    .squared_error_scratch = squared_error_scratch,
    .squared_error = squared_error,
    .squared_error_gradient = squared_error_gradient,
    .smooth_l1 = smooth_l1,
    .smooth_l1_gradient = smooth_l1_gradient,
    .argmax_rows = argmax_rows,
    .hog = hog,
    .cross_entropy_scratch = cross_entropy_scratch,
    .cross_entropy = cross_entropy,
    .cross_entropy_gradient = cross_entropy_gradient,
    .soft_cross_entropy = soft_cross_entropy,
    .soft_cross_entropy_gradient = soft_cross_entropy_gradient,
    .unit_rows = unit_rows,
    .unit_rows_gradient = unit_rows_gradient,
    .class_means_scratch = class_means_scratch,
    .class_means = class_means,
    .contrast_scratch = contrast_scratch,
    .contrast_forward = contrast_forward,
    .contrast_backward = contrast_backward,
    .chamfer_scratch = chamfer_scratch,
    .chamfer = chamfer,
    .chamfer_gradient = chamfer_gradient,
    .softmax_rows = softmax_rows,
    .softmax_gradient = softmax_gradient,
    .route_to_one = route_to_one,
    .route_to_many_scratch = route_to_many_scratch,
    .route_to_many = route_to_many,
    .gates = compute_gates,
    .gates_gradient = gates_gradient,
    .dispatch_rows = dispatch_rows,
    .combine_rows = combine_rows,
    .balance_loss = balance_loss,
    .balance_gradient = balance_gradient,
    .entropy_loss = entropy_loss,
    .entropy_gradient = entropy_gradient,
    .mean_tokens = mean_tokens,
    .mean_tokens_gradient = mean_tokens_gradient,
    .add = add_values,
    .add_row = add_row,
    .scale = scale_values,
    .gelu_gradient = gelu_gradient,
    .blend = blend,
    .scale_images = scale_images,
    .conv2d_scratch = conv2d_scratch,
    .conv2d = conv2d,
    .column_moments_scratch = column_moments_scratch,
    .column_moments = column_moments,
    .batch_norm_scratch = batch_norm_scratch,
    .batch_norm_forward = batch_norm_forward,
    .batch_norm_fold = batch_norm_fold,
    .batch_norm_backward = batch_norm_backward,
    .image_norm_scratch = image_norm_scratch,
    .group_norm_forward = group_norm_forward,
    .group_norm_backward = group_norm_backward,
    .response_norm_forward = response_norm_forward,
    .response_norm_backward = response_norm_backward,
    .pool2d_forward = pool2d_forward,
    .pool2d_backward = pool2d_backward,
    .resize_forward = resize_forward,
    .resize_backward = resize_backward,
    .gelu = gelu,
    .focal = focal,
    .focal_gradient = focal_gradient,
    .dice_scratch = dice_scratch,
    .dice = dice,
    .dice_gradient = dice_gradient,
    .sigmoid = sigmoid,
    .sigmoid_gradient = sigmoid_gradient,
    .maps_scratch = maps_scratch,
    .logit_entropy = logit_entropy,
    .logit_entropy_gradient = logit_entropy_gradient,
    .map_entropy = map_entropy,
    .map_entropy_gradient = map_entropy_gradient,
    .map_dice = map_dice,
    .map_dice_gradient = map_dice_gradient,
    .row_maximum = row_maximum,
    .row_maximum_gradient = row_maximum_gradient,
    .append_columns = append_columns,
    .leading_columns = leading_columns,
    .montage = montage,
    .norm = euclidean_norm,
    .update_scratch = update_scratch,
    .adamw = adamw,
    .sgd = sgd,
};
