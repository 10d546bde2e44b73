/* Label trees: nested folders, levels of the class names, coarse answers of a fine classifier, fine labels by clusters. Runs in the repository's
 * root. */
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "small.h"

enum { COARSE = 2, FINE = 4 };

static char said[4096];
static int lines;
static mrp_config *options;
static mrp_dataset *tree, *coarse;

static void hear(int32_t level, const char *text, void *user) {
    (void)user;
    if (level != MRP_LOG_WARNING) return;
    lines++;
    snprintf(said, sizeof said, "%s", text);
}

/* A copy of the options with one more. */
static mrp_config *with(const char *key, const char *value) {
    mrp_config *other = small_options();
    WORKS(mrp_config_set(other, "augmentation", "none"));
    WORKS(mrp_config_set(other, "knn_k", "1"));
    WORKS(mrp_config_set(other, key, value));
    return other;
}

static double measured(mrp_model *model, const mrp_dataset *data, const mrp_config *settings, const char *metric) {
    double value = -1;
    WORKS(mrp_evaluate(model, data, settings, metric, &value));
    return value;
}

static mrp_model *trained(const mrp_dataset *data, const mrp_config *settings) {
    mrp_model *model = NULL;
    WORKS(mrp_model_create(settings, &model));
    WORKS(mrp_finetune(model, data, settings, NULL, NULL));
    return model;
}

static int describes(mrp_model *model, const char *names) {
    static char text[65536];
    WORKS(mrp_model_describe(model, text, sizeof text, NULL));
    return strstr(text, names) != NULL;
}

/* A model of four classes answers for two: the sum of probabilities or the largest, as scores are logarithms of these but for a constant. */
static void answers(mrp_model *model) {
    static float fine[COUNT * FINE], sum[COUNT * COARSE], most[COUNT * COARSE], named[COUNT * FINE];
    mrp_config *one = with("label_level", "1"), *two = with("label_level", "2"), *three = with("label_level", "3");
    mrp_config *largest = with("label_level", "1");
    WORKS(mrp_config_set(largest, "level_readout", "max"));
    WORKS(mrp_predict(model, tree, options, fine, COUNT * FINE));
    WORKS(mrp_predict(model, tree, one, sum, COUNT * COARSE));
    WORKS(mrp_predict(model, tree, largest, most, COUNT * COARSE));
    WORKS(mrp_predict(model, tree, two, named, COUNT * FINE));
    EXPECT(memcmp(fine, named, sizeof fine) == 0);
    REFUSES(mrp_predict(model, tree, one, sum, COUNT * COARSE - 1), "32");
    REFUSES(mrp_predict(model, tree, three, fine, COUNT * FINE), "label_level 3 is deeper than the model's class 'animal/cat'");
    double loss = 0;
    int right[2] = {0, 0}, counted[COARSE][COARSE] = {{0}};
    for (int i = 0; i < COUNT; i++) {
        const float *p = fine + i * FINE, *s = sum + i * COARSE, *m = most + i * COARSE;
        const double a = fmax(p[0], p[1]), b = fmax(p[2], p[3]);
        CHECK(fabs(s[0] - (double)p[0] - p[1]) < 1e-6 && fabs(s[1] - (double)p[2] - p[3]) < 1e-6, "%d", i);
        CHECK(fabs(m[0] - a / (a + b)) < 1e-6 && fabs(m[1] - b / (a + b)) < 1e-6, "%d", i);
        const int label = labels[i] / 2;
        loss -= log(s[label]) / COUNT;
        right[0] += (s[1] > s[0]) == label;
        right[1] += (m[1] > m[0]) == label;
        counted[label][s[1] > s[0]]++;
    }
    EXPECT(measured(model, tree, one, "top1") == (double)right[0] / COUNT);
    EXPECT(measured(model, tree, largest, "top1") == (double)right[1] / COUNT);
    EXPECT(fabs(measured(model, tree, one, "loss") - loss) < 1e-5);
    EXPECT(measured(model, tree, one, "top5") == 1);
    EXPECT(measured(model, coarse, one, "top1") == (double)right[0] / COUNT);
    const double balanced = (counted[0][0] + counted[1][1]) / 8.0 / 2; /* eight images of each class */
    EXPECT(fabs(measured(model, tree, one, "balanced_top1") - balanced) < 1e-12);
    int64_t counts[COARSE * COARSE];
    WORKS(mrp_confusion(model, coarse, one, counts, COARSE * COARSE));
    for (int i = 0; i < COARSE * COARSE; i++) EXPECT(counts[i] == counted[i / COARSE][i % COARSE]);
    REFUSES(mrp_confusion(model, tree, three, counts, 4), "label_level 3");
    double value;
    REFUSES(mrp_evaluate(model, tree, three, "top1", &value), "label_level 3 is deeper");
    REFUSES(mrp_evaluate(model, coarse, options, "top1", &value), "set label_level to 1");
    REFUSES(mrp_evaluate(model, coarse, two, "top1", &value), "the dataset's class 'animal', which has 1 of its parts");
    mrp_config_destroy(largest);
    mrp_config_destroy(three);
    mrp_config_destroy(two);
    mrp_config_destroy(one);
}

