/* Shared by the programs: options of a network that trains in milliseconds, and 16 small colour images with labels. */
#ifndef SMALL_H
#define SMALL_H

#include <mrp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* C99 wants an argument where CHECK takes a message. */
#define EXPECT(condition) CHECK(condition, "")

enum { COUNT = 16, CHANNELS = 3, SIDE = 8, PATCHES = 4, CLASSES = 4, WIDTH = 16, VALUES = COUNT * CHANNELS * SIDE * SIDE };

static uint8_t pixels[VALUES];
static int32_t labels[COUNT];

static inline void fill_images(void) {
    uint32_t state = 1;
    for (int i = 0; i < VALUES; i++) {
        state = state * 1664525u + 1013904223u;
        pixels[i] = (uint8_t)(state >> 24);
    }
    for (int i = 0; i < COUNT; i++) labels[i] = i % CLASSES;
}

/* The path of a name in a folder, until the fourth call after this one. */
static inline const char *path_in(const char *folder, const char *name) {
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

/* The call must succeed; its error is printed otherwise. */
#define WORKS(call)                                                                             \
    do {                                                                                        \
        mrp_status works_status = (call);                                                       \
        if (works_status == MRP_OK) {                                                           \
            check_count++;                                                                      \
        } else {                                                                                \
            CHECK_FAIL("%s: %s: %s", #call, mrp_status_string(works_status), mrp_last_error()); \
        }                                                                                       \
    } while (0)

/* Records the status that a function gave, "mrp_encode MRP_ERR_BUSY" per line, in the file that MRP_PAIRS names: test_error_pairs.py compares
 * them with the header. `call` begins with the function's name. */
static inline void record_pair(const char *call, mrp_status status) {
    const char *path = getenv("MRP_PAIRS");
    FILE *file = path && status != MRP_OK ? fopen(path, "a") : NULL;
    if (!file) return;
    fprintf(file, "%.*s %s\n", (int)strcspn(call, "("), call, mrp_status_string(status));
    fclose(file);
}

/* The call must give `wanted`; an error with one line of text that holds `word`. */
static inline void fails(mrp_status got, mrp_status wanted, const char *word, const char *call, int line) {
    const char *text = mrp_last_error();
    check_count++;
    if (got != wanted) {
        check_failures++;
        fprintf(stderr, "line %d: %s: %s instead of %s (%s)\n", line, call, mrp_status_string(got), mrp_status_string(wanted), text);
    } else if (got < 0 && (text[0] == 0 || strchr(text, '\n') || strlen(text) > 1000 || !strstr(text, word))) {
        check_failures++;
        fprintf(stderr, "line %d: %s: the text is '%s', without '%s'\n", line, call, text, word);
    } else {
        record_pair(call, got);
    }
}
#define FAILS(call, wanted, word) fails((call), (wanted), (word), #call, __LINE__)
#define REFUSES(call, word) FAILS(call, MRP_ERR_ARGUMENT, word)

static inline mrp_config *small_options(void) {
    static const char *const values[][2] = {{"image_size", "8"},    {"patch_size", "4"}, {"width", "16"},         {"depth", "1"},
                                            {"heads", "2"},         {"mlp_ratio", "2"},  {"decoder_width", "16"}, {"decoder_depth", "1"},
                                            {"decoder_heads", "2"}, {"threads", "2"},    {"loader_threads", "1"}, {"batch_size", "8"},
                                            {"epochs", "1"},        {"knn_k", "3"},      {"moe_blocks", "1"},     {"moe_clusters", "4"}};
    mrp_config *options = NULL;
    WORKS(mrp_config_create(NULL, &options));
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) WORKS(mrp_config_set(options, values[i][0], values[i][1]));
    return options;
}

#endif
