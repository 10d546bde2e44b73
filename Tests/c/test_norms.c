/* Batch norm, group norm and global response norm on every instruction set that this processor has, against the float64 reference: odd
 * sizes, means far from 0, 1 to 3 threads with equal bits, aliases, NaN. */
#include "kernel_arrays.h"

/* ---- Batch norm ---- */

typedef struct {
    int64_t rows, width;
    double shift; /* mean of x, about */
    int relu, residual, frozen;
} batch_norm_case;

typedef struct {
    batch_norm_case c;
    array x, gamma, beta, mean, variance, added, y, scale, offset; /* forward; added: the residual */
    array dy, dx, dadded, dgamma, dbeta;
    char name[120];
} batch_norm_problem;

static batch_norm_problem batch_norm_make(batch_norm_case c) {
    int64_t count = c.rows * c.width;
    batch_norm_problem p = {.c = c};
    p.x = array_make(count, 2, c.shift), p.gamma = array_make(c.width, 0.5, 1), p.beta = input(c.width);
    p.mean = input(c.width), p.variance = input(c.width), p.added = input(count), p.y = input(count);
    p.scale = input(c.width), p.offset = input(c.width);
    p.dy = input(count), p.dx = input(count), p.dadded = input(count), p.dgamma = input(c.width), p.dbeta = input(c.width);
    snprintf(p.name, sizeof p.name, "%s %lld x %lld, shift %g, relu %d, residual %d, frozen %d", fast->name, (long long)c.rows,
             (long long)c.width, c.shift, c.relu, c.residual, c.frozen);
    return p;
}

static void batch_norm_free(batch_norm_problem *p) {
    FREE(&p->x, &p->gamma, &p->beta, &p->mean, &p->variance, &p->added, &p->y, &p->scale, &p->offset);
    FREE(&p->dy, &p->dx, &p->dadded, &p->dgamma, &p->dbeta);
}

static mk_batch_norm batch_norm_shape(const batch_norm_problem *p) {
    return (mk_batch_norm){.rows = p->c.rows, .width = p->c.width, .epsilon = 1e-2, .relu = p->c.relu, .frozen = p->c.frozen};
}

static mk_batch_norm batch_norm_double(batch_norm_problem *p) {
    mk_batch_norm v = batch_norm_shape(p);
    v.x = p->x.d, v.gamma = p->gamma.d, v.beta = p->beta.d, v.mean = p->mean.d, v.variance = p->variance.d, v.y = p->y.d;
    v.y_gradient = p->dy.d, v.x_gradient = p->dx.d, v.gamma_gradient = p->dgamma.d, v.beta_gradient = p->dbeta.d;
    if (p->c.residual) v.residual = p->added.d, v.residual_gradient = p->dadded.d;
    return v;
}

static mk_batch_norm batch_norm_float(batch_norm_problem *p) {
    mk_batch_norm v = batch_norm_shape(p);
    v.x = p->x.f, v.gamma = p->gamma.f, v.beta = p->beta.f, v.mean = p->mean.f, v.variance = p->variance.f, v.y = p->y.f;
    v.y_gradient = p->dy.f, v.x_gradient = p->dx.f, v.gamma_gradient = p->dgamma.f, v.beta_gradient = p->dbeta.f;
    if (p->c.residual) v.residual = p->added.f, v.residual_gradient = p->dadded.f;
    return v;
}

/* Near the corners of ReLU one precision may have 0 and the other not: dy = 0 there. */
static void clear_of_relu(batch_norm_problem *p) {
    array before = input(p->y.count);
    mk_batch_norm v = batch_norm_double(p);
    v.relu = 0, v.y = before.d;
    reference->batch_norm_forward(reference_pool, &v);
    for (int64_t i = 0; p->c.relu && i < before.count; i++)
        if (fabs(before.d[i]) < 1e-3 || fabs(before.d[i] - 6) < 1e-3) p->dy.d[i] = p->dy.f[i] = 0;
    FREE(&before);
}