/* Training at level 1, and a model of coarse classes that meets finer ones. */
static void levels(void) {
    mrp_config *one = with("label_level", "1"), *two = with("label_level", "2"), *deep = with("label_level", "3");
    mrp_model *fine = trained(tree, options), *above = trained(tree, one), *same = trained(coarse, options);
    EXPECT(describes(fine, "animal/cat") && !describes(above, "animal/cat") && describes(above, "vehicle"));
    answers(fine);
    lines = 0;
    const double top1 = measured(above, tree, one, "top1");
    EXPECT(measured(above, tree, options, "top1") == top1 && measured(above, coarse, options, "top1") == top1);
    EXPECT(measured(same, coarse, options, "loss") == measured(above, tree, one, "loss"));
    EXPECT(lines == 0);
    double value;
    REFUSES(mrp_evaluate(above, tree, two, "top1", &value), "the model's class 'animal'");
    WORKS(mrp_probe(fine, tree, coarse, one, "knn", &value));
    EXPECT(value == 1);
    WORKS(mrp_probe(fine, tree, coarse, one, "linear", &value));
    REFUSES(mrp_probe(fine, tree, coarse, options, "knn", &value), "set label_level to 1");
    REFUSES(mrp_probe(fine, tree, tree, deep, "knn", &value), "label_level 3");
    REFUSES(mrp_finetune(fine, tree, deep, NULL, NULL),
            "label_level 3 is deeper than the dataset's class 'animal/cat', which has 2 of its parts");
    mrp_dataset *gap = NULL;
    WORKS(mrp_dataset_name_classes(tree, "a//b\na/c\nb/a\nb/b", &gap));
    WORKS(mrp_finetune(same, gap, options, NULL, NULL));
    REFUSES(mrp_finetune(same, gap, one, NULL, NULL), "class 'a//b' has an empty part");
    /* Measured while it trains: images of both kinds. */
    WORKS(mrp_model_set_validation(above, coarse, NULL));
    WORKS(mrp_finetune(above, tree, one, NULL, NULL));
    WORKS(mrp_model_set_validation(above, tree, NULL));
    WORKS(mrp_finetune(above, tree, one, NULL, NULL));
    mrp_dataset_destroy(gap);
    mrp_model_destroy(same);
    mrp_model_destroy(above);
    mrp_model_destroy(fine);
    mrp_config_destroy(deep);
    mrp_config_destroy(two);
    mrp_config_destroy(one);
}

