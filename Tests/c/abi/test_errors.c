/* Every function with NULL, foreign and destroyed handles, with sizes of 0, below 0 and beyond all limits, and with the errors of
 * data and files: each gives its status and one line of text, and the next correct call works. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "small.h"

static mrp_config *options;
static mrp_dataset *labelled, *plain;
static mrp_model *model;

static void next_call_works(void) {
    double loss = -1;
    WORKS(mrp_pretrain(model, plain, options, NULL, NULL));
    WORKS(mrp_evaluate(model, plain, options, "reconstruction_loss", &loss));
    EXPECT(isfinite(loss) && loss > 0);
}

static void test_options(void) {
    mrp_config *made = NULL;
    char text[64];
    int64_t needed = 0;
    REFUSES(mrp_config_create(NULL, NULL), "out");
    REFUSES(mrp_config_create("mae_vit_huge_7", &made), "mae_vit_huge_7");
    EXPECT(made == NULL);
    REFUSES(mrp_config_set(NULL, "epochs", "1"), "NULL");
    REFUSES(mrp_config_set(options, NULL, "1"), "key");
    REFUSES(mrp_config_set(options, "epochs", NULL), "value");
    REFUSES(mrp_config_set(options, "mask_rato", "0.5"), "'mask_ratio'");
    REFUSES(mrp_config_set(options, "", "0.5"), "unknown option ''");
    REFUSES(mrp_config_set(options, "\xff\xfe", "1"), "UTF-8");
    REFUSES(mrp_config_set(options, "mask_ratio", "1.0"), "mask_ratio 1.0");
    REFUSES(mrp_config_set(options, "mask_ratio", "nan"), "mask_ratio");
    REFUSES(mrp_config_set(options, "batch_size", "99999999999999999999"), "batch_size");
    REFUSES(mrp_config_set(options, "batch_size", "0"), "batch_size 0");
    REFUSES(mrp_config_set(options, "encoder", "resnet"), "resnet");
    REFUSES(mrp_config_set(options, "finetune.mask_ratio", "0.5"), "mask_ratio");
    REFUSES(mrp_config_get(NULL, "epochs", text, sizeof text, &needed), "NULL");
    REFUSES(mrp_config_get(options, NULL, text, sizeof text, &needed), "key");
    REFUSES(mrp_config_get(options, "epoch", text, sizeof text, &needed), "'epochs'");
    REFUSES(mrp_config_get(options, "encoder", NULL, 8, &needed), "NULL");
    REFUSES(mrp_config_get(options, "encoder", text, -1, &needed), "-1");
    REFUSES(mrp_config_get(options, "encoder", text, 3, &needed), "3");
    EXPECT(needed == (int64_t)strlen("vit_tiny") + 1);
    EXPECT(strcmp(text, "vi") == 0);
    WORKS(mrp_config_get(options, "encoder", NULL, 0, &needed));
    WORKS(mrp_config_get(options, "encoder", text, needed, NULL));
    EXPECT(strcmp(text, "vit_tiny") == 0);
    REFUSES(mrp_config_describe(text, sizeof text, &needed), "64");
    EXPECT(needed > 1000);
    WORKS(mrp_config_describe(NULL, 0, NULL));
    mrp_config_destroy(NULL);
}

static void test_arrays(void) {
    static float images[VALUES];
    static int32_t bad_labels[COUNT];
    mrp_dataset *made = NULL;
    const int64_t shape[4] = {COUNT, CHANNELS, SIDE, SIDE};
    const int64_t wrong[] = {0, -1, INT64_MIN, INT64_MAX};
    for (int axis = 0; axis < 4; axis++) {
        for (int i = 0; i < 4; i++) {
            int64_t s[4] = {shape[0], shape[1], shape[2], shape[3]};
            s[axis] = wrong[i];
            REFUSES(mrp_dataset_from_array(pixels, MRP_UINT8, s[0], s[1], s[2], s[3], MRP_NCHW, NULL, &made), "");
            REFUSES(mrp_dataset_wrap_array(pixels, MRP_UINT8, s[0], s[1], s[2], s[3], MRP_NHWC, NULL, &made), "");
        }
    }
    REFUSES(mrp_dataset_wrap_array(pixels, MRP_UINT8, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, MRP_NHWC, NULL, &made), "");
    REFUSES(mrp_dataset_from_array(NULL, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &made), "pixels");
    REFUSES(mrp_dataset_wrap_array(NULL, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &made), "pixels");
    REFUSES(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, NULL), "out");
    REFUSES(mrp_dataset_wrap_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, NULL), "out");
    REFUSES(mrp_dataset_from_array(pixels, 0, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &made), "type 0");
    REFUSES(mrp_dataset_from_array(pixels, 4, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &made), "type 4");
    REFUSES(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, 2, NULL, &made), "layout 2");
    REFUSES(mrp_dataset_wrap_array(pixels + 1, MRP_UINT16, 2, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &made), "aligned");
    bad_labels[5] = -3;
    REFUSES(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, bad_labels, &made), "label -3 of image 5");
    bad_labels[5] = INT32_MAX;
    REFUSES(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, bad_labels, &made), "label 2147483647");
    images[VALUES - 1] = NAN;
    REFUSES(mrp_dataset_from_array(images, MRP_FLOAT32, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &made), "image 15");
    images[VALUES - 1] = 0;
    images[0] = INFINITY;
    REFUSES(mrp_dataset_wrap_array(images, MRP_FLOAT32, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &made), "image 0");
    EXPECT(made == NULL);
}

static void test_datasets(void) {
    static float images[VALUES];
    mrp_dataset *made = NULL;
    int32_t read[COUNT];
    char text[8];
    int64_t needed;
    const int64_t counts[] = {0, -1, INT64_MIN, INT64_MAX};
    for (int i = 0; i < 4; i++) {
        mrp_status status = mrp_dataset_generate(NULL, counts[i], 0, &made);
        EXPECT(status == MRP_ERR_ARGUMENT || status == MRP_ERR_MEMORY);
        REFUSES(mrp_dataset_subset(labelled, counts[i], 0, &made), "");
        if (counts[i] != 0) REFUSES(mrp_dataset_images(plain, 0, counts[i], 0, 0, images, VALUES), "");
        if (counts[i] != 0) REFUSES(mrp_dataset_images(plain, counts[i], 1, 0, 0, images, VALUES), "");
        if (counts[i] < 0) REFUSES(mrp_dataset_images(plain, 0, 1, counts[i], 8, images, VALUES), "");
        if (counts[i] <= 0) REFUSES(mrp_dataset_images(plain, 0, 1, 8, 8, images, counts[i]), "capacity");
        REFUSES(mrp_dataset_labels(labelled, read, counts[i] == INT64_MAX ? COUNT - 1 : counts[i]), "");
        if (counts[i] != 0) REFUSES(mrp_dataset_class_name(labelled, counts[i], text, sizeof text, &needed), "");
    }
    REFUSES(mrp_dataset_generate(NULL, 4, 0, NULL), "out");
    REFUSES(mrp_dataset_subset(NULL, 1, 0, &made), "NULL");
    REFUSES(mrp_dataset_subset(labelled, 1, 0, NULL), "out");
    REFUSES(mrp_dataset_subset(labelled, COUNT + 1, 0, &made), "17");
    const int64_t each[CLASSES] = {4, 1, 0, 2}, many[CLASSES] = {5, 1, 0, 2}, below[CLASSES] = {1, -1, 0, 0}, none[CLASSES] = {0};
    REFUSES(mrp_dataset_select(NULL, each, CLASSES, 0, &made), "NULL");
    REFUSES(mrp_dataset_select(labelled, NULL, CLASSES, 0, &made), "counts");
    REFUSES(mrp_dataset_select(labelled, each, CLASSES, 0, NULL), "out");
    REFUSES(mrp_dataset_select(labelled, each, CLASSES - 1, 0, &made), "3");
    REFUSES(mrp_dataset_select(labelled, each, INT64_MIN, 0, &made), "");
    REFUSES(mrp_dataset_select(plain, each, CLASSES, 0, &made), "has 0");
    REFUSES(mrp_dataset_select(labelled, many, CLASSES, 0, &made), "there are 4");
    REFUSES(mrp_dataset_select(labelled, below, CLASSES, 0, &made), "-1");
    REFUSES(mrp_dataset_select(labelled, none, CLASSES, 0, &made), "no image");
    WORKS(mrp_dataset_select(labelled, each, CLASSES, 0, &made));
    WORKS(mrp_dataset_shape(made, &needed, NULL, NULL, NULL, NULL));
    EXPECT(needed == 7);
    mrp_dataset_destroy(made);
    made = NULL;
    REFUSES(mrp_dataset_shape(NULL, NULL, NULL, NULL, NULL, NULL), "NULL");
    WORKS(mrp_dataset_shape(plain, NULL, NULL, NULL, NULL, NULL));
    REFUSES(mrp_dataset_class_name(NULL, 0, text, sizeof text, &needed), "NULL");
    REFUSES(mrp_dataset_class_name(labelled, CLASSES, text, sizeof text, &needed), "4");
    REFUSES(mrp_dataset_class_name(plain, 0, text, sizeof text, &needed), "0");
    REFUSES(mrp_dataset_labels(NULL, read, COUNT), "NULL");
    REFUSES(mrp_dataset_labels(labelled, NULL, COUNT), "NULL");
    FAILS(mrp_dataset_labels(plain, read, COUNT), MRP_ERR_STATE, "labels");
    REFUSES(mrp_dataset_images(NULL, 0, 1, 0, 0, images, VALUES), "NULL");
    REFUSES(mrp_dataset_images(plain, 0, 1, 0, 0, NULL, VALUES), "NULL");
    FAILS(mrp_dataset_images(plain, 0, 1, INT64_MAX, 8, images, VALUES), MRP_ERR_MEMORY, "too large");
    REFUSES(mrp_dataset_images(plain, 0, 1, 65536, 8, images, VALUES), "capacity");
    REFUSES(mrp_dataset_images(plain, 10, 7, 0, 0, images, VALUES), "16");
    WORKS(mrp_dataset_images(plain, 0, COUNT, 0, 0, images, VALUES));
    REFUSES(mrp_dataset_open_folder(NULL, NULL, &made), "path");
    REFUSES(mrp_dataset_open_folder("/", NULL, NULL), "out");
    FAILS(mrp_dataset_open_folder("/no/such/folder", NULL, &made), MRP_ERR_IO, "/no/such/folder");
    EXPECT(made == NULL);
    mrp_dataset_destroy(NULL);
}

static void test_models(void) {
    mrp_model *made = NULL;
    char text[16];
    float values[WIDTH];
    int64_t needed = 0;
    REFUSES(mrp_model_create(NULL, NULL), "out");
    mrp_config *other = small_options();
    WORKS(mrp_config_set(other, "patch_size", "3"));
    REFUSES(mrp_model_create(other, &made), "3");
    WORKS(mrp_config_set(other, "patch_size", "4"));
    WORKS(mrp_config_set(other, "heads", "3"));
    REFUSES(mrp_model_create(other, &made), "heads");
    WORKS(mrp_config_set(other, "heads", "2"));
    WORKS(mrp_config_set(other, "width", "65536"));
    WORKS(mrp_config_set(other, "depth", "1024"));
    FAILS(mrp_model_create(other, &made), MRP_ERR_MEMORY, "");
    mrp_config_destroy(other);
    REFUSES(mrp_model_load(NULL, NULL, &made), "path");
    REFUSES(mrp_model_load("x", NULL, NULL), "out");
    FAILS(mrp_model_load("/no/such/model.safetensors", NULL, &made), MRP_ERR_IO, "/no/such/model.safetensors");
    FAILS(mrp_model_load("/", NULL, &made), MRP_ERR_IO, "/");
    FAILS(mrp_model_load("/proc/self/exe", NULL, &made), MRP_ERR_FORMAT, "/proc/self/exe");
    EXPECT(made == NULL);
    REFUSES(mrp_model_save(NULL, "x", NULL), "NULL");
    REFUSES(mrp_model_save(model, NULL, NULL), "path");
    FAILS(mrp_model_save(model, "/no/such/folder/m.safetensors", NULL), MRP_ERR_IO, "/no/such/folder");
    FAILS(mrp_model_save(model, "/proc/self/exe/m.safetensors", NULL), MRP_ERR_IO, "/proc/self/exe");
    REFUSES(mrp_model_export_onnx(NULL, "x", NULL), "NULL");
    REFUSES(mrp_model_export_onnx(model, NULL, NULL), "path");
    FAILS(mrp_model_export_onnx(model, "/no/such/folder/m.onnx", NULL), MRP_ERR_IO, "/no/such/folder");
    REFUSES(mrp_model_export_stablehlo(NULL, "x", NULL), "NULL");
    FAILS(mrp_model_export_stablehlo(model, "/no/such/folder/m.mlir", NULL), MRP_ERR_IO, "/no/such/folder");
    REFUSES(mrp_model_clone(NULL, &made), "NULL");
    REFUSES(mrp_model_clone(model, NULL), "out");
    REFUSES(mrp_model_describe(NULL, text, sizeof text, &needed), "NULL");
    REFUSES(mrp_model_describe(model, text, sizeof text, &needed), "16");
    WORKS(mrp_model_describe(model, NULL, 0, &needed));
    EXPECT(needed > 100);
    REFUSES(mrp_model_parameter(NULL, "cls_token", values, WIDTH, &needed), "NULL");
    REFUSES(mrp_model_parameter(model, NULL, values, WIDTH, &needed), "name");
    REFUSES(mrp_model_parameter(model, "no_such_weight", values, WIDTH, &needed), "no_such_weight");
    REFUSES(mrp_model_parameter(model, "cls_token", values, WIDTH - 1, &needed), "15");
    REFUSES(mrp_model_parameter(model, "cls_token", values, INT64_MIN, &needed), "");
    REFUSES(mrp_model_parameter(model, "cls_token", NULL, WIDTH, &needed), "NULL");
    WORKS(mrp_model_parameter(model, "cls_token", NULL, 0, &needed));
    EXPECT(needed == WIDTH);
    REFUSES(mrp_cancel(NULL), "NULL");
    EXPECT(mrp_cancel(model) == MRP_DONE);
    mrp_model_destroy(NULL);
}

static void test_training(void) {
    mrp_trainer *trainer = NULL;
    mrp_dataset *two_channels = NULL;
    mrp_config *other = small_options();
    int64_t bytes, steps;
    REFUSES(mrp_pretrain(NULL, plain, options, NULL, NULL), "NULL");
    REFUSES(mrp_pretrain(model, NULL, options, NULL, NULL), "NULL");
    REFUSES(mrp_finetune(NULL, labelled, options, NULL, NULL), "NULL");
    REFUSES(mrp_finetune(model, NULL, options, NULL, NULL), "NULL");
    REFUSES(mrp_finetune(model, plain, options, NULL, NULL), "labels");
    WORKS(mrp_config_set(other, "mask_ratio", "0.9"));
    REFUSES(mrp_pretrain(model, plain, other, NULL, NULL), "mask_ratio 0.9");
    WORKS(mrp_config_set(other, "mask_ratio", "0"));
    REFUSES(mrp_pretrain(model, plain, other, NULL, NULL), "hides none");
    WORKS(mrp_config_set(other, "mask_ratio", "0.75"));
    WORKS(mrp_config_set(other, "classes", "3"));
    REFUSES(mrp_finetune(model, labelled, other, NULL, NULL), "4");
    WORKS(mrp_dataset_from_array(pixels, MRP_UINT8, 4, 2, SIDE, SIDE, MRP_NCHW, NULL, &two_channels));
    REFUSES(mrp_pretrain(model, two_channels, options, NULL, NULL), "2");
    WORKS(mrp_config_set(other, "learning_rate", "1e30"));
    WORKS(mrp_config_set(other, "warmup_epochs", "0"));
    WORKS(mrp_config_set(other, "epochs", "20"));
    mrp_model *exploding = NULL;
    WORKS(mrp_model_create(options, &exploding));
    FAILS(mrp_pretrain(exploding, plain, other, NULL, NULL), MRP_ERR_NUMERIC, "loss");
    mrp_model_destroy(exploding);

    REFUSES(mrp_trainer_create(NULL, plain, options, "pretrain", &trainer), "NULL");
    REFUSES(mrp_trainer_create(model, NULL, options, "pretrain", &trainer), "NULL");
    REFUSES(mrp_trainer_create(model, plain, options, NULL, &trainer), "phase");
    REFUSES(mrp_trainer_create(model, plain, options, "play", &trainer), "play");
    REFUSES(mrp_trainer_create(model, plain, options, "finetune", &trainer), "labels");
    REFUSES(mrp_trainer_create(model, plain, options, "pretrain", NULL), "out");
    EXPECT(trainer == NULL);
    REFUSES(mrp_trainer_plan(NULL, &bytes, &steps), "NULL");
    REFUSES(mrp_trainer_step(NULL), "NULL");
    REFUSES(mrp_trainer_save(NULL, "x"), "NULL");
    REFUSES(mrp_trainer_resume(NULL, "x"), "NULL");
    REFUSES(mrp_trainer_suspend(NULL), "NULL");
    EXPECT(mrp_trainer_end(NULL) == NULL);
    EXPECT(mrp_trainer_progress(NULL) == NULL);
    WORKS(mrp_trainer_create(model, plain, options, "pretrain", &trainer));
    WORKS(mrp_trainer_plan(trainer, NULL, NULL));
    REFUSES(mrp_trainer_save(trainer, NULL), "path");
    FAILS(mrp_trainer_save(trainer, "/no/such/folder/run"), MRP_ERR_IO, "/no/such/folder/run");
    REFUSES(mrp_trainer_export(trainer, "stablehlo", NULL), "path");
    REFUSES(mrp_trainer_export(trainer, "onnx", "x"), "onnx");
    FAILS(mrp_trainer_export(trainer, "stablehlo", "/no/such/folder/s.mlir"), MRP_ERR_IO, "/no/such/folder");
    REFUSES(mrp_trainer_resume(trainer, NULL), "path");
    FAILS(mrp_trainer_resume(trainer, "/no/such/run"), MRP_ERR_IO, "/no/such/run");
    FAILS(mrp_trainer_resume(trainer, "/proc/self/exe"), MRP_ERR_FORMAT, "/proc/self/exe");
    FAILS(mrp_trainer_suspend(trainer), MRP_ERR_STATE, "run_folder");
    EXPECT(strcmp(mrp_trainer_end(trainer), "") == 0);
    WORKS(mrp_trainer_step(trainer));
    EXPECT(isnan(mrp_progress_value(mrp_trainer_progress(trainer), "no such value")));
    EXPECT(isnan(mrp_progress_value(mrp_trainer_progress(trainer), NULL)));
    EXPECT(isnan(mrp_progress_value(NULL, "loss")));
    EXPECT(isnan(mrp_progress_fraction(NULL)));
    EXPECT(strcmp(mrp_progress_phase(NULL), "") == 0);
    WORKS(mrp_trainer_step(trainer));
    EXPECT(strcmp(mrp_trainer_end(trainer), "finished") == 0);
    EXPECT(mrp_trainer_step(trainer) == MRP_DONE);
    mrp_trainer_destroy(trainer);
    mrp_trainer_destroy(NULL);
    mrp_dataset_destroy(two_channels);
    mrp_config_destroy(other);
}

/* `missing` names a layer that is not there. */
static void test_attention(const mrp_config *missing) {
    enum { MAPS = COUNT * 2 * (1 + PATCHES) * (1 + PATCHES) };
    static float maps[MAPS];
    mrp_config *convolutional = small_options();
    mrp_model *resnet = NULL;
    REFUSES(mrp_attention(NULL, plain, options, maps, MAPS), "NULL");
    REFUSES(mrp_attention(model, NULL, options, maps, MAPS), "NULL");
    REFUSES(mrp_attention(model, plain, options, NULL, MAPS), "NULL");
    REFUSES(mrp_attention(model, plain, options, maps, MAPS - 1), "799");
    REFUSES(mrp_attention(model, plain, missing, maps, MAPS), "layer 2");
    WORKS(mrp_attention(model, plain, options, maps, MAPS));
    for (int row = 0; row < MAPS; row += 1 + PATCHES) {
        float sum = 0;
        for (int i = 0; i <= PATCHES; i++) sum += maps[row + i];
        EXPECT(sum > 0.9999f && sum < 1.0001f);
    }
    WORKS(mrp_config_set(convolutional, "encoder", "resnet18"));
    WORKS(mrp_config_set(convolutional, "width", "4"));
    WORKS(mrp_model_create(convolutional, &resnet));
    REFUSES(mrp_attention(resnet, plain, options, maps, MAPS), "has no attention");
    mrp_model_destroy(resnet);
    mrp_config_destroy(convolutional);
}

