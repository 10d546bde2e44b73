/* Every instruction set's matrix multiplication against a plain loop in double precision: odd sizes, transposes, strides,
 * epilogues, aliasing, several thread counts (which must agree bit for bit), memory around C, cancellation. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "mk_kernels.h"
#include "mk_memory.h"
#include "mk_random.h"

static const char *isa_names[] = {"baseline", "avx2", "avx512", "neon"};
static uint32_t next_stream;

static float *matrix(int64_t count) {
    float *values = mk_allocate((count + 1) * (int64_t)sizeof(float));
    mk_random_uniform(7, next_stream++, 0, 0, count, values);
    for (int64_t i = 0; i < count; ++i) values[i] = 2 * values[i] - 1;
    return values;
}

static double phi(double x) { return 0.5 * erfc(-x / sqrt(2.0)); }

/* The expected element; *v is the sum with bias, *size the scale that rounding errors are measured by. */
static double expected(const mk_gemm *g, const float *residual, const float *auxiliary, int64_t i, int64_t j, double *v, double *size) {
    const float *a = g->a, *b = g->b;
    double sum = 0, magnitude = 1;
    for (int64_t p = 0; p < g->k; ++p) {
        double product = (double)(g->transpose_a ? a[p * g->lda + i] : a[i * g->lda + p]) *
                         (double)(g->transpose_b ? b[j * g->ldb + p] : b[p * g->ldb + j]);
        sum += product;
        magnitude += fabs(product);
    }
    if (g->scale != NULL) sum *= ((const float *)g->scale)[j];
    if (g->bias != NULL) sum += ((const float *)g->bias)[j];
    *v = sum;
    *size = magnitude;
    if (g->activation == MK_ACTIVATION_GELU) return sum * phi(sum);
    if (g->activation == MK_ACTIVATION_GELU_GRADIENT) {
        double x = auxiliary[i * g->ldc + j];
        return sum * (phi(x) + x * exp(-x * x / 2) / sqrt(2 * 3.14159265358979323846));
    }
    if (residual != NULL) sum += residual[i * g->ldc + j];
    return g->relu ? fmin(fmax(sum, 0), g->relu == 6 ? 6 : INFINITY) : sum;
}

enum { NO_BIAS = 1, RESIDUAL = 2, ALIAS = 4, GELU = 8, KEEP = 16, GRADIENT = 32, SCALE = 64, RELU = 128, RELU6 = 256 };

static const float UNTOUCHED = -77;

/* A product and its operands; `c` is the result of one thread. */
typedef struct {
    int32_t isa;
    int options;
    mk_gemm g;
    float *a, *b, *bias, *scale, *residual, *auxiliary, *auxiliary_in, *c;
    char name[160];
} product;

static product product_make(int32_t isa, int64_t m, int64_t n, int64_t k, int transposes, int options, int64_t padding) {
    product p = {.isa = isa, .options = options};
    mk_gemm *g = &p.g;
    *g = (mk_gemm){.m = m, .n = n, .k = k, .transpose_a = transposes & 1, .transpose_b = transposes >> 1};
    g->lda = (g->transpose_a ? m : k) + padding;
    g->ldb = (g->transpose_b ? k : n) + padding;
    g->ldc = n + padding;
    p.a = matrix((g->transpose_a ? k : m) * g->lda), p.b = matrix((g->transpose_b ? n : k) * g->ldb);
    p.bias = matrix(n), p.scale = matrix(n);
    p.residual = matrix(m * g->ldc), p.auxiliary = matrix(m * g->ldc), p.auxiliary_in = matrix(m * g->ldc);
    memcpy(p.auxiliary_in, p.auxiliary, (size_t)(m * g->ldc) * sizeof(float));
    g->a = p.a, g->b = p.b;
    g->bias = options & NO_BIAS ? NULL : p.bias;
    g->scale = options & SCALE ? p.scale : NULL;
    g->relu = options & RELU ? 1 : options & RELU6 ? 6 : 0;
    if (options & GELU) g->activation = MK_ACTIVATION_GELU;
    if (options & GRADIENT) g->activation = MK_ACTIVATION_GELU_GRADIENT;
    g->auxiliary = options & (KEEP | GRADIENT) ? p.auxiliary : NULL;
    snprintf(p.name, sizeof p.name, "%s m %lld n %lld k %lld transposes %d options %d", isa_names[isa], (long long)m, (long long)n,
             (long long)k, transposes, options);
    return p;
}