static void batch_norm_expected(batch_norm_problem *p) {
    reference->column_moments(reference_pool, p->c.rows, p->c.width, p->x.d, p->mean.d, p->variance.d);
    clear_of_relu(p);
    mk_batch_norm v = batch_norm_double(p);
    reference->batch_norm_forward(reference_pool, &v);
    reference->batch_norm_backward(reference_pool, &v);
    reference->batch_norm_fold(reference_pool, &v, p->scale.d, p->offset.d);
    double smallest = 1;
    for (int64_t c = 0; c < p->c.width; c++) smallest = fmin(smallest, p->variance.d[c]);
    p->mean.floor = 1;
    p->y.floor = p->c.shift > 1; /* the mean is rounded to float */
    p->offset.floor = 10 * fabs(p->c.shift);
    p->dgamma.floor = p->dbeta.floor = sqrt((double)p->c.rows);
    p->dx.floor = 1 / sqrt(smallest + v.epsilon);
    need(fast->column_moments_scratch(p->c.rows, p->c.width), (mk_scratch){0, 0});
    need(fast->batch_norm_scratch(&v), (mk_scratch){0, 0});
}

static void check_moments(batch_norm_problem *p, mk_pool *pool) {
    spoil(&p->mean), spoil(&p->variance);
    fast->column_moments(pool, p->c.rows, p->c.width, p->x.f, p->mean.f, p->variance.f);
    check_array("column_moments", p->name, &p->mean, 1e-6);
    check_array("column_moments variance", p->name, &p->variance, 4e-6);
}

static void check_batch_norm_forward(batch_norm_problem *p, mk_pool *pool) {
    mk_batch_norm v = batch_norm_float(p);
    spoil(&p->y), spoil(&p->scale), spoil(&p->offset);
    fast->batch_norm_forward(pool, &v);
    check_array("batch_norm", p->name, &p->y, 2e-5);
    fast->batch_norm_fold(pool, &v, p->scale.f, p->offset.f);
    check_array("batch_norm_fold", p->name, &p->scale, 1e-5);
    check_array("batch_norm_fold shift", p->name, &p->offset, 1e-5);
}

static void check_batch_norm_backward(batch_norm_problem *p, mk_pool *pool) {
    mk_batch_norm v = batch_norm_float(p);
    spoil(&p->dx), spoil(&p->dadded), spoil(&p->dgamma), spoil(&p->dbeta);
    fast->batch_norm_backward(pool, &v);
    check_array("batch_norm dx", p->name, &p->dx, 3e-5);
    if (p->c.residual) check_array("batch_norm dresidual", p->name, &p->dadded, 1e-7);
    check_array("batch_norm dgamma", p->name, &p->dgamma, 2e-5);
    check_array("batch_norm dbeta", p->name, &p->dbeta, 1e-5);
    memcpy(p->dx.f, p->dy.f, (size_t)p->dx.count * 4);
    v.y_gradient = p->dx.f;
    fast->batch_norm_backward(pool, &v);
    check_array("batch_norm dx = dy", p->name, &p->dx, 3e-5);
}

/* y takes over x, then the residual. */
static void check_batch_norm_in_place(batch_norm_problem *p, mk_pool *pool) {
    size_t bytes = (size_t)p->y.count * 4;
    array z = input(p->y.count);
    mk_batch_norm v = batch_norm_float(p);
    memcpy(z.f, p->x.f, bytes);
    v.x = z.f, v.y = z.f;
    fast->batch_norm_forward(pool, &v);
    CHECK(memcmp(z.f, p->y.f, bytes) == 0, "y = x");
    if (p->c.residual) {
        memcpy(z.f, p->added.f, bytes);
        v.x = p->x.f, v.residual = z.f;
        fast->batch_norm_forward(pool, &v);
        CHECK(memcmp(z.f, p->y.f, bytes) == 0, "y = residual");
    }
    FREE(&z);
}

static void check_batch_norm(batch_norm_case c) {
    batch_norm_problem p = batch_norm_make(c);
    batch_norm_expected(&p);
    ON_EACH_POOL(pool, {
        check_moments(&p, pool);
        check_batch_norm_forward(&p, pool);
        check_batch_norm_backward(&p, pool);
        check_batch_norm_in_place(&p, pool);
    })
    batch_norm_free(&p);
}

