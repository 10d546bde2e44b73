/* Each status that the header documents for a function is provoked here, where test_errors.c does not do it already: missing and damaged
 * images under a running call, allocations that fail, files of later versions, handles of no use. Those of calls that are under way are in
 * test_pairs_running.c. Run from the root of the repository (it reads an image of Tests/fixtures). */
#include <math.h>

#include "pairs.h"
#include "failing.h"

/* ---- Images and files */

static long read_all(const char *path, char *buffer, size_t capacity) {
    FILE *file = fopen(path, "rb");
    const long size = file ? (long)fread(buffer, 1, capacity, file) : -1;
    if (file) fclose(file);
    return size;
}

static void write_all(const char *path, const char *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    EXPECT(file && fwrite(bytes, 1, size, file) == size);
    if (file) fclose(file);
}

static void write_images(void) {
    static char bytes[100000];
    const long size = read_all("Tests/fixtures/images/rgb.png", bytes, sizeof bytes);
    EXPECT(size > 0);
    for (int i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "images/%d/a.png", i / 2);
        name[9] = (char)('a' + i % 2);
        write_all(in_root(name), bytes, (size_t)size);
    }
}

/* One image of the folder is not what it was. */
static void damage_image(void) { write_all(in_root("images/1/b.png"), "no image", 8); }
static void remove_image(void) { remove(in_root("images/1/b.png")); }

/* A file of the library in which `from` is replaced by `to`, of the same length. */
static const char *patched(const char *path, const char *from, const char *to) {
    static char bytes[1 << 20];
    const long size = read_all(path, bytes, sizeof bytes);
    const size_t length = strlen(from);
    int found = 0;
    for (long i = 0; i + (long)length <= size; i++) {
        if (memcmp(bytes + i, from, length) == 0) {
            memcpy(bytes + i, to, length);
            found = 1;
        }
    }
    EXPECT(found);
    const char *copy = in_root("patched");
    write_all(copy, bytes, (size_t)size);
    return copy;
}

/* Every operation gives `wanted` on such images with such options. `fresh`: with a model that has measured no images yet. */
static void all_give(mrp_status wanted, const mrp_dataset *images, const mrp_config *settings, int fresh) {
    for (int i = 0; i < OPERATIONS; i++) {
        const operation *o = &operations[i];
        mrp_model *m = NULL;
        if (fresh) {
            if (o->call != create_trainer) continue;
            WORKS(mrp_model_create(options, &m));
        } else {
            if (o->call == create_trainer && (wanted == MRP_ERR_IO || wanted == MRP_ERR_FORMAT)) continue;
            m = model_for(o);
        }
        fails(o->call(m, images, settings), wanted, "", o->name, __LINE__);
        mrp_model_destroy(m);
    }
}

static void test_bad_images(void) {
    mrp_config *plain = small_options();
    WORKS(mrp_config_set(plain, "cache_bytes", "0"));
    write_images();
    WORKS(mrp_dataset_open_folder(in_root("images"), plain, &folder));
    remove_image();
    all_give(MRP_ERR_IO, folder, options, 0);
    all_give(MRP_ERR_IO, folder, options, 1);
    FAILS(mrp_dataset_images(folder, 0, 4, 8, 8, numbers, VALUES), MRP_ERR_IO, "b.png");
    damage_image();
    all_give(MRP_ERR_FORMAT, folder, options, 0);
    all_give(MRP_ERR_FORMAT, folder, options, 1);
    FAILS(mrp_dataset_images(folder, 0, 4, 8, 8, numbers, VALUES), MRP_ERR_FORMAT, "b.png");

    mrp_trainer *trainer = NULL;
    mrp_dataset *made = NULL;
    WORKS(mrp_trainer_create(mae, folder, options, "pretrain", &trainer));
    FAILS(mrp_trainer_step(trainer), MRP_ERR_FORMAT, "b.png");
    mrp_trainer_destroy(trainer);
    remove_image();
    WORKS(mrp_trainer_create(mae, folder, options, "pretrain", &trainer));
    FAILS(mrp_trainer_step(trainer), MRP_ERR_IO, "b.png");
    mrp_trainer_destroy(trainer);
    mkdir(in_root("empty"), 0777);
    FAILS(mrp_dataset_open_folder(in_root("empty"), NULL, &made), MRP_ERR_FORMAT, "empty");
    write_images();
    mrp_config_destroy(plain);
}