static void product_free(product *p) {
    float *owned[] = {p->a, p->b, p->bias, p->scale, p->residual, p->auxiliary, p->auxiliary_in, p->c};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; ++i) mk_release(owned[i]);
}

/* The result with this number of threads, to be released. */
static float *run_product(product *p, int threads) {
    const mk_kernels *kernels = mk_kernels_float32(p->isa);
    int64_t count = p->g.m * p->g.ldc;
    float *c = mk_allocate((count + 1) * (int64_t)sizeof(float));
    for (int64_t i = 0; i < count; ++i) c[i] = p->options & ALIAS ? p->residual[i] : UNTOUCHED;
    p->g.c = c;
    p->g.residual = p->options & ALIAS ? c : p->options & RESIDUAL ? p->residual : NULL;
    mk_pool *pool = mk_pool_create(threads);
    mk_scratch need = kernels->gemm_scratch(&p->g);
    CHECK(mk_pool_reserve(pool, need.per_worker, need.shared) == 0, "scratch");
    kernels->gemm(pool, &p->g);
    mk_pool_destroy(pool);
    return c;
}

static void check_threads_agree(product *p) {
    p->c = run_product(p, 1);
    for (int threads = 2; threads <= 3; ++threads) {
        float *c = run_product(p, threads);
        CHECK(memcmp(c, p->c, (size_t)(p->g.m * p->g.ldc) * sizeof(float)) == 0, "%s: %d threads differ", p->name, threads);
        mk_release(c);
    }
}

/* All elements of small results, a sample of large ones. */
static void check_elements(const product *p) {
    const mk_gemm *g = &p->g;
    const float *residual = p->options & (RESIDUAL | ALIAS) ? p->residual : NULL;
    int64_t step = g->m * g->n * g->k > 4000000 ? 37 : 1;
    for (int64_t at = 0; at < g->m * g->n; at += step) {
        int64_t i = at / g->n, j = at % g->n;
        double v, size, want = expected(g, residual, p->auxiliary_in, i, j, &v, &size), got = p->c[i * g->ldc + j];
        double kept = p->auxiliary[i * g->ldc + j];
        CHECK(fabs(got - want) <= size * 1e-6, "%s at %lld %lld: %g, want %g", p->name, (long long)i, (long long)j, got, want);
        if (p->options & KEEP) CHECK(fabs(kept - v) <= size * 1e-6, "auxiliary %g, want %g", kept, v);
    }
}

static void check_padding_untouched(const product *p) {
    for (int64_t i = 0; i < p->g.m; ++i)
        for (int64_t j = p->g.n; j < p->g.ldc; ++j) {
            int64_t at = i * p->g.ldc + j;
            CHECK(p->c[at] == (p->options & ALIAS ? p->residual[at] : UNTOUCHED), "wrote past the columns of c");
            CHECK(p->auxiliary[at] == p->auxiliary_in[at], "wrote past the columns of auxiliary");
        }
}

static void check_product(int32_t isa, int64_t m, int64_t n, int64_t k, int transposes, int options, int64_t padding) {
    product p = product_make(isa, m, n, k, transposes, options, padding);
    check_threads_agree(&p);
    check_elements(&p);
    check_padding_untouched(&p);
    product_free(&p);
}

