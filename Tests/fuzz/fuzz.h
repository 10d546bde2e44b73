/* What the fuzz targets over the C interface share: a network that trains in milliseconds, images for it, and files in memory. */
#ifndef FUZZ_H
#define FUZZ_H

#include <mrp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Ends the process, which libFuzzer reports with the input. */
static inline void require(int holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "not so: %s (%s)\n", what, mrp_last_error());
    abort();
}
#define REQUIRE(holds) require((holds), #holds)

/* Any status may come but that of a defect. */
static inline mrp_status sound(mrp_status status) {
    require(status != MRP_ERR_INTERNAL, "an internal error");
    return status;
}

/* A path in a folder of this process; the text stays. */
static inline const char *place(const char *name) {
    static char folder[64], paths[8][160];
    static int next;
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "%s/mrp-fuzz-%d", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
        REQUIRE(mkdir(folder, 0700) == 0);
    }
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline void write_file(const char *path, const void *bytes, size_t count) {
    FILE *file = fopen(path, "wb");
    REQUIRE(file && fwrite(bytes, 1, count, file) == count);
    fclose(file);
}

/* The whole file, in memory of its own. */
static inline uint8_t *read_file(const char *path, size_t *count) {
    FILE *file = fopen(path, "rb");
    REQUIRE(file && fseek(file, 0, SEEK_END) == 0);
    *count = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*count + 1);
    REQUIRE(bytes && fread(bytes, 1, *count, file) == *count);
    fclose(file);
    return bytes;
}

/* A text of the input, ended by a NUL, in memory of its own so that a sanitizer knows its end. */
static inline char *text_of(const uint8_t *bytes, size_t count) {
    char *text = malloc(count + 1);
    memcpy(text, bytes, count);
    text[count] = 0;
    return text;
}

static inline void set(mrp_config *config, const char *key, const char *value) { REQUIRE(mrp_config_set(config, key, value) == MRP_OK); }

/* 8 x 8 images, four patches, one block of width 8; everything on the thread of the caller. */
static inline mrp_config *tiny_config(void) {
    static const char *const options[][2] = {{"image_size", "8"},    {"patch_size", "4"}, {"width", "8"},          {"depth", "1"},
                                             {"heads", "2"},         {"mlp_ratio", "1"},  {"decoder_width", "8"},  {"decoder_depth", "1"},
                                             {"decoder_heads", "2"}, {"threads", "1"},    {"loader_threads", "0"}, {"batch_size", "2"},
                                             {"epochs", "2"}};
    mrp_config *config = NULL;
    REQUIRE(mrp_config_create(NULL, &config) == MRP_OK);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) set(config, options[i][0], options[i][1]);
    return config;
}

/* Four labelled images of two classes. */
static inline mrp_dataset *tiny_images(void) {
    static uint8_t pixels[4 * 3 * 64];
    static const int32_t labels[4] = {0, 1, 0, 1};
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(7 * i);
    mrp_dataset *dataset = NULL;
    REQUIRE(mrp_dataset_from_array(pixels, MRP_UINT8, 4, 3, 8, 8, MRP_NCHW, labels, &dataset) == MRP_OK);
    return dataset;
}

/* A laboratory whose experiment takes milliseconds. */
static inline mrp_lab *tiny_lab(void) {
    static const char *const options[][2] = {
        {"classes", "2"},       {"dimension", "4"},    {"patches", "4"},        {"kernels_per_class", "1"}, {"pretrain_samples", "1"},
        {"train_samples", "1"}, {"test_samples", "1"}, {"pretrain_steps", "0"}, {"finetune", "false"},      {"supervised", "false"},
        {"threads", "1"},       {"presence", "1"},     {"seeds", "1"}};
    mrp_lab *lab = NULL;
    REQUIRE(mrp_lab_create("quick", &lab) == MRP_OK);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) REQUIRE(mrp_lab_set(lab, options[i][0], options[i][1]) == MRP_OK);
    return lab;
}

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

#endif