/* ---- Memory */

static void test_memory(void) {
    mrp_config *no_threads = small_options();
    mrp_dataset *made = NULL;
    mrp_model *m = NULL;
    mrp_trainer *trainer = NULL;
    WORKS(mrp_config_set(no_threads, "loader_threads", "0"));
    REFUSES(mrp_set_allocator(allocate, NULL, NULL), "together");
    REFUSES(mrp_set_allocator(NULL, release, NULL), "together");
    WORKS(mrp_set_allocator(allocate, release, NULL));
    FAILS_WITHOUT_MEMORY(mrp_dataset_from_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &made));
    FAILS_WITHOUT_MEMORY(mrp_dataset_wrap_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, labels, &made));
    FAILS_WITHOUT_MEMORY(mrp_dataset_generate(NULL, 4, 1, &made));
    FAILS_WITHOUT_MEMORY(mrp_dataset_subset(labelled, 4, 1, &made));
    const int64_t each[CLASSES] = {4, 1, 0, 2};
    FAILS_WITHOUT_MEMORY(mrp_dataset_select(labelled, each, CLASSES, 1, &made));
    FAILS_WITHOUT_MEMORY(mrp_dataset_open_folder(in_root("images"), NULL, &made));
    FAILS_WITHOUT_MEMORY(mrp_dataset_images(labelled, 0, 4, 4, 4, numbers, VALUES));
    FAILS_WITHOUT_MEMORY(mrp_model_create(options, &m));
    FAILS_WITHOUT_MEMORY(mrp_model_clone(mae, &m));
    FAILS_WITHOUT_MEMORY(mrp_model_load(in_root("model.safetensors"), NULL, &m));
    WORKS(mrp_config_set(no_threads, "weights_type", "F16"));
    FAILS_WITHOUT_MEMORY(mrp_model_save(mae, in_root("half.safetensors"), no_threads));
    FAILS_WITHOUT_MEMORY(mrp_model_export_onnx(mae, in_root("mae.onnx"), NULL));
    FAILS_WITHOUT_MEMORY(mrp_model_export_stablehlo(mae, in_root("mae.mlir"), NULL));
    for (int i = 0; i < OPERATIONS; i++) {
        mrp_model *copy = model_for(&operations[i]);
        allocations_fail = 1;
        const mrp_status status = operations[i].call(copy, labelled, no_threads);
        allocations_fail = 0;
        fails(status, MRP_ERR_MEMORY, "", operations[i].name, __LINE__);
        mrp_model_destroy(copy);
    }
    WORKS(mrp_trainer_create(mae, folder, no_threads, "pretrain", &trainer));
    FAILS_WITHOUT_MEMORY(mrp_trainer_step(trainer));
    WORKS(mrp_trainer_save(trainer, in_root("run.ckpt")));
    mrp_trainer_destroy(trainer);
    WORKS(mrp_set_allocator(NULL, NULL, NULL));
    EXPECT(made == NULL && m == NULL);
    mrp_config_destroy(no_threads);
}

/* ---- What is not offered, not possible, not a number */

static void test_unsupported(void) {
    mrp_config *other = small_options();
    const int is_x86 = !strstr(mrp_build_info(), "neon");
    WORKS(mrp_config_set(other, "instructions", is_x86 ? "neon" : "avx2"));
    all_give(MRP_ERR_UNSUPPORTED, labelled, other, 0);
    mrp_config_destroy(other);
}

