/* Images with masks and classes of pixels: each status that the header documents for them, and a segmenter from training to maps. The statuses of
 * mrp_segment that all functions with a model and images have are in test_pairs.c. Run from the root of the repository. */
#include <unistd.h>

#include "small.h"
#include "failing.h"

static const char *const VOC = "Tests/fixtures/dense/voc";
static int32_t say_stop(void *user) {
    (void)user;
    return 1;
}

static uint8_t ids[COUNT * SIDE * SIDE];
static mrp_config *options, *gone;
static mrp_dataset *images, *masked;

static mrp_config *with(const char *key, const char *value) {
    mrp_config *made = NULL;
    WORKS(mrp_config_create(NULL, &made));
    WORKS(mrp_config_set(made, key, value));
    return made;
}

static void test_arrays(void) {
    mrp_dataset *made = NULL, *named = NULL;
    int64_t count, classes, height, width;
    int32_t mask[SIDE * SIDE], ignored;
    char text[16];
    for (int i = 0; i < COUNT * SIDE * SIDE; i++) ids[i] = (uint8_t)(pixels[i] > 127);
    ids[5] = 255;
    WORKS(mrp_dataset_with_masks(images, ids, MRP_UINT8, COUNT, SIDE, SIDE, NULL, &masked));
    WORKS(mrp_dataset_shape(masked, &count, NULL, NULL, NULL, &classes));
    EXPECT(count == COUNT && classes == 2);
    WORKS(mrp_dataset_mask(masked, 0, mask, SIDE * SIDE, &ignored));
    EXPECT(mask[4] == ids[4] && mask[5] == 255 && ignored == 255);
    WORKS(mrp_dataset_image_size(masked, 3, &height, &width));
    EXPECT(height == SIDE && width == SIDE);
    WORKS(mrp_dataset_name_classes(masked, "ground\ncell", &named));
    WORKS(mrp_dataset_class_name(named, 1, text, sizeof text, NULL));
    EXPECT(strcmp(text, "cell") == 0);
    mrp_dataset_destroy(named);

    mrp_config *two = with("classes", "2"), *none = with("ignore_label", "-1");
    const uint8_t before = ids[6];
    ids[6] = 2;
    REFUSES(mrp_dataset_with_masks(images, ids, MRP_UINT8, COUNT, SIDE, SIDE, two, &made), "id 2, outside the classes 0 ..< 2");
    ids[6] = before;
    REFUSES(mrp_dataset_with_masks(images, ids, MRP_UINT8, COUNT, SIDE, SIDE, none, &made), "ignore_label -1");
    REFUSES(mrp_dataset_with_masks(images, ids, MRP_UINT8, COUNT - 1, SIDE, SIDE, NULL, &made), "15 pixel masks were given for 16 images");
    REFUSES(mrp_dataset_with_masks(images, ids, MRP_UINT8, COUNT, 4, SIDE, NULL, &made), "the masks are 4 x 8, the images 8 x 8");
    REFUSES(mrp_dataset_with_masks(images, ids, MRP_FLOAT32, COUNT, SIDE, SIDE, NULL, &made), "MRP_INT32");
    REFUSES(mrp_dataset_with_masks(images, NULL, MRP_UINT8, COUNT, SIDE, SIDE, NULL, &made), "masks");
    FAILS(mrp_dataset_with_masks(images, ids, MRP_UINT8, COUNT, SIDE, SIDE, gone, &made), MRP_ERR_HANDLE, "config");
    FAILS_WITHOUT_MEMORY(mrp_dataset_with_masks(images, ids, MRP_UINT8, COUNT, SIDE, SIDE, NULL, &made));
    REFUSES(mrp_dataset_mask(masked, COUNT, mask, SIDE * SIDE, NULL), "image 16");
    REFUSES(mrp_dataset_mask(masked, 0, mask, 7, NULL), "64 elements");
    FAILS(mrp_dataset_mask(images, 0, mask, SIDE * SIDE, NULL), MRP_ERR_STATE, "no masks");
    REFUSES(mrp_dataset_image_size(masked, -1, &height, &width), "image -1");
    float picture[CHANNELS * SIDE * SIDE];
    WORKS(mrp_dataset_image(images, 1, picture, CHANNELS * SIDE * SIDE));
    EXPECT(picture[0] * 255 > (float)pixels[CHANNELS * SIDE * SIDE] - 0.01f &&
           picture[0] * 255 < (float)pixels[CHANNELS * SIDE * SIDE] + 0.01f);
    REFUSES(mrp_dataset_image(images, COUNT, picture, CHANNELS * SIDE * SIDE), "image 16");
    REFUSES(mrp_dataset_image(images, 0, picture, 100), "192 elements");
    REFUSES(mrp_dataset_image(images, 0, NULL, CHANNELS * SIDE * SIDE), "image is NULL");
    FAILS(mrp_dataset_image((mrp_dataset *)gone, 0, picture, CHANNELS * SIDE * SIDE), MRP_ERR_HANDLE, "dataset");
    FAILS_WITHOUT_MEMORY(mrp_dataset_image(images, 0, picture, CHANNELS * SIDE * SIDE));
    REFUSES(mrp_dataset_image_size(masked, 0, NULL, &width), "height");
    FAILS(mrp_dataset_image_size((mrp_dataset *)gone, 0, &height, &width), MRP_ERR_HANDLE, "dataset");
    FAILS(mrp_dataset_mask((mrp_dataset *)gone, 0, mask, SIDE * SIDE, NULL), MRP_ERR_HANDLE, "dataset");
    EXPECT(made == NULL);
    mrp_config_destroy(two);
    mrp_config_destroy(none);
}

