/* Time of every kernel but the matrix product, one thread, at the sizes of ViT-Tiny/4 and ViT-B/16 steps.
 *
 *     kernels [isa] [name]     isa: baseline, avx2, avx512, neon or best;  name: only kernels whose name contains it
 *
 * GB/s counts each array once per call and is set against a triad over arrays that do not fit the cache; arrays of a small
 * kernel do fit, so that more than 100 % is possible. GFLOP/s is set against a loop of independent multiply-adds. Times are the
 * best of many calls, in processor time of the thread, so that a busy machine disturbs them less. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mk_kernels.h"
#include "mk_memory.h"
#include "peak.h"

static const mk_kernels *k;
static mk_pool *pool;
static double highest_bandwidth, highest_flops; /* per second */
static const char *filter = "";

static double measure_bandwidth(void) {
    int64_t count = 16 << 20;
    float *a = mk_allocate(count * 4), *b = mk_allocate(count * 4), *c = mk_allocate(count * 4);
    double best = 0;
    for (int64_t i = 0; i < count; i++) a[i] = b[i] = 1, c[i] = 0;
    for (int i = 0; i < 8; i++) {
        double start = now();
        k->add(pool, count, a, b, c);
        double rate = 12.0 * (double)count / (now() - start);
        if (rate > best) best = rate;
    }
    mk_release(a), mk_release(b), mk_release(c);
    return best;
}

static float *numbers(int64_t count) {
    static uint64_t state = 1;
    float *x = mk_allocate(count * 4);
    for (int64_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(state >> 40) / 8388608.0f - 1;
    }
    return x;
}

static void need(mk_scratch s) {
    if (mk_pool_reserve(pool, s.per_worker, s.shared) != 0) exit(1);
}

static void report(const char *name, const char *size, double seconds, double bytes, double flops) {
    printf("%-24s %-22s %10.1f us", name, size, seconds * 1e6);
    if (flops > 0)
        printf(" %8.1f GFLOP/s %4.0f %% of multiply-add peak\n", flops / seconds * 1e-9, 100 * flops / seconds / highest_flops);
    else
        printf(" %8.1f GB/s    %4.0f %% of triad\n", bytes / seconds * 1e-9, 100 * bytes / seconds / highest_bandwidth);
}

/* Best time of `call` within about 0.15 s, at least 5 calls; then one line of the report. */
#define TIME(name, size, bytes, flops, call)                        \
    if (strstr(name, filter)) {                                     \
        double begin = now(), best = 1e30;                          \
        for (int i = 0; i < 5 || now() - begin < 0.15; i++) {       \
            double start = now();                                   \
            call;                                                   \
            double seconds = now() - start;                         \
            if (seconds < best) best = seconds;                     \
        }                                                           \
        report(name, size, best, (double)(bytes), (double)(flops)); \
    }

static void attention(int64_t batch, int64_t tokens, int64_t heads, int64_t head_dim) {
    int64_t out = batch * tokens * heads * head_dim;
    float *qkv = numbers(3 * out), *o = numbers(out), *lse = numbers(batch * heads * tokens), *d = numbers(out), *dqkv = numbers(3 * out);
    int64_t width = heads * head_dim, stride = 3 * width;
    mk_attention a = {.batch = batch, .queries = tokens, .keys = tokens, .heads = heads, .head_dim = head_dim};
    a.q = qkv, a.k = qkv + width, a.v = qkv + 2 * width, a.q_stride = a.k_stride = a.v_stride = stride;
    a.out = o, a.log_sum_exp = lse, a.out_gradient = d;
    a.q_gradient = dqkv, a.k_gradient = dqkv + width, a.v_gradient = dqkv + 2 * width;
    char size[64];
    snprintf(size, sizeof size, "%ldx%ldx%ldx%ld", (long)batch, (long)tokens, (long)heads, (long)head_dim);
    need(k->attention_scratch(&a));
    double product = 2.0 * (double)(batch * heads * tokens * tokens * head_dim);
    TIME("attention_forward", size, 0, 2 * product, k->attention_forward(pool, &a))
    TIME("attention_backward", size, 0, 5 * product, k->attention_backward(pool, &a))
    mk_release(qkv), mk_release(o), mk_release(lse), mk_release(d), mk_release(dqkv);
}

