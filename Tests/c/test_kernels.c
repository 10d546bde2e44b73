/* Every fast kernel that has no program of its own (matrix product, attention, losses, ...), on every instruction set that this
 * processor has, against the float64 reference: odd sizes, 1 to 3 threads with equal bits, the aliases that mk_kernels.h allows,
 * and NaN that must come through. */
#include "kernel_arrays.h"

static void test_elementwise(void) {
    static const int64_t counts[] = {0, 1, 15, 16, 17, 1000, 16384, 50001};
    for (int i = 0; i < 8; i++) {
        int64_t n = counts[i];
        array a = input(n), b = input(n), y = input(n), z = input(n);
        reference->add(reference_pool, n, a.d, b.d, y.d);
        reference->scale(reference_pool, n, -0.37, a.d, z.d);
        ON_EACH_POOL(p, {
            spoil(&y);
            fast->add(p, n, a.f, b.f, y.f);
            check_array("add", "y", &y, 1e-7);
            memcpy(y.f, a.f, (size_t)n * 4);
            fast->add(p, n, y.f, b.f, y.f);
            check_array("add", "y = a", &y, 1e-7);
            memcpy(y.f, b.f, (size_t)n * 4);
            fast->add(p, n, a.f, y.f, y.f);
            check_array("add", "y = b", &y, 1e-7);
            spoil(&z);
            fast->scale(p, n, -0.37, a.f, z.f);
            check_array("scale", "y", &z, 2e-7);
            memcpy(z.f, a.f, (size_t)n * 4);
            fast->scale(p, n, -0.37, z.f, z.f);
            check_array("scale", "y = x", &z, 2e-7);
        })
        FREE(&a, &b, &y, &z);
    }
}

static void test_blend(void) {
    static const int64_t counts[] = {0, 1, 17, 16384, 50001};
    for (int i = 0; i < 5; i++) {
        int64_t n = counts[i];
        array x = input(n), y = input(n), fresh = input(n);
        float *start = malloc((size_t)n * 4 + 4);
        memcpy(start, y.f, (size_t)n * 4);
        reference->blend(reference_pool, n, 0.9, 0.125, x.d, y.d);
        reference->blend(reference_pool, n, 0, 0.5, x.d, fresh.d);
        ON_EACH_POOL(p, {
            memcpy(y.f, start, (size_t)n * 4);
            fast->blend(p, n, 0.9, 0.125, x.f, y.f);
            check_array("blend", "y", &y, 2e-7);
            spoil(&fresh); /* not read */
            fast->blend(p, n, 0, 0.5, x.f, fresh.f);
            check_array("blend", "keep 0", &fresh, 2e-7);
        })
        free(start);
        FREE(&x, &y, &fresh);
    }
}

static void test_gelu_gradient(void) {
    for (int64_t count = 1; count < 70000; count = count * 9 + 5) {
        array x = array_make(count, 4, 0), dy = input(count), dx = input(count);
        reference->gelu_gradient(reference_pool, count, x.d, dy.d, dx.d);
        ON_EACH_POOL(p, {
            memcpy(dx.f, dy.f, (size_t)count * 4);
            fast->gelu_gradient(p, count, x.f, dx.f, dx.f);
            check_array("gelu_gradient", "dx = dy", &dx, 2e-6);
        })
        FREE(&x, &dy, &dx);
    }
}

static void test_scale_images(void) {
    static const int64_t sizes[][2] = {{0, 5}, {1, 1}, {3, 17}, {5, 2000}};
    for (int i = 0; i < 4; i++) {
        int64_t images = sizes[i][0], values = sizes[i][1];
        array factors = input(images), x = input(images * values), residual = input(images * values);
        array y = input(images * values), z = input(images * values);
        reference->scale_images(reference_pool, images, values, factors.d, x.d, residual.d, y.d);
        reference->scale_images(reference_pool, images, values, factors.d, x.d, NULL, z.d);
        ON_EACH_POOL(p, {
            spoil(&y);
            fast->scale_images(p, images, values, factors.f, x.f, residual.f, y.f);
            check_array("scale_images", "y", &y, 2e-7);
            memcpy(y.f, residual.f, (size_t)(images * values) * 4);
            fast->scale_images(p, images, values, factors.f, x.f, y.f, y.f);
            check_array("scale_images", "y = residual", &y, 2e-7);
            memcpy(z.f, x.f, (size_t)(images * values) * 4);
            fast->scale_images(p, images, values, factors.f, z.f, NULL, z.f);
            check_array("scale_images", "y = x", &z, 2e-7);
        })
        FREE(&factors, &x, &residual, &y, &z);
    }
}