static void test_folders(void) {
    mrp_dataset *voc = NULL, *made = NULL;
    mrp_config *train = with("split", "train"), *nowhere = with("split", "nowhere"), *five = with("classes", "5");
    int64_t count, height, width, classes;
    int32_t mask[48];
    WORKS(mrp_dataset_open_masks(VOC, train, &voc));
    WORKS(mrp_dataset_shape(voc, &count, NULL, &height, &width, &classes));
    EXPECT(count == 3 && height == 6 && width == 8 && classes == 3);
    WORKS(mrp_dataset_mask(voc, 0, mask, 48, NULL));
    EXPECT(mask[0] == 255 && mask[1] == 1 && mask[9] == 0);
    mrp_dataset_destroy(voc);
    WORKS(mrp_dataset_open_masks(VOC, NULL, &voc));
    FAILS(mrp_dataset_mask(voc, 1, mask, 48, NULL), MRP_ERR_FORMAT, "gray16.png: pixel (5, 7) has the id 300");
    mrp_dataset_destroy(voc);
    FAILS(mrp_dataset_open_masks("Tests/nowhere", NULL, &made), MRP_ERR_IO, "nowhere");
    FAILS(mrp_dataset_open_masks(VOC, nowhere, &made), MRP_ERR_IO, "nowhere.txt");
    FAILS(mrp_dataset_open_masks("Tests/c", NULL, &made), MRP_ERR_FORMAT, "no folder JPEGImages or images");
    REFUSES(mrp_dataset_open_masks(VOC, five, &made), "classes is 5, labelmap.txt names 3");
    REFUSES(mrp_dataset_open_masks(NULL, NULL, &made), "path");
    FAILS(mrp_dataset_open_masks(VOC, gone, &made), MRP_ERR_HANDLE, "config");
    FAILS_WITHOUT_MEMORY(mrp_dataset_open_masks(VOC, NULL, &made));
    EXPECT(made == NULL);
    mrp_config_destroy(train);
    mrp_config_destroy(nowhere);
    mrp_config_destroy(five);
}

/* A file that is there when the folder is opened, and broken or gone later. */
static void test_files(void) {
    char folder[] = "/tmp/mrp-masks-XXXXXX", command[600], image[64];
    mrp_dataset *made = NULL;
    int64_t height, width;
    int32_t mask[48];
    float picture[144];
    EXPECT(mkdtemp(folder) != NULL);
    snprintf(command, sizeof command,
             "cp -r %s/JPEGImages %s/SegmentationClass %s/labelmap.txt %s && cp Tests/fixtures/images/rgb.png %s/JPEGImages/other.png", VOC,
             VOC, VOC, folder, folder);
    EXPECT(system(command) == 0);
    WORKS(mrp_dataset_open_masks(folder, NULL, &made));
    WORKS(mrp_dataset_image_size(made, 5, &height, &width)); /* palette8 */
    EXPECT(height == 6 && width == 8);
    WORKS(mrp_dataset_image(made, 5, picture, 144));
    snprintf(image, sizeof image, "%s/JPEGImages/palette8.png", folder);
    FILE *file = fopen(image, "wb");
    EXPECT(file && fputs("no image", file) >= 0);
    if (file) fclose(file);
    FAILS(mrp_dataset_image_size(made, 5, &height, &width), MRP_ERR_FORMAT, "palette8.png");
    FAILS(mrp_dataset_image(made, 5, picture, 144), MRP_ERR_FORMAT, "palette8.png");
    EXPECT(remove(image) == 0);
    FAILS(mrp_dataset_image_size(made, 5, &height, &width), MRP_ERR_IO, "palette8.png");
    FAILS(mrp_dataset_mask(made, 5, mask, 48, NULL), MRP_ERR_IO, "palette8.png");
    FAILS(mrp_dataset_image(made, 5, picture, 144), MRP_ERR_IO, "palette8.png");
    mrp_dataset_destroy(made);
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    EXPECT(system(command) == 0);
}

