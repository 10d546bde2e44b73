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

/* What one element should be; *v is the sum with bias, *size the scale that rounding errors are measured by. */
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

static void check_one(int32_t isa, int64_t m, int64_t n, int64_t k, int transposes, int options, int64_t padding) {
    const mk_kernels *kernels = mk_kernels_float32(isa);
    mk_gemm g = {.m = m, .n = n, .k = k, .transpose_a = transposes & 1, .transpose_b = transposes >> 1};
    g.lda = (g.transpose_a ? m : k) + padding;
    g.ldb = (g.transpose_b ? k : n) + padding;
    g.ldc = n + padding;
    float *a = matrix((g.transpose_a ? k : m) * g.lda), *b = matrix((g.transpose_b ? n : k) * g.ldb), *bias = matrix(n), *scale = matrix(n);
    float *residual = matrix(m * g.ldc), *auxiliary = matrix(m * g.ldc), *auxiliary_in = matrix(m * g.ldc);
    g.a = a;
    g.b = b;
    g.bias = options & NO_BIAS ? NULL : bias;
    g.scale = options & SCALE ? scale : NULL;
    g.relu = options & RELU ? 1 : options & RELU6 ? 6 : 0;
    if (options & GELU) g.activation = MK_ACTIVATION_GELU;
    if (options & GRADIENT) g.activation = MK_ACTIVATION_GELU_GRADIENT;
    memcpy(auxiliary_in, auxiliary, (size_t)(m * g.ldc) * sizeof(float));

    float *result[3];
    for (int threads = 1; threads <= 3; ++threads) {
        float *c = result[threads - 1] = mk_allocate((m * g.ldc + 1) * (int64_t)sizeof(float));
        for (int64_t i = 0; i < m * g.ldc; ++i) c[i] = options & ALIAS ? residual[i] : -77.0f;
        g.c = c;
        g.residual = options & ALIAS ? c : options & RESIDUAL ? residual : NULL;
        g.auxiliary = options & (KEEP | GRADIENT) ? auxiliary : NULL;
        mk_pool *pool = mk_pool_create(threads);
        mk_scratch need = kernels->gemm_scratch(&g);
        CHECK(mk_pool_reserve(pool, need.per_worker, need.shared) == 0, "scratch");
        kernels->gemm(pool, &g);
        mk_pool_destroy(pool);
        CHECK(memcmp(c, result[0], (size_t)(m * g.ldc) * sizeof(float)) == 0, "%s: %d threads differ at %lld %lld %lld", isa_names[isa],
              threads, (long long)m, (long long)n, (long long)k);
    }
    int64_t step = m * n * k > 4000000 ? 37 : 1; /* all elements of small results, a sample of large ones */
    const float *c = result[0];
    for (int64_t at = 0; at < m * n; at += step) {
        int64_t i = at / n, j = at % n;
        double v, size;
        double want = expected(&g, options & (RESIDUAL | ALIAS) ? residual : NULL, auxiliary_in, i, j, &v, &size);
        double tolerance = size * 1e-6;
        double got = c[i * g.ldc + j];
        CHECK(fabs(got - want) <= tolerance, "%s m %lld n %lld k %lld transposes %d options %d at %lld %lld: %g, want %g", isa_names[isa],
              (long long)m, (long long)n, (long long)k, transposes, options, (long long)i, (long long)j, got, want);
        if (options & KEEP) CHECK(fabs(auxiliary[i * g.ldc + j] - v) <= tolerance, "auxiliary %g, want %g", auxiliary[i * g.ldc + j], v);
    }
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = n; j < g.ldc; ++j) {
            CHECK(c[i * g.ldc + j] == (options & ALIAS ? residual[i * g.ldc + j] : -77.0f), "wrote past the columns of c");
            CHECK(auxiliary[i * g.ldc + j] == auxiliary_in[i * g.ldc + j], "wrote past the columns of auxiliary");
        }
    for (int i = 0; i < 3; ++i) mk_release(result[i]);
    mk_release(a);
    mk_release(b);
    mk_release(bias);
    mk_release(scale);
    mk_release(residual);
    mk_release(auxiliary);
    mk_release(auxiliary_in);
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

int main(void) {
    static const int64_t sizes[] = {0, 1, 2, 3, 5, 7, 8, 13, 14, 15, 16, 17, 28, 31, 33, 48, 65};
    static const int64_t shapes[][3] = {{1, 1, 1000},   {1, 1000, 77}, {1000, 1, 77},  {129, 200, 385}, {61, 257, 769},
                                        {100, 1600, 9}, {450, 97, 33}, {197, 64, 197}, {29, 35, 3100},  {16, 1100, 3073}};
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
    enum { SIZES = sizeof sizes / sizeof *sizes, SHAPES = sizeof shapes / sizeof *shapes, OPTIONS = sizeof options / sizeof *options };
    int64_t before = mk_bytes_in_use();
    for (int32_t isa = MK_ISA_BASELINE; isa <= MK_ISA_NEON; ++isa) {
        if (!mk_isa_available(isa)) {
            CHECK(mk_kernels_float32(isa) == NULL, "a table that cannot run");
            printf("%s: not on this processor\n", isa_names[isa]);
            continue;
        }
        /* Every pair of m, n with k and options taken in turn, all transposes. */
        int turn = 0;
        for (int i = 0; i < SIZES; ++i)
            for (int j = 0; j < SIZES; ++j)
                for (int transposes = 0; transposes < 4; ++transposes, ++turn)
                    check_one(isa, sizes[i], sizes[j], sizes[turn * 5 % SIZES], transposes, options[turn % OPTIONS], turn % 3);
        for (int i = 0; i < SHAPES; ++i)
            for (int transposes = 0; transposes < 4; ++transposes, ++turn)
                check_one(isa, shapes[i][0], shapes[i][1], shapes[i][2], transposes, options[turn % OPTIONS], turn % 2 * 3);
        /* Every option when k takes several passes and when it takes several packings. */
        for (int option = 0; option < OPTIONS; ++option) {
            check_one(isa, 31, 50, 900, option % 4, options[option], 1);
            check_one(isa, 15, 34, 6200, (option + 1) % 4, options[option], 0);
        }
        check_not_a_number(isa);
    }
    CHECK(mk_bytes_in_use() == before, "leaked %lld bytes", (long long)(mk_bytes_in_use() - before));
    return check_result("test_gemm");
}
