/* The reference kernels against themselves: every backward function must be the derivative of its forward function, by central
 * differences in float64, and the forward functions must give values worked out by hand. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "mk_kernels.h"

static const mk_kernels *k;
static mk_pool *pool;

static double *numbers(int64_t count, uint64_t seed) {
    static uint64_t state;
    double *x = malloc((size_t)(count > 0 ? count : 1) * sizeof(double));
    state = seed * 2654435761u + 1;
    for (int64_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = (double)(state >> 11) / 9007199254740992.0 * 2 - 1;
    }
    return x;
}

static double dot(const double *a, const double *b, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

/* Compares analytic[i] with (loss(x + h e_i) - loss(x - h e_i)) / 2h for every i. */
static void check_gradient(const char *name, double (*loss)(void *), void *context, double *x, const double *analytic, int64_t count) {
    const double h = 1e-5;
    for (int64_t i = 0; i < count; i++) {
        double kept = x[i], up, down;
        x[i] = kept + h;
        up = loss(context);
        x[i] = kept - h;
        down = loss(context);
        x[i] = kept;
        double expected = (up - down) / (2 * h);
        double error = fabs(expected - analytic[i]);
        if (!(error <= 2e-8 * (1 + fabs(expected)))) {
            CHECK_FAIL("%s: gradient %lld is %.12g, by differences %.12g", name, (long long)i, analytic[i], expected);
            return;
        }
    }
    CHECK(1);
}

/* ---- Attention ---- */

typedef struct {
    mk_attention a;
    const double *weights;
} attention_case;

static double attention_loss(void *context) {
    attention_case *c = context;
    k->attention_forward(pool, &c->a);
    return dot(c->a.out, c->weights, c->a.batch * c->a.queries * c->a.heads * c->a.head_dim);
}

/* lengths: of two images, or NULL. */
static void test_attention(int64_t queries, int64_t keys, int64_t heads, int64_t head_dim, const int32_t *lengths) {
    int64_t batch = 2, width = heads * head_dim, out_count = batch * queries * width, key_count = batch * keys * width;
    double *q = numbers(out_count, 1), *key = numbers(key_count, 6), *v = numbers(key_count, 7), *out = numbers(out_count, 2);
    double *weights = numbers(out_count, 3), *log_sum_exp = numbers(batch * heads * queries, 4);
    double *dq = numbers(out_count, 5), *dk = numbers(key_count, 8), *dv = numbers(key_count, 9);
    attention_case c = {
        {batch, queries, keys, heads, head_dim, q, key, v, width, width, width, lengths, out, log_sum_exp, weights, dq, dk, dv}, weights};
    mk_scratch scratch = k->attention_scratch(&c.a);
    CHECK(mk_pool_reserve(pool, scratch.per_worker, scratch.shared) == 0);
    attention_loss(&c);
    k->attention_backward(pool, &c.a);
    check_gradient("attention, q", attention_loss, &c, q, dq, out_count);
    check_gradient("attention, k", attention_loss, &c, key, dk, key_count);
    check_gradient("attention, v", attention_loss, &c, v, dv, key_count);
    free(q), free(key), free(v), free(out), free(weights), free(log_sum_exp), free(dq), free(dk), free(dv);
}

/* One head, two tokens: scores 0 and log 3 give probabilities 1/4 and 3/4. */
static void test_attention_by_hand(void) {
    double qkv[6] = {1, 0, 8, 1, 1.0986122886681098, 16}, out[2], log_sum_exp[2];
    mk_attention a = {.batch = 1, .queries = 2, .keys = 2, .heads = 1, .head_dim = 1, .q = qkv, .k = qkv + 1, .v = qkv + 2};
    a.q_stride = a.k_stride = a.v_stride = 3, a.out = out, a.log_sum_exp = log_sum_exp;
    k->attention_forward(pool, &a);
    for (int t = 0; t < 2; t++) {
        CHECK(fabs(out[t] - 14) < 1e-12);
        CHECK(fabs(log_sum_exp[t] - 1.3862943611198906) < 1e-12);
    }
    const int32_t one = 1, none = 0;
    a.lengths = &one;
    k->attention_forward(pool, &a);
    CHECK(out[0] == 8 && out[1] == 8 && log_sum_exp[1] == 0);
    a.lengths = &none;
    k->attention_forward(pool, &a);
    CHECK(out[0] == 0 && out[1] == 0 && log_sum_exp[1] == -INFINITY);
}

