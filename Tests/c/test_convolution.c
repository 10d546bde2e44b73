/* Convolution, batch normalisation and pooling on every instruction set that this processor has, against the float64 reference: odd
 * sizes, strides, paddings, dilations, groups, lists of visible positions, 1 to 3 threads with equal bits, aliases. */
#include "kernel_arrays.h"
#include "mk_memory.h"

typedef struct convolution {
    int64_t batch, height, width, channels, out_channels, groups, kernel_h, kernel_w, stride, padding, dilation;
} convolution;

static mk_window window(int64_t in, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
    return (mk_window){in, (in + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1, kernel, stride, padding, dilation};
}

/* About half of the positions of a tensor, or all of them as a list; never none. With `side`, whole squares of that side. */
static mk_places visible(int64_t batch, int64_t height, int64_t width, int share, int64_t side, int32_t **memory) {
    int64_t all = batch * height * width;
    int32_t *positions = malloc((size_t)all * 8), *rows = positions + all;
    mk_places places = {0, positions, rows};
    for (int64_t i = 0; i < all; i++) {
        int64_t corner = i - i / width % height % side * width - i % width % side;
        int there = i == all / 2 || next_uniform() * 50 + 50 < share;
        if (side > 1 && corner != i) there = rows[corner] >= 0;
        rows[i] = there ? (int32_t)places.count : -1;
        if (there) positions[places.count++] = (int32_t)i;
    }
    *memory = positions;
    return places;
}

/* relu -1: no scale and no ReLU. */
static void test_conv2d(convolution t, int share, int64_t side, int with_bias, int with_addend, int direct, int relu) {
    mk_conv2d v = {.batch = t.batch, .channels = t.channels, .out_channels = t.out_channels, .groups = t.groups, .direct = direct};
    const double tolerance = direct ? 2e-6 : 2e-5; /* Winograd's method is allowed 1e-4 of the largest value */
    v.rows = window(t.height, t.kernel_h, t.stride, t.padding, t.dilation);
    v.columns = window(t.width, t.kernel_w, t.stride, t.padding, t.dilation);
    v.in.count = t.batch * t.height * t.width;
    v.out.count = t.batch * v.rows.out * v.columns.out;
    int32_t *in_memory = NULL, *out_memory = NULL;
    if (share) {
        v.in = visible(t.batch, t.height, t.width, share, side, &in_memory);
        v.out = t.stride == 1 && v.rows.out == t.height && v.columns.out == t.width
                    ? v.in
                    : visible(t.batch, v.rows.out, v.columns.out, share, side, &out_memory);
    }
    int64_t weights = t.out_channels * (t.channels / t.groups) * t.kernel_h * t.kernel_w;
    array x = input(v.in.count * t.channels), weight = input(weights), bias = input(t.out_channels), scale = input(t.out_channels),
          y = input(v.out.count * t.out_channels);
    array back_bias = input(t.channels), dy = input(y.count), dx = input(x.count), dweight = input(weights), y_addend = input(y.count),
          x_addend = input(x.count);
    char what[200];
    snprintf(what, sizeof what,
             "%lldx%lldx%lldx%lld -> %lld, groups %lld, kernel %lldx%lld, stride %lld, padding %lld, dilation %lld, share %d, relu %d",
             (long long)t.batch, (long long)t.height, (long long)t.width, (long long)t.channels, (long long)t.out_channels,
             (long long)t.groups, (long long)t.kernel_h, (long long)t.kernel_w, (long long)t.stride, (long long)t.padding,
             (long long)t.dilation, share, relu);
    y.floor = sqrt((double)weights / (double)t.out_channels);
    dx.floor = sqrt((double)weights / (double)t.channels);
    dweight.floor = sqrt((double)v.out.count);
    mk_conv2d r = v;
    r.x = x.d, r.weight = weight.d, r.y = y.d, r.bias = with_bias ? bias.d : NULL, r.addend = with_addend ? y_addend.d : NULL;
    if (relu >= 0) r.scale = scale.d, r.relu = relu;
    for (int32_t pass = 0; pass < 3; pass++) need(fast->conv2d_scratch(&v, pass), reference->conv2d_scratch(&v, pass));
    reference->conv2d(reference_pool, &r, MK_CONV2D_FORWARD);
    r.scale = NULL, r.relu = 0;
    r.x = dx.d, r.y = dy.d, r.bias = with_bias ? back_bias.d : NULL, r.addend = with_addend ? x_addend.d : NULL;
    reference->conv2d(reference_pool, &r, MK_CONV2D_INPUT_GRADIENT);
    r.x = x.d, r.weight = dweight.d, r.bias = r.addend = NULL;
    reference->conv2d(reference_pool, &r, MK_CONV2D_WEIGHT_GRADIENT);
    ON_EACH_POOL(p, {
        mk_conv2d f = v;
        f.x = x.f, f.weight = weight.f, f.y = y.f, f.bias = with_bias ? bias.f : NULL, f.addend = with_addend ? y_addend.f : NULL;
        spoil(&y);
        if (with_addend == 2) memcpy(y.f, y_addend.f, (size_t)y.count * 4), f.addend = y.f;
        if (relu >= 0) f.scale = scale.f, f.relu = relu;
        fast->conv2d(p, &f, MK_CONV2D_FORWARD);
        check_array("conv2d forward", what, &y, tolerance);
        f.scale = NULL, f.relu = 0;
        f.x = dx.f, f.y = dy.f, f.bias = with_bias ? back_bias.f : NULL, f.addend = with_addend ? x_addend.f : NULL;
        spoil(&dx);
        if (with_addend == 2) memcpy(dx.f, x_addend.f, (size_t)dx.count * 4), f.addend = dx.f;
        fast->conv2d(p, &f, MK_CONV2D_INPUT_GRADIENT);
        check_array("conv2d input gradient", what, &dx, tolerance);
        f.x = x.f, f.weight = dweight.f, f.bias = f.addend = NULL;
        spoil(&dweight);
        fast->conv2d(p, &f, MK_CONV2D_WEIGHT_GRADIENT);
        check_array("conv2d weight gradient", what, &dweight, 2 * tolerance);
    })
    FREE(&x, &weight, &bias, &scale, &back_bias, &y, &dy, &dx, &dweight, &y_addend, &x_addend);
    free(in_memory);
    free(out_memory);
}

static void test_convolutions(void) {
    static const convolution cases[] = {
        /* batch, height, width, channels, out, groups, kernel, stride, padding, dilation */
        {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1},
        {2, 1, 1, 3, 5, 1, 3, 3, 1, 1, 1},
        {1, 1, 1, 17, 33, 1, 3, 3, 2, 1, 1},
        {2, 5, 7, 3, 8, 1, 3, 3, 1, 1, 1},
        {1, 8, 8, 16, 32, 1, 3, 3, 1, 1, 1},
        {2, 9, 6, 13, 37, 1, 3, 3, 2, 1, 1},
        {1, 11, 13, 3, 20, 1, 7, 7, 2, 3, 1},
        {2, 6, 6, 40, 24, 1, 1, 1, 1, 0, 1},
        {2, 7, 6, 12, 70, 1, 1, 1, 2, 0, 1},
        {1, 10, 9, 8, 12, 4, 3, 3, 1, 1, 1},
        {1, 10, 9, 6, 18, 3, 3, 2, 2, 1, 1},
        {1, 12, 11, 5, 9, 1, 3, 3, 1, 2, 2},
        {1, 12, 11, 5, 9, 1, 3, 3, 3, 2, 2},
        {1, 13, 10, 4, 6, 1, 2, 4, 2, 0, 1},
        {2, 6, 5, 19, 19, 19, 3, 3, 1, 1, 1},
        {2, 9, 7, 33, 33, 33, 7, 7, 2, 3, 1},
        {3, 14, 23, 40, 40, 40, 7, 7, 1, 3, 1},
        {2, 7, 6, 19, 19, 19, 7, 7, 1, 0, 1},
        {1, 9, 10, 8, 8, 8, 5, 5, 1, 4, 1},
        {1, 12, 9, 5, 5, 5, 2, 3, 1, 1, 1},
        {1, 5, 5, 150, 40, 1, 3, 3, 1, 1, 1},
        {1, 16, 16, 70, 66, 1, 3, 3, 2, 1, 1},
        {3, 20, 17, 24, 100, 1, 3, 3, 1, 1, 1},
        {2, 8, 8, 600, 20, 1, 1, 1, 2, 0, 1},
        {1, 9, 9, 6, 4, 1, 3, 3, 4, 1, 3},
        {4, 32, 32, 9, 16, 1, 3, 3, 1, 1, 1},
        {1, 6, 6, 4, 520, 1, 2, 2, 2, 0, 1},
        {1, 3, 9, 10, 10, 1, 1, 5, 1, 2, 1},
        /* what Winograd's method takes */
        {50, 4, 4, 16, 16, 1, 3, 3, 1, 1, 1},
        {13, 7, 8, 20, 37, 1, 3, 3, 1, 1, 1},
        {13, 10, 9, 33, 70, 1, 3, 3, 1, 0, 1},
        {9, 8, 6, 70, 16, 1, 3, 3, 1, 2, 1},
        {9, 16, 12, 64, 64, 1, 3, 3, 1, 1, 1},
        {24, 4, 8, 530, 40, 1, 3, 3, 1, 1, 1},
        /* and what goes by single taps */
        {3, 9, 7, 40, 50, 1, 3, 3, 2, 1, 1},
        {2, 8, 8, 530, 70, 1, 3, 3, 1, 1, 1},
        {2, 9, 12, 64, 36, 2, 3, 3, 1, 1, 1},
        {1, 10, 10, 33, 540, 1, 2, 2, 2, 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static const int relus[] = {1, 0, 6};
        for (int direct = 0; direct < 2; direct++) {
            test_conv2d(cases[i], 0, 1, i % 2, (int)(i % 3), direct, -1);
            test_conv2d(cases[i], 0, 1, 1, (int)((i + 1) % 3), direct, relus[i / 3 % 3]);
        }
        for (int share = 40; share <= 100; share += 60)
            test_conv2d(cases[i], share, 1, 1, (int)((i + 1) % 3), share < 100, share < 100 ? relus[i % 3] : -1);
        for (int64_t side = 2; side <= 4; side += 2)
            test_conv2d(cases[i], 40, side, 1, (int)((i + side) % 3), 0, side == 4 ? relus[(i + 1) % 3] : -1);
    }
}

static void test_batch_norm(int64_t rows, int64_t width, double shift, int relu, int residual, int frozen) {
    int64_t count = rows * width;
    array x = array_make(count, 2, shift), gamma = array_make(width, 0.5, 1), beta = input(width), y = input(count), z = input(count);
    array mean = input(width), variance = input(width), dy = input(count), dx = input(count), dz = input(count), dgamma = input(width);
    array dbeta = input(width), added = input(count);
    char what[100];
    snprintf(what, sizeof what, "%lld x %lld, shift %g, relu %d, residual %d, frozen %d", (long long)rows, (long long)width, shift, relu,
             residual, frozen);
    reference->column_moments(reference_pool, rows, width, x.d, mean.d, variance.d);
    mean.floor = 1;
    need(fast->column_moments_scratch(rows, width), (mk_scratch){0, 0});
    mk_batch_norm r = {.rows = rows, .width = width, .x = x.d, .gamma = gamma.d, .beta = beta.d, .mean = mean.d, .variance = variance.d};
    r.residual = residual ? added.d : NULL, r.epsilon = 1e-2, r.relu = relu, r.frozen = frozen, r.y = y.d, r.y_gradient = dy.d;
    r.x_gradient = dx.d, r.residual_gradient = residual ? dz.d : NULL, r.gamma_gradient = dgamma.d, r.beta_gradient = dbeta.d;
    reference->batch_norm_forward(reference_pool, &r);
    /* Where ReLU begins, one precision may have 0 and the other not: keep the gradient clear of it. */
    r.relu = 0, r.y = z.d;
    reference->batch_norm_forward(reference_pool, &r);
    for (int64_t i = 0; relu && i < count; i++)
        if (fabs(z.d[i]) < 1e-3 || fabs(z.d[i] - 6) < 1e-3) dy.d[i] = dy.f[i] = 0;
    r.relu = relu, r.y = y.d;
    y.floor = shift > 1; /* the mean is rounded to float */
    reference->batch_norm_backward(reference_pool, &r);
    dgamma.floor = dbeta.floor = sqrt((double)rows);
    double smallest = 1;
    for (int64_t c = 0; c < width; c++) smallest = fmin(smallest, variance.d[c]);
    dx.floor = 1 / sqrt(smallest + 1e-2);
    need(fast->batch_norm_scratch(&r), (mk_scratch){0, 0});
    array scale = input(width), offset = input(width);
    reference->batch_norm_fold(reference_pool, &r, scale.d, offset.d);
    offset.floor = 10 * fabs(shift);
    ON_EACH_POOL(p, {
        spoil(&mean), spoil(&variance);
        fast->column_moments(p, rows, width, x.f, mean.f, variance.f);
        check_array("column_moments", what, &mean, 1e-6);
        check_array("column_moments variance", what, &variance, 4e-6);
        mk_batch_norm f = r;
        f.x = x.f, f.gamma = gamma.f, f.beta = beta.f, f.mean = mean.f, f.variance = variance.f, f.residual = residual ? added.f : NULL;
        f.y = y.f, f.y_gradient = dy.f, f.x_gradient = dx.f, f.residual_gradient = residual ? dz.f : NULL;
        f.gamma_gradient = dgamma.f, f.beta_gradient = dbeta.f;
        spoil(&y);
        fast->batch_norm_forward(p, &f);
        check_array("batch_norm", what, &y, 2e-5);
        spoil(&scale), spoil(&offset);
        fast->batch_norm_fold(p, &f, scale.f, offset.f);
        check_array("batch_norm_fold", what, &scale, 1e-5);
        check_array("batch_norm_fold shift", what, &offset, 1e-5);
        spoil(&dx), spoil(&dz), spoil(&dgamma), spoil(&dbeta);
        fast->batch_norm_backward(p, &f);
        check_array("batch_norm dx", what, &dx, 3e-5);
        if (residual) check_array("batch_norm dresidual", what, &dz, 1e-7);
        check_array("batch_norm dgamma", what, &dgamma, 2e-5);
        check_array("batch_norm dbeta", what, &dbeta, 1e-5);
        memcpy(dx.f, dy.f, (size_t)count * 4);
        f.y_gradient = dx.f;
        fast->batch_norm_backward(p, &f);
        check_array("batch_norm dx = dy", what, &dx, 3e-5);
        /* y takes over x, then the residual. */
        memcpy(z.f, x.f, (size_t)count * 4);
        f.x = z.f, f.y = z.f;
        fast->batch_norm_forward(p, &f);
        CHECK(memcmp(z.f, y.f, (size_t)count * 4) == 0, "y = x");
        if (residual) {
            memcpy(z.f, added.f, (size_t)count * 4);
            f.x = x.f, f.residual = z.f;
            fast->batch_norm_forward(p, &f);
            CHECK(memcmp(z.f, y.f, (size_t)count * 4) == 0, "y = residual");
        }
    })
    FREE(&scale, &offset, &x, &gamma, &beta, &y, &z, &mean, &variance, &dy, &dx, &dz, &dgamma, &dbeta, &added);
}

static void test_pool2d(int64_t batch, int64_t height, int64_t width, int64_t channels, int64_t kernel, int64_t stride, int64_t padding,
                        int average, int share) {
    mk_pool2d v = {.batch = batch, .channels = channels, .average = average};
    v.rows = window(height, kernel, stride, padding, 1);
    v.columns = window(width, kernel, stride, padding, 1);
    v.in.count = batch * height * width;
    v.out.count = batch * v.rows.out * v.columns.out;
    int32_t *in_memory = NULL, *out_memory = NULL;
    if (share) {
        v.in = visible(batch, height, width, share, 1, &in_memory);
        v.out = visible(batch, v.rows.out, v.columns.out, share, 1, &out_memory);
    }
    array x = input(v.in.count * channels), y = input(v.out.count * channels), dx = input(x.count), dy = input(y.count);
    int32_t *from = malloc((size_t)y.count * 4), *from_fast = malloc((size_t)y.count * 4);
    mk_pool2d r = v;
    r.x = x.d, r.y = y.d, r.from = from;
    reference->pool2d_forward(reference_pool, &r);
    r.x = dx.d, r.y = dy.d;
    reference->pool2d_backward(reference_pool, &r);
    ON_EACH_POOL(p, {
        mk_pool2d f = v;
        f.x = x.f, f.y = y.f, f.from = from_fast;
        spoil(&y);
        fast->pool2d_forward(p, &f);
        check_array(average ? "average pool" : "max pool", "y", &y, 1e-6);
        if (!average) CHECK(memcmp(from, from_fast, (size_t)y.count * 4) == 0, "indices of maxima");
        f.x = dx.f, f.y = dy.f;
        spoil(&dx);
        fast->pool2d_backward(p, &f);
        check_array(average ? "average pool" : "max pool", "dx", &dx, 1e-6);
    })
    free(from);
    free(from_fast);
    free(in_memory);
    free(out_memory);
    FREE(&x, &y, &dx, &dy);
}

/* groups 0: response normalisation. */
static void test_image_norm(int64_t batch, int64_t rows, int64_t width, int64_t groups, double shift) {
    const int64_t count = batch * rows * width, statistics = batch * (groups ? groups : width);
    array x = array_make(count, 1, shift), gamma = array_make(width, 0.5, 1), beta = input(width), y = input(count);
    array mean = input(statistics), deviation = input(statistics), norms = input(statistics);
    array dy = input(count), dx = input(count), dgamma = input(width), dbeta = input(width);
    for (int64_t r = 0; r < rows && !groups && width > 3; r++) x.d[r * width + 2] = x.f[r * width + 2] = 0; /* a norm of 0 */
    mk_image_norm r = {batch, rows,   width,       groups,  x.d,  gamma.d, beta.d,   groups ? 1e-3 : 1e-6,
                       y.d,   mean.d, deviation.d, norms.d, dy.d, dx.d,    dgamma.d, dbeta.d};
    (groups ? reference->group_norm_forward : reference->response_norm_forward)(reference_pool, &r);
    (groups ? reference->group_norm_backward : reference->response_norm_backward)(reference_pool, &r);
    const char *what = groups ? "group norm" : "response norm";
    need(fast->image_norm_scratch(&r), (mk_scratch){0, 0});
    y.floor = 1 + fabs(shift), mean.floor = 1 + fabs(shift), dgamma.floor = dbeta.floor = sqrt((double)(batch * rows));
    double largest = 1; /* where the deviation is small, gradients are as large as its inverse */
    for (int64_t i = 0; groups && i < statistics; i++) largest = fmax(largest, deviation.d[i]);
    dx.floor = largest;
    ON_EACH_POOL(p, {
        mk_image_norm f = {batch, rows,   width,       groups,  x.f,  gamma.f, beta.f,   r.epsilon,
                           y.f,   mean.f, deviation.f, norms.f, dy.f, dx.f,    dgamma.f, dbeta.f};
        spoil(&y), spoil(&dx), spoil(&dgamma), spoil(&dbeta), spoil(&mean), spoil(&deviation), spoil(&norms);
        (groups ? fast->group_norm_forward : fast->response_norm_forward)(p, &f);
        check_array(what, "y", &y, 1e-5);
        if (groups) {
            check_array(what, "mean", &mean, 1e-6);
            check_array(what, "deviation", &deviation, 1e-5);
        } else {
            check_array(what, "norms", &norms, 1e-6);
        }
        (groups ? fast->group_norm_backward : fast->response_norm_backward)(p, &f);
        check_array(what, "dx", &dx, 2e-5);
        check_array(what, "dgamma", &dgamma, 2e-5);
        check_array(what, "dbeta", &dbeta, 1e-5);
        /* In place. */
        memcpy(y.f, x.f, (size_t)count * 4), f.x = y.f;
        (groups ? fast->group_norm_forward : fast->response_norm_forward)(p, &f);
        check_array(what, "y = x", &y, 1e-5);
        memcpy(dx.f, dy.f, (size_t)count * 4), f.x = x.f, f.y_gradient = dx.f;
        (groups ? fast->group_norm_backward : fast->response_norm_backward)(p, &f);
        check_array(what, "dx = dy", &dx, 2e-5);
    })
    FREE(&x, &gamma, &beta, &y, &mean, &deviation, &norms, &dy, &dx, &dgamma, &dbeta);
}

static void test_not_a_number(void) {
    mk_pool *p = pools[0];
    array x = input(4 * 4 * 3), y = input(2 * 2 * 3), w = input(3 * 3 * 9), mean = input(3), variance = input(3),
          ones = array_make(3, 0, 1);
    int32_t from[2 * 2 * 3];
    x.f[4] = NAN; /* row 0, column 1, channel 1 */
    mk_pool2d pool = {1, 3, window(4, 2, 2, 0, 1), window(4, 2, 2, 0, 1), {16, NULL, NULL}, {4, NULL, NULL}, 0, x.f, y.f, from};
    fast->pool2d_forward(p, &pool);
    CHECK(isnan(y.f[1]) && from[1] == 1 && !isnan(y.f[0]) && !isnan(y.f[4]));
    mk_conv2d conv = {.batch = 1, .channels = 3, .out_channels = 3, .groups = 1, .x = x.f, .weight = w.f, .y = y.f};
    conv.rows = conv.columns = window(4, 3, 2, 1, 1);
    conv.in.count = 16, conv.out.count = 4;
    need(fast->conv2d_scratch(&conv, MK_CONV2D_FORWARD), (mk_scratch){0, 0});
    fast->conv2d(p, &conv, MK_CONV2D_FORWARD);
    CHECK(isnan(y.f[0]) && isnan(y.f[3]) && !isnan(y.f[6]) && !isnan(y.f[9]));
    need(fast->column_moments_scratch(16, 3), (mk_scratch){0, 0});
    fast->column_moments(p, 16, 3, x.f, mean.f, variance.f);
    CHECK(!isnan(mean.f[0]) && isnan(mean.f[1]) && isnan(variance.f[1]) && !isnan(variance.f[2]));
    mk_batch_norm b = {.rows = 16, .width = 3, .x = x.f, .gamma = ones.f, .beta = ones.f, .mean = ones.f, .variance = ones.f};
    array z = input(48);
    b.relu = 1, b.y = z.f;
    need(fast->batch_norm_scratch(&b), (mk_scratch){0, 0});
    fast->batch_norm_forward(p, &b);
    CHECK(isnan(z.f[4]) && !isnan(z.f[3]), "ReLU must pass NaN");
    FREE(&x, &y, &w, &mean, &variance, &ones, &z);
}

static void test_all(void) {
    test_convolutions();
    static const int64_t shapes[][2] = {{2, 1}, {3, 5}, {40, 16}, {129, 67}, {700, 64}, {4500, 20}, {260, 150}};
    for (int i = 0; i < 7; i++)
        for (int options = 0; options < 8; options++)
            test_batch_norm(shapes[i][0], shapes[i][1], options & 1 ? 30 : 0.2, options & 1 ? i % 2 ? 6 : 1 : 0, options >> 1 & 1,
                            options >> 2);
    for (int average = 0; average < 2; average++)
        for (int share = 0; share <= 100; share += 50) {
            test_pool2d(1, 1, 1, 1, 1, 1, 0, average, share);
            test_pool2d(2, 8, 8, 16, 3, 2, 1, average, share);
            test_pool2d(2, 9, 7, 19, 2, 2, 0, average, share);
            test_pool2d(1, 12, 12, 300, 3, 1, 1, average, share);
            test_pool2d(3, 5, 6, 7, 4, 3, 2, average, share);
        }
    for (int shift = 0; shift < 2; shift++) {
        test_image_norm(1, 1, 1, 0, shift);
        test_image_norm(3, 5, 7, 0, shift);
        test_image_norm(2, 300, 40, 0, shift);
        test_image_norm(2, 1, 6, 2, 10 * shift);
        test_image_norm(3, 5, 21, 3, 10 * shift);
        test_image_norm(2, 300, 40, 8, 10 * shift);
        test_image_norm(1, 31, 64, 1, 10 * shift);
    }
    for (int64_t count = 1; count < 70000; count = count * 9 + 5) {
        array x = array_make(count, 4, 0), dy = input(count), dx = input(count);
        reference->gelu_gradient(reference_pool, count, x.d, dy.d, dx.d);
        ON_EACH_POOL(p, {
            memcpy(dx.f, dy.f, (size_t)count * 4);
            fast->gelu_gradient(p, count, x.f, dx.f, dx.f);
            check_array("gelu_gradient", "dx", &dx, 2e-6);
        })
        FREE(&x, &dy, &dx);
    }
    test_not_a_number();
}

int main(void) { return on_every_isa(test_all, "test_convolution"); }
