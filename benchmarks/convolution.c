/* The layers of convolutional encoders, one thread: time and fraction of the peak of multiply-adds, dense and on the visible cells of
 * masked images (SparK: ratio 0.6, cells of the network's downsampling), forward and both gradients.
 *
 *     convolution NETWORK [--isa avx2|avx512|...] [--batch N] [--ratio R]
 *     NETWORK: resnet18 (CIFAR stem, 32 x 32), resnet50 (224 x 224), convnext (V2 atto, 224 x 224)
 *
 *     clang -O3 -ffp-contract=fast -ISources/CMRPKernels/include benchmarks/convolution.c Sources/CMRPKernels/[a-z]*.c -lm -lpthread
 *
 * Multiply-adds are those of the direct sum over what is there, so that Winograd's method can exceed 100 %. Times are the best of some
 * calls, in processor time; shares of the peak are medians over the calls of the speed relative to the peak just before and after. The last
 * columns are the time on visible cells as a share of the dense time. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mk_kernels.h"
#include "mk_memory.h"
#include "peak.h"

static const mk_kernels *k;
static mk_pool *pool;

typedef struct layer {
    const char *name;
    int64_t count, size, channels, outputs, kernel, stride, padding;
    int depthwise;
} layer;

/* Distinct layers and how many of each the network has; sizes are those of the input. */
static const layer resnet18[] = {
    {"stem", 1, 32, 3, 64, 3, 1, 1, 0},
    {"layer1", 4, 32, 64, 64, 3, 1, 1, 0},
    {"layer2 stride 2", 1, 32, 64, 128, 3, 2, 1, 0},
    {"layer2 projection", 1, 32, 64, 128, 1, 2, 0, 0},
    {"layer2", 3, 16, 128, 128, 3, 1, 1, 0},
    {"layer3 stride 2", 1, 16, 128, 256, 3, 2, 1, 0},
    {"layer3 projection", 1, 16, 128, 256, 1, 2, 0, 0},
    {"layer3", 3, 8, 256, 256, 3, 1, 1, 0},
    {"layer4 stride 2", 1, 8, 256, 512, 3, 2, 1, 0},
    {"layer4 projection", 1, 8, 256, 512, 1, 2, 0, 0},
    {"layer4", 3, 4, 512, 512, 3, 1, 1, 0},
    {NULL, 0, 0, 0, 0, 0, 0, 0, 0},
};
static const layer resnet50[] = {
    {"stem", 1, 224, 3, 64, 7, 2, 3, 0},
    {"layer1 in", 1, 56, 64, 64, 1, 1, 0, 0},
    {"layer1 in", 2, 56, 256, 64, 1, 1, 0, 0},
    {"layer1 3x3", 3, 56, 64, 64, 3, 1, 1, 0},
    {"layer1 out", 4, 56, 64, 256, 1, 1, 0, 0},
    {"layer2 in", 1, 56, 256, 128, 1, 1, 0, 0},
    {"layer2 in", 3, 28, 512, 128, 1, 1, 0, 0},
    {"layer2 stride 2", 1, 56, 128, 128, 3, 2, 1, 0},
    {"layer2 3x3", 3, 28, 128, 128, 3, 1, 1, 0},
    {"layer2 out", 4, 28, 128, 512, 1, 1, 0, 0},
    {"layer2 projection", 1, 56, 256, 512, 1, 2, 0, 0},
    {"layer3 in", 1, 28, 512, 256, 1, 1, 0, 0},
    {"layer3 in", 5, 14, 1024, 256, 1, 1, 0, 0},
    {"layer3 stride 2", 1, 28, 256, 256, 3, 2, 1, 0},
    {"layer3 3x3", 5, 14, 256, 256, 3, 1, 1, 0},
    {"layer3 out", 6, 14, 256, 1024, 1, 1, 0, 0},
    {"layer3 projection", 1, 28, 512, 1024, 1, 2, 0, 0},
    {"layer4 in", 1, 14, 1024, 512, 1, 1, 0, 0},
    {"layer4 in", 2, 7, 2048, 512, 1, 1, 0, 0},
    {"layer4 stride 2", 1, 14, 512, 512, 3, 2, 1, 0},
    {"layer4 3x3", 2, 7, 512, 512, 3, 1, 1, 0},
    {"layer4 out", 3, 7, 512, 2048, 1, 1, 0, 0},
    {"layer4 projection", 1, 14, 1024, 2048, 1, 2, 0, 0},
    {NULL, 0, 0, 0, 0, 0, 0, 0, 0},
};
static const layer convnext[] = {
    {"stem", 1, 224, 3, 40, 4, 4, 0, 0},
    {"stage 1 7x7", 2, 56, 40, 40, 7, 1, 3, 1},
    {"stage 1 fc1", 2, 56, 40, 160, 1, 1, 0, 0},
    {"stage 1 fc2", 2, 56, 160, 40, 1, 1, 0, 0},
    {"down 2", 1, 56, 40, 80, 2, 2, 0, 0},
    {"stage 2 7x7", 2, 28, 80, 80, 7, 1, 3, 1},
    {"stage 2 fc1", 2, 28, 80, 320, 1, 1, 0, 0},
    {"stage 2 fc2", 2, 28, 320, 80, 1, 1, 0, 0},
    {"down 3", 1, 28, 80, 160, 2, 2, 0, 0},
    {"stage 3 7x7", 6, 14, 160, 160, 7, 1, 3, 1},
    {"stage 3 fc1", 6, 14, 160, 640, 1, 1, 0, 0},
    {"stage 3 fc2", 6, 14, 640, 160, 1, 1, 0, 0},
    {"down 4", 1, 14, 160, 320, 2, 2, 0, 0},
    {"stage 4 7x7", 2, 7, 320, 320, 7, 1, 3, 1},
    {"stage 4 fc1", 2, 7, 320, 1280, 1, 1, 0, 0},
    {"stage 4 fc2", 2, 7, 1280, 320, 1, 1, 0, 0},
    {NULL, 0, 0, 0, 0, 0, 0, 0, 0},
};
static const struct network {
    const char *name;
    const layer *layers;
    int64_t size, batch, grid;
} networks[] = {{"resnet18", resnet18, 32, 64, 4}, {"resnet50", resnet50, 224, 8, 7}, {"convnext", convnext, 224, 8, 7}};