/* ---- Layer norm ---- */

typedef struct {
    int64_t rows, width;
    double *x, *gamma, *beta, *y, *mean, *rstd;
    const double *weights;
} norm_case;

static double norm_loss(void *context) {
    norm_case *c = context;
    k->layer_norm_forward(pool, c->rows, c->width, c->x, c->gamma, c->beta, 1e-2, c->y, c->mean, c->rstd);
    return dot(c->y, c->weights, c->rows * c->width);
}

static void test_layer_norm(int64_t rows, int64_t width) {
    int64_t count = rows * width;
    norm_case c = {rows,
                   width,
                   numbers(count, 1),
                   numbers(width, 2),
                   numbers(width, 3),
                   numbers(count, 4),
                   numbers(rows, 5),
                   numbers(rows, 6),
                   numbers(count, 7)};
    double *dx = numbers(count, 8), *dgamma = numbers(width, 9), *dbeta = numbers(width, 10), *addend = numbers(count, 11);
    norm_loss(&c);
    k->layer_norm_backward(pool, rows, width, c.x, c.gamma, c.mean, c.rstd, c.weights, NULL, dx, dgamma, dbeta);
    check_gradient("layer_norm x", norm_loss, &c, c.x, dx, count);
    check_gradient("layer_norm gamma", norm_loss, &c, c.gamma, dgamma, width);
    check_gradient("layer_norm beta", norm_loss, &c, c.beta, dbeta, width);
    norm_loss(&c);
    double *sum = numbers(count, 11);
    k->layer_norm_backward(pool, rows, width, c.x, c.gamma, c.mean, c.rstd, c.weights, sum, sum, dgamma, dbeta);
    for (int64_t i = 0; i < count; i++) CHECK(fabs(sum[i] - dx[i] - addend[i]) < 1e-12);
    free(c.x), free(c.gamma), free(c.beta), free(c.y), free(c.mean), free(c.rstd), free((void *)c.weights);
    free(dx), free(dgamma), free(dbeta), free(addend), free(sum);
}

/* ---- Gather ---- */

typedef struct {
    mk_gather g;
    const double *weights;
} gather_case;

static double gather_loss(void *context) {
    gather_case *c = context;
    k->gather(pool, &c->g);
    return dot(c->g.y, c->weights, c->g.batch * c->g.rows_out * c->g.width);
}

static void test_gather(int with_ids, int with_fill, int with_table) {
    enum { BATCH = 2, ROWS_IN = 3, ROWS_OUT = 5, WIDTH = 2, TABLE_ROWS = 6 };
    /* A row named twice, a row named never, and two ids out of range. */
    int32_t ids[BATCH * ROWS_OUT] = {2, -1, 0, 2, 7, 1, 0, 3, 2, -5}, table_ids[ROWS_OUT] = {5, 0, 0, 3, 2};
    double *x = numbers(BATCH * ROWS_IN * WIDTH, 1), *fill = numbers(WIDTH, 2), *table = numbers(TABLE_ROWS * WIDTH, 3);
    double y[BATCH * ROWS_OUT * WIDTH], dx[BATCH * ROWS_IN * WIDTH], dfill[WIDTH], dtable[TABLE_ROWS * WIDTH];
    double *weights = numbers(BATCH * ROWS_OUT * WIDTH, 4);
    gather_case c = {{BATCH, ROWS_IN, ROWS_OUT, WIDTH, x, with_ids ? ids : NULL, ROWS_OUT, with_fill ? fill : NULL,
                      with_table ? table : NULL, TABLE_ROWS, with_table == 2 ? table_ids : NULL, 0, y},
                     weights};
    mk_gather_gradient gradient = {c.g, weights, dx, with_fill ? dfill : NULL, with_table ? dtable : NULL};
    k->gather_gradient(pool, &gradient);
    check_gradient("gather x", gather_loss, &c, x, dx, BATCH * ROWS_IN * WIDTH);
    if (with_fill) check_gradient("gather fill", gather_loss, &c, fill, dfill, WIDTH);
    if (with_table) check_gradient("gather table", gather_loss, &c, table, dtable, TABLE_ROWS * WIDTH);
    free(x), free(fill), free(table), free(weights);
}