static void test_numbers(void) {
    mrp_config *wild = small_options();
    mrp_trainer *trainer = NULL;
    WORKS(mrp_config_set(wild, "learning_rate", "1e30"));
    WORKS(mrp_config_set(wild, "warmup_epochs", "0"));
    WORKS(mrp_config_set(wild, "epochs", "50"));
    for (int i = 0; i < 2; i++) {
        mrp_model *m = model_for(&operations[i]);
        fails(operations[i].call(m, labelled, wild), MRP_ERR_NUMERIC, "step", operations[i].name, __LINE__);
        mrp_model_destroy(m);
    }
    mrp_model *m = model_for(&operations[0]);
    WORKS(mrp_trainer_create(m, labelled, wild, "pretrain", &trainer));
    mrp_status status;
    while ((status = mrp_trainer_step(trainer)) == MRP_OK) {}
    fails(status, MRP_ERR_NUMERIC, "step", "mrp_trainer_step", __LINE__);
    mrp_trainer_destroy(trainer);
    mrp_model_destroy(m);
    mrp_config_destroy(wild);
}

static void test_files(void) {
    static char bytes[1 << 20];
    mrp_config *other = small_options();
    mrp_model *made = NULL;
    mrp_trainer *trainer = NULL;
    char text[8];
    int64_t needed;
    char model_file[256]; /* in_root's own texts do not last */
    snprintf(model_file, sizeof model_file, "%s", in_root("model.safetensors"));
    WORKS(mrp_model_save(mae, model_file, NULL));
    FAILS(mrp_model_load(patched(model_file, "\\\"version\\\":1", "\\\"version\\\":9"), NULL, &made), MRP_ERR_VERSION, "version 9");
    const long size = read_all(model_file, bytes, sizeof bytes);
    memset(bytes + size - 4, 0xff, 4); /* the last weight becomes NaN */
    write_all(in_root("nan.safetensors"), bytes, (size_t)size);
    FAILS(mrp_model_load(in_root("nan.safetensors"), NULL, &made), MRP_ERR_NUMERIC, "nan");
    memcpy(bytes + size - 4, "\x28\x6b\x6e\x4e", 4); /* now it is 1e9 */
    write_all(in_root("large.safetensors"), bytes, (size_t)size);
    WORKS(mrp_model_load(in_root("large.safetensors"), NULL, &made));
    WORKS(mrp_config_set(other, "weights_type", "F16"));
    FAILS(mrp_model_save(made, in_root("half.safetensors"), other), MRP_ERR_NUMERIC, "F16 reaches 65504");
    WORKS(mrp_config_set(other, "weights_type", "BF16"));
    WORKS(mrp_config_set(other, "names", "timm"));
    WORKS(mrp_model_save(made, in_root("half.safetensors"), other));
    mrp_model_destroy(made);
    WORKS(mrp_model_load(in_root("half.safetensors"), NULL, &made));
    mrp_model_destroy(made);
    made = NULL;
    FAILS(mrp_model_load(patched(model_file, "vit_mae", "vit_nae"), NULL, &made), MRP_ERR_UNSUPPORTED, "vit_nae");
    FAILS(mrp_file_describe("/no/such/file", text, sizeof text, &needed), MRP_ERR_IO, "/no/such/file");
    FAILS(mrp_file_describe("/proc/self/exe", text, sizeof text, &needed), MRP_ERR_FORMAT, "/proc/self/exe");
    REFUSES(mrp_file_describe(NULL, text, sizeof text, &needed), "path");
    REFUSES(mrp_file_describe(model_file, text, sizeof text, &needed), "8");
    WORKS(mrp_file_describe(model_file, bytes, sizeof bytes, NULL));
    EXPECT(strstr(bytes, "\"kind\":\"model\"") && strstr(bytes, "\"cls_token\"") == NULL);

    WORKS(mrp_trainer_create(mae, labelled, options, "pretrain", &trainer));
    WORKS(mrp_trainer_step(trainer));
    WORKS(mrp_trainer_save(trainer, in_root("run.ckpt")));
    WORKS(mrp_file_describe(in_root("run.ckpt"), bytes, sizeof bytes, NULL));
    EXPECT(strstr(bytes, "\"kind\":\"checkpoint\"") && strstr(bytes, "\"step\":1"));
    const char *later = patched(in_root("run.ckpt"), "\"libmrp.checkpoint\":\"3\"", "\"libmrp.checkpoint\":\"9\"");
    FAILS(mrp_trainer_resume(trainer, later), MRP_ERR_VERSION, "version 9");
    while (mrp_trainer_step(trainer) == MRP_OK) {}
    FAILS(mrp_trainer_step(trainer), MRP_DONE, "");
    mrp_trainer_destroy(trainer);
    WORKS(mrp_config_set(other, "seed", "7"));
    WORKS(mrp_trainer_create(mae, labelled, other, "pretrain", &trainer));
    FAILS(mrp_trainer_resume(trainer, in_root("run.ckpt")), MRP_ERR_STATE, "seed");
    mrp_trainer_destroy(trainer);
    EXPECT(made == NULL);
    mrp_config_destroy(other);
}

