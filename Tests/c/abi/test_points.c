/* Point clouds: each status that the header documents for them, and a point transformer from pretraining to predictions. Run from the root of
 * the repository. */
#include <math.h>
#include <unistd.h>

#include "small.h"
#include "failing.h"

enum { CLOUDS = 12, POINTS = 40 };

static int32_t say_stop(void *user) {
    (void)user;
    return 1;
}

static float points[CLOUDS * POINTS * 3];
static int32_t classes_of[CLOUDS];
static mrp_config *gone;
static char folder[] = "/tmp/mrp-points-XXXXXX";

static void write_file(const char *name, const char *text) {
    char path[100];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    EXPECT(file && fputs(text, file) >= 0);
    if (file) fclose(file);
}

static void test_arrays(mrp_dataset **clouds) {
    mrp_dataset *made = NULL, *images = NULL;
    int64_t count, channels, height, width, classes;
    float copy[POINTS * 3];
    WORKS(mrp_dataset_from_points(points, CLOUDS, POINTS, 3, classes_of, clouds));
    WORKS(mrp_dataset_shape(*clouds, &count, &channels, &height, &width, &classes));
    EXPECT(count == CLOUDS && channels == 3 && height == POINTS && width == 1 && classes == 2);
    WORKS(mrp_dataset_points(*clouds, 5, copy, POINTS * 3));
    EXPECT(memcmp(copy, points + 5 * POINTS * 3, sizeof copy) == 0);
    REFUSES(mrp_dataset_from_points(NULL, CLOUDS, POINTS, 3, NULL, &made), "points is NULL");
    REFUSES(mrp_dataset_from_points(points, CLOUDS, POINTS, 3, NULL, NULL), "out");
    REFUSES(mrp_dataset_from_points(points, 0, POINTS, 3, NULL, &made), "count 0");
    REFUSES(mrp_dataset_from_points(points, INT64_MAX, POINTS, 3, NULL, &made), "clouds of 40 points");
    REFUSES(mrp_dataset_from_points(points, CLOUDS, 0, 3, NULL, &made), "points");
    REFUSES(mrp_dataset_from_points(points, CLOUDS, POINTS, 2, NULL, &made), "points of 2 values are outside 3 ... 64");
    points[7] = NAN;
    REFUSES(mrp_dataset_from_points(points, CLOUDS, POINTS, 3, NULL, &made), "point 2 of cloud 0");
    points[7] = 0;
    classes_of[3] = -1;
    REFUSES(mrp_dataset_from_points(points, CLOUDS, POINTS, 3, classes_of, &made), "-1");
    classes_of[3] = 1;
    FAILS_WITHOUT_MEMORY(mrp_dataset_from_points(points, CLOUDS, POINTS, 3, NULL, &made));
    REFUSES(mrp_dataset_points(*clouds, CLOUDS, copy, POINTS * 3), "cloud 12");
    REFUSES(mrp_dataset_points(*clouds, 0, copy, POINTS), "120 elements");
    REFUSES(mrp_dataset_points(*clouds, 0, NULL, POINTS * 3), "points is NULL");
    FAILS(mrp_dataset_points((mrp_dataset *)gone, 0, copy, POINTS * 3), MRP_ERR_HANDLE, "dataset");
    WORKS(mrp_dataset_wrap_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &images));
    FAILS(mrp_dataset_points(images, 0, copy, POINTS * 3), MRP_ERR_STATE, "images, not point clouds");
    mrp_dataset_destroy(images);
    EXPECT(made == NULL);
}

static void test_folders(void) {
    mrp_dataset *made = NULL;
    int64_t height, width;
    float two[6];
    char command[100];
    EXPECT(mkdtemp(folder) != NULL);
    write_file("a.xyz", "0 1 2\n3 4 5\n");
    write_file("b.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 9\n");
    WORKS(mrp_dataset_open_points(folder, NULL, &made));
    WORKS(mrp_dataset_image_size(made, 0, &height, &width));
    EXPECT(height == 2 && width == 1);
    WORKS(mrp_dataset_points(made, 0, two, 6));
    EXPECT(two[0] == 0 && two[5] == 5);
    FAILS(mrp_dataset_points(made, 1, two, 6), MRP_ERR_FORMAT, "b.off");
    snprintf(command, sizeof command, "%s/a.xyz", folder);
    EXPECT(remove(command) == 0);
    FAILS(mrp_dataset_points(made, 0, two, 6), MRP_ERR_IO, "a.xyz");
    mrp_dataset_destroy(made);
    made = NULL;
    FAILS(mrp_dataset_open_points("Tests/nowhere", NULL, &made), MRP_ERR_IO, "nowhere");
    FAILS(mrp_dataset_open_points("Tests/c", NULL, &made), MRP_ERR_FORMAT, "no .npy");
    REFUSES(mrp_dataset_open_points(NULL, NULL, &made), "path is NULL");
    FAILS(mrp_dataset_open_points(folder, gone, &made), MRP_ERR_HANDLE, "config");
    FAILS_WITHOUT_MEMORY(mrp_dataset_open_points(folder, NULL, &made));
    snprintf(command, sizeof command, "mkdir %s/inner", folder);
    EXPECT(system(command) == 0);
    REFUSES(mrp_dataset_open_points(folder, NULL, &made), "a folder holds either");
    EXPECT(made == NULL);
    snprintf(command, sizeof command, "rm -r %s", folder);
    EXPECT(system(command) == 0);
}