static uint64_t state = 1;

static double uniform(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 11) / 9007199254740992.0;
}

/* cells: batch x grid x grid, 1 where visible. */
static mk_places places(const char *cells, int64_t batch, int64_t grid, int64_t size, int32_t **memory) {
    int64_t all = batch * size * size, side = size / grid;
    int32_t *positions = malloc((size_t)all * 8), *rows = positions + all;
    mk_places p = {0, positions, rows};
    for (int64_t i = 0; i < all; i++) {
        int64_t x = i % size, y = i / size % size, image = i / size / size;
        int there = cells[(image * grid + y / side) * grid + x / side];
        rows[i] = there ? (int32_t)p.count : -1;
        if (there) positions[p.count++] = (int32_t)i;
    }
    *memory = positions;
    return p;
}

typedef struct timing {
    double seconds, share; /* the best time, the median share of the peak */
} timing;

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static timing time_calls(const mk_conv2d *v, int32_t pass, double flops, double least) {
    enum { MOST = 1000 };
    mk_scratch need = k->conv2d_scratch(v, pass);
    if (mk_pool_reserve(pool, need.per_worker, need.shared) != 0) exit(1);
    k->conv2d(pool, v, pass);
    double shares[MOST], best = 1e30, total = 0, before = peak_flops(k->name);
    int calls = 0;
    for (; calls < 7 || (total < least && calls < MOST); calls++) {
        double start = now();
        k->conv2d(pool, v, pass);
        double seconds = now() - start, after = peak_flops(k->name);
        shares[calls] = flops / seconds / ((before + after) / 2);
        before = after;
        best = fmin(best, seconds);
        total += seconds;
    }
    qsort(shares, (size_t)calls, sizeof *shares, by_value);
    return (timing){best, shares[calls / 2]};
}

