/* Attention on every instruction set that this processor has, against the float64 reference: numbers of tokens and head widths around the
 * sizes of vectors and blocks; q, k and v in one tensor, two or three; lengths; 1 to 3 threads with equal bits; inference without
 * log_sum_exp; NaN that must come through. */
#include "kernel_arrays.h"

/* The tensors that hold q, k and v. */
typedef enum { FUSED, FUSED_KEYS_AND_VALUES, SEPARATE, LAYOUTS } qkv_layout;
static const char *const layout_names[LAYOUTS] = {"qkv", "q, kv", "q, k, v"};
static const int tensor_of[LAYOUTS][3] = {{0, 0, 0}, {0, 1, 1}, {0, 1, 2}}, part_of[LAYOUTS][3] = {{0, 1, 2}, {0, 0, 1}, {0, 0, 0}};

typedef struct {
    int64_t batch, queries, keys, heads, head_dim;
    qkv_layout layout;
    const int32_t *lengths;
    double size, slack; /* of the inputs; of the tolerances */
} shape;

/* A problem's tensors in both precisions. */
typedef struct {
    shape s;
    array tensors[3], gradients[3], out, log_sum_exp, out_gradient;
} problem;

static int64_t width(shape s) { return s.heads * s.head_dim; }

static int64_t attended(shape s, int64_t image) {
    if (!s.lengths) return s.keys;
    return s.lengths[image] < 0 ? 0 : s.lengths[image] < s.keys ? s.lengths[image] : s.keys;
}

static int64_t parts_in(qkv_layout layout, int tensor) {
    int64_t parts = 0;
    for (int i = 0; i < 3; i++) parts += tensor_of[layout][i] == tensor;
    return parts;
}

/* The place of part 0 (q), 1 (k) or 2 (v) in its tensor, and its stride. */
static int64_t part_offset(shape s, int part) { return part_of[s.layout][part] * width(s); }
static int64_t part_stride(shape s, int part) { return parts_in(s.layout, tensor_of[s.layout][part]) * width(s); }

/* Keys and values that no query attends to are NaN: they must not be read. */
static void spoil_masked_keys(problem *p) {
    for (int part = 1; part < 3; part++) {
        array *tensor = &p->tensors[tensor_of[p->s.layout][part]];
        for (int64_t image = 0; image < p->s.batch; image++)
            for (int64_t key = attended(p->s, image); key < p->s.keys; key++)
                for (int64_t c = 0; c < width(p->s); c++) {
                    int64_t at = (image * p->s.keys + key) * part_stride(p->s, part) + part_offset(p->s, part) + c;
                    tensor->d[at] = tensor->f[at] = NAN;
                }
    }
}

static problem problem_make(shape s) {
    problem p = {.s = s};
    for (int i = 0; i < 3; i++) {
        int64_t count = s.batch * (i == 0 ? s.queries : s.keys) * parts_in(s.layout, i) * width(s);
        p.tensors[i] = array_make(count, s.size, 0.1);
        p.gradients[i] = input(count);
        if (s.keys == 1 || s.lengths) p.gradients[i].floor = 1; /* with one key, dq = dk = 0 but for rounding */
    }
    p.out = input(s.batch * s.queries * width(s)), p.out_gradient = input(p.out.count);
    p.log_sum_exp = input(s.batch * s.heads * s.queries);
    p.log_sum_exp.floor = 1;
    if (s.lengths) spoil_masked_keys(&p);
    return p;
}

static void problem_free(problem *p) {
    for (int i = 0; i < 3; i++) FREE(&p->tensors[i], &p->gradients[i]);
    FREE(&p->out, &p->log_sum_exp, &p->out_gradient);
}

static char *address(array *a, int single, int64_t offset) { return single ? (char *)(a->f + offset) : (char *)(a->d + offset); }

/* The call in float (`single`) or double. */
static mk_attention call_of(problem *p, int single) {
    shape s = p->s;
    void *in[3], *gradient[3];
    for (int part = 0; part < 3; part++) {
        in[part] = address(&p->tensors[tensor_of[s.layout][part]], single, part_offset(s, part));
        gradient[part] = address(&p->gradients[tensor_of[s.layout][part]], single, part_offset(s, part));
    }
    return (mk_attention){.batch = s.batch,
                          .queries = s.queries,
                          .keys = s.keys,
                          .heads = s.heads,
                          .head_dim = s.head_dim,
                          .q = in[0],
                          .k = in[1],
                          .v = in[2],
                          .q_stride = part_stride(s, 0),
                          .k_stride = part_stride(s, 1),
                          .v_stride = part_stride(s, 2),
                          .lengths = s.lengths,
                          .out = address(&p->out, single, 0),
                          .log_sum_exp = address(&p->log_sum_exp, single, 0),
                          .out_gradient = address(&p->out_gradient, single, 0),
                          .q_gradient = gradient[0],
                          .k_gradient = gradient[1],
                          .v_gradient = gradient[2]};
}

