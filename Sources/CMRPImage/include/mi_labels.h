/* Masks: images of one channel whose pixels are ids, uint8, uint16 or int32; and maps of class scores. Nothing here allocates; sizes were checked
 * by the caller. */
#ifndef MI_LABELS_H
#define MI_LABELS_H

#include "mi_image.h"

/* ids[y, x] = the place of the colour among `count` ones of 3 bytes. Returns -1, or the first pixel (y width + x) whose colour is none of
 * them. `rgb` is uint8 with 3 channels. */
int64_t mi_colours_to_ids(const mi_image *rgb, const uint8_t *colours, int64_t count, const mi_image *ids);

/* The first pixel whose id is neither `ignored` nor in 0 ..< classes, or -1. */
int64_t mi_first_id_beyond(const mi_image *ids, int64_t classes, int32_t ignored);

int32_t mi_id_at(const mi_image *ids, int64_t pixel);

/* The largest and the smallest id but `ignored`; high < low where there is none. */
void mi_id_range(const mi_image *ids, int32_t ignored, int32_t *low, int32_t *high);

void mi_fill_ids(const mi_image *ids, int32_t id);

/* Of each id its class and the factor of its loss: weights[class] (1 without weights) over the mean weight of all `count` ids; 0 with label 0 for
 * one that is `ignored` or in no class. Returns the sum of the weights. */
double mi_pixel_factors(const int32_t *ids, int64_t count, int64_t classes, int32_t ignored, const float *weights, int32_t *labels,
                        float *factors);

/* 1 for an id that is a class, else 0. */
void mi_pixel_presence(const int32_t *ids, int64_t count, int64_t classes, int32_t ignored, float *presence);

/* Class scores of a map, height x width x classes, classes last. They are enlarged bilinearly to other sizes, as mk_resize does it. */
typedef struct mi_scores {
    const float *values;
    int64_t height, width, classes;
    int64_t named; /* the first so many classes can be answers */
    float *row;    /* scratch: (width + 1) x classes */
} mi_scores;

/* out[y, x] = the class with the largest score, of equal ones the first; `out` is uint16. */
void mi_class_map(const mi_scores *scores, const mi_image *out);

/* Adds the scores of a window of height x width pixels, enlarged to them, to sums of `sum_width` columns: its column x goes to column left + x,
 * where there is one, its rows first_row ..< first_row + rows to the sums' rows from 0. Scores have weights, which are added to weights[row, column]:
 * the product of a linear one of the row and of the column, 1 in the middle of the window, least at its edges. */
void mi_add_window(const mi_scores *scores, int64_t height, int64_t width, int64_t first_row, int64_t rows, int64_t left, float *sums,
                   float *weights, int64_t sum_width);

/* sums[pixel, class] /= weights[pixel] */
void mi_mean_of_windows(float *sums, const float *weights, int64_t pixels, int64_t classes);

/* The softmax of the first `named` scores of each pixel: height x width x named values, without gaps. */
void mi_class_shares(const mi_scores *scores, int64_t height, int64_t width, float *shares);

/* Measures of a map of scores. */
typedef struct mi_map_score {
    int64_t *confusion; /* named x named: pixels of class t that were taken for p at place t named + p; added to */
    double loss;        /* sum of the cross entropy over the pixels; added to */
    int64_t pixels;     /* those that count; added to */
} mi_map_score;

/* Compares with ids of the wanted size. places[id] is the class of an id; ids that are `ignored` do not count. */
void mi_score_map(const mi_scores *scores, const mi_image *ids, int32_t ignored, const int32_t *places, mi_map_score *score);

#endif