static void rows_of(int64_t rows, int64_t width) {
    int64_t n = rows * width;
    float *x = numbers(n), *y = numbers(n), *dx = numbers(n), *addend = numbers(n), *gamma = numbers(width), *beta = numbers(width);
    float *mean = numbers(rows), *rstd = numbers(rows), *dgamma = numbers(width), *dbeta = numbers(width), loss[1], dloss[1] = {1};
    char size[64];
    snprintf(size, sizeof size, "%ldx%ld", (long)rows, (long)width);
    need(k->layer_norm_scratch(rows, width)), need(k->column_sum_scratch(rows, width)), need(k->squared_error_scratch(n));
    TIME("layer_norm_forward", size, 8 * n, 0, k->layer_norm_forward(pool, rows, width, x, gamma, beta, 1e-6, y, mean, rstd))
    TIME("layer_norm_backward", size, 16 * n, 0,
         k->layer_norm_backward(pool, rows, width, x, gamma, mean, rstd, y, addend, dx, dgamma, dbeta))
    TIME("column_sum", size, 4 * n, 0, k->column_sum(pool, rows, width, x, dgamma))
    TIME("standardize_rows", size, 8 * n, 0, k->standardize_rows(pool, rows, width, x, 1e-6, y))
    TIME("softmax_rows", size, 8 * n, 0, k->softmax_rows(pool, rows, width, x, y))
    TIME("squared_error", size, 8 * n, 0, k->squared_error(pool, n, x, addend, loss))
    TIME("squared_error_gradient", size, 12 * n, 0, k->squared_error_gradient(pool, n, x, addend, dloss, y))
    TIME("add", size, 12 * n, 0, k->add(pool, n, x, addend, y))
    TIME("scale", size, 8 * n, 0, k->scale(pool, n, 0.5, x, y))
    mk_release(x), mk_release(y), mk_release(dx), mk_release(addend), mk_release(gamma), mk_release(beta);
    mk_release(mean), mk_release(rstd), mk_release(dgamma), mk_release(dbeta);
}

/* MAE's two uses: keep a quarter of the patches; restore the order with mask tokens and positions. */
static void tokens_of(int64_t batch, int64_t patches, int64_t width) {
    int64_t kept = patches / 4, big = batch * patches * width, small = batch * kept * width;
    float *x = numbers(big), *y = numbers(big), *table = numbers(patches * width), *fill = numbers(width),
          *dtable = numbers(patches * width);
    int32_t *ids = mk_allocate(batch * patches * 4), *restore = mk_allocate(batch * patches * 4);
    char size[64];
    snprintf(size, sizeof size, "%ldx%ldx%ld", (long)batch, (long)patches, (long)width);
    for (int64_t b = 0; b < batch; b++) {
        for (int64_t i = 0; i < patches; i++) {
            int64_t id = (i * 37 + b * 11) % patches; /* a shuffle, as 37 divides no power of two or 196 */
            ids[b * patches + i] = (int32_t)id;
            restore[b * patches + id] = (int32_t)i;
        }
    }
    mk_gather keep = {batch, patches, kept, width, x, ids, patches, NULL, NULL, 0, NULL, 0, y};
    mk_gather back = {batch, kept, patches, width, x, restore, patches, fill, table, patches, NULL, 0, y};
    TIME("gather keep", size, 8 * small, 0, k->gather(pool, &keep))
    TIME("gather restore", size, 4 * (big + small), 0, k->gather(pool, &back))
    mk_gather_gradient dkeep = {keep, y, x, NULL, NULL}, dback = {back, y, x, fill, NULL}, dpositions = {back, y, x, fill, dtable};
    TIME("gather keep gradient", size, 4 * (big + small), 0, k->gather_gradient(pool, &dkeep))
    TIME("gather restore gradient", size, 4 * (big + small), 0, k->gather_gradient(pool, &dback))
    TIME("gather table gradient", size, 4 * (big + small), 0, k->gather_gradient(pool, &dpositions))
    TIME("mean_tokens", size, 4 * big, 0, k->mean_tokens(pool, batch, patches, width, 1, x, y))
    TIME("mean_tokens_gradient", size, 4 * big, 0, k->mean_tokens_gradient(pool, batch, patches, width, 1, y, x))
    mk_release(x), mk_release(y), mk_release(table), mk_release(fill), mk_release(dtable), mk_release(ids), mk_release(restore);
}