static void test_scenes(void) {
    mrp_dataset *made = NULL;
    int64_t classes;
    char text[16];
    WORKS(mrp_dataset_generate_scenes(NULL, 3, 1, &made));
    WORKS(mrp_dataset_shape(made, NULL, NULL, NULL, NULL, &classes));
    WORKS(mrp_dataset_class_name(made, 6, text, sizeof text, NULL));
    EXPECT(classes == 7 && strcmp(text, "ellipse") == 0);
    mrp_dataset_destroy(made);
    made = NULL;
    REFUSES(mrp_dataset_generate_scenes(NULL, 0, 1, &made), "count 0");
    REFUSES(mrp_dataset_generate_scenes(NULL, 3, 1, NULL), "out");
    FAILS(mrp_dataset_generate_scenes(gone, 3, 1, &made), MRP_ERR_HANDLE, "config");
    FAILS_WITHOUT_MEMORY(mrp_dataset_generate_scenes(NULL, 3, 1, &made));
    mrp_set_interrupt(say_stop, NULL);
    STOPS(mrp_dataset_generate_scenes(NULL, 3, 1, &made));
    STOPS(mrp_dataset_with_masks(images, ids, MRP_UINT8, COUNT, SIDE, SIDE, NULL, &made));
    STOPS(mrp_dataset_open_masks(VOC, NULL, &made));
    STOPS(mrp_dataset_image(images, 0, (float[CHANNELS * SIDE * SIDE]){0}, CHANNELS * SIDE * SIDE));
    mrp_set_interrupt(NULL, NULL);
    EXPECT(made == NULL);
}

static void test_segmenter(void) {
    static uint16_t classes[COUNT * SIDE * SIDE];
    static float shares[2 * COUNT * SIDE * SIDE];
    mrp_model *model = NULL, *plain = NULL;
    int64_t counts[4], right = 0;
    double miou, accuracy, loss;
    WORKS(mrp_config_set(options, "task", "segment"));
    WORKS(mrp_config_set(options, "pyramid_width", "8"));
    WORKS(mrp_model_create(options, &model));
    WORKS(mrp_model_clone(model, &plain));
    REFUSES(mrp_finetune(model, images, options, NULL, NULL), "needs pixel masks");
    FAILS(mrp_segment(plain, images, NULL, classes, COUNT * SIDE * SIDE), MRP_ERR_STATE, "task segment");
    WORKS(mrp_finetune(model, masked, options, NULL, NULL));
    REFUSES(mrp_segment(model, images, NULL, classes, 1000), "1024 elements");
    REFUSES(mrp_segment(model, images, NULL, NULL, COUNT * SIDE * SIDE), "classes");
    WORKS(mrp_segment(model, images, NULL, classes, COUNT * SIDE * SIDE));
    FAILS(mrp_segment_probabilities(plain, images, NULL, shares, 2 * COUNT * SIDE * SIDE), MRP_ERR_STATE, "task segment");
    REFUSES(mrp_segment_probabilities(model, images, NULL, shares, 2000), "2048 elements");
    WORKS(mrp_segment_probabilities(model, images, NULL, shares, 2 * COUNT * SIDE * SIDE));
    int wrong = 0;
    for (int i = 0; i < COUNT * SIDE * SIDE; i++) {
        const float *own = shares + 2 * i;
        wrong += !(own[0] + own[1] > 0.9999f && own[0] + own[1] < 1.0001f && classes[i] == (own[1] > own[0]));
    }
    EXPECT(wrong == 0);
    WORKS(mrp_evaluate(model, masked, NULL, "miou", &miou));
    WORKS(mrp_evaluate(model, masked, NULL, "pixel_accuracy", &accuracy));
    WORKS(mrp_evaluate(model, masked, NULL, "loss", &loss));
    REFUSES(mrp_evaluate(model, masked, NULL, "top1", &loss), "miou, pixel_accuracy and loss");
    REFUSES(mrp_evaluate(model, images, NULL, "miou", &loss), "needs pixel masks");
    WORKS(mrp_confusion(model, masked, NULL, counts, 4));
    for (int i = 0; i < COUNT * SIDE * SIDE; i++) right += ids[i] != 255 && classes[i] == ids[i];
    EXPECT(counts[0] + counts[3] == right && counts[0] + counts[1] + counts[2] + counts[3] == COUNT * SIDE * SIDE - 1);
    EXPECT(accuracy == (double)right / (COUNT * SIDE * SIDE - 1) && miou >= 0 && miou <= 1 && loss > 0);
    FAILS(mrp_predict(model, images, NULL, (float[64]){0}, 64), MRP_ERR_STATE, "segment");
    mrp_model_destroy(model);
    mrp_model_destroy(plain);
}