/* ---- Experts */

static void test_experts(void) {
    mrp_config *other = small_options();
    mrp_dataset *extreme = NULL;
    mrp_model *m = NULL, *made = NULL;
    int64_t counts[4], sum = 0;
    int32_t numbers_of[COUNT];
    double losses[4], loss;
    WORKS(mrp_model_experts(mixture, labelled, options, counts, losses, 4, numbers_of, COUNT));
    for (int i = 0; i < 4; i++) sum += counts[i];
    EXPECT(sum == COUNT);
    for (int i = 0; i < COUNT; i++) counts[numbers_of[i]]--;
    EXPECT(counts[0] == 0 && counts[1] == 0 && counts[2] == 0 && counts[3] == 0);
    WORKS(mrp_model_extract(mixture, 2, NULL, options, &made));
    WORKS(mrp_evaluate(made, labelled, options, "reconstruction_loss", &loss));
    EXPECT(loss == losses[2]);
    FAILS(mrp_model_experts(made, labelled, options, NULL, losses, 4, NULL, 0), MRP_ERR_STATE, "no experts");
    FAILS(mrp_model_extract(made, 0, NULL, options, &m), MRP_ERR_STATE, "no experts");
    FAILS(mrp_model_upcycle(mixture, labelled, options, NULL, NULL, &m), MRP_ERR_STATE, "has experts already");
    REFUSES(mrp_model_experts(mixture, labelled, options, counts, losses, 3, NULL, 0), "4 elements");
    REFUSES(mrp_model_experts(mixture, labelled, options, NULL, NULL, 0, numbers_of, COUNT - 1), "experts");
    REFUSES(mrp_model_experts(NULL, labelled, options, NULL, NULL, 0, NULL, 0), "NULL");
    REFUSES(mrp_model_extract(mixture, 4, NULL, options, &m), "expert 4");
    REFUSES(mrp_model_extract(mixture, -1, NULL, options, &m), "dataset is NULL");
    REFUSES(mrp_model_upcycle(mae, NULL, options, NULL, NULL, &m), "images to cluster");
    REFUSES(mrp_model_upcycle(mae, labelled, options, NULL, NULL, NULL), "out");
    WORKS(mrp_config_set(other, "moe_clusters", "17"));
    REFUSES(mrp_model_upcycle(mae, labelled, other, NULL, NULL, &m), "clusters 17");
    WORKS(mrp_config_set(other, "moe_clusters", "4"));
    WORKS(mrp_config_set(other, "batch_size", "3"));
    REFUSES(mrp_pretrain(mixture, labelled, other, NULL, NULL), "moe_experts 4 is over the batch of 3");
    REFUSES(mrp_config_set(other, "moe_capacity", "0"), "moe_capacity 0");
    static float huge[VALUES];
    for (int i = 0; i < VALUES; i++) huge[i] = i % 2 ? 3e38f : -3e38f;
    WORKS(mrp_dataset_wrap_array(huge, MRP_FLOAT32, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &extreme));
    WORKS(mrp_config_set(other, "pixel_check", "ignore"));
    FAILS(mrp_model_upcycle(mae, extreme, other, NULL, NULL, &m), MRP_ERR_NUMERIC, "not finite");
    WORKS(mrp_config_set(other, "names", "timm"));
    FAILS(mrp_model_save(mixture, in_root("never.safetensors"), other), MRP_ERR_UNSUPPORTED, "extract an expert first");
    FAILS(mrp_model_export_onnx(mixture, in_root("never.onnx"), NULL), MRP_ERR_UNSUPPORTED, "extract an expert first");
    WORKS(mrp_model_save(made, in_root("expert.safetensors"), other));
    WORKS(mrp_config_set(other, "encoder", "resnet18"));
    WORKS(mrp_config_set(other, "image_size", "32"));
    WORKS(mrp_config_set(other, "width", "4"));
    mrp_model *convolutional = NULL;
    WORKS(mrp_model_create(other, &convolutional));
    FAILS(mrp_model_upcycle(convolutional, labelled, other, NULL, NULL, &m), MRP_ERR_UNSUPPORTED, "has no experts");
    WORKS(mrp_config_set(other, "moe_experts", "4"));
    FAILS(mrp_model_create(other, &m), MRP_ERR_UNSUPPORTED, "has no experts");
    mrp_model_destroy(convolutional);
    mrp_model_destroy(made);
    mrp_dataset_destroy(extreme);
    mrp_config_destroy(other);
    EXPECT(m == NULL);
}