static void test_use(void) {
    static float features[COUNT * WIDTH];
    static float images[VALUES];
    uint8_t mask[COUNT * PATCHES] = {0};
    double value = -1;
    mrp_config *other = small_options();
    REFUSES(mrp_encode(NULL, plain, options, features, COUNT * WIDTH), "NULL");
    REFUSES(mrp_encode(model, NULL, options, features, COUNT * WIDTH), "NULL");
    REFUSES(mrp_encode(model, plain, options, NULL, COUNT * WIDTH), "NULL");
    REFUSES(mrp_encode(model, plain, options, features, COUNT * WIDTH - 1), "255");
    REFUSES(mrp_encode(model, plain, options, features, INT64_MIN), "");
    WORKS(mrp_config_set(other, "features", "tokens"));
    REFUSES(mrp_encode(model, plain, other, features, COUNT * WIDTH), "256");
    WORKS(mrp_config_set(other, "features", "mean"));
    WORKS(mrp_config_set(other, "layer", "2"));
    REFUSES(mrp_encode(model, plain, other, features, COUNT * WIDTH), "layer 2");
    test_attention(other);
    REFUSES(mrp_predict(NULL, plain, options, features, COUNT * WIDTH), "NULL");
    REFUSES(mrp_predict(model, NULL, options, features, COUNT * WIDTH), "NULL");
    FAILS(mrp_predict(model, plain, options, features, COUNT * WIDTH), MRP_ERR_STATE, "fine-tune");
    REFUSES(mrp_reconstruct(NULL, plain, options, NULL, 0, images, images, VALUES, NULL, NULL), "NULL");
    REFUSES(mrp_reconstruct(model, NULL, options, NULL, 0, images, images, VALUES, NULL, NULL), "NULL");
    REFUSES(mrp_reconstruct(model, plain, options, mask, COUNT * PATCHES, images, images, VALUES, NULL, NULL), "hides 0 of 4");
    mask[5] = 7;
    REFUSES(mrp_reconstruct(model, plain, options, mask, COUNT * PATCHES, images, images, VALUES, NULL, NULL), "");
    for (int i = 0; i < COUNT * PATCHES; i++) mask[i] = i % PATCHES != 0;
    mask[1] = 0;
    REFUSES(mrp_reconstruct(model, plain, options, mask, COUNT * PATCHES, images, images, VALUES, NULL, NULL), "image 1");
    WORKS(mrp_reconstruct(model, plain, options, NULL, 0, NULL, NULL, 0, NULL, NULL));
    REFUSES(mrp_evaluate(NULL, plain, options, "top1", &value), "NULL");
    REFUSES(mrp_evaluate(model, NULL, options, "top1", &value), "NULL");
    REFUSES(mrp_evaluate(model, plain, options, NULL, &value), "metric");
    REFUSES(mrp_evaluate(model, plain, options, "top9", &value), "top9");
    REFUSES(mrp_evaluate(model, plain, options, "reconstruction_loss", NULL), "NULL");
    REFUSES(mrp_evaluate(model, plain, options, "top1", &value), "labels");
    FAILS(mrp_evaluate(model, labelled, options, "top1", &value), MRP_ERR_STATE, "");
    FAILS(mrp_evaluate(model, labelled, options, "few_top1", &value), MRP_ERR_STATE, "");
    EXPECT(value == -1);

    mrp_model *classifier = NULL;
    WORKS(mrp_model_create(options, &classifier));
    FAILS(mrp_reconstruct(classifier, plain, options, NULL, 0, images, images, VALUES, NULL, NULL), MRP_ERR_STATE, "decoder");
    WORKS(mrp_finetune(classifier, labelled, options, NULL, NULL));
    REFUSES(mrp_predict(classifier, plain, options, NULL, COUNT * CLASSES), "NULL");
    REFUSES(mrp_predict(classifier, plain, options, features, COUNT * CLASSES - 1), "63");
    WORKS(mrp_predict(classifier, plain, options, features, COUNT * CLASSES));
    WORKS(mrp_evaluate(classifier, labelled, options, "few_top1", &value)); /* all classes have 4 images */
    EXPECT(value >= 0 && value <= 1);
    WORKS(mrp_evaluate(classifier, labelled, options, "many_top1", &value));
    EXPECT(value != value);
    WORKS(mrp_config_set(other, "prior", "uniform"));
    WORKS(mrp_predict(classifier, plain, other, features, COUNT * CLASSES));
    WORKS(mrp_config_set(other, "class_counts", "5,5,5"));
    REFUSES(mrp_predict(classifier, plain, other, features, COUNT * CLASSES), "class_counts has 3");
    WORKS(mrp_config_set(other, "class_counts", "auto"));
    WORKS(mrp_config_set(other, "prior", "training"));
    mrp_model_destroy(classifier);
    mrp_config_destroy(other);
}

