/* Windows and lists of visible positions for the tests of convolutions and pools. */
#ifndef PLACES_H
#define PLACES_H

#include "kernel_arrays.h"

static inline mk_window window(int64_t in, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
    return (mk_window){in, (in + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1, kernel, stride, padding, dilation};
}

static inline mk_places all_places(int64_t count) { return (mk_places){count, NULL, NULL}; }

/* About `share` percent of the positions of a tensor as a list; never none. With `side`, whole squares of that side. */
static inline mk_places visible_places(int64_t batch, int64_t height, int64_t width, int share, int64_t side) {
    int64_t all = batch * height * width;
    int32_t *positions = malloc((size_t)all * 8), *rows = positions + all;
    mk_places places = {0, positions, rows};
    for (int64_t i = 0; i < all; i++) {
        int64_t corner = i - i / width % height % side * width - i % width % side;
        int there = i == all / 2 || next_uniform() * 50 + 50 < share;
        if (side > 1 && corner != i) there = rows[corner] >= 0;
        rows[i] = there ? (int32_t)places.count : -1;
        if (there) positions[places.count++] = (int32_t)i;
    }
    return places;
}

static inline void places_free(mk_places places) { free((void *)places.positions); }

#endif