/* ---- Run folders and measurements */

/* A run in a folder whose weights stay as they are, with an option more. */
static mrp_trainer *trainer_in(const char *path, const char *key, const char *value, mrp_model **m) {
    mrp_config *other = small_options();
    mrp_trainer *trainer = NULL;
    WORKS(mrp_config_set(other, "epochs", "4")); /* 8 steps, and a measurement after each second one */
    WORKS(mrp_config_set(other, "learning_rate", "0"));
    WORKS(mrp_config_set(other, "run_folder", path));
    if (key) WORKS(mrp_config_set(other, key, value));
    *m = model_for(&operations[3]);
    WORKS(mrp_model_set_validation(*m, labelled, NULL));
    WORKS(mrp_trainer_create(*m, labelled, other, "finetune", &trainer));
    mrp_config_destroy(other);
    return trainer;
}

static void finish(mrp_trainer *trainer, const char *end, double step) {
    mrp_status status;
    while ((status = mrp_trainer_step(trainer)) == MRP_OK) EXPECT(mrp_progress_value(mrp_trainer_progress(trainer), "step") <= step);
    EXPECT(status == MRP_DONE);
    CHECK(strcmp(mrp_trainer_end(trainer), end) == 0, "the end is '%s', not '%s'", mrp_trainer_end(trainer), end);
    EXPECT(mrp_progress_value(mrp_trainer_progress(trainer), "step") == step);
}

/* Why runs end, and that a suspended one goes on, here and in a new trainer. */
static void test_ends(void) {
    mrp_model *m = NULL;
    char path[256], loss[64];
    snprintf(path, sizeof path, "%s", in_root("ends"));
    mrp_trainer *trainer = trainer_in(path, "time_budget", "1e-9", &m);
    finish(trainer, "time_budget", 1);
    WORKS(mrp_trainer_suspend(trainer));
    EXPECT(strcmp(mrp_trainer_end(trainer), "time_budget") == 0);
    mrp_trainer_destroy(trainer);
    mrp_model_destroy(m);

    trainer = trainer_in(path, NULL, NULL, &m);
    EXPECT(strcmp(mrp_trainer_end(trainer), "") == 0);
    WORKS(mrp_trainer_step(trainer));
    WORKS(mrp_trainer_suspend(trainer));
    EXPECT(strcmp(mrp_trainer_end(trainer), "suspended") == 0);
    WORKS(mrp_trainer_step(trainer));
    EXPECT(strcmp(mrp_trainer_end(trainer), "") == 0);
    WORKS(mrp_trainer_suspend(trainer));
    WORKS(mrp_trainer_suspend(trainer));
    snprintf(loss, sizeof loss, "%.17g", mrp_progress_value(mrp_trainer_progress(trainer), "loss"));
    mrp_trainer_destroy(trainer);
    mrp_model_destroy(m);

    trainer = trainer_in(path, NULL, NULL, &m);
    EXPECT(mrp_progress_value(mrp_trainer_progress(trainer), "step") == 3);
    EXPECT(mrp_progress_value(mrp_trainer_progress(trainer), "loss") == strtod(loss, NULL));
    finish(trainer, "finished", 8);
    mrp_trainer_destroy(trainer);
    mrp_model_destroy(m);
    trainer = trainer_in(path, NULL, NULL, &m);
    EXPECT(strcmp(mrp_trainer_end(trainer), "finished") == 0); /* before any step */
    finish(trainer, "finished", 8);
    mrp_trainer_destroy(trainer);
    mrp_model_destroy(m);

    trainer = trainer_in(in_root("patience"), "early_stopping", "1", &m);
    finish(trainer, "early_stopping", 4);
    mrp_trainer_destroy(trainer);
    mrp_model_destroy(m);
}