/* An image without keys has log_sum_exp -infinity; it then becomes 0, as check_array needs finite numbers. */
static void check_images_without_keys(const char *name, problem *p) {
    int64_t rows = p->s.heads * p->s.queries;
    for (int64_t i = 0; i < p->log_sum_exp.count; i++) {
        if (attended(p->s, i / rows) > 0) continue;
        if (p->log_sum_exp.f[i] != -INFINITY) CHECK_FAIL("%s: log_sum_exp without keys is %g", name, p->log_sum_exp.f[i]);
        p->log_sum_exp.f[i] = 0, p->log_sum_exp.d[i] = 0;
    }
}

static void test_against_reference(shape s) {
    char name[160];
    snprintf(name, sizeof name, "%s attention (%s) batch %lld, %lld queries, %lld keys, heads %lldx%lld%s", fast->name,
             layout_names[s.layout], (long long)s.batch, (long long)s.queries, (long long)s.keys, (long long)s.heads, (long long)s.head_dim,
             s.lengths ? ", lengths" : "");
    problem p = problem_make(s);
    mk_attention expected = call_of(&p, 0), call = call_of(&p, 1), inference = call;
    inference.log_sum_exp = NULL;
    need(fast->attention_scratch(&call), reference->attention_scratch(&expected));
    reference->attention_forward(reference_pool, &expected);
    reference->attention_backward(reference_pool, &expected);
    ON_EACH_POOL(pool, {
        spoil(&p.out), spoil(&p.log_sum_exp), spoil(&p.gradients[0]), spoil(&p.gradients[1]), spoil(&p.gradients[2]);
        fast->attention_forward(pool, &call);
        fast->attention_backward(pool, &call);
        check_images_without_keys(name, &p);
        check_array(name, "out", &p.out, 3e-6 * s.slack);
        check_array(name, "log_sum_exp", &p.log_sum_exp, 1e-6);
        for (int i = 0; i < 3; i++) check_array(name, "gradient", &p.gradients[i], 1e-5 * s.slack);
        spoil(&p.out);
        fast->attention_forward(pool, &inference);
        check_array(name, "out in inference", &p.out, 3e-6 * s.slack);
    })
    problem_free(&p);
}

static void test_self_attention(int64_t batch, int64_t tokens, int64_t heads, int64_t head_dim, double size, double slack) {
    test_against_reference((shape){batch, tokens, tokens, heads, head_dim, FUSED, NULL, size, slack});
}

static void test_self_attention_shapes(void) {
    static const int64_t tokens[] = {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 19, 20, 31, 33, 50, 64, 65, 66, 67, 68, 69, 128, 131, 197, 257};
    static const int64_t head_dims[] = {1, 3, 8, 16, 17, 24, 32, 48, 64, 80};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        for (size_t j = 0; j < sizeof head_dims / sizeof *head_dims; j++) {
            if (tokens[i] * head_dims[j] <= 5000) test_self_attention(3, tokens[i], 2, head_dims[j], 1.5, 1);
        }
    }
    test_self_attention(1, 197, 1, 64, 1, 1);
    test_self_attention(2, 257, 1, 32, 1, 1);
    test_self_attention(1, 1025, 1, 16, 1, 1);
    test_self_attention(0, 5, 2, 8, 1, 1);
    test_self_attention(40, 3, 5, 8, 1, 1);      /* many heads in a task */
    test_self_attention(1, 40, 1, 16, 30, 1000); /* scores in the thousands, rounded to 1e-4: all but one probability vanish */
}

static void test_other_numbers_of_keys(void) {
    static const int64_t sizes[][2] = {/* queries, keys */
                                       {1, 50}, {50, 1}, {7, 33}, {33, 7}, {17, 64}, {66, 40}, {130, 19}, {19, 197}, {0, 5}, {5, 0}};
    static const int64_t head_dims[] = {5, 16, 64};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t j = 0; j < sizeof head_dims / sizeof *head_dims; j++)
            for (qkv_layout layout = FUSED_KEYS_AND_VALUES; layout < LAYOUTS; layout++)
                test_against_reference((shape){2, sizes[i][0], sizes[i][1], 3, head_dims[j], layout, NULL, 1.5, 1});
}

/* None, one, all, some; beyond the limits, which count as none and all. */
static void test_lengths(void) {
    static const int32_t short_lengths[] = {0, 1, 9, 4, -3, 100}, long_lengths[] = {131, 0, 1, 66, 17, 130};
    static const int64_t head_dims[] = {3, 16, 32};
    for (size_t j = 0; j < sizeof head_dims / sizeof *head_dims; j++)
        for (qkv_layout layout = FUSED_KEYS_AND_VALUES; layout < LAYOUTS; layout++) {
            test_against_reference((shape){6, 5, 9, 2, head_dims[j], layout, short_lengths, 1.5, 1});
            test_against_reference((shape){6, 67, 9, 2, head_dims[j], layout, short_lengths, 1.5, 1});
            test_against_reference((shape){6, 20, 131, 2, head_dims[j], layout, long_lengths, 1.5, 1});
        }
    test_against_reference((shape){6, 131, 131, 2, 16, FUSED, long_lengths, 1.5, 1});
}