static void test_column_sum(void) {
    for (int i = 0; i < SHAPES; i++) {
        int64_t rows = shapes[i][0], columns = shapes[i][1];
        array x = array_make(rows * columns, 1, 0.3), out = input(columns);
        reference->column_sum(reference_pool, rows, columns, x.d, out.d);
        need(fast->column_sum_scratch(rows, columns), reference->column_sum_scratch(rows, columns));
        ON_EACH_POOL(p, {
            spoil(&out);
            fast->column_sum(p, rows, columns, x.f, out.f);
            check_array("column_sum", "out", &out, 2e-6);
        })
        FREE(&x, &out);
    }
}

static void test_layer_norm(void) {
    for (int i = 0; i < SHAPES; i++) {
        int64_t rows = shapes[i][0], width = shapes[i][1], count = rows * width;
        array x = array_make(count, 2, 3), gamma = array_make(width, 0.5, 1), beta = input(width), y = input(count);
        array mean = input(rows), rstd = input(rows), dy = input(count), addend = input(count), dx = input(count);
        array sum = input(count), dgamma = input(width), dbeta = input(width);
        double epsilon = 1e-2; /* so that a row of one value has a gradient that can be compared */
        reference->layer_norm_forward(reference_pool, rows, width, x.d, gamma.d, beta.d, epsilon, y.d, mean.d, rstd.d);
        reference->layer_norm_backward(reference_pool, rows, width, x.d, gamma.d, mean.d, rstd.d, dy.d, NULL, dx.d, dgamma.d, dbeta.d);
        for (int64_t j = 0; j < count; j++) sum.d[j] = dx.d[j] + addend.d[j];
        for (int64_t r = 0; r < rows; r++) dx.floor = sum.floor = fmax(dx.floor, rstd.d[r]);
        need(fast->layer_norm_scratch(rows, width), reference->layer_norm_scratch(rows, width));
        ON_EACH_POOL(p, {
            spoil(&y), spoil(&mean), spoil(&rstd);
            fast->layer_norm_forward(p, rows, width, x.f, gamma.f, beta.f, epsilon, y.f, mean.f, rstd.f);
            check_array("layer_norm", "y", &y, 3e-6);
            check_array("layer_norm", "mean", &mean, 1e-6);
            check_array("layer_norm", "rstd", &rstd, 1e-5);
            spoil(&y);
            fast->layer_norm_forward(p, rows, width, x.f, gamma.f, beta.f, epsilon, y.f, NULL, NULL);
            check_array("layer_norm", "y in inference", &y, 3e-6);
            spoil(&dx), spoil(&dgamma), spoil(&dbeta);
            fast->layer_norm_backward(p, rows, width, x.f, gamma.f, mean.f, rstd.f, dy.f, NULL, dx.f, dgamma.f, dbeta.f);
            check_array("layer_norm", "dx", &dx, 2e-5);
            check_array("layer_norm", "dgamma", &dgamma, 1e-5);
            check_array("layer_norm", "dbeta", &dbeta, 1e-5);
            memcpy(sum.f, addend.f, (size_t)count * 4);
            fast->layer_norm_backward(p, rows, width, x.f, gamma.f, mean.f, rstd.f, dy.f, sum.f, sum.f, dgamma.f, dbeta.f);
            check_array("layer_norm", "dx = addend", &sum, 2e-5);
            spoil(&sum);
            fast->layer_norm_backward(p, rows, width, x.f, gamma.f, mean.f, rstd.f, dy.f, addend.f, sum.f, dgamma.f, dbeta.f);
            check_array("layer_norm", "dx + addend", &sum, 2e-5);
        })
        FREE(&x, &gamma, &beta, &y, &mean, &rstd, &dy, &addend, &dx, &sum, &dgamma, &dbeta);
    }
}

static void test_standardize(void) {
    for (int i = 0; i < SHAPES; i++) {
        int64_t rows = shapes[i][0], width = shapes[i][1];
        array x = array_make(rows * width, 0.5, 0.4), y = input(rows * width);
        if (width == 1) width = rows = 0; /* no variance, so NaN: see test_nan */
        y.count = x.count = rows * width;
        y.f[y.count] = GUARD_VALUE;
        reference->standardize_rows(reference_pool, rows, width, x.d, 1e-6, y.d);
        if (y.count) {
            ON_EACH_POOL(p, {
                spoil(&y);
                fast->standardize_rows(p, rows, width, x.f, 1e-6, y.f);
                check_array("standardize_rows", "y", &y, 5e-6);
                memcpy(y.f, x.f, (size_t)y.count * 4);
                fast->standardize_rows(p, rows, width, y.f, 1e-6, y.f);
                check_array("standardize_rows", "y = x", &y, 5e-6);
            })
        }
        FREE(&x, &y);
    }
}

