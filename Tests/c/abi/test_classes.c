/* Classes by name, units of pixels and files that are left out, as users of C meet them. Runs in the repository's root. */
#include <sys/stat.h>
#include <unistd.h>

#include "small.h"

static char said[4096];
static int lines;

static void hear(int32_t level, const char *text, void *user) {
    (void)user;
    if (level != MRP_LOG_WARNING) return;
    lines++;
    snprintf(said, sizeof said, "%s", text);
}

static void copy(const char *from, const char *root, const char *folder, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, folder);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s/%s", root, folder, name);
    FILE *in = fopen(from, "rb"), *out = fopen(path, "wb");
    CHECK(in && out, "%s", path);
    char bytes[4096];
    for (size_t count; in && out && (count = fread(bytes, 1, sizeof bytes, in)) > 0;) fwrite(bytes, 1, count, out);
    if (in) fclose(in);
    if (out) fclose(out);
}

static double measured(mrp_model *model, mrp_dataset *data, const mrp_config *options, const char *metric) {
    double value = -1;
    WORKS(mrp_evaluate(model, data, options, metric, &value));
    return value;
}

static mrp_dataset *opened(const char *root, const char *folder, const mrp_config *options) {
    mrp_dataset *data = NULL;
    WORKS(mrp_dataset_open_folder(path_in(root, folder), options, &data));
    return data;
}

/* A folder that lacks a class, and one with a class that was never learned. */
static void folders(const char *root, mrp_config *options) {
    static const char *const pictures[] = {"Tests/fixtures/images/rgb.png", "Tests/fixtures/images/palette.png",
                                           "Tests/fixtures/images/colour.jpg"};
    static const char *const names[] = {"cat", "dog", "fox"};
    for (int i = 0; i < 3; i++) {
        char folder[64];
        for (int whole = 0; whole < 3; whole++) {
            mkdir(path_in(root, whole == 0 ? "train" : whole == 1 ? "less" : "more"), 0700);
            if (whole == 1 && i == 0) continue;
            snprintf(folder, sizeof folder, "%s/%s",
                     whole == 0   ? "train"
                     : whole == 1 ? "less"
                                  : "more",
                     whole == 2 && i == 0 ? "apple" : names[i]);
            copy(pictures[i], root, folder, i == 2 ? "0.jpg" : "0.png");
        }
    }
    mrp_dataset *train = opened(root, "train", options), *less = opened(root, "less", options), *more = opened(root, "more", options);
    mrp_model *model = NULL;
    WORKS(mrp_model_create(options, &model));
    WORKS(mrp_finetune(model, train, options, NULL, NULL));
    EXPECT(measured(model, train, options, "top1") == 1);
    lines = 0;
    EXPECT(measured(model, less, options, "top1") == 1);
    EXPECT(lines == 0);
    int64_t counts[9] = {0};
    WORKS(mrp_confusion(model, less, options, counts, 9));
    for (int i = 0; i < 9; i++) CHECK(counts[i] == (i == 4 || i == 8), "%d: %lld", i, (long long)counts[i]);
    const double share = measured(model, more, options, "top1");
    CHECK(share > 0.66 && share < 0.67, "%f", share);
    CHECK(lines == 1 && strstr(said, "1 of 3 images have classes (apple)"), "%s", said);
    double near = 0;
    mrp_config_set(options, "knn_k", "1");
    WORKS(mrp_probe(model, train, less, options, "knn", &near));
    EXPECT(near == 1);
    mrp_dataset *numbers = NULL, *others = NULL;
    WORKS(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, labels, &numbers));
    WORKS(mrp_dataset_name_classes(numbers, "ant\nbee\nemu\ngnu", &others));
    double value = 0;
    REFUSES(mrp_evaluate(model, others, options, "top1", &value), "none of the images' classes (ant, bee, emu, gnu)");
    REFUSES(mrp_probe(model, train, others, options, "knn", &value), "none of the images' classes");
    mrp_dataset_destroy(others);
    mrp_dataset_destroy(numbers);
    mrp_model_destroy(model);
    mrp_dataset_destroy(more);
    mrp_dataset_destroy(less);
    mrp_dataset_destroy(train);
}