/* ---- Patches ---- */

/* scatter is the transpose of extract: <extract(images), w> = <images, scatter(w)>, whatever the ids. */
static void test_patches(int channels_last) {
    int32_t ids[8] = {3, 0, 5, 5, 1, 2, 4, 0};
    double *images = numbers(2 * 3 * 8 * 9, 1), *back = numbers(2 * 3 * 8 * 9, 2);
    double *patches = numbers(2 * 4 * 36, 3), *weights = numbers(2 * 4 * 36, 4);
    mk_patches p = {2, 3, 8, 9, 4, 3, channels_last, 4, ids, 4, images, patches};
    k->extract_patches(pool, &p);
    /* Image 1, patch row 3 has id 0; value 17 is channel 1, row 1, column 2, or row 1, column 2, channel 2. */
    int64_t channel = channels_last ? 2 : 1;
    CHECK(patches[(4 + 3) * 36 + 17] == images[((3 + channel) * 8 + 1) * 9 + 2]);
    double left = dot(patches, weights, 2 * 4 * 36);
    mk_patches q = p;
    q.images = back;
    q.patches = weights;
    k->scatter_patches(pool, &q);
    CHECK(fabs(left - dot(images, back, 2 * 3 * 8 * 9)) < 1e-12);
    free(images), free(back), free(patches), free(weights);
}

/* ---- Losses and the rest ---- */

typedef struct {
    int64_t rows, classes;
    double *x, *target, *log_sum_exp;
    int32_t *labels;
    double smoothing;
    double *weights;
} loss_case;

static double cross_entropy_loss(void *context) {
    loss_case *c = context;
    double loss;
    k->cross_entropy(pool, c->rows, c->classes, c->x, c->labels, c->smoothing, c->weights, c->log_sum_exp, &loss);
    return 0.7 * loss;
}

static double soft_loss(void *context) {
    loss_case *c = context;
    double loss;
    k->soft_cross_entropy(pool, c->rows, c->classes, c->x, c->target, c->weights, c->log_sum_exp, &loss);
    return 0.7 * loss;
}

static double squared_error_loss(void *context) {
    loss_case *c = context;
    double loss;
    k->squared_error(pool, c->rows * c->classes, c->x, c->target, &loss);
    return 0.7 * loss;
}

static double mean_loss(void *context) {
    loss_case *c = context;
    double y[2 * 5];
    k->mean_tokens(pool, 2, 3, 5, 1, c->x, y);
    return dot(y, c->target, 10);
}

static void test_losses(double smoothing, double *weights) {
    int32_t labels[6] = {0, 4, 2, 2, 1, 3};
    double dloss = 0.7, dx[30];
    loss_case c = {6, 5, numbers(30, 1), numbers(30, 2), numbers(6, 3), labels, smoothing, weights};
    cross_entropy_loss(&c);
    k->cross_entropy_gradient(pool, 6, 5, c.x, labels, smoothing, weights, c.log_sum_exp, &dloss, dx);
    check_gradient("cross_entropy", cross_entropy_loss, &c, c.x, dx, 30);
    k->squared_error_gradient(pool, 30, c.x, c.target, &dloss, dx);
    check_gradient("squared_error", squared_error_loss, &c, c.x, dx, 30);
    k->mean_tokens_gradient(pool, 2, 3, 5, 1, c.target, dx);
    check_gradient("mean_tokens", mean_loss, &c, c.x, dx, 30);
    k->softmax_rows(pool, 6, 5, c.target, c.target); /* targets add up to 1 */
    soft_loss(&c);
    k->soft_cross_entropy_gradient(pool, 6, 5, c.x, c.target, weights, c.log_sum_exp, &dloss, dx);
    check_gradient("soft_cross_entropy", soft_loss, &c, c.x, dx, 30);
    free(c.x), free(c.target), free(c.log_sum_exp);
}