/* ids: 0 NULL, 1 a shuffle of each image's own, 2 repeated and out of range, 3 shared by the batch. */
static void test_gather(int64_t batch, int64_t rows_in, int64_t rows_out, int64_t width, int ids_kind, int fill_kind, int table_kind) {
    int64_t table_rows = rows_out + 3;
    int32_t *ids = malloc((size_t)(batch * rows_out) * 4 + 4), *table_ids = malloc((size_t)(batch * rows_out) * 4 + 4);
    for (int64_t j = 0; j < batch * rows_out; j++) {
        ids[j] = (int32_t)((j * 7 + j / rows_out) % (rows_in + 1));
        if (ids_kind == 2) ids[j] = (int32_t)(next_uniform() * 1.3 * (double)rows_in);
        table_ids[j] = (int32_t)(fabs(next_uniform()) * (double)table_rows);
    }
    array x = input(batch * rows_in * width), fill = input(width), table = input(table_rows * width);
    array y = input(batch * rows_out * width), dy = input(batch * rows_out * width);
    array dx = input(batch * rows_in * width), dfill = input(width), dtable = input(table_rows * width);
    mk_gather g = {batch,
                   rows_in,
                   rows_out,
                   width,
                   x.d,
                   ids_kind ? ids : NULL,
                   ids_kind == 3 ? 0 : rows_out,
                   fill_kind ? fill.d : NULL,
                   table_kind ? table.d : NULL,
                   table_rows,
                   table_kind == 1 ? NULL : table_ids,
                   table_kind == 3 ? 0 : rows_out,
                   y.d};
    mk_gather h = g;
    h.x = x.f, h.fill = fill_kind ? fill.f : NULL, h.table = table_kind ? table.f : NULL, h.y = y.f;
    mk_gather_gradient b = {g, dy.d, dx.d, dfill.d, table_kind ? dtable.d : NULL};
    mk_gather_gradient c = {h, dy.f, dx.f, dfill.f, table_kind ? dtable.f : NULL};
    reference->gather(reference_pool, &g);
    reference->gather_gradient(reference_pool, &b);
    ON_EACH_POOL(p, {
        spoil(&y), spoil(&dx), spoil(&dfill), spoil(&dtable);
        fast->gather(p, &h);
        fast->gather_gradient(p, &c);
        check_array("gather", "y", &y, 1e-7);
        check_array("gather", "dx", &dx, 2e-6);
        check_array("gather", "dfill", &dfill, 3e-6);
        if (table_kind) check_array("gather", "dtable", &dtable, 3e-6);
    })
    /* Each gradient is optional. */
    mk_gather_gradient none = {h, dy.f, NULL, NULL, NULL};
    fast->gather_gradient(pools[1], &none);
    FREE(&x, &fill, &table, &y, &dy, &dx, &dfill, &dtable);
    free(ids), free(table_ids);
}

static void test_gathers(void) {
    for (int kind = 0; kind < 4 * 2 * 4; kind++) {
        int ids_kind = kind & 3, fill_kind = (kind >> 2) & 1, table_kind = kind >> 3;
        test_gather(3, 5, 7, 19, ids_kind, fill_kind, table_kind);
        test_gather(2, 1, 1, 1, ids_kind, fill_kind, table_kind);
        test_gather(9, 64, 17, 48, ids_kind, fill_kind, table_kind);
        test_gather(1, 70, 65, 192, ids_kind, fill_kind, table_kind);
    }
    test_gather(2, 17000, 40, 3, 2, 1, 0); /* more rows than the bitmap holds */
    test_gather(2, 0, 4, 5, 0, 1, 1);
    test_gather(0, 3, 4, 5, 1, 1, 1);
}