static void test_shapes(void) {
    mrp_dataset *first = NULL, *rest = NULL, *made = NULL;
    mrp_config *later = NULL;
    float a[64 * 3], b[64 * 3];
    char text[16];
    WORKS(mrp_config_create(NULL, &later));
    WORKS(mrp_config_set(later, "points", "64"));
    WORKS(mrp_dataset_generate_points(later, 20, 1, &first));
    WORKS(mrp_config_set(later, "synthetic_first_image", "15"));
    WORKS(mrp_dataset_generate_points(later, 5, 1, &rest));
    WORKS(mrp_dataset_points(first, 16, a, 64 * 3));
    WORKS(mrp_dataset_points(rest, 1, b, 64 * 3));
    EXPECT(memcmp(a, b, sizeof a) == 0);
    WORKS(mrp_dataset_class_name(first, 4, text, sizeof text, NULL));
    EXPECT(strcmp(text, "torus") == 0);
    REFUSES(mrp_dataset_generate_points(NULL, 0, 1, &made), "count 0");
    REFUSES(mrp_dataset_generate_points(NULL, 3, 1, NULL), "out");
    FAILS(mrp_dataset_generate_points(gone, 3, 1, &made), MRP_ERR_HANDLE, "config");
    FAILS_WITHOUT_MEMORY(mrp_dataset_generate_points(NULL, 3, 1, &made));
    mrp_set_interrupt(say_stop, NULL);
    STOPS(mrp_dataset_generate_points(NULL, 3, 1, &made));
    STOPS(mrp_dataset_from_points(points, CLOUDS, POINTS, 3, NULL, &made));
    STOPS(mrp_dataset_open_points("Tests/fixtures", NULL, &made));
    mrp_set_interrupt(NULL, NULL);
    EXPECT(made == NULL);
    mrp_dataset_destroy(first);
    mrp_dataset_destroy(rest);
    mrp_config_destroy(later);
}

static void test_training(mrp_dataset *clouds) {
    static const char *const values[][2] = {
        {"encoder", "point_micro"}, {"groups", "6"}, {"group_size", "8"}, {"points", "32"}, {"width", "16"}, {"depth", "1"}, {"heads", "2"},
        {"decoder_depth", "1"},     {"epochs", "2"}, {"batch_size", "4"}, {"threads", "1"}};
    mrp_config *options = NULL;
    mrp_model *model = NULL, *image_model = NULL;
    mrp_dataset *images = NULL;
    float probabilities[COUNT * 2];
    double top1;
    WORKS(mrp_config_create(NULL, &options));
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) WORKS(mrp_config_set(options, values[i][0], values[i][1]));
    WORKS(mrp_model_create(options, &model));
    WORKS(mrp_pretrain(model, clouds, options, NULL, NULL));
    WORKS(mrp_finetune(model, clouds, options, NULL, NULL));
    WORKS(mrp_predict(model, clouds, options, probabilities, CLOUDS * 2));
    EXPECT(fabsf(probabilities[0] + probabilities[1] - 1) < 1e-5f);
    WORKS(mrp_evaluate(model, clouds, options, "top1", &top1));
    EXPECT(top1 >= 0 && top1 <= 1);
    WORKS(mrp_dataset_wrap_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &images));
    REFUSES(mrp_predict(model, images, options, probabilities, COUNT * 2), "point clouds");
    mrp_config *small = small_options();
    WORKS(mrp_model_create(small, &image_model));
    REFUSES(mrp_pretrain(image_model, clouds, small, NULL, NULL), "point clouds");
    mrp_config_destroy(small);
    mrp_config_destroy(options);
    mrp_model_destroy(model);
    mrp_model_destroy(image_model);
    mrp_dataset_destroy(images);
}

int main(void) {
    mrp_dataset *clouds = NULL;
    fill_images();
    for (int i = 0; i < CLOUDS * POINTS * 3; i++) points[i] = (float)((i * 7919 + i / 40 * 31) % 1000) / 500 - 1;
    for (int i = 0; i < CLOUDS; i++) classes_of[i] = i & 1;
    WORKS(mrp_set_allocator(allocate, release, NULL));
    gone = small_options();
    mrp_config_destroy(gone);
    test_arrays(&clouds);
    test_folders();
    test_shapes();
    test_training(clouds);
    mrp_dataset_destroy(clouds);
    return check_result("test_points");
}