/* Handles of another type, destroyed ones, and pointers to anything give MRP_ERR_HANDLE. */
static void test_handles(void) {
    char text[8];
    double value;
    int64_t number;
    float values[4];
    mrp_dataset *gone = NULL;
    mrp_dataset *made = NULL;
    mrp_model *loaded = NULL;
    WORKS(mrp_dataset_generate(NULL, 4, 0, &gone));
    mrp_dataset_destroy(gone);
    mrp_dataset_destroy(gone);
    void *foreign[3];
    foreign[0] = gone;
    foreign[1] = text;
    for (int i = 0; i < 3; i++) {
        foreign[2] = model; /* right for models, wrong for the others */
        void *wrong = foreign[i];
        FAILS(mrp_config_set(wrong, "epochs", "1"), MRP_ERR_HANDLE, "config");
        FAILS(mrp_config_get(wrong, "epochs", text, sizeof text, &number), MRP_ERR_HANDLE, "config");
        FAILS(mrp_dataset_generate(wrong, 4, 0, &made), MRP_ERR_HANDLE, "config");
        FAILS(mrp_model_load("never", wrong, &loaded), MRP_ERR_HANDLE, "config");
        FAILS(mrp_model_export_onnx(model, "never", wrong), MRP_ERR_HANDLE, "config");
        FAILS(mrp_dataset_subset(wrong, 1, 0, &made), MRP_ERR_HANDLE, "dataset");
        FAILS(mrp_dataset_select(wrong, &number, 1, 0, &made), MRP_ERR_HANDLE, "dataset");
        FAILS(mrp_dataset_shape(wrong, &number, NULL, NULL, NULL, NULL), MRP_ERR_HANDLE, "dataset");
        FAILS(mrp_dataset_class_name(wrong, 0, text, sizeof text, NULL), MRP_ERR_HANDLE, "dataset");
        FAILS(mrp_dataset_images(wrong, 0, 1, 0, 0, values, 4), MRP_ERR_HANDLE, "dataset");
        FAILS(mrp_pretrain(model, wrong, NULL, NULL, NULL), MRP_ERR_HANDLE, "dataset");
        FAILS(mrp_finetune(model, labelled, wrong, NULL, NULL), MRP_ERR_HANDLE, "config");
        FAILS(mrp_encode(model, wrong, NULL, values, 4), MRP_ERR_HANDLE, "dataset");
        FAILS(mrp_trainer_step(wrong), MRP_ERR_HANDLE, "trainer");
        FAILS(mrp_trainer_plan(wrong, &number, &number), MRP_ERR_HANDLE, "trainer");
        FAILS(mrp_trainer_suspend(wrong), MRP_ERR_HANDLE, "trainer");
        FAILS(mrp_trainer_export(wrong, "stablehlo", "never"), MRP_ERR_HANDLE, "trainer");
        EXPECT(mrp_trainer_end(wrong) == NULL);
        EXPECT(mrp_trainer_progress(wrong) == NULL);
        mrp_config_destroy(wrong == (void *)model ? NULL : wrong);
        if (i == 2) break;
        FAILS(mrp_model_describe(wrong, text, sizeof text, &number), MRP_ERR_HANDLE, "model");
        FAILS(mrp_model_save(wrong, "never", NULL), MRP_ERR_HANDLE, "model");
        FAILS(mrp_model_export_onnx(wrong, "never", NULL), MRP_ERR_HANDLE, "model");
        FAILS(mrp_model_export_stablehlo(wrong, "never", NULL), MRP_ERR_HANDLE, "model");
        FAILS(mrp_pretrain(wrong, plain, NULL, NULL, NULL), MRP_ERR_HANDLE, "model");
        FAILS(mrp_evaluate(wrong, plain, NULL, "loss", &value), MRP_ERR_HANDLE, "model");
        FAILS(mrp_cancel(wrong), MRP_ERR_HANDLE, "model");
        mrp_model_destroy(wrong);
    }
    EXPECT(made == NULL);
}