static void test_patches(int64_t batch, int64_t channels, int64_t height, int64_t width, int64_t patch_height, int64_t patch_width,
                         int32_t channels_last, int ids_kind) {
    int64_t grid = (height / patch_height) * (width / patch_width), rows_out = ids_kind ? grid / 2 + 1 : grid;
    int64_t patch = channels * patch_height * patch_width;
    int32_t *ids = malloc((size_t)(batch * rows_out) * 4);
    for (int64_t j = 0; j < batch * rows_out; j++) ids[j] = (int32_t)(fabs(next_uniform()) * (double)grid);
    array images = input(batch * channels * height * width), patches = input(batch * rows_out * patch);
    mk_patches g = {batch,
                    channels,
                    height,
                    width,
                    patch_height,
                    patch_width,
                    channels_last,
                    rows_out,
                    ids_kind ? ids : NULL,
                    ids_kind == 2 ? 0 : rows_out,
                    images.d,
                    patches.d};
    mk_patches h = g;
    h.images = images.f, h.patches = patches.f;
    reference->extract_patches(reference_pool, &g);
    ON_EACH_POOL(p, {
        spoil(&patches);
        fast->extract_patches(p, &h);
        check_array("extract_patches", "patches", &patches, 0);
    })
    reference->scatter_patches(reference_pool, &g);
    ON_EACH_POOL(p, {
        spoil(&images);
        fast->scatter_patches(p, &h);
        check_array("scatter_patches", "images", &images, 2e-7);
    })
    FREE(&images, &patches);
    free(ids);
}

static void test_all_patches(void) {
    for (int kind = 0; kind < 6; kind++) {
        test_patches(3, 3, 32, 32, 4, 4, kind & 1, kind >> 1);
        test_patches(2, 1, 10, 21, 5, 7, kind & 1, kind >> 1);
        test_patches(2, 5, 9, 11, 2, 3, kind & 1, kind >> 1); /* a border that no patch covers */
        test_patches(1, 3, 64, 48, 16, 16, kind & 1, kind >> 1);
        test_patches(1, 2, 40, 1, 1, 1, kind & 1, kind >> 1);
    }
}

/* AdamW and LAMB. */
static void test_adamw(void) {
    static const int64_t counts[] = {0, 1, 31, 16384, 40001};
    for (int i = 0; i < 10; i++) {
        int64_t n = counts[i / 2];
        array p0 = input(n), m0 = array_make(n, 0.1, 0), v0 = array_make(n, 0.01, 0.01), g = input(n);
        array parameter = input(n), m = input(n), v = input(n);
        m.floor = 0.1; /* the size of what is added: a sum of one element may be near zero */
        memcpy(parameter.d, p0.d, (size_t)n * 8), memcpy(m.d, m0.d, (size_t)n * 8), memcpy(v.d, v0.d, (size_t)n * 8);
        mk_adamw a = {n, parameter.d, m.d, v.d, g.d, 1e-3, 0.9, 0.95, 1e-8, 0.05, 0, 0.25, i % 2};
        mk_adamw b = a;
        b.parameter = parameter.f, b.first_moment = m.f, b.second_moment = v.f, b.gradient = g.f;
        need(fast->update_scratch(n), reference->update_scratch(n));
        for (a.step = 1; a.step <= 3; a.step++) reference->adamw(reference_pool, &a);
        ON_EACH_POOL(p, {
            memcpy(parameter.f, p0.f, (size_t)n * 4), memcpy(m.f, m0.f, (size_t)n * 4), memcpy(v.f, v0.f, (size_t)n * 4);
            for (b.step = 1; b.step <= 3; b.step++) fast->adamw(p, &b);
            check_array("adamw", "parameter", &parameter, 1e-6);
            check_array("adamw", "first_moment", &m, 1e-6);
            check_array("adamw", "second_moment", &v, 1e-6);
        })
        FREE(&p0, &m0, &v0, &g, &parameter, &m, &v);
    }
}

/* SGD, with Nesterov's momentum, and LARS. */
static void test_sgd(void) {
    static const int64_t counts[] = {0, 1, 31, 16384, 40001};
    for (int i = 0; i < 20; i++) {
        int64_t n = counts[i / 4];
        array p0 = input(n), b0 = array_make(n, 0.1, 0), g = input(n), parameter = input(n), buffer = input(n);
        memcpy(parameter.d, p0.d, (size_t)n * 8), memcpy(buffer.d, b0.d, (size_t)n * 8);
        mk_sgd a = {n, parameter.d, buffer.d, g.d, 1e-2, 0.9, 1e-2, i & 2 ? 1e-3 : 0, 0.25, i & 1};
        mk_sgd b = a;
        b.parameter = parameter.f, b.buffer = buffer.f, b.gradient = g.f;
        need(fast->update_scratch(n), reference->update_scratch(n));
        for (int step = 0; step < 3; step++) reference->sgd(reference_pool, &a);
        ON_EACH_POOL(p, {
            memcpy(parameter.f, p0.f, (size_t)n * 4), memcpy(buffer.f, b0.f, (size_t)n * 4);
            for (int step = 0; step < 3; step++) fast->sgd(p, &b);
            check_array("sgd", "parameter", &parameter, 1e-6);
            check_array("sgd", "buffer", &buffer, 1e-6);
        })
        FREE(&p0, &b0, &g, &parameter, &buffer);
    }
}