static void test_instances(void) {
    enum { MOST = 7 };
    static uint16_t numbers[COUNT * SIDE * SIDE];
    static float scores[COUNT * MOST];
    static int32_t boxes[4 * COUNT * MOST];
    int64_t counts[COUNT], classes;
    double ap50, recall;
    char text[16];
    mrp_model *model = NULL;
    mrp_dataset *objects = NULL;
    mrp_config *all = with("score_threshold", "0");
    WORKS(mrp_config_set(all, "most_instances", "7"));
    WORKS(mrp_config_set(options, "task", "instances"));
    WORKS(mrp_config_set(options, "consistency", "1"));
    WORKS(mrp_model_create(options, &model));
    REFUSES(mrp_finetune(model, masked, options, NULL, NULL), "needs masks of objects, these are of classes");
    FAILS(mrp_instances(model, images, all, counts, scores, boxes, COUNT * MOST, numbers, COUNT * SIDE * SIDE), MRP_ERR_STATE,
          "task instances");
    WORKS(mrp_config_set(options, "mask_kind", "objects"));
    WORKS(mrp_dataset_with_masks(images, ids, MRP_UINT8, COUNT, SIDE, SIDE, options, &objects));
    WORKS(mrp_dataset_class_name(objects, 1, text, sizeof text, NULL));
    WORKS(mrp_dataset_shape(objects, NULL, NULL, NULL, NULL, &classes));
    EXPECT(classes == 2 && strcmp(text, "object") == 0);
    WORKS(mrp_finetune(model, objects, options, NULL, NULL));
    REFUSES(mrp_instances(model, images, all, NULL, scores, boxes, COUNT * MOST, numbers, COUNT * SIDE * SIDE), "counts");
    REFUSES(mrp_instances(model, images, all, counts, NULL, boxes, COUNT * MOST, numbers, COUNT * SIDE * SIDE), "scores");
    REFUSES(mrp_instances(model, images, NULL, counts, scores, boxes, COUNT * MOST, numbers, COUNT * SIDE * SIDE), "1600 elements");
    REFUSES(mrp_instances(model, images, all, counts, scores, boxes, COUNT * MOST, numbers, 1000), "1024 elements");
    WORKS(mrp_instances(model, images, all, counts, scores, boxes, COUNT * MOST, numbers, COUNT * SIDE * SIDE));
    for (int i = 0; i < COUNT; i++) {
        EXPECT(counts[i] >= 0 && counts[i] <= MOST);
        for (int j = 0; j < MOST; j++) {
            const int32_t *box = boxes + 4 * (i * MOST + j);
            const int isThere = j < counts[i], isBox = box[0] < box[2] && box[1] < box[3] && box[2] <= SIDE && box[3] <= SIDE;
            EXPECT(isThere ? scores[i * MOST + j] >= 0 && isBox : scores[i * MOST + j] != scores[i * MOST + j] && box[2] == 0);
        }
        for (int j = 0; j < SIDE * SIDE; j++) EXPECT(numbers[i * SIDE * SIDE + j] <= counts[i]);
    }
    WORKS(mrp_instances(model, images, all, counts, scores, NULL, COUNT * MOST, NULL, 0));
    WORKS(mrp_evaluate(model, objects, NULL, "ap50", &ap50));
    WORKS(mrp_evaluate(model, objects, all, "recall", &recall));
    EXPECT(ap50 >= 0 && ap50 <= 1 && recall >= 0 && recall <= 1);
    REFUSES(mrp_evaluate(model, objects, NULL, "miou", &ap50), "ap50, ar_10, ar_100, recall and false_positives");
    REFUSES(mrp_evaluate(model, masked, NULL, "ap50", &ap50), "needs masks of objects");
    FAILS(mrp_segment(model, images, NULL, numbers, COUNT * SIDE * SIDE), MRP_ERR_STATE, "its head is instances");
    FAILS(mrp_confusion(model, objects, NULL, counts, 4), MRP_ERR_STATE, "instances");
    mrp_model_destroy(model);
    mrp_dataset_destroy(objects);
    mrp_config_destroy(all);
}

int main(void) {
    fill_images();
    WORKS(mrp_set_allocator(allocate, release, NULL));
    options = small_options();
    gone = small_options();
    mrp_config_destroy(gone);
    WORKS(mrp_dataset_wrap_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &images));
    test_arrays();
    test_folders();
    test_files();
    test_scenes();
    test_segmenter();
    test_instances();
    mrp_dataset_destroy(masked);
    mrp_dataset_destroy(images);
    mrp_config_destroy(options);
    return check_result("test_masks");
}
