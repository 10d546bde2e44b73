/* Times training steps of the library for benchmarks/compare.py; the line protocol is described in benchmarks/peers/README.md.
 *
 *     cc -O2 -Ibuild/include benchmarks/step.c -Lbuild/lib -lmrp -Wl,-rpath,$PWD/build/lib -o build/step
 *     build/step mae_vit_tiny_32 [--threads N] [--batch N] [--inference] [--set KEY=VALUE]...
 *
 * --set gives another option a value, so that the library can be compared with itself: what the encoder saves by leaving hidden cells out,
 *     python3 benchmarks/compare.py spark_resnet18_cifar --ours "build/step --set decoder_width=8" \
 *         --peer "build/step --set decoder_width=8 --set hidden_cells=zero"
 * times it against the dense network (with a decoder so narrow that it hardly counts). */
#define _POSIX_C_SOURCE 199309L
#include <mrp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK(call)                                    \
    do {                                               \
        if ((call) != MRP_OK) {                        \
            fprintf(stderr, "%s\n", mrp_last_error()); \
            exit(1);                                   \
        }                                              \
    } while (0)

typedef struct workload {
    const char *name, *phase;
    int size, batch;
    const char *options[10][2];
} workload;

static const workload workloads[] = {
    {"mae_vit_tiny_32", "pretrain", 32, 64, {{"encoder", "vit_tiny"}}},
    {"mae_vit_base_224",
     "pretrain",
     224,
     8,
     {{"encoder", "vit_base"}, {"patch_size", "16"}, {"decoder_width", "512"}, {"decoder_depth", "8"}, {"decoder_heads", "16"}}},
    {"mae_vit_cifar", "pretrain", 32, 256, {{"encoder", "vit_mini"}, {"decoder_width", "96"}, {"decoder_depth", "2"}}},
    {"sup_vit_tiny_32", "finetune", 32, 128, {{"encoder", "vit_tiny"}}},
    {"sup_vit_base_224", "finetune", 224, 8, {{"encoder", "vit_base"}, {"patch_size", "16"}}},
    {"sup_vit_cifar", "finetune", 32, 128, {{"encoder", "vit_mini"}}},
    {"sup_resnet18_cifar", "finetune", 32, 128, {{"encoder", "resnet18"}}},
    {"sup_resnet50_224", "finetune", 224, 8, {{"encoder", "resnet50"}}},
    {"segment_resnet18_128", "finetune", 128, 16, {{"encoder", "resnet18"}, {"stem", "imagenet"}, {"task", "segment"}}},
    {"spark_resnet18_cifar", "pretrain", 32, 128, {{"encoder", "resnet18"}, {"decoder_width", "256"}}},
    {"spark_resnet50_224", "pretrain", 224, 8, {{"encoder", "resnet50"}, {"decoder_width", "512"}}},
    {"sup_convnextv2_224", "finetune", 224, 8, {{"encoder", "convnextv2_atto"}}},
    {"spark_convnextv2_224", "pretrain", 224, 8, {{"encoder", "convnextv2_atto"}, {"decoder_width", "256"}}},
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void set(mrp_config *options, const char *key, long value) {
    char text[32];
    snprintf(text, sizeof text, "%ld", value);
    CHECK(mrp_config_set(options, key, text));
}

int main(int argc, char **argv) {
    const workload *work = NULL;
    enum { MOST = 16 };
    char *changes[MOST];
    int threads = 1, batch = 0, inference = 0, count = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            threads = atoi(argv[++i]);
        else if (strcmp(argv[i], "--batch") == 0 && i + 1 < argc)
            batch = atoi(argv[++i]);
        else if (strcmp(argv[i], "--inference") == 0)
            inference = 1;
        else if (strcmp(argv[i], "--set") == 0 && i + 1 < argc && strchr(argv[i + 1], '=') && count < MOST)
            changes[count++] = argv[++i];
        for (size_t w = 0; w < sizeof workloads / sizeof *workloads; w++)
            if (strcmp(argv[i], workloads[w].name) == 0) work = &workloads[w];
    }
    if (work == NULL) {
        fprintf(stderr, "usage: step WORKLOAD [--threads N] [--batch N] [--inference] [--set KEY=VALUE]...\n");
        return 2;
    }
    if (batch == 0) batch = work->batch;

    mrp_config *options = NULL;
    CHECK(mrp_config_create(NULL, &options));
    set(options, "image_size", work->size);
    for (int i = 0; i < 10 && work->options[i][0] != NULL; i++) CHECK(mrp_config_set(options, work->options[i][0], work->options[i][1]));
    for (int i = 0; i < count; i++) {
        char *value = strchr(changes[i], '=');
        *value = 0;
        CHECK(mrp_config_set(options, changes[i], value + 1));
    }
    set(options, "batch_size", batch);
    set(options, "threads", threads);
    CHECK(mrp_config_set(options, "epochs", "1000000"));
    CHECK(mrp_config_set(options, "warmup_epochs", "0"));
    CHECK(mrp_config_set(options, "learning_rate", "1e-4"));
    CHECK(mrp_config_set(options, "augmentation", "none"));
    CHECK(mrp_config_set(options, "loader_threads", "0"));

    /* Fixed images, one batch of them, as the peer has; values do not matter for the time. */
    const int64_t values = (int64_t)batch * 3 * work->size * work->size;
    uint8_t *pixels = malloc((size_t)values);
    int32_t *labels = malloc(sizeof *labels * (size_t)batch);
    if (pixels == NULL || labels == NULL) return 1;
    uint32_t state = 1;
    for (int64_t i = 0; i < values; i++) pixels[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
    for (int i = 0; i < batch; i++) labels[i] = i % 10;
    mrp_dataset *images = NULL;
    CHECK(mrp_dataset_from_array(pixels, MRP_UINT8, batch, 3, work->size, work->size, MRP_NCHW, labels, &images));
    const int dense = strncmp(work->name, "segment_", 8) == 0;
    if (dense) {
        const int64_t area = (int64_t)work->size * work->size;
        for (int64_t i = 0; i < batch * area; i++) pixels[i] %= 7;
        mrp_dataset *masked = NULL;
        CHECK(mrp_dataset_with_masks(images, pixels, MRP_UINT8, batch, work->size, work->size, NULL, &masked));
        mrp_dataset_destroy(images);
        images = masked;
    }
    free(pixels);
    free(labels);

    mrp_model *model = NULL;
    CHECK(mrp_model_create(options, &model));
    mrp_trainer *trainer = NULL;
    float *scores = NULL;
    if (inference) {
        CHECK(mrp_config_set(options, "epochs", "0"));
        CHECK(mrp_finetune(model, images, options, NULL, NULL)); /* makes the head */
        scores = malloc(sizeof *scores * 10 * (size_t)batch);
    } else {
        CHECK(mrp_trainer_create(model, images, options, work->phase, &trainer));
    }
    printf("{\"name\": \"libmrp %s\", \"batch\": %d}\n", mrp_version(), batch);
    fflush(stdout);

    long steps;
    while (scanf("%ld", &steps) == 1) {
        const double start = now();
        for (long i = 0; i < steps; i++)
            CHECK(inference ? mrp_predict(model, images, options, scores, 10 * (int64_t)batch) : mrp_trainer_step(trainer));
        const double seconds = now() - start;
        const double loss = inference ? 0.0 : mrp_progress_value(mrp_trainer_progress(trainer), "loss");
        printf("{\"steps\": %ld, \"seconds\": %.6f, \"loss\": %.6f}\n", steps, seconds, loss);
        fflush(stdout);
    }
    free(scores);
    mrp_trainer_destroy(trainer);
    mrp_model_destroy(model);
    mrp_dataset_destroy(images);
    mrp_config_destroy(options);
    return 0;
}