static void check_not_a_number(int32_t isa) {
    enum { M = 17, N = 33, K = 5 };
    static float a[M * K], b[K * N], c[M * N];
    for (int i = 0; i < M * K; ++i) a[i] = 1;
    for (int i = 0; i < K * N; ++i) b[i] = 1;
    a[3 * K] = NAN;
    a[4 * K] = INFINITY;
    mk_gemm g = {.m = M, .n = N, .k = K, .a = a, .lda = K, .b = b, .ldb = N, .c = c, .ldc = N, .activation = MK_ACTIVATION_GELU};
    const mk_kernels *kernels = mk_kernels_float32(isa);
    mk_pool *pool = mk_pool_create(1);
    mk_scratch need = kernels->gemm_scratch(&g);
    CHECK(mk_pool_reserve(pool, need.per_worker, need.shared) == 0, "scratch");
    kernels->gemm(pool, &g);
    for (int j = 0; j < N; ++j) {
        CHECK(isnan(c[3 * N + j]), "NaN became %g", c[3 * N + j]);
        CHECK(isinf(c[4 * N + j]), "infinity became %g", c[4 * N + j]);
        CHECK(fabs(c[5 * N + j] - 5 * phi(5)) < 1e-5, "%g", c[5 * N + j]);
    }
    mk_pool_destroy(pool);
}

static const int options[] = {0,
                              NO_BIAS,
                              RESIDUAL,
                              ALIAS,
                              NO_BIAS | ALIAS,
                              GELU,
                              GELU | KEEP,
                              GRADIENT | NO_BIAS,
                              GRADIENT,
                              SCALE | RELU,
                              SCALE | ALIAS | RELU6,
                              RESIDUAL | RELU,
                              SCALE};
enum { OPTIONS = sizeof options / sizeof *options };

/* Every pair of m, n and all transposes; k and the options take turns. */
static void check_small_sizes(int32_t isa) {
    static const int64_t sizes[] = {0, 1, 2, 3, 5, 7, 8, 13, 14, 15, 16, 17, 28, 31, 33, 48, 65};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    int turn = 0;
    for (int i = 0; i < SIZES; ++i)
        for (int j = 0; j < SIZES; ++j)
            for (int transposes = 0; transposes < 4; ++transposes, ++turn)
                check_product(isa, sizes[i], sizes[j], sizes[turn * 5 % SIZES], transposes, options[turn % OPTIONS], turn % 3);
}

static void check_large_shapes(int32_t isa) {
    static const int64_t shapes[][3] = {{1, 1, 1000},   {1, 1000, 77}, {1000, 1, 77},  {129, 200, 385}, {61, 257, 769},
                                        {100, 1600, 9}, {450, 97, 33}, {197, 64, 197}, {29, 35, 3100},  {16, 1100, 3073}};
    int turn = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; ++i)
        for (int transposes = 0; transposes < 4; ++transposes, ++turn)
            check_product(isa, shapes[i][0], shapes[i][1], shapes[i][2], transposes, options[turn % OPTIONS], turn % 2 * 3);
}

/* Every option where k takes several passes and where it takes several packings. */
static void check_many_passes(int32_t isa) {
    for (int option = 0; option < OPTIONS; ++option) {
        check_product(isa, 31, 50, 900, option % 4, options[option], 1);
        check_product(isa, 15, 34, 6200, (option + 1) % 4, options[option], 0);
    }
}

int main(void) {
    int64_t before = mk_bytes_in_use();
    for (int32_t isa = MK_ISA_BASELINE; isa <= MK_ISA_NEON; ++isa) {
        if (!mk_isa_available(isa)) {
            CHECK(mk_kernels_float32(isa) == NULL, "a table that cannot run");
            printf("%s: not on this processor\n", isa_names[isa]);
            continue;
        }
        check_small_sizes(isa);
        check_large_shapes(isa);
        check_many_passes(isa);
        check_not_a_number(isa);
    }
    CHECK(mk_bytes_in_use() == before, "leaked %lld bytes", (long long)(mk_bytes_in_use() - before));
    return check_result("test_gemm");
}