static void test_suspension_fails(void) {
    mrp_model *m = NULL;
    char path[256], moved[256];
    snprintf(path, sizeof path, "%s", in_root("moved"));
    snprintf(moved, sizeof moved, "%s", in_root("elsewhere"));
    mrp_trainer *trainer = trainer_in(path, NULL, NULL, &m);
    WORKS(mrp_trainer_step(trainer));
    EXPECT(rename(path, moved) == 0);
    FAILS(mrp_trainer_suspend(trainer), MRP_ERR_IO, path);
    EXPECT(strcmp(mrp_trainer_end(trainer), "") == 0);
    EXPECT(rename(moved, path) == 0);
    WORKS(mrp_trainer_suspend(trainer));
    mrp_trainer_destroy(trainer);
    mrp_model_destroy(m);
}

static void test_recipe(void) {
    mrp_config *other = small_options();
    mrp_trainer *holder = NULL, *trainer = NULL;
    mrp_dataset *unlabelled = NULL;
    int64_t counts[CLASSES * CLASSES], sum = 0;
    double value = -1, share;
    WORKS(mrp_config_set(other, "run_folder", in_root("run")));
    mrp_model *m = model_for(&operations[0]), *c = model_for(&operations[3]);
    WORKS(mrp_trainer_create(m, labelled, other, "pretrain", &holder));
    mrp_model *second = model_for(&operations[0]);
    FAILS(mrp_pretrain(second, labelled, other, NULL, NULL), MRP_ERR_STATE, "in use by another run");
    FAILS(mrp_finetune(c, labelled, other, NULL, NULL), MRP_ERR_STATE, "in use by another run");
    FAILS(mrp_trainer_create(second, labelled, other, "pretrain", &trainer), MRP_ERR_STATE, "in use by another run");
    mrp_model_destroy(second);
    mrp_trainer_destroy(holder);

    WORKS(mrp_dataset_wrap_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &unlabelled));
    REFUSES(mrp_model_set_validation(NULL, NULL, NULL), "model");
    WORKS(mrp_model_set_validation(m, labelled, NULL));
    REFUSES(mrp_pretrain(m, labelled, options, NULL, NULL), "reference");
    WORKS(mrp_model_set_validation(m, labelled, labelled));
    WORKS(mrp_pretrain(m, labelled, other, NULL, NULL));
    WORKS(mrp_probe(m, labelled, labelled, options, "knn", &value));
    EXPECT(value > 0.3 && value <= 1); /* each image is its own neighbour */
    REFUSES(mrp_probe(m, labelled, unlabelled, options, "knn", &value), "labels");
    REFUSES(mrp_probe(m, labelled, NULL, options, "knn", &value), "NULL");
    REFUSES(mrp_probe(m, labelled, labelled, options, "forest", &value), "'forest'");
    REFUSES(mrp_probe(m, labelled, labelled, options, "knn", NULL), "value");
    REFUSES(mrp_probe(m, labelled, labelled, NULL, "knn", &value), "knn_k 20 is above the 16");

    WORKS(mrp_confusion(c, labelled, options, counts, CLASSES * CLASSES));
    for (int i = 0; i < CLASSES * CLASSES; i++) sum += counts[i];
    EXPECT(sum == COUNT);
    sum = 0;
    for (int i = 0; i < CLASSES; i++) sum += counts[i * (CLASSES + 1)];
    WORKS(mrp_evaluate(c, labelled, options, "top1", &value));
    EXPECT(value == (double)sum / COUNT);
    WORKS(mrp_evaluate(c, labelled, options, "balanced_top1", &share));
    EXPECT(fabs(share - value) < 1e-12); /* as many images of each class */
    WORKS(mrp_evaluate(c, labelled, options, "top5", &share));
    EXPECT(share == 1); /* of four classes */
    FAILS(mrp_confusion(m, labelled, options, counts, CLASSES * CLASSES), MRP_ERR_STATE, "head");
    REFUSES(mrp_confusion(c, unlabelled, options, counts, CLASSES * CLASSES), "labels");
    REFUSES(mrp_confusion(c, labelled, options, counts, CLASSES * CLASSES - 1), "16");
    REFUSES(mrp_confusion(c, labelled, options, NULL, CLASSES * CLASSES), "NULL");
    mrp_dataset_destroy(unlabelled);
    mrp_model_destroy(m);
    mrp_model_destroy(c);
    mrp_config_destroy(other);
}

