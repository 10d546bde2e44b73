/* Fused attention on every instruction set that this processor has, against the float64 reference: tokens and head widths around
 * the sizes of vectors and blocks, 1 to 3 threads with equal bits, inference without log_sum_exp, NaN that must come through. */
#include "kernel_arrays.h"

static void test_attention(int64_t batch, int64_t tokens, int64_t heads, int64_t head_dim, double size, double slack) {
    int64_t count = batch * tokens * heads * head_dim;
    char name[96];
    snprintf(name, sizeof name, "%s attention %lldx%lldx%lldx%lld", fast->name, (long long)batch, (long long)tokens, (long long)heads,
             (long long)head_dim);
    array qkv = array_make(3 * count, size, 0.1), out = input(count), lse = input(batch * heads * tokens), dout = input(count);
    array dqkv = input(3 * count);
    mk_attention a = {batch, tokens, heads, head_dim, qkv.d, out.d, lse.d, dout.d, dqkv.d};
    mk_attention b = {batch, tokens, heads, head_dim, qkv.f, out.f, lse.f, dout.f, dqkv.f};
    need(fast->attention_scratch(&b), reference->attention_scratch(&a));
    reference->attention_forward(reference_pool, &a);
    reference->attention_backward(reference_pool, &a);
    lse.floor = 1;
    if (tokens == 1) dqkv.floor = 1; /* dq = dk = 0 but for rounding */
    ON_EACH_POOL(p, {
        spoil(&out), spoil(&lse), spoil(&dqkv);
        fast->attention_forward(p, &b);
        check_array(name, "out", &out, 3e-6 * slack);
        check_array(name, "log_sum_exp", &lse, 1e-6);
        fast->attention_backward(p, &b);
        check_array(name, "qkv_gradient", &dqkv, 1e-5 * slack);
        mk_attention inference = b;
        inference.log_sum_exp = NULL;
        spoil(&out);
        fast->attention_forward(p, &inference);
        check_array(name, "out in inference", &out, 3e-6 * slack);
    })
    FREE(&qkv, &out, &lse, &dout, &dqkv);
}

/* A NaN in any of q, k, v reaches the outputs that depend on it, and no others. */
static void test_nan(int64_t tokens, int64_t head_dim) {
    int64_t heads = 2, count = tokens * heads * head_dim;
    for (int part = 0; part < 3; part++) {
        for (int64_t t = 0; t < tokens; t += 8) {
            array qkv = input(3 * count), out = input(count), lse = input(heads * tokens);
            mk_attention a = {1, tokens, heads, head_dim, qkv.f, out.f, lse.f, NULL, NULL};
            need(fast->attention_scratch(&a), (mk_scratch){0, 0});
            qkv.f[(t * 3 + part) * heads * head_dim + head_dim - 1] = NAN; /* in head 0 */
            fast->attention_forward(pools[0], &a);
            for (int64_t i = 0; i < tokens; i++) {
                const float *row = out.f + i * heads * head_dim;
                int expected = part == 0 ? i == t : 1;
                if (!!isnan(row[head_dim - 1]) != expected)
                    CHECK_FAIL("NaN in part %d of token %lld of %lld: output %lld", part, (long long)t, (long long)tokens, (long long)i);
                if (part < 2 && !!isnan(lse.f[i]) != expected) CHECK_FAIL("NaN in part %d: log_sum_exp %lld", part, (long long)i);
                if (isnan(row[2 * head_dim - 1])) CHECK_FAIL("NaN in head 0 reached head 1, token %lld", (long long)i);
            }
            CHECK(1);
            FREE(&qkv, &out, &lse);
        }
    }
}

static void test_all(void) {
    static const int64_t tokens[] = {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 19, 20, 31, 33, 50, 64, 65, 66, 67, 68, 69, 128, 131, 197, 257};
    static const int64_t head_dims[] = {1, 3, 8, 16, 17, 24, 32, 48, 64, 80};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        for (size_t j = 0; j < sizeof head_dims / sizeof *head_dims; j++) {
            if (tokens[i] * head_dims[j] <= 5000) test_attention(3, tokens[i], 2, head_dims[j], 1.5, 1);
        }
    }
    test_attention(1, 197, 1, 64, 1, 1);
    test_attention(2, 257, 1, 32, 1, 1);
    test_attention(1, 1025, 1, 16, 1, 1);
    test_attention(0, 5, 2, 8, 1, 1);
    test_attention(40, 3, 5, 8, 1, 1);      /* many heads in a task */
    test_attention(1, 40, 1, 16, 30, 1000); /* scores in the thousands, rounded to 1e-4: all but one probability vanish */
    test_nan(17, 32);
    test_nan(50, 24);
    test_nan(70, 16);
}

int main(void) { return on_every_isa(test_all, "test_attention"); }