static void test_library(void) {
    EXPECT(strcmp(mrp_version(), MRP_VERSION) == 0);
    EXPECT(mrp_version_number() == MRP_VERSION_NUMBER);
    EXPECT(strstr(mrp_build_info(), mrp_version()) != NULL);
    EXPECT(strcmp(mrp_status_string(MRP_ERR_MEMORY), "MRP_ERR_MEMORY") == 0);
    EXPECT(mrp_status_string(INT_MIN)[0] != 0);
    EXPECT(mrp_status_string(12345)[0] != 0);
}

static void test_devices(void) {
    char text[512], small[8];
    int64_t count = 0;
    WORKS(mrp_device_count("cpu", &count));
    EXPECT(count == 1);
    WORKS(mrp_device_describe("cpu", text, sizeof text, NULL));
    EXPECT(strstr(text, "\"platform\":\"cpu\"") || strstr(text, "\"platform\": \"cpu\""));
    REFUSES(mrp_device_describe("cpu", small, sizeof small, &count), "8");
    REFUSES(mrp_device_describe("gpu", text, sizeof text, NULL), "gpu");
    FAILS(mrp_device_describe("pjrt:/no/such/plugin.so", text, sizeof text, NULL), MRP_ERR_UNSUPPORTED, "/no/such/plugin.so");
    REFUSES(mrp_device_count(NULL, &count), "device");
    REFUSES(mrp_device_count("cpu", NULL), "count");
    FAILS(mrp_device_count("pjrt:/no/such/plugin.so", &count), MRP_ERR_UNSUPPORTED, "/no/such/plugin.so");
}

int main(void) {
    EXPECT(strcmp(mrp_last_error(), "") == 0);
    fill_images();
    options = small_options();
    WORKS(mrp_dataset_wrap_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &plain));
    WORKS(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, labels, &labelled));
    WORKS(mrp_model_create(options, &model));
    next_call_works();
    test_library();
    test_devices();
    test_options();
    test_arrays();
    test_datasets();
    next_call_works();
    test_models();
    next_call_works();
    test_training();
    next_call_works();
    test_use();
    next_call_works();
    test_handles();
    next_call_works();
    mrp_model_destroy(model);
    mrp_dataset_destroy(plain);
    mrp_dataset_destroy(labelled);
    mrp_config_destroy(options);
    EXPECT(mrp_memory_in_use() == 0);
    return check_result(__FILE__);
}