static void clusters(void) {
    mrp_dataset *found = NULL, *again = NULL, *plain = NULL, *none = NULL;
    mrp_config *three = with("threads", "3"), *deep = with("layer", "9");
    mrp_model *model = NULL;
    WORKS(mrp_model_create(options, &model));
    WORKS(mrp_dataset_cluster(tree, model, 2, options, &found));
    WORKS(mrp_dataset_cluster(tree, model, 2, three, &again));
    int32_t own[COUNT], other[COUNT], sizes[2 * FINE] = {0};
    int64_t classes = 0;
    char name[64];
    WORKS(mrp_dataset_shape(found, NULL, NULL, NULL, NULL, &classes));
    EXPECT(classes == 2 * FINE);
    WORKS(mrp_dataset_labels(found, own, COUNT));
    WORKS(mrp_dataset_labels(again, other, COUNT));
    EXPECT(memcmp(own, other, sizeof own) == 0);
    for (int i = 0; i < COUNT; i++) {
        CHECK(own[i] / 2 == labels[i], "%d: %d", i, own[i]);
        sizes[own[i]]++;
    }
    for (int i = 0; i < 2 * FINE; i++) CHECK(sizes[i] >= 1, "%d", i);
    WORKS(mrp_dataset_class_name(found, 3, name, sizeof name, NULL));
    CHECK(strcmp(name, "animal/dog/1") == 0, "%s", name);
    mrp_model *fine = trained(found, options);
    mrp_config *two = with("label_level", "2");
    EXPECT(measured(fine, tree, two, "top1") >= 0 && measured(fine, found, options, "top1") >= 0);

    WORKS(mrp_dataset_wrap_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &plain));
    mrp_dataset_destroy(again);
    WORKS(mrp_dataset_cluster(plain, model, 3, NULL, &again));
    WORKS(mrp_dataset_class_name(again, 2, name, sizeof name, NULL));
    CHECK(strcmp(name, "2") == 0, "%s", name);
    REFUSES(mrp_dataset_cluster(tree, model, 1, options, &none), "per_class 1 is outside 2 ... 16");
    REFUSES(mrp_dataset_cluster(tree, model, 17, options, &none), "per_class 17 is outside");
    REFUSES(mrp_dataset_cluster(tree, model, -1, options, &none), "per_class");
    REFUSES(mrp_dataset_cluster(tree, model, 5, options, &none), "per_class 5 is above the 4 images of class 'animal/cat'");
    REFUSES(mrp_dataset_cluster(tree, model, 2, deep, &none), "layer 9");
    REFUSES(mrp_dataset_cluster(NULL, model, 2, options, &none), "NULL");
    REFUSES(mrp_dataset_cluster(tree, NULL, 2, options, &none), "NULL");
    REFUSES(mrp_dataset_cluster(tree, model, 2, options, NULL), "out");
    FAILS(mrp_dataset_cluster((mrp_dataset *)&lines, model, 2, options, &none), MRP_ERR_HANDLE, "dataset");
    static uint8_t black[VALUES];
    mrp_dataset *equal = NULL, *huge = NULL;
    WORKS(mrp_dataset_wrap_array(black, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, labels, &equal));
    REFUSES(mrp_dataset_cluster(equal, model, 2, options, &none), "all 4 images of class '0' have the same features");
    static float large[VALUES];
    for (int i = 0; i < VALUES; i++) large[i] = 3e38f;
    WORKS(mrp_dataset_wrap_array(large, MRP_FLOAT32, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, labels, &huge));
    mrp_config *careless = with("pixel_check", "ignore");
    FAILS(mrp_dataset_cluster(huge, model, 2, careless, &none), MRP_ERR_NUMERIC, "not finite");
    EXPECT(none == NULL);
    mrp_config_destroy(careless);
    mrp_dataset_destroy(huge);
    mrp_dataset_destroy(equal);
    mrp_config_destroy(two);
    mrp_model_destroy(fine);
    mrp_dataset_destroy(plain);
    mrp_dataset_destroy(again);
    mrp_dataset_destroy(found);
    mrp_model_destroy(model);
    mrp_config_destroy(deep);
    mrp_config_destroy(three);
}

