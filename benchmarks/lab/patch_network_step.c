/* Time of one training step of the paper's network on one thread, against torch_theory.py.
 *
 *     patch_network_step [isa]     isa: baseline, avx2, avx512, neon or best
 *
 * Times are the best and the median of many steps, in processor time of the thread, so that a busy machine disturbs them less.
 * GFLOP/s counts the two matrix products that a step needs (scores and gradient). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mk_memory.h"
#include "mk_patch_network.h"
#include "mk_random.h"

enum { STEPS = 15 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void *need(int64_t bytes) {
    void *memory = mk_allocate_zeroed(bytes);
    if (!memory) {
        fprintf(stderr, "cannot allocate %lld bytes\n", (long long)bytes);
        exit(1);
    }
    return memory;
}

static void report(const char *what, double *seconds, double flops) {
    qsort(seconds, STEPS, sizeof *seconds, ascending);
    printf("  %-34s min %7.2f  median %7.2f ms", what, 1e3 * seconds[0], 1e3 * seconds[STEPS / 2]);
    if (flops > 0) printf("  %5.0f GFLOP/s", 1e-9 * flops / seconds[0]);
    printf("\n");
}

static void bench(const mk_patch_kernels *table, int64_t samples, int64_t patches, int64_t dimension, int64_t kernels, int64_t classes,
                  int32_t power) {
    mk_pool *pool = mk_pool_create(1);
    mk_patch_network network = {kernels, dimension, patches, power, 0.5};
    mk_scratch scratch = table->scratch(&network, samples, classes);
    if (!pool || mk_pool_reserve(pool, scratch.per_worker, scratch.shared) != 0) exit(1);
    float *x = need(samples * patches * dimension * 4), *w = need(kernels * dimension * 4), *g = need(kernels * dimension * 4);
    float *u = need(classes * kernels * 4), *du = need(classes * kernels * 4), *top = need(kernels * 4);
    float *teacher = need(samples * kernels * 4);
    int32_t *labels = need(samples * 4);
    mk_random_normal(1, 1, 0, 0, samples * patches * dimension, x);
    mk_patch_initialize(4, kernels * dimension, 0.05, 1, 2, w);
    mk_patch_initialize(4, classes * kernels, 0.05, 1, 3, u);
    for (int64_t n = 0; n < samples; n++) labels[n] = (int32_t)(n % classes);
    double seconds[5][STEPS], loss;
    int64_t correct;
    for (int step = 0; step < STEPS; step++) {
        const mk_patch_batch batch = {samples, x, 0, 0, 0};
        mk_patch_reconstruction call = {.network = network,
                                        .batch = batch,
                                        .weights = w,
                                        .tau = 1.15,
                                        .theta = 0.5,
                                        .scale = 1.0 / (double)samples,
                                        .seed = 1,
                                        .stream = 9,
                                        .step = (uint32_t)step,
                                        .gradient = g,
                                        .loss = &loss,
                                        .largest = top};
        double start = now();
        table->reconstruction(pool, &call);
        mk_patch_descend(4, kernels * dimension, 0.1, g, w);
        seconds[0][step] = now() - start;
        call.sampled = 1;
        start = now();
        table->reconstruction(pool, &call);
        mk_patch_descend(4, kernels * dimension, 0.1, g, w);
        seconds[1][step] = now() - start;
        mk_patch_features features = {network, batch, w, 1.15, teacher};
        start = now();
        table->features(pool, &features);
        seconds[2][step] = now() - start;
        call.teacher = teacher;
        start = now();
        table->reconstruction(pool, &call);
        seconds[3][step] = now() - start;
        mk_patch_classifier classifier = {.network = network,
                                          .batch = batch,
                                          .classes = classes,
                                          .labels = labels,
                                          .weights = w,
                                          .head = u,
                                          .scale = 1.0 / (double)samples,
                                          .weight_gradient = g,
                                          .head_gradient = du,
                                          .loss = &loss,
                                          .correct = &correct};
        start = now();
        table->classifier(pool, &classifier);
        seconds[4][step] = now() - start;
    }
    double product = 2.0 * (double)(samples * patches * dimension) * (double)kernels;
    printf("%s N%lld P%lld d%lld K%lld q%d\n", table->name, (long long)samples, (long long)patches, (long long)dimension,
           (long long)kernels, power);
    report("step, averaged masks", seconds[0], 2 * product);
    report("step, sampled masks", seconds[1], 0);
    report("features (a teacher of its own)", seconds[2], product);
    report("sampled, teacher's features given", seconds[3], 0);
    report("classifier, both gradients", seconds[4], 2 * product);
    mk_release(x), mk_release(w), mk_release(g), mk_release(u), mk_release(du), mk_release(top), mk_release(teacher);
    mk_release(labels);
    mk_pool_destroy(pool);
}

int main(int argc, char **argv) {
    static const char *const names[] = {"baseline", "avx2", "avx512", "neon"};
    int32_t isa = mk_isa_best();
    for (int32_t i = 0; argc > 1 && i < 4; i++)
        if (strcmp(argv[1], names[i]) == 0) isa = i;
    const mk_patch_kernels *table = mk_patch_kernels_for(isa, 4);
    if (!table) {
        fprintf(stderr, "this machine cannot run %s instructions\n", names[isa]);
        return 1;
    }
    bench(table, 1000, 64, 128, 100, 10, 4);
    bench(table, 300, 24, 64, 200, 10, 5);
    return 0;
}