static void test_norm(void) {
    static const int64_t counts[] = {0, 1, 31, 16384, 100001};
    for (int i = 0; i < 5; i++) {
        array x = input(counts[i]), out = input(1);
        need(fast->update_scratch(counts[i]), reference->update_scratch(counts[i]));
        reference->norm(reference_pool, counts[i], x.d, out.d);
        ON_EACH_POOL(p, {
            fast->norm(p, counts[i], x.f, out.f);
            check_array("norm", "out", &out, 1e-6);
        })
        FREE(&x, &out);
    }
}

static int any_nan(const array *a) {
    for (int64_t i = 0; i < a->count; i++) {
        if (isnan(a->f[i])) return 1;
    }
    return 0;
}

/* One NaN anywhere in the input must be seen in the result. */
static void test_nan(void) {
    enum { ROWS = 5, WIDTH = 37, COUNT = ROWS * WIDTH };
    int32_t labels[ROWS] = {0, 1, 36, 3, 4};
    mk_pool *p = pools[0];
    need(fast->column_sum_scratch(ROWS, WIDTH), reference->column_sum_scratch(ROWS, WIDTH));
    need(fast->layer_norm_scratch(ROWS, WIDTH), reference->layer_norm_scratch(ROWS, WIDTH));
    for (int64_t at = 0; at < COUNT; at += 3) {
        array x = input(COUNT), zero = array_make(COUNT, 0, 0), y = input(COUNT), row = input(ROWS), column = input(WIDTH);
        array loss = input(1);
        x.f[at] = NAN;
        fast->squared_error(p, COUNT, x.f, zero.f, loss.f);
        CHECK(any_nan(&loss));
        fast->cross_entropy(p, ROWS, WIDTH, x.f, labels, 0, NULL, row.f, loss.f);
        CHECK(any_nan(&loss));
        fast->softmax_rows(p, ROWS, WIDTH, x.f, y.f);
        CHECK(isnan(y.f[at]));
        fast->layer_norm_forward(p, ROWS, WIDTH, x.f, zero.f, zero.f, 1e-6, y.f, row.f, row.f);
        CHECK(isnan(y.f[at]) && any_nan(&row));
        fast->standardize_rows(p, ROWS, WIDTH, x.f, 1e-6, y.f);
        CHECK(isnan(y.f[at]));
        fast->column_sum(p, ROWS, WIDTH, x.f, column.f);
        CHECK(isnan(column.f[at % WIDTH]));
        mk_adamw a = {COUNT, y.f, zero.f, zero.f, x.f, 1e-3, 0.9, 0.95, 1e-8, 0.05, 1, 1, 0};
        memset(y.f, 0, COUNT * 4);
        fast->adamw(p, &a);
        CHECK(isnan(y.f[at]));
        FREE(&x, &zero, &y, &row, &column, &loss);
    }
    array x = input(3), y = input(3);
    fast->standardize_rows(p, 3, 1, x.f, 1e-6, y.f); /* the unbiased variance of one value does not exist */
    CHECK(isnan(y.f[0]) && isnan(y.f[1]) && isnan(y.f[2]));
    /* Logits of -infinity (a class that is ruled out) are not an error. */
    float logits[3] = {-INFINITY, 1, 1}, out[3];
    fast->softmax_rows(p, 1, 3, logits, out);
    CHECK(out[0] == 0 && fabsf(out[1] - 0.5f) < 1e-6f);
    FREE(&x, &y);
}

static void test_all(void) {
    test_elementwise();
    test_blend();
    test_scale_images();
    test_gelu_gradient();
    test_column_sum();
    test_layer_norm();
    test_standardize();
    test_gathers();
    test_all_patches();
    test_adamw();
    test_sgd();
    test_norm();
    test_nan();
}

int main(void) { return on_every_isa(test_all, "test_kernels"); }