static void test_batch_norm(void) {
    static const int64_t sizes[][2] = {{2, 1}, {3, 5}, {40, 16}, {129, 67}, {700, 64}, {4500, 20}, {260, 150}};
    for (int i = 0; i < 7; i++)
        for (int residual = 0; residual < 2; residual++)
            for (int frozen = 0; frozen < 2; frozen++) {
                check_batch_norm((batch_norm_case){sizes[i][0], sizes[i][1], 0.2, 0, residual, frozen});
                check_batch_norm((batch_norm_case){sizes[i][0], sizes[i][1], 30, i % 2 ? 6 : 1, residual, frozen});
            }
}

/* ---- Group norm and response norm ---- */

typedef struct {
    int64_t batch, rows, width, groups; /* groups 0: response norm */
    array x, gamma, beta, y, mean, rstd, norms, dy, dx, dgamma, dbeta;
} image_norm_problem;

static image_norm_problem image_norm_make(int64_t batch, int64_t rows, int64_t width, int64_t groups, double shift) {
    const int64_t count = batch * rows * width, statistics = batch * (groups ? groups : width);
    image_norm_problem p = {.batch = batch, .rows = rows, .width = width, .groups = groups};
    p.x = array_make(count, 1, shift), p.gamma = array_make(width, 0.5, 1), p.beta = input(width), p.y = input(count);
    p.mean = input(statistics), p.rstd = input(statistics), p.norms = input(statistics);
    p.dy = input(count), p.dx = input(count), p.dgamma = input(width), p.dbeta = input(width);
    for (int64_t r = 0; r < rows && !groups && width > 3; r++) p.x.d[r * width + 2] = p.x.f[r * width + 2] = 0; /* a norm of 0 */
    p.y.floor = p.mean.floor = 1 + fabs(shift);
    p.dgamma.floor = p.dbeta.floor = sqrt((double)(batch * rows));
    return p;
}

static void image_norm_free(image_norm_problem *p) {
    FREE(&p->x, &p->gamma, &p->beta, &p->y, &p->mean, &p->rstd, &p->norms, &p->dy, &p->dx, &p->dgamma, &p->dbeta);
}

static mk_image_norm image_norm_shape(const image_norm_problem *p) {
    return (mk_image_norm){.batch = p->batch, .rows = p->rows, .width = p->width, .groups = p->groups, .epsilon = p->groups ? 1e-3 : 1e-6};
}

static mk_image_norm image_norm_double(image_norm_problem *p) {
    mk_image_norm v = image_norm_shape(p);
    v.x = p->x.d, v.gamma = p->gamma.d, v.beta = p->beta.d, v.y = p->y.d;
    v.mean = p->mean.d, v.rstd = p->rstd.d, v.norms = p->norms.d;
    v.y_gradient = p->dy.d, v.x_gradient = p->dx.d, v.gamma_gradient = p->dgamma.d, v.beta_gradient = p->dbeta.d;
    return v;
}

static mk_image_norm image_norm_float(image_norm_problem *p) {
    mk_image_norm v = image_norm_shape(p);
    v.x = p->x.f, v.gamma = p->gamma.f, v.beta = p->beta.f, v.y = p->y.f;
    v.mean = p->mean.f, v.rstd = p->rstd.f, v.norms = p->norms.f;
    v.y_gradient = p->dy.f, v.x_gradient = p->dx.f, v.gamma_gradient = p->dgamma.f, v.beta_gradient = p->dbeta.f;
    return v;
}

static void run_forward(const mk_kernels *k, mk_pool *pool, const mk_image_norm *v) {
    (v->groups ? k->group_norm_forward : k->response_norm_forward)(pool, v);
}

static void run_backward(const mk_kernels *k, mk_pool *pool, const mk_image_norm *v) {
    (v->groups ? k->group_norm_backward : k->response_norm_backward)(pool, v);
}