/* Runs both passes with one thread. */
static void run(problem *p) {
    mk_attention call = call_of(p, 1);
    need(fast->attention_scratch(&call), (mk_scratch){0, 0});
    fast->attention_forward(pools[0], &call);
    fast->attention_backward(pools[0], &call);
}

/* The rows of a part in the inputs or the gradients of the first image. */
static float *part_row(const shape *s, array *tensors, int part, int64_t row) {
    return tensors[tensor_of[s->layout][part]].f + row * part_stride(*s, part) + part_offset(*s, part);
}

/* One image of two problems with the same inputs in its first `keys` keys gives the same bits. */
static void check_same_bits(shape one, shape other, int64_t keys) {
    problem a = problem_make(one), b = problem_make(other);
    const size_t bytes = (size_t)width(one) * 4;
    for (int part = 0; part < 3; part++)
        for (int64_t row = 0; row < (part == 0 ? one.queries : keys); row++)
            memcpy(part_row(&other, b.tensors, part, row), part_row(&one, a.tensors, part, row), bytes);
    memcpy(b.out_gradient.f, a.out_gradient.f, (size_t)a.out_gradient.count * 4);
    run(&a), run(&b);
    CHECK(memcmp(a.out.f, b.out.f, (size_t)a.out.count * 4) == 0, "out");
    CHECK(memcmp(a.log_sum_exp.f, b.log_sum_exp.f, (size_t)a.log_sum_exp.count * 4) == 0, "log_sum_exp");
    for (int part = 0; part < 3; part++)
        for (int64_t row = 0; row < (part == 0 ? one.queries : keys); row++)
            CHECK(memcmp(part_row(&other, b.gradients, part, row), part_row(&one, a.gradients, part, row), bytes) == 0, "gradient %d",
                  part);
    problem_free(&a), problem_free(&b);
}

static void test_same_bits(void) {
    static const int32_t all[] = {70}, some[] = {41};
    for (qkv_layout layout = FUSED; layout < LAYOUTS; layout++) {
        check_same_bits((shape){1, 70, 70, 2, 24, FUSED, NULL, 1, 1}, (shape){1, 70, 70, 2, 24, layout, NULL, 1, 1}, 70);
        check_same_bits((shape){1, 70, 70, 2, 32, FUSED, NULL, 1, 1}, (shape){1, 70, 70, 2, 32, layout, all, 1, 1}, 70);
    }
    /* A length is a smaller number of keys. */
    check_same_bits((shape){1, 19, 41, 2, 16, SEPARATE, NULL, 1, 1}, (shape){1, 19, 70, 2, 16, SEPARATE, some, 1, 1}, 41);
}

/* A NaN in any of q, k, v reaches the outputs that depend on it, and no others. */
static void test_nan(int64_t tokens, int64_t head_dim) {
    shape s = {1, tokens, tokens, 2, head_dim, FUSED, NULL, 1, 1};
    for (int part = 0; part < 3; part++) {
        for (int64_t t = 0; t < tokens; t += 8) {
            problem p = problem_make(s);
            mk_attention call = call_of(&p, 1);
            need(fast->attention_scratch(&call), (mk_scratch){0, 0});
            p.tensors[0].f[t * part_stride(s, part) + part_offset(s, part) + head_dim - 1] = NAN; /* in head 0 */
            fast->attention_forward(pools[0], &call);
            for (int64_t i = 0; i < tokens; i++) {
                const float *row = p.out.f + i * width(s), lse = p.log_sum_exp.f[i];
                int expected = part == 0 ? i == t : 1;
                if (!!isnan(row[head_dim - 1]) != expected)
                    CHECK_FAIL("NaN in part %d of token %lld of %lld: output %lld", part, (long long)t, (long long)tokens, (long long)i);
                if (part < 2 && !!isnan(lse) != expected) CHECK_FAIL("NaN in part %d: log_sum_exp %lld", part, (long long)i);
                if (isnan(row[2 * head_dim - 1])) CHECK_FAIL("NaN in head 0 reached head 1, token %lld", (long long)i);
            }
            CHECK(1);
            problem_free(&p);
        }
    }
}

static void test_all(void) {
    test_self_attention_shapes();
    test_other_numbers_of_keys();
    test_lengths();
    test_same_bits();
    test_nan(17, 32);
    test_nan(50, 24);
    test_nan(70, 16);
}

int main(void) { return on_every_isa(test_all, "test_attention"); }