static void images_of(int64_t batch, int64_t side, int64_t patch) {
    int64_t n = batch * 3 * side * side, rows = side / patch * (side / patch);
    float *images = numbers(n), *patches = numbers(n);
    char size[64];
    snprintf(size, sizeof size, "%ldx3x%ldx%ld/%ld", (long)batch, (long)side, (long)side, (long)patch);
    for (int32_t last = 0; last < 2; last++) {
        mk_patches p = {batch, 3, side, side, patch, patch, last, rows, NULL, 0, images, patches};
        TIME(last ? "extract_patches, c last" : "extract_patches", size, 8 * n, 0, k->extract_patches(pool, &p))
        TIME(last ? "scatter_patches, c last" : "scatter_patches", size, 8 * n, 0, k->scatter_patches(pool, &p))
    }
    mk_release(images), mk_release(patches);
}

static void classes_of(int64_t rows, int64_t classes) {
    float *x = numbers(rows * classes), *dx = numbers(rows * classes), *all = numbers(rows), loss[1], dloss[1] = {1};
    int32_t *labels = mk_allocate(rows * 4);
    char size[64];
    snprintf(size, sizeof size, "%ldx%ld", (long)rows, (long)classes);
    for (int64_t r = 0; r < rows; r++) labels[r] = (int32_t)(r % classes);
    need(k->cross_entropy_scratch(rows, classes));
    TIME("cross_entropy", size, 4 * rows * classes, 0, k->cross_entropy(pool, rows, classes, x, labels, 0.1, all, loss))
    TIME("cross_entropy_gradient", size, 8 * rows * classes, 0,
         k->cross_entropy_gradient(pool, rows, classes, x, labels, 0.1, all, dloss, dx))
    mk_release(x), mk_release(dx), mk_release(all), mk_release(labels);
}

static void adamw(int64_t count) {
    float *p = numbers(count), *m = numbers(count), *v = mk_allocate_zeroed(count * 4), *g = numbers(count);
    mk_adamw a = {count, p, m, v, g, 1e-3, 0.9, 0.95, 1e-8, 0.05, 10, 1, 0};
    char size[64];
    snprintf(size, sizeof size, "%ld", (long)count);
    TIME("adamw", size, 28 * count, 0, k->adamw(pool, &a))
    mk_release(p), mk_release(m), mk_release(v), mk_release(g);
}

int main(int argc, char **argv) {
    const char *wanted = argc > 1 ? argv[1] : "best";
    for (int32_t isa = 0; isa <= MK_ISA_NEON; isa++) {
        if (!mk_isa_available(isa)) continue;
        if (strcmp(wanted, "best") == 0 ? isa == mk_isa_best() : strcmp(wanted, mk_kernels_float32(isa)->name) == 0) {
            k = mk_kernels_float32(isa);
        }
    }
    if (!k || !(pool = mk_pool_create(1))) {
        fprintf(stderr, "instruction set %s is not available\n", wanted);
        return 1;
    }
    if (argc > 2) filter = argv[2];
    for (int i = 0; i < 100; i++) highest_flops = fmax(highest_flops, peak_flops(k->name));
    highest_bandwidth = measure_bandwidth();
    printf("%s, one thread: %.1f GFLOP/s multiply-add, %.1f GB/s triad\n", k->name, highest_flops * 1e-9, highest_bandwidth * 1e-9);
    attention(64, 17, 3, 64), attention(64, 65, 3, 64), attention(64, 17, 4, 32), attention(64, 65, 4, 32);
    attention(8, 50, 12, 64), attention(8, 197, 12, 64), attention(8, 197, 16, 32), attention(1, 1025, 12, 64);
    rows_of(64 * 17, 192), rows_of(64 * 65, 192), rows_of(64 * 65, 128), rows_of(8 * 197, 768);
    tokens_of(64, 64, 192), tokens_of(8, 196, 512);
    images_of(64, 32, 4), images_of(8, 224, 16);
    classes_of(128, 10), classes_of(128, 1000);
    adamw(1000000), adamw(20000000);
    mk_pool_destroy(pool);
    return 0;
}