static void test_losses_by_hand(void) {
    double logits[3] = {0, 1.0986122886681098, 1.3862943611198906}, log_sum_exp, loss, y[3];
    int32_t label = 1;
    k->cross_entropy(pool, 1, 3, logits, &label, 0, NULL, &log_sum_exp, &loss); /* probabilities 1/8, 3/8, 4/8 */
    CHECK(fabs(loss - log(8.0 / 3)) < 1e-12);
    k->softmax_rows(pool, 1, 3, logits, y);
    CHECK(fabs(y[0] - 0.125) < 1e-12 && fabs(y[1] - 0.375) < 1e-12 && fabs(y[2] - 0.5) < 1e-12);
    double x[4] = {1, 2, 3, 6}, standard[4];
    k->standardize_rows(pool, 1, 4, x, 0, standard); /* mean 3, unbiased variance 14/3 */
    CHECK(fabs(standard[3] - 3 / sqrt(14.0 / 3)) < 1e-12 && fabs(standard[2]) < 1e-12);
    double sums[2], grid[6] = {1, 10, 2, 20, 3, 30};
    k->column_sum(pool, 3, 2, grid, sums);
    CHECK(sums[0] == 6 && sums[1] == 60);
    k->add(pool, 3, x, grid, y);
    CHECK(y[0] == 2 && y[1] == 12 && y[2] == 5);
    k->scale(pool, 3, 0.5, x, y);
    CHECK(y[0] == 0.5 && y[1] == 1 && y[2] == 1.5);
}

/* ---- GELU in the matrix product ---- */

typedef struct {
    double *a, *b, *bias, *c, *auxiliary;
    const double *weights;
} gemm_case;

static double gemm_loss(void *context) {
    gemm_case *c = context;
    mk_gemm g = {2, 3, 4, c->a, 4, c->b, 4, c->c, 3, 0, 1, MK_ACTIVATION_GELU, c->bias, c->auxiliary, NULL, NULL, 0};
    k->gemm(pool, &g);
    return dot(c->c, c->weights, 6);
}

/* d loss / d a = (weights * gelu'(a b^T + bias)) b; the product with GELU_GRADIENT gives the factor weights * gelu'. */
static void test_gelu(void) {
    gemm_case c = {numbers(8, 1), numbers(12, 2), numbers(3, 3), numbers(6, 4), numbers(6, 5), numbers(6, 6)};
    double identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1}, dv[6], da[8], dbias[3];
    gemm_loss(&c);
    mk_gemm factor = {2, 3, 3, c.weights, 3, identity, 3, dv, 3, 0, 0, MK_ACTIVATION_GELU_GRADIENT, NULL, c.auxiliary, NULL, NULL, 0};
    k->gemm(pool, &factor);
    mk_gemm product = {2, 4, 3, dv, 3, c.b, 4, da, 4, 0, 0, MK_ACTIVATION_NONE, NULL, NULL, NULL, NULL, 0};
    k->gemm(pool, &product);
    k->column_sum(pool, 2, 3, dv, dbias);
    check_gradient("gelu a", gemm_loss, &c, c.a, da, 8);
    check_gradient("gelu bias", gemm_loss, &c, c.bias, dbias, 3);
    free(c.a), free(c.b), free(c.bias), free(c.c), free(c.auxiliary), free((void *)c.weights);
}

/* A convolution, then batch norm with frozen statistics, a residual and a ReLU, is the convolution with the folded norm. */
static void test_folded_norm(void) {
    enum { CHANNELS = 3, OUTPUTS = 4, SIZE = 5, AREA = SIZE * SIZE };
    double *x = numbers(AREA * CHANNELS, 1), *weight = numbers(OUTPUTS * CHANNELS * 9, 2), *residual = numbers(AREA * OUTPUTS, 3);
    double *gamma = numbers(OUTPUTS, 4), *beta = numbers(OUTPUTS, 5), *mean = numbers(OUTPUTS, 6), *variance = numbers(OUTPUTS, 7);
    double y[AREA * OUTPUTS], expected[AREA * OUTPUTS], scale[OUTPUTS], shift[OUTPUTS];
    for (int c = 0; c < OUTPUTS; c++) variance[c] = variance[c] * variance[c] + 0.01;
    const mk_window window = {SIZE, SIZE, 3, 1, 1, 1};
    for (int relu = 0; relu <= 6; relu += relu ? 5 : 1) {
        mk_conv2d v = {.batch = 1, .channels = CHANNELS, .out_channels = OUTPUTS, .groups = 1, .rows = window, .columns = window};
        v.in.count = v.out.count = AREA, v.x = x, v.weight = weight, v.y = y;
        mk_batch_norm b = {.rows = AREA, .width = OUTPUTS, .gamma = gamma, .beta = beta, .mean = mean, .variance = variance};
        b.x = y, b.y = expected, b.residual = residual, b.epsilon = 1e-3, b.frozen = 1, b.relu = relu;
        k->conv2d(pool, &v, MK_CONV2D_FORWARD);
        k->batch_norm_forward(pool, &b);
        k->batch_norm_fold(pool, &b, scale, shift);
        v.scale = scale, v.bias = shift, v.addend = residual, v.relu = relu;
        k->conv2d(pool, &v, MK_CONV2D_FORWARD);
        int cut = 0;
        for (int i = 0; i < AREA * OUTPUTS; i++) {
            CHECK(fabs(y[i] - expected[i]) < 1e-12, "relu %d: %g, expected %g", relu, y[i], expected[i]);
            cut += expected[i] <= 0;
        }
        CHECK(cut > 10 && cut < AREA * OUTPUTS - 10, "%d values are not positive", cut);
    }
    free(x), free(weight), free(residual), free(gamma), free(beta), free(mean), free(variance);
}