/* ---- Handles of no use, the log, names of classes and images */

static void test_handles(void) {
    void *wrong = gone;
    char text[64];
    int64_t number;
    mrp_model *m = NULL;
    mrp_dataset *made = NULL;
    mrp_trainer *trainer = NULL;
    for (int i = 0; i < OPERATIONS; i++)
        fails(operations[i].call(wrong, labelled, options), MRP_ERR_HANDLE, "model", operations[i].name, __LINE__);
    FAILS(mrp_model_create(wrong, &m), MRP_ERR_HANDLE, "config");
    FAILS(mrp_model_clone(wrong, &m), MRP_ERR_HANDLE, "model");
    FAILS(mrp_model_set_validation(wrong, NULL, NULL), MRP_ERR_HANDLE, "model");
    FAILS(mrp_model_set_validation(mae, wrong, NULL), MRP_ERR_HANDLE, "dataset");
    FAILS(mrp_model_parameter(wrong, "cls_token", NULL, 0, &number), MRP_ERR_HANDLE, "model");
    FAILS(mrp_dataset_open_folder(in_root("images"), wrong, &made), MRP_ERR_HANDLE, "config");
    FAILS(mrp_dataset_labels(wrong, labels, COUNT), MRP_ERR_HANDLE, "dataset");
    FAILS(mrp_dataset_name_classes(wrong, "a", &made), MRP_ERR_HANDLE, "dataset");
    FAILS(mrp_dataset_image_name(wrong, 0, text, sizeof text, NULL), MRP_ERR_HANDLE, "dataset");
    FAILS(mrp_trainer_create(wrong, labelled, options, "pretrain", &trainer), MRP_ERR_HANDLE, "model");
    FAILS(mrp_trainer_save(wrong, "never"), MRP_ERR_HANDLE, "trainer");
    FAILS(mrp_trainer_resume(wrong, "never"), MRP_ERR_HANDLE, "trainer");
    FAILS(mrp_trainer_suspend(wrong), MRP_ERR_HANDLE, "trainer");
    EXPECT(!m && !made && !trainer);
}