static void check_image_norm_forward(const char *name, image_norm_problem *p, mk_pool *pool) {
    mk_image_norm v = image_norm_float(p);
    spoil(&p->y), spoil(&p->mean), spoil(&p->rstd), spoil(&p->norms);
    run_forward(fast, pool, &v);
    check_array(name, "y", &p->y, 1e-5);
    if (p->groups) {
        check_array(name, "mean", &p->mean, 1e-6);
        check_array(name, "rstd", &p->rstd, 1e-5);
    } else {
        check_array(name, "norms", &p->norms, 1e-6);
    }
}

static void check_image_norm_backward(const char *name, image_norm_problem *p, mk_pool *pool) {
    mk_image_norm v = image_norm_float(p);
    spoil(&p->dx), spoil(&p->dgamma), spoil(&p->dbeta);
    run_backward(fast, pool, &v);
    check_array(name, "dx", &p->dx, 2e-5);
    check_array(name, "dgamma", &p->dgamma, 2e-5);
    check_array(name, "dbeta", &p->dbeta, 1e-5);
}

static void check_image_norm_in_place(const char *name, image_norm_problem *p, mk_pool *pool) {
    mk_image_norm v = image_norm_float(p);
    memcpy(p->y.f, p->x.f, (size_t)p->x.count * 4), v.x = p->y.f;
    run_forward(fast, pool, &v);
    check_array(name, "y = x", &p->y, 1e-5);
    memcpy(p->dx.f, p->dy.f, (size_t)p->dx.count * 4), v.x = p->x.f, v.y_gradient = p->dx.f;
    run_backward(fast, pool, &v);
    check_array(name, "dx = dy", &p->dx, 2e-5);
}

static void check_image_norm(int64_t batch, int64_t rows, int64_t width, int64_t groups, double shift) {
    const char *name = groups ? "group norm" : "response norm";
    image_norm_problem p = image_norm_make(batch, rows, width, groups, shift);
    mk_image_norm expected = image_norm_double(&p);
    run_forward(reference, reference_pool, &expected);
    run_backward(reference, reference_pool, &expected);
    p.dx.floor = 1; /* with a small deviation, gradients are as large as its inverse */
    for (int64_t i = 0; groups && i < p.rstd.count; i++) p.dx.floor = fmax(p.dx.floor, p.rstd.d[i]);
    need(fast->image_norm_scratch(&expected), (mk_scratch){0, 0});
    ON_EACH_POOL(pool, {
        check_image_norm_forward(name, &p, pool);
        check_image_norm_backward(name, &p, pool);
        check_image_norm_in_place(name, &p, pool);
    })
    image_norm_free(&p);
}

static void test_image_norms(void) {
    for (int shift = 0; shift < 2; shift++) {
        check_image_norm(1, 1, 1, 0, shift);
        check_image_norm(3, 5, 7, 0, shift);
        check_image_norm(2, 300, 40, 0, shift);
        check_image_norm(2, 1, 6, 2, 10 * shift);
        check_image_norm(3, 5, 21, 3, 10 * shift);
        check_image_norm(2, 300, 40, 8, 10 * shift);
        check_image_norm(1, 31, 64, 1, 10 * shift);
    }
}

static void test_not_a_number(void) {
    array x = input(48), y = input(48), mean = input(3), variance = input(3), ones = array_make(3, 0, 1);
    x.f[4] = NAN; /* row 1, column 1 */
    need(fast->column_moments_scratch(16, 3), (mk_scratch){0, 0});
    fast->column_moments(pools[0], 16, 3, x.f, mean.f, variance.f);
    CHECK(!isnan(mean.f[0]) && isnan(mean.f[1]) && isnan(variance.f[1]) && !isnan(variance.f[2]));
    mk_batch_norm v = {.rows = 16, .width = 3, .x = x.f, .gamma = ones.f, .beta = ones.f, .mean = ones.f, .variance = ones.f};
    v.relu = 1, v.y = y.f;
    need(fast->batch_norm_scratch(&v), (mk_scratch){0, 0});
    fast->batch_norm_forward(pools[0], &v);
    CHECK(isnan(y.f[4]) && !isnan(y.f[3]), "ReLU must pass NaN");
    FREE(&x, &y, &mean, &variance, &ones);
}

static void test_all(void) {
    test_batch_norm();
    test_image_norms();
    test_not_a_number();
}

int main(void) { return on_every_isa(test_all, "test_norms"); }
