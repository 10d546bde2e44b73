/* Convolution on every instruction set that this processor has, against the float64 reference: odd sizes, strides, paddings, dilations,
 * groups, lists of visible positions, epilogues, 1 to 3 threads with equal bits, aliases, NaN. */
#include "places.h"

typedef struct {
    int64_t batch, height, width, channels, out_channels, groups, kernel_h, kernel_w, stride, padding, dilation;
} conv_size;

static const conv_size sizes[] = {
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
enum { SIZES = sizeof sizes / sizeof *sizes };

typedef enum { NO_ADDEND, ADDEND, ADDEND_IN_PLACE, ADDENDS } addend_kind;
enum { NO_EPILOGUE = -1 };

/* The parts of a case beside its size. */
typedef struct {
    int share;    /* percent of the positions that are visible, 0: a whole tensor without lists */
    int64_t side; /* of the visible squares */
    int bias, direct;
    addend_kind addend;
    int relu; /* 0, 1, 6 after a scale per channel, or NO_EPILOGUE */
} conv_options;

typedef struct {
    conv_size size;
    conv_options options;
    mk_conv2d shape; /* without tensors */
    double tolerance;
    array x, weight, y, bias, scale, y_addend, dy, dx, dweight, x_bias, x_addend;
    char name[200];
} conv_problem;

static void name_problem(conv_problem *p) {
    const conv_size s = p->size;
    snprintf(p->name, sizeof p->name,
             "%s %lldx%lldx%lldx%lld -> %lld, groups %lld, kernel %lldx%lld, stride %lld, padding %lld, dilation %lld, share %d, relu %d",
             fast->name, (long long)s.batch, (long long)s.height, (long long)s.width, (long long)s.channels, (long long)s.out_channels,
             (long long)s.groups, (long long)s.kernel_h, (long long)s.kernel_w, (long long)s.stride, (long long)s.padding,
             (long long)s.dilation, p->options.share, p->options.relu);
}

static mk_conv2d conv_shape(conv_size s, conv_options o) {
    mk_conv2d v = {.batch = s.batch, .channels = s.channels, .out_channels = s.out_channels, .groups = s.groups, .direct = o.direct};
    v.rows = window(s.height, s.kernel_h, s.stride, s.padding, s.dilation);
    v.columns = window(s.width, s.kernel_w, s.stride, s.padding, s.dilation);
    v.in = all_places(s.batch * s.height * s.width);
    v.out = all_places(s.batch * v.rows.out * v.columns.out);
    if (o.share == 0) return v;
    int same = s.stride == 1 && v.rows.out == s.height && v.columns.out == s.width;
    v.in = visible_places(s.batch, s.height, s.width, o.share, o.side);
    v.out = same ? v.in : visible_places(s.batch, v.rows.out, v.columns.out, o.share, o.side);
    return v;
}

static conv_problem problem_make(conv_size s, conv_options o) {
    conv_problem p = {.size = s, .options = o, .shape = conv_shape(s, o)};
    int64_t weights = s.out_channels * (s.channels / s.groups) * s.kernel_h * s.kernel_w;
    int64_t ins = p.shape.in.count * s.channels, outs = p.shape.out.count * s.out_channels;
    p.tolerance = o.direct ? 2e-6 : 2e-5; /* Winograd's method is allowed 1e-4 of the largest value */
    p.weight = input(weights), p.dweight = input(weights);
    p.x = input(ins), p.dx = input(ins), p.x_addend = input(ins), p.x_bias = input(s.channels);
    p.y = input(outs), p.dy = input(outs), p.y_addend = input(outs), p.bias = input(s.out_channels), p.scale = input(s.out_channels);
    p.y.floor = sqrt((double)weights / (double)s.out_channels);
    p.dx.floor = sqrt((double)weights / (double)s.channels);
    p.dweight.floor = sqrt((double)p.shape.out.count);
    name_problem(&p);
    for (int32_t pass = 0; pass < 3; pass++) need(fast->conv2d_scratch(&p.shape, pass), reference->conv2d_scratch(&p.shape, pass));
    return p;
}

static void problem_free(conv_problem *p) {
    FREE(&p->x, &p->weight, &p->y, &p->bias, &p->scale, &p->y_addend, &p->dy, &p->dx, &p->dweight, &p->x_bias, &p->x_addend);
    if (p->shape.out.positions != p->shape.in.positions) places_free(p->shape.out);
    places_free(p->shape.in);
}

/* The problem's call on these tensors; bias and addend only where the case has them. */
static mk_conv2d call(const conv_problem *p, void *x, void *weight, void *y, const void *bias, const void *addend) {
    mk_conv2d v = p->shape;
    v.x = x, v.weight = weight, v.y = y;
    if (p->options.bias) v.bias = bias;
    if (p->options.addend != NO_ADDEND) v.addend = addend;
    return v;
}

static void add_epilogue(const conv_problem *p, mk_conv2d *v, const void *scale) {
    if (p->options.relu == NO_EPILOGUE) return;
    v->scale = scale, v->relu = p->options.relu;
}

/* Before a pass that is to write `out`: NaN, or the addend when the pass adds in place. */
static void prepare(const conv_problem *p, mk_conv2d *v, array *out, const array *addend) {
    spoil(out);
    if (p->options.addend != ADDEND_IN_PLACE) return;
    memcpy(out->f, addend->f, (size_t)out->count * 4);
    v->addend = out->f;
}

static void compute_expected(conv_problem *p) {
    mk_conv2d forward = call(p, p->x.d, p->weight.d, p->y.d, p->bias.d, p->y_addend.d);
    add_epilogue(p, &forward, p->scale.d);
    reference->conv2d(reference_pool, &forward, MK_CONV2D_FORWARD);
    mk_conv2d backward = call(p, p->dx.d, p->weight.d, p->dy.d, p->x_bias.d, p->x_addend.d);
    reference->conv2d(reference_pool, &backward, MK_CONV2D_INPUT_GRADIENT);
    mk_conv2d weights = call(p, p->x.d, p->dweight.d, p->dy.d, NULL, NULL);
    reference->conv2d(reference_pool, &weights, MK_CONV2D_WEIGHT_GRADIENT);
}

static void check_forward(conv_problem *p, mk_pool *pool) {
    mk_conv2d v = call(p, p->x.f, p->weight.f, p->y.f, p->bias.f, p->y_addend.f);
    add_epilogue(p, &v, p->scale.f);
    prepare(p, &v, &p->y, &p->y_addend);
    fast->conv2d(pool, &v, MK_CONV2D_FORWARD);
    check_array("conv2d forward", p->name, &p->y, p->tolerance);
}

static void check_input_gradient(conv_problem *p, mk_pool *pool) {
    mk_conv2d v = call(p, p->dx.f, p->weight.f, p->dy.f, p->x_bias.f, p->x_addend.f);
    prepare(p, &v, &p->dx, &p->x_addend);
    fast->conv2d(pool, &v, MK_CONV2D_INPUT_GRADIENT);
    check_array("conv2d input gradient", p->name, &p->dx, p->tolerance);
}

static void check_weight_gradient(conv_problem *p, mk_pool *pool) {
    mk_conv2d v = call(p, p->x.f, p->dweight.f, p->dy.f, NULL, NULL);
    spoil(&p->dweight);
    fast->conv2d(pool, &v, MK_CONV2D_WEIGHT_GRADIENT);
    check_array("conv2d weight gradient", p->name, &p->dweight, 2 * p->tolerance);
}

static void check_case(conv_size size, conv_options options) {
    conv_problem p = problem_make(size, options);
    compute_expected(&p);
    ON_EACH_POOL(pool, {
        check_forward(&p, pool);
        check_input_gradient(&p, pool);
        check_weight_gradient(&p, pool);
    })
    problem_free(&p);
}

/* Bias, addends and epilogues take turns over the sizes, so that each meets each kind of kernel. */
static const int relus[] = {1, 0, 6};

static addend_kind addend_of(int turn) { return (addend_kind)(turn % ADDENDS); }

static void test_whole_tensors(void) {
    for (int i = 0; i < SIZES; i++)
        for (int direct = 0; direct < 2; direct++) {
            conv_options plain = {.side = 1, .bias = i % 2, .direct = direct, .addend = addend_of(i), .relu = NO_EPILOGUE};
            conv_options epilogue = {.side = 1, .bias = 1, .direct = direct, .addend = addend_of(i + 1), .relu = relus[i / 3 % 3]};
            check_case(sizes[i], plain);
            check_case(sizes[i], epilogue);
        }
}

static void test_visible_positions(void) {
    for (int i = 0; i < SIZES; i++) {
        conv_options some = {.share = 40, .side = 1, .bias = 1, .direct = 1, .addend = addend_of(i + 1), .relu = relus[i % 3]};
        conv_options all = {.share = 100, .side = 1, .bias = 1, .addend = addend_of(i + 1), .relu = NO_EPILOGUE};
        check_case(sizes[i], some);
        check_case(sizes[i], all);
    }
}

static void test_visible_squares(void) {
    for (int i = 0; i < SIZES; i++) {
        conv_options small = {.share = 40, .side = 2, .bias = 1, .addend = addend_of(i + 2), .relu = NO_EPILOGUE};
        conv_options large = {.share = 40, .side = 4, .bias = 1, .addend = addend_of(i + 1), .relu = relus[(i + 1) % 3]};
        check_case(sizes[i], small);
        check_case(sizes[i], large);
    }
}

static void test_not_a_number(void) {
    array x = input(4 * 4 * 3), y = input(2 * 2 * 3), w = input(3 * 3 * 9);
    mk_conv2d v = {.batch = 1, .channels = 3, .out_channels = 3, .groups = 1, .x = x.f, .weight = w.f, .y = y.f};
    v.rows = v.columns = window(4, 3, 2, 1, 1);
    v.in = all_places(16), v.out = all_places(4);
    x.f[4] = NAN; /* row 0, column 1, channel 1 */
    need(fast->conv2d_scratch(&v, MK_CONV2D_FORWARD), (mk_scratch){0, 0});
    fast->conv2d(pools[0], &v, MK_CONV2D_FORWARD);
    CHECK(isnan(y.f[0]) && isnan(y.f[3]) && !isnan(y.f[6]) && !isnan(y.f[9]));
    FREE(&x, &y, &w);
}

static void test_all(void) {
    test_whole_tensors();
    test_visible_positions();
    test_visible_squares();
    test_not_a_number();
}

int main(void) { return on_every_isa(test_all, "test_convolution"); }
