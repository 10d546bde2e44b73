/* Learns a class for each pixel, from generated scenes or a folder with masks, measures it on others, and prints one map.
 *
 *     segment [FOLDER]      FOLDER/train and FOLDER/test in the layout of VOC (docs/dense.md); without it: generated scenes
 *
 *     cc segment.c -lmrp */
#include <mrp.h>
#include <stdio.h>
#include <stdlib.h>

static const char *setting(const char *variable, const char *usual) {
    const char *given = getenv(variable);
    return given ? given : usual;
}

#define CHECK(call)                                    \
    do {                                               \
        if ((call) != MRP_OK) {                        \
            fprintf(stderr, "%s\n", mrp_last_error()); \
            return 0;                                  \
        }                                              \
    } while (0)

static int open_images(const char *folder, mrp_config *options, mrp_dataset **train, mrp_dataset **test) {
    char path[4096];
    if (folder) {
        snprintf(path, sizeof path, "%s/train", folder);
        CHECK(mrp_dataset_open_masks(path, options, train));
        snprintf(path, sizeof path, "%s/test", folder);
        CHECK(mrp_dataset_open_masks(path, options, test));
        return 1;
    }
    CHECK(mrp_dataset_generate_scenes(options, atoi(setting("MRP_IMAGES", "600")), 1, train));
    CHECK(mrp_config_set(options, "synthetic_first_image", setting("MRP_IMAGES", "600"))); /* other scenes than those of the training */
    CHECK(mrp_dataset_generate_scenes(options, atoi(setting("MRP_TEST", "100")), 1, test));
    return 1;
}

/* The classes of the first image's pixels, a sign each, for as many columns as a terminal has. */
static int print_map(mrp_model *model, const mrp_dataset *images, const mrp_config *options) {
    int64_t count, height, width, total = 0;
    CHECK(mrp_dataset_shape(images, &count, NULL, NULL, NULL, NULL));
    for (int64_t i = 0; i < count; i++) {
        CHECK(mrp_dataset_image_size(images, i, &height, &width));
        total += height * width;
    }
    uint16_t *classes = malloc((size_t)total * sizeof *classes);
    if (!classes || mrp_segment(model, images, options, classes, total) != MRP_OK ||
        mrp_dataset_image_size(images, 0, &height, &width) != MRP_OK) {
        fprintf(stderr, "%s\n", mrp_last_error());
        free(classes);
        return 0;
    }
    const int64_t step = width / 64 + 1;
    for (int64_t y = 0; y < height; y += 2 * step) { /* a sign is about twice as high as wide */
        for (int64_t x = 0; x < width; x += step) putchar(".oxVI+0#%@&*"[classes[y * width + x] % 12]);
        putchar('\n');
    }
    free(classes);
    return 1;
}

static int learn(const mrp_dataset *train, const mrp_dataset *test, mrp_config *options, mrp_model *model) {
    double miou, accuracy;
    CHECK(mrp_finetune(model, train, options, NULL, NULL));
    CHECK(mrp_evaluate(model, test, options, "miou", &miou));
    CHECK(mrp_evaluate(model, test, options, "pixel_accuracy", &accuracy));
    printf("mean intersection over union %.3f, %.1f %% of the pixels correct\n", miou, 100 * accuracy);
    CHECK(mrp_model_save(model, "segmenter.safetensors", NULL));
    return print_map(model, test, options);
}

int main(int argc, char **argv) {
    mrp_config *options = NULL;
    mrp_dataset *train = NULL, *test = NULL;
    mrp_model *model = NULL;
    const char *const values[][2] = {{"task", "segment"},
                                     {"encoder", setting("MRP_ENCODER", "resnet18")},
                                     {"width", setting("MRP_WIDTH", "16")},
                                     {"epochs", setting("MRP_EPOCHS", "8")},
                                     {"dice_weight", "0.5"}};
    int works = mrp_config_create(NULL, &options) == MRP_OK;
    for (size_t i = 0; works && i < sizeof values / sizeof values[0]; i++)
        works = mrp_config_set(options, values[i][0], values[i][1]) == MRP_OK;
    works = works && open_images(argc > 1 ? argv[1] : NULL, options, &train, &test) && mrp_model_create(options, &model) == MRP_OK &&
            learn(train, test, options, model);
    mrp_model_destroy(model);
    mrp_dataset_destroy(train);
    mrp_dataset_destroy(test);
    mrp_config_destroy(options);
    return works ? EXIT_SUCCESS : EXIT_FAILURE;
}