static void types(mrp_config *options) {
    mrp_dataset *numbers = NULL, *typed = NULL, *wrong = NULL, *unlabelled = NULL, *few = NULL;
    mrp_model *model = NULL;
    WORKS(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, labels, &numbers));
    WORKS(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &unlabelled));
    WORKS(mrp_dataset_name_typed_classes(numbers, "1.5\n2.5\n3.5\n4.5", "float64", &typed));
    REFUSES(mrp_dataset_name_typed_classes(numbers, "a\nb\nc\na", "str", &wrong), "same name");
    REFUSES(mrp_dataset_name_typed_classes(numbers, "a\nb\nc\nd", "", &wrong), "type");
    REFUSES(mrp_dataset_name_typed_classes(numbers, "a\nb\nc\nd", "two words", &wrong), "two words");
    REFUSES(mrp_dataset_name_typed_classes(numbers, "a\nb\nc\nd", NULL, &wrong), "NULL");
    FAILS(mrp_dataset_name_typed_classes(unlabelled, "a", "str", &wrong), MRP_ERR_STATE, "labels");
    FAILS(mrp_dataset_name_typed_classes((mrp_dataset *)&lines, "a", "str", &wrong), MRP_ERR_HANDLE, "dataset");
    WORKS(mrp_model_create(options, &model));
    WORKS(mrp_finetune(model, typed, options, NULL, NULL));
    char text[65536];
    WORKS(mrp_model_describe(model, text, sizeof text, NULL));
    CHECK(strstr(text, "\"label_type\":\"float64\"") || strstr(text, "\"label_type\": \"float64\""), "%s", text);
    lines = 0;
    WORKS(mrp_dataset_subset(typed, 2, 1, &few));
    CHECK(lines == 1 && strstr(said, "has none of 2 classes"), "%s", said);
    /* Floats 0 ... 255, where the model knows bytes. */
    static float floats[VALUES];
    for (int i = 0; i < VALUES; i++) floats[i] = pixels[i];
    mrp_dataset *scaled = NULL;
    WORKS(mrp_dataset_wrap_array(floats, MRP_FLOAT32, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, labels, &scaled));
    double value = 0;
    REFUSES(mrp_evaluate(model, scaled, options, "top1", &value), "the model was trained on uint8 0 ... 255");
    lines = 0;
    WORKS(mrp_config_set(options, "pixel_check", "warn"));
    WORKS(mrp_evaluate(model, scaled, options, "loss", &value));
    CHECK(strstr(said, "trained on uint8"), "%s", said);
    WORKS(mrp_config_set(options, "pixel_check", "refuse"));
    mrp_dataset_destroy(scaled);
    mrp_dataset_destroy(few);
    mrp_model_destroy(model);
    mrp_dataset_destroy(typed);
    mrp_dataset_destroy(unlabelled);
    mrp_dataset_destroy(numbers);
}

/* Names are bytes; what is not used is counted. */
static void names(const char *root, const mrp_config *options) {
    mkdir(path_in(root, "names"), 0700);
    copy("Tests/fixtures/images/rgb.png", root, "names/caf\xe9", "\xe4.png");
    copy("Tests/fixtures/images/rgb.png", root, "names/b", "0.png");
    copy("Tests/fixtures/images/rgb.png", root, "names/b/deep", "1.png");
    copy("Tests/fixtures/images/rgb.png", root, "names/b", "2.webp");
    lines = 0;
    mrp_dataset *data = opened(root, "names", options);
    CHECK(lines == 1 && strstr(said, "2 image files are not used: 1 in folders further down, 1 .webp"), "%s", said);
    char text[512];
    WORKS(mrp_dataset_class_name(data, 1, text, sizeof text, NULL));
    CHECK(strcmp(text, "caf\\xe9") == 0, "%s", text);
    WORKS(mrp_dataset_image_name(data, 1, text, sizeof text, NULL));
    EXPECT(strstr(text, "/names/caf\xe9/\xe4.png") && access(text, R_OK) == 0);
    static float image[3 * 8 * 8];
    WORKS(mrp_dataset_images(data, 1, 1, 8, 8, image, sizeof image / sizeof image[0]));
    copy("Tests/fixtures/images/rgb.png", root, "names", "stray.png");
    mrp_dataset *both = NULL;
    REFUSES(mrp_dataset_open_folder(path_in(root, "names"), options, &both), "folder_layout");
    mrp_dataset_destroy(data);
}

int main(void) {
    char root[] = "/tmp/mrp-classes-XXXXXX";
    if (!mkdtemp(root)) return 1;
    fill_images();
    WORKS(mrp_set_log(MRP_LOG_WARNING, hear, NULL));
    mrp_config *options = small_options();
    mrp_config_set(options, "augmentation", "none");
    types(options);
    mrp_config_set(options, "epochs", "300");
    mrp_config_set(options, "learning_rate", "5e-3");
    folders(root, options);
    names(root, options);
    mrp_config_destroy(options);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", root);
    EXPECT(system(command) == 0);
    EXPECT(mrp_memory_in_use() == 0);
    return check_result("classes");
}