int main(int argc, char **argv) {
    const struct network *net = NULL;
    double ratio = 0.6;
    int64_t batch = 0;
    k = mk_kernels_float32(mk_isa_best());
    for (int i = 1; i < argc; i++) {
        for (int n = 0; n < 3; n++)
            if (strcmp(argv[i], networks[n].name) == 0) net = &networks[n];
        if (strcmp(argv[i], "--ratio") == 0 && i + 1 < argc) ratio = atof(argv[++i]);
        if (strcmp(argv[i], "--batch") == 0 && i + 1 < argc) batch = atol(argv[++i]);
        if (strcmp(argv[i], "--isa") == 0 && i + 1 < argc) {
            const mk_kernels *found = NULL;
            for (int32_t isa = MK_ISA_BASELINE; isa <= MK_ISA_NEON; isa++) {
                const mk_kernels *other = mk_isa_available(isa) ? mk_kernels_float32(isa) : NULL;
                if (other && strcmp(other->name, argv[i + 1]) == 0) found = other;
            }
            if (found == NULL) return 2;
            k = found, i++;
        }
    }
    if (net == NULL) {
        fprintf(stderr, "usage: convolution resnet18|resnet50|convnext [--isa NAME] [--batch N] [--ratio R]\n");
        return 2;
    }
    if (batch == 0) batch = net->batch;
    pool = mk_pool_create(1);
    double peak = 0;
    for (int i = 0; i < 30; i++) peak = fmax(peak, peak_flops(k->name));
    const int64_t cells = net->grid * net->grid, shown = (int64_t)nearbyint((double)cells * (1 - ratio));
    char *mask = calloc((size_t)(batch * cells), 1);
    for (int64_t b = 0; b < batch; b++)
        for (int64_t left = shown; left > 0;) {
            char *cell = mask + b * cells + (int64_t)(uniform() * (double)cells);
            if (!*cell) *cell = 1, left--;
        }
    printf("%s, batch %lld, %s; peak %.1f GFLOP/s; %lld of %lld cells visible\n", net->name, (long long)batch, k->name, peak * 1e-9,
           (long long)shown, (long long)cells);
    printf("%-18s %5s | %23s | %23s | masked / dense\n", "layer", "times", "dense: forward dx dw", "masked: forward dx dw");
    double totals[2][3] = {{0}}, all_flops = 0, all_at_peak = 0;
    for (const layer *l = net->layers; l->name; l++) {
        mk_conv2d v = {.batch = batch, .channels = l->channels, .out_channels = l->outputs, .groups = l->depthwise ? l->channels : 1};
        v.rows.in = l->size, v.rows.kernel = l->kernel, v.rows.stride = l->stride, v.rows.padding = l->padding, v.rows.dilation = 1;
        v.rows.out = (l->size + 2 * l->padding - l->kernel) / l->stride + 1;
        v.columns = v.rows;
        const int64_t in = batch * l->size * l->size, out = batch * v.rows.out * v.rows.out;
        const int64_t weights = l->outputs * (l->channels / v.groups) * l->kernel * l->kernel;
        float *x = mk_allocate(in * l->channels * 4), *y = mk_allocate(out * l->outputs * 4), *w = mk_allocate(weights * 4);
        for (int64_t i = 0; i < in * l->channels; i++) x[i] = (float)uniform() - 0.5f;
        for (int64_t i = 0; i < out * l->outputs; i++) y[i] = (float)uniform() - 0.5f;
        for (int64_t i = 0; i < weights; i++) w[i] = 0.01f * ((float)uniform() - 0.5f);
        v.x = x, v.y = y, v.weight = w;
        double seconds[2][3], share[2][3], flops = 2.0 * (double)(out * weights);
        for (int masked = 0; masked < 2; masked++) {
            int32_t *in_memory = NULL, *out_memory = NULL;
            v.in.count = in, v.out.count = out, v.in.rows = v.out.rows = v.in.positions = v.out.positions = NULL;
            if (masked) {
                v.in = places(mask, batch, net->grid, l->size, &in_memory);
                v.out = v.rows.out == l->size ? v.in : places(mask, batch, net->grid, v.rows.out, &out_memory);
            }
            for (int32_t pass = 0; pass < 3; pass++) {
                int needed = !(pass == MK_CONV2D_INPUT_GRADIENT && l == net->layers); /* no gradient to pixels */
                const double there = masked ? (double)shown / (double)cells : 1;
                seconds[masked][pass] = share[masked][pass] = 0;
                if (!needed) continue;
                const timing t = time_calls(&v, pass, there * flops, 0.2);
                seconds[masked][pass] = t.seconds;
                share[masked][pass] = t.share;
                totals[masked][pass] += (double)l->count * t.seconds;
                if (masked) continue;
                all_flops += flops * (double)l->count;
                all_at_peak += flops * (double)l->count / t.share;
            }
            free(in_memory), free(out_memory);
        }
        printf("%-18s %5lld |", l->name, (long long)l->count);
        for (int masked = 0; masked < 2; masked++) {
            for (int pass = 0; pass < 3; pass++) {
                if (seconds[masked][pass] > 0)
                    printf(" %6.1f%%", 100 * share[masked][pass]);
                else
                    printf("       -");
            }
            printf(" |");
        }
        const double *d = seconds[0], *m = seconds[1];
        printf(" %.2f (%.2f %.2f %.2f)  dense %.2f ms\n", (m[0] + m[1] + m[2]) / (d[0] + d[1] + d[2]), m[0] / d[0],
               d[1] > 0 ? m[1] / d[1] : 0, m[2] / d[2], 1e3 * (d[0] + d[1] + d[2]));
        mk_release(x), mk_release(y), mk_release(w);
    }
    double dense = totals[0][0] + totals[0][1] + totals[0][2], masked = totals[1][0] + totals[1][1] + totals[1][2];
    printf("all: dense %.1f ms (%.0f %% of the peak), masked %.1f ms: %.2f (forward %.2f, dx %.2f, dw %.2f)\n", 1e3 * dense,
           100 * all_flops / all_at_peak, 1e3 * masked, masked / dense, totals[1][0] / totals[0][0], totals[1][1] / totals[0][1],
           totals[1][2] / totals[0][2]);
    return 0;
}