/* The transposed and accumulating forms of the product, on values small enough to be exact. */
static void test_gemm_forms(void) {
    double a[6] = {1, 2, 3, 4, 5, 6}, at[6] = {1, 4, 2, 5, 3, 6}, b[6] = {1, 0, 2, 1, 0, 3}, bt[6] = {1, 2, 0, 0, 1, 3};
    double expected[4] = {5, 11, 14, 23}; /* 2 x 3 times 3 x 2 */
    for (int form = 0; form < 4; form++) {
        double c[4] = {100, 200, 300, 400};
        mk_gemm g = {.m = 2, .n = 2, .k = 3, .c = c, .ldc = 2, .residual = c, .transpose_a = form & 1, .transpose_b = (form & 2) / 2};
        g.a = form & 1 ? at : a, g.lda = form & 1 ? 2 : 3;
        g.b = form & 2 ? bt : b, g.ldb = form & 2 ? 3 : 2;
        k->gemm(pool, &g);
        for (int i = 0; i < 4; i++) CHECK(c[i] == 100 * (i + 1) + expected[i]);
    }
}

/* Two steps on one parameter, by hand from the algorithm box of Loshchilov & Hutter. */
static void test_adamw(void) {
    double p = 1, m = 0, v = 0, gradient = 4, expected = 1, first = 0, second = 0;
    for (int step = 1; step <= 2; step++) {
        mk_adamw a = {1, &p, &m, &v, &gradient, 0.1, 0.9, 0.99, 1e-3, 0.01, step, 0.5, 0};
        k->adamw(pool, &a);
        first = 0.9 * first + 0.1 * 2;
        second = 0.99 * second + 0.01 * 4;
        expected -= 0.1 * 0.01 * expected;
        expected -= 0.1 * (first / (1 - pow(0.9, step))) / (sqrt(second / (1 - pow(0.99, step))) + 1e-3);
        CHECK(fabs(p - expected) < 1e-14);
    }
}

int main(void) {
    k = mk_kernels_reference_float64();
    pool = mk_pool_create(1);
    CHECK(pool != NULL && k->element_bytes == 8 && strcmp(k->name, "reference_float64") == 0);
    CHECK(mk_kernels_reference_float32()->element_bytes == 4);
    static const int32_t ragged[] = {2, 0}, full[] = {4, 1};
    test_attention(1, 1, 1, 1, NULL);
    test_attention(3, 3, 2, 4, NULL);
    test_attention(5, 5, 1, 3, NULL);
    test_attention(2, 4, 2, 3, NULL);
    test_attention(5, 2, 1, 3, NULL);
    test_attention(3, 4, 2, 3, ragged);
    test_attention(3, 4, 2, 3, full);
    test_attention_by_hand();
    test_layer_norm(3, 5);
    test_layer_norm(1, 2);
    for (int form = 0; form < 12; form++) test_gather(form & 1, (form >> 1) & 1, form >> 2);
    test_patches(0);
    test_patches(1);
    double weights[6] = {0.5, 1, 2, 0, 1.5, 1};
    test_losses(0, NULL);
    test_losses(0.1, NULL);
    test_losses(0.1, weights);
    test_losses_by_hand();
    test_gelu();
    test_folded_norm();
    test_gemm_forms();
    test_adamw();
    mk_pool_destroy(pool);
    return check_result("test_reference");
}