static void put(const char *root, const char *path) {
    char place[512];
    snprintf(place, sizeof place, "%s/%s", root, path);
    for (char *end = place + strlen(root) + 1; (end = strchr(end, '/')); end++) {
        *end = 0;
        mkdir(place, 0700);
        *end = '/';
    }
    FILE *in = fopen("Tests/fixtures/images/rgb.png", "rb"), *out = fopen(place, "wb");
    CHECK(in && out, "%s", place);
    char bytes[4096];
    for (size_t count; in && out && (count = fread(bytes, 1, sizeof bytes, in)) > 0;) fwrite(bytes, 1, count, out);
    if (in) fclose(in);
    if (out) fclose(out);
}

static void folders(const char *root) {
    static const char *const images[] = {"a/animal/cat/0.png", "a/animal/dog/0.png", "a/vehicle/car/0.png",
                                         "b/cat/0.png",        "b/dog/poodle/0.png", "c/train/cat/0.png",
                                         "c/test/cat/0.png",   "d/dog/poodle/0.png", "d/dog/poodle/x/0.png"};
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++) put(root, images[i]);
    mrp_dataset *data = NULL, *none = NULL;
    char name[64];
    int64_t classes = 0;
    mrp_config *as_tree = with("folder_layout", "tree"), *as_classes = with("folder_layout", "classes");
    lines = 0;
    WORKS(mrp_dataset_open_folder(path_in(root, "a"), NULL, &data));
    WORKS(mrp_dataset_shape(data, NULL, NULL, NULL, NULL, &classes));
    WORKS(mrp_dataset_class_name(data, 2, name, sizeof name, NULL));
    EXPECT(classes == 3 && lines == 0 && strcmp(name, "vehicle/car") == 0);
    mrp_dataset_destroy(data);
    FAILS(mrp_dataset_open_folder(path_in(root, "a"), as_classes, &none), MRP_ERR_FORMAT, "a/animal: no .jpg");
    REFUSES(mrp_dataset_open_folder(path_in(root, "b"), NULL, &none),
            "'cat' holds images and 'dog/poodle' lies deeper: set folder_layout to tree");
    WORKS(mrp_dataset_open_folder(path_in(root, "b"), as_tree, &data));
    mrp_dataset_destroy(data);
    WORKS(mrp_dataset_open_folder(path_in(root, "c"), NULL, &data));
    CHECK(lines == 1 && strstr(said, "'test', 'train' are taken for classes"), "%s", said);
    mrp_dataset_destroy(data);
    REFUSES(mrp_dataset_open_folder(path_in(root, "d"), as_tree, &none), "d/dog/poodle: has 1 images beside folders");
    put(root, "a/stray.png");
    REFUSES(mrp_dataset_open_folder(path_in(root, "a"), as_tree, &none), "has 1 images beside 2 folders");
    EXPECT(none == NULL);
    mrp_config_destroy(as_classes);
    mrp_config_destroy(as_tree);
}

int main(void) {
    char root[] = "/tmp/mrp-trees-XXXXXX";
    if (!mkdtemp(root)) return 1;
    fill_images();
    int32_t halves[COUNT];
    for (int i = 0; i < COUNT; i++) halves[i] = labels[i] / 2;
    WORKS(mrp_set_log(MRP_LOG_WARNING, hear, NULL));
    options = with("epochs", "1");
    mrp_dataset *four = NULL, *two = NULL;
    WORKS(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, labels, &four));
    WORKS(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, halves, &two));
    WORKS(mrp_dataset_name_classes(four, "animal/cat\nanimal/dog\nvehicle/car\nvehicle/ship", &tree));
    WORKS(mrp_dataset_name_classes(two, "animal\nvehicle", &coarse));
    levels();
    clusters();
    folders(root);
    mrp_dataset_destroy(coarse);
    mrp_dataset_destroy(tree);
    mrp_dataset_destroy(two);
    mrp_dataset_destroy(four);
    mrp_config_destroy(options);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", root);
    EXPECT(system(command) == 0);
    EXPECT(mrp_memory_in_use() == 0);
    return check_result("trees");
}
