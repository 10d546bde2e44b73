/* What the programs share: options of a network that trains in milliseconds, and 16 small colour images with labels. */
#ifndef SMALL_H
#define SMALL_H

#include <mrp.h>
#include <stdint.h>
#include <string.h>

#include "calls.h"

enum { COUNT = 16, CHANNELS = 3, SIDE = 8, PATCHES = 4, CLASSES = 4, WIDTH = 16, VALUES = COUNT * CHANNELS * SIDE * SIDE };

static uint8_t pixels[VALUES];
static int32_t labels[COUNT];

static void fill_images(void) {
    uint32_t state = 1;
    for (int i = 0; i < VALUES; i++) {
        state = state * 1664525u + 1013904223u;
        pixels[i] = (uint8_t)(state >> 24);
    }
    for (int i = 0; i < COUNT; i++) labels[i] = i % CLASSES;
}

static mrp_config *small_options(void) {
    static const char *const values[][2] = {{"image_size", "8"},    {"patch_size", "4"}, {"width", "16"},         {"depth", "1"},
                                            {"heads", "2"},         {"mlp_ratio", "2"},  {"decoder_width", "16"}, {"decoder_depth", "1"},
                                            {"decoder_heads", "2"}, {"threads", "2"},    {"loader_threads", "1"}, {"batch_size", "8"},
                                            {"epochs", "1"}};
    mrp_config *options = NULL;
    WORKS(mrp_config_create(NULL, &options));
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) WORKS(mrp_config_set(options, values[i][0], values[i][1]));
    return options;
}

#endif