static void test_names(void) {
    mrp_dataset *named = NULL, *unlabelled = NULL;
    char text[256];
    WORKS(mrp_dataset_wrap_array(pixels, MRP_UINT8, COUNT, CHANNELS, SIDE, SIDE, MRP_NCHW, NULL, &unlabelled));
    FAILS(mrp_dataset_name_classes(unlabelled, "a", &named), MRP_ERR_STATE, "labels");
    REFUSES(mrp_dataset_name_classes(labelled, "ant\nbee", &named), "2 names");
    REFUSES(mrp_dataset_name_classes(labelled, "ant\n\nbee\ncat", &named), "class 1");
    REFUSES(mrp_dataset_name_classes(labelled, NULL, &named), "names");
    REFUSES(mrp_dataset_name_classes(labelled, "a", NULL), "out");
    WORKS(mrp_dataset_name_classes(labelled, "ant\nbee\ncat\ndog wolf\n", &named));
    WORKS(mrp_dataset_class_name(named, 3, text, sizeof text, NULL));
    EXPECT(strcmp(text, "dog wolf") == 0);
    WORKS(mrp_dataset_image_name(named, 7, text, sizeof text, NULL));
    EXPECT(strcmp(text, "image 7") == 0);
    WORKS(mrp_dataset_image_name(folder, 3, text, sizeof text, NULL));
    EXPECT(strcmp(text, in_root("images/1/b.png")) == 0);
    REFUSES(mrp_dataset_image_name(folder, 4, text, sizeof text, NULL), "4");
    REFUSES(mrp_dataset_image_name(folder, -1, text, sizeof text, NULL), "-1");
    REFUSES(mrp_dataset_image_name(folder, 0, text, 3, NULL), "3");
    mrp_model *m = NULL;
    WORKS(mrp_model_create(options, &m));
    WORKS(mrp_finetune(m, named, options, NULL, NULL));
    static char description[20000];
    WORKS(mrp_model_describe(m, description, sizeof description, NULL));
    EXPECT(strstr(description, "[\"ant\",\"bee\",\"cat\",\"dog wolf\"]") != NULL);
    mrp_model_destroy(m);
    mrp_dataset_destroy(named);
    mrp_dataset_destroy(unlabelled);
}

static void keep_line(int32_t level, const char *text, void *user) { snprintf(user, 1000, "%d %s", (int)level, text); }

static void test_log(void) {
    char line[1000] = "";
    REFUSES(mrp_set_log(4, keep_line, line), "4");
    REFUSES(mrp_set_log(-1, keep_line, line), "-1");
    WORKS(mrp_set_log(MRP_LOG_ERROR, keep_line, line));
    EXPECT(mrp_config_set(options, "mask_rato", "1") == MRP_ERR_ARGUMENT);
    EXPECT(strncmp(line, "1 unknown option 'mask_rato'", 28) == 0 && strcmp(line + 2, mrp_last_error()) == 0);
    strcpy(line, "");
    WORKS(mrp_pretrain(mae, labelled, options, NULL, NULL));
    EXPECT(strcmp(line, "") == 0);
    WORKS(mrp_set_log(MRP_LOG_INFO, keep_line, line));
    WORKS(mrp_pretrain(mae, labelled, options, NULL, NULL));
    EXPECT(strncmp(line, "2 pretrain: 2 steps of 8 images", 31) == 0);
    WORKS(mrp_set_log(MRP_LOG_WARNING, keep_line, line));
    strcpy(line, "");
    WORKS(mrp_pretrain(mae, labelled, options, NULL, NULL));
    EXPECT(strcmp(line, "") == 0); /* a run as it was asked for warns of nothing */
    mrp_config *patient = small_options();
    WORKS(mrp_config_set(patient, "early_stopping", "1"));
    WORKS(mrp_pretrain(mae, labelled, patient, NULL, NULL));
    EXPECT(strncmp(line, "3 early_stopping: there are no held-out images", 46) == 0);
    mrp_config_destroy(patient);
    WORKS(mrp_set_log(MRP_LOG_INFO, NULL, NULL));
    strcpy(line, "");
    EXPECT(mrp_config_set(options, "mask_rato", "1") == MRP_ERR_ARGUMENT);
    EXPECT(strcmp(line, "") == 0);
}

int main(void) {
    begin();
    test_handles();
    test_bad_images();
    test_files();
    test_experts();
    test_memory();
    test_unsupported();
    test_numbers();
    test_names();
    test_recipe();
    test_ends();
    test_suspension_fails();
    test_log();
    return end(__FILE__);
}
