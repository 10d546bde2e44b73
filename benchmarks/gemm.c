/* Speed of the library's matrix multiplication on the shapes of training, next to the processor's fused multiply-add peak
 * measured by a loop in registers around every timing: `best %` relates the best timing of a case to the highest peak measured beside
 * it, `median %` is the median over the timings of the speed relative to the peak just before and after.
 *
 *   gemm [--isa baseline|avx2|avx512|neon] [--threads N] [--repeats N] [--only TEXT] [--json]
 *
 * Variants: forward = x W^T + bias (NT), gelu = the same with GELU and the kept pre-activation, residual = the same added to a
 * residual, input = dy W (NN), input_gelu = the same times GELU's derivative, weight = dy^T x (TN). */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mk_kernels.h"
#include "mk_memory.h"
#include "mk_random.h"
#include "peak.h"

static double larger(double a, double b) { return a > b ? a : b; }

static float *matrix(int64_t count) {
    float *values = mk_allocate(count * (int64_t)sizeof(float));
    if (values == NULL) {
        fprintf(stderr, "memory is short\n");
        exit(1);
    }
    /* Products of a few hundred terms stay near 1, as in training. */
    mk_random_uniform(3, 0, 0, 0, count < 4096 ? count : 4096, values);
    for (int64_t i = 0; i < count; ++i) values[i] = i < 4096 ? 0.7f * (values[i] - 0.5f) : values[i - 4096];
    return values;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

enum { FORWARD, GELU, RESIDUAL, INPUT, INPUT_GELU, WEIGHT, VARIANTS };
static const char *variant_names[] = {"forward", "gelu", "residual", "input", "input_gelu", "weight"};

typedef struct layer {
    const char *name;
    int64_t rows, in, out;
    unsigned variants; /* bit per variant */
} layer;

#define LINEAR (1u << FORWARD | 1u << INPUT | 1u << WEIGHT)
#define FIRST_OF_MLP (1u << GELU | 1u << INPUT | 1u << WEIGHT)
#define SECOND_OF_MLP (1u << RESIDUAL | 1u << INPUT_GELU | 1u << WEIGHT)
#define BLOCK(name, rows, width)                                                                     \
    {name " qkv", rows, width, 3 * width, LINEAR}, {name " projection", rows, width, width, LINEAR}, \
        {name " fc1", rows, width, 4 * width, FIRST_OF_MLP}, {                                       \
        name " fc2", rows, 4 * width, width, SECOND_OF_MLP                                           \
    }

static const layer layers[] = {
    BLOCK("tiny encoder", 1088, 192),
    BLOCK("tiny decoder", 4160, 128),
    BLOCK("tiny full", 4160, 192),
    {"tiny embed", 4160, 48, 192, LINEAR},
    {"tiny decoder embed", 1088, 192, 128, LINEAR},
    {"tiny prediction", 4160, 128, 48, LINEAR},
    BLOCK("base encoder", 400, 768),
    BLOCK("base decoder", 1576, 512),
    BLOCK("base full", 1576, 768),
    {"base prediction", 1576, 512, 768, LINEAR},
    {"head", 128, 192, 10, LINEAR},
    {"convolution 3x3 64", 4096, 576, 64, LINEAR},
    {"convolution 3x3 256", 1024, 2304, 256, LINEAR},
    {"odd", 1000, 333, 777, LINEAR},
    {"square 1024", 1024, 1024, 1024, LINEAR},
    {"square 2048", 2048, 2048, 2048, 1u << FORWARD},
};

int main(int count, char **arguments) {
    static const char *isa_names[] = {"baseline", "avx2", "avx512", "neon"};
    int32_t isa = mk_isa_best(), threads = 1;
    int repeats = 15, json = 0;
    const char *only = "";
    for (int i = 1; i < count; ++i) {
        const char *value = i + 1 < count ? arguments[i + 1] : "";
        if (strcmp(arguments[i], "--json") == 0) {
            json = 1;
            continue;
        }
        if (strcmp(arguments[i], "--isa") == 0) {
            isa = -1;
            for (int32_t k = 0; k < 4; ++k)
                if (strcmp(value, isa_names[k]) == 0) isa = k;
        } else if (strcmp(arguments[i], "--threads") == 0) {
            threads = atoi(value);
        } else if (strcmp(arguments[i], "--repeats") == 0) {
            repeats = atoi(value);
        } else if (strcmp(arguments[i], "--only") == 0) {
            only = value;
        } else {
            fprintf(stderr, "unknown option %s\n", arguments[i]);
            return 2;
        }
        ++i;
    }
    const mk_kernels *kernels = mk_kernels_float32(isa);
    mk_pool *pool = mk_pool_create(threads);
    if (kernels == NULL || pool == NULL || repeats < 1) {
        fprintf(stderr, "this instruction set, number of threads or number of repeats cannot be used here\n");
        return 2;
    }
    if (threads > 1) clock_used = CLOCK_MONOTONIC;
    double speeds[1000], shares[1000], quiet[15];
    for (int i = 0; i < 15; ++i) quiet[i] = 1e-9 * peak_flops(kernels->name);
    qsort(quiet, 15, sizeof *quiet, by_value);
    repeats = repeats > 1000 ? 1000 : repeats;
    if (!json)
        printf("%s, %d threads, peak of one %.1f GFLOP/s\n%-23s %-10s %5s %5s %5s %8s %8s %8s %8s\n", isa_names[isa], threads, quiet[7],
               "layer", "variant", "m", "n", "k", "best", "median", "best %", "median %");
    for (size_t l = 0; l < sizeof layers / sizeof *layers; ++l)
        for (int variant = 0; variant < VARIANTS; ++variant) {
            const layer *y = &layers[l];
            char label[64];
            snprintf(label, sizeof label, "%s %s", y->name, variant_names[variant]);
            if (!(y->variants >> variant & 1) || strstr(label, only) == NULL) continue;
            mk_gemm g = {.m = y->rows, .n = y->out, .k = y->in};
            if (variant == INPUT || variant == INPUT_GELU) {
                g.n = y->in;
                g.k = y->out;
            } else if (variant == WEIGHT) {
                g.m = y->out;
                g.n = y->in;
                g.k = y->rows;
                g.transpose_a = 1;
            } else {
                g.transpose_b = 1;
            }
            g.lda = g.transpose_a ? g.m : g.k;
            g.ldb = g.transpose_b ? g.k : g.n;
            g.ldc = g.n;
            float *a = matrix(g.m * g.k), *b = matrix(g.k * g.n), *c = matrix(g.m * g.n), *bias = matrix(g.n), *other = matrix(g.m * g.n);
            g.a = a;
            g.b = b;
            g.c = c;
            if (variant <= RESIDUAL) g.bias = bias;
            if (variant == RESIDUAL) g.residual = other;
            if (variant == GELU || variant == INPUT_GELU) {
                g.auxiliary = other;
                g.activation = variant == GELU ? MK_ACTIVATION_GELU : MK_ACTIVATION_GELU_GRADIENT;
            }
            mk_scratch need = kernels->gemm_scratch(&g);
            if (mk_pool_reserve(pool, need.per_worker, need.shared) != 0) {
                fprintf(stderr, "memory is short\n");
                return 1;
            }
            double flops = 2.0 * (double)g.m * (double)g.n * (double)g.k;
            int calls = (int)(2e7 / flops) + 1; /* at least a fraction of a millisecond per timing */
            kernels->gemm(pool, &g);
            /* The peak is measured again around every timing: a shared machine's speed changes from one moment to the next. */
            double before = 1e-9 * peak_flops(kernels->name), highest = before;
            for (int r = 0; r < repeats; ++r) {
                double start = now();
                for (int i = 0; i < calls; ++i) kernels->gemm(pool, &g);
                speeds[r] = flops / ((now() - start) / calls) * 1e-9;
                double after = 1e-9 * peak_flops(kernels->name);
                shares[r] = 100 * speeds[r] / ((before + after) / 2 * threads);
                highest = larger(highest, after);
                before = after;
            }
            qsort(speeds, (size_t)repeats, sizeof *speeds, by_value);
            qsort(shares, (size_t)repeats, sizeof *shares, by_value);
            double best = speeds[repeats - 1], median = speeds[repeats / 2];
            if (json)
                printf(
                    "{\"layer\": \"%s\", \"variant\": \"%s\", \"isa\": \"%s\", \"threads\": %d, \"m\": %lld, \"n\": %lld, \"k\": %lld, "
                    "\"gflops_best\": %.2f, \"gflops_median\": %.2f, \"gflops_peak_of_one\": %.2f, \"median_percent_of_peak_nearby\": "
                    "%.1f}\n",
                    y->name, variant_names[variant], isa_names[isa], threads, (long long)g.m, (long long)g.n, (long long)g.k, best, median,
                    highest, shares[repeats / 2]);
            else
                printf("%-23s %-10s %5lld %5lld %5lld %8.1f %8.1f %8.1f %8.1f\n", y->name, variant_names[variant], (long long)g.m,
                       (long long)g.n, (long long)g.k, best, median, 100 * best / (highest * threads), shares[repeats / 2]);
            fflush(stdout);
            mk_release(a);
            mk_release(b);
            mk_release(c);
            mk_release(bias);
            mk_release(other);
        }
    mk_pool_destroy(pool);
    return 0;
}
