/* Instance masks on a grid of cells (Wang et al. 2020, "SOLOv2"): targets from ids of objects, instances of a network's answer, and what they are
 * worth. Nothing here allocates. An id is `ignored` (or below 0): not known; 0: ground; else an object of its image, at most MI_LAST_OBJECT. */
#ifndef MI_INSTANCES_H
#define MI_INSTANCES_H

#include "mi_image.h"

enum { MI_LAST_OBJECT = 65535 };

/* ---- Targets ---- */

/* One image: ids of height x width pixels, a grid of cells, and maps of the masks. Shares are means over the known pixels of a place, -1 where there
 * are none. Sides that are no multiples of each other are cut at floor(i n / m). */
typedef struct mi_instance_targets {
    int64_t height, width, grid_rows, grid_columns, map_rows, map_columns;
    int64_t most; /* positive cells at most */
    int32_t ignored;
    float *objectness; /* grid: 1 for a positive cell, 0, or -1 where most pixels are not known */
    int32_t *cells;    /* most: the positive cells in their order, then -1 */
    float *masks;      /* most x map: the share of its object in each place; 0 behind the last */
    float *foreground; /* map: the largest share of an object */
} mi_instance_targets;

int64_t mi_instance_scratch(const mi_instance_targets *targets); /* bytes, for 8-byte elements */

/* Assigns each object its cells: that of its centre of mass, and those that a box of a fifth of its own box's sides around the centre meets, at most one
 * cell away; of two objects the smaller one has a cell (of equal ones that with the larger id). Returns the number of positive cells; above `most`
 * nothing else is written. */
int64_t mi_instance_targets_make(const mi_instance_targets *targets, const int32_t *ids, void *scratch);

/* ---- Instances ---- */

/* A network's answer for one image. The mask of a cell is where features . kernel + bias is above 0. */
typedef struct mi_cells {
    int64_t grid_rows, grid_columns, map_rows, map_columns, channels;
    const float *objectness; /* grid: logits */
    const float *kernels;    /* grid x (channels + 1), the bias last */
    const float *features;   /* map x channels */
} mi_cells;

/* Masks as logits, at most `most`, the best first. */
typedef struct mi_instances {
    int64_t most, count, map_rows, map_columns;
    float *scores; /* most */
    float *masks;  /* 2 most x map: those of the instances come first */
} mi_instances;

int64_t mi_find_scratch(const mi_cells *cells, int64_t most); /* bytes, for 8-byte elements */

/* Cells whose score, the sigmoid of the logit, is the largest among their eight neighbours (of equal ones the first), the best 2 most of them; score
 * times the mean sigmoid inside of the mask; masks of at least 4 places; those that overlap a better one by more than a half (intersection over
 * union) are left out. Sets count. */
void mi_find_instances(const mi_cells *cells, mi_instances *found, void *scratch);

/* Enlarges the masks bilinearly to the size of `ids` (uint16): a pixel gets the number 1, 2, ... of the best instance that it belongs to, else 0.
 * boxes[4 i]: left, top, right, bottom (one past the last pixel) of all of an instance's mask. `line`: scratch of the width of ids. */
void mi_paint_instances(const mi_instances *found, const mi_image *ids, int32_t *boxes, uint8_t *line);

/* ---- Measures ---- */

/* places[id] = 1, 2, ... for each object of the image in the order of its first pixel, areas[place - 1] its pixels; returns their number. `places`
 * has MI_LAST_OBJECT + 1 elements, all 0 before; areas as many as the image may have objects, at most `most`: more are an error, -1. */
int64_t mi_list_objects(const mi_image *ids, int32_t ignored, int32_t *places, int64_t *areas, int64_t most);

/* Sets places of the image's ids back to 0. */
void mi_forget_objects(const mi_image *ids, int32_t *places);

/* both[i objects + j]: pixels of instance i and object j at the size of ids; areas[i]: known pixels of instance i. */
void mi_overlaps(const mi_instances *found, const mi_image *ids, int32_t ignored, const int32_t *places, int64_t objects, int64_t *both,
                 int64_t *areas, uint8_t *line);

/* Gives the first `count` instances, the best first, the object that they overlap most among those that are free, if by at least `threshold`
 * (intersection over union), as COCO does. hits[i]: 1 where there is one. taken (objects): scratch. Returns how many. */
int64_t mi_match(int64_t count, int64_t objects, const int64_t *both, const int64_t *areas, const int64_t *object_areas, double threshold,
                 uint8_t *hits, uint8_t *taken);

typedef struct mi_scored {
    float score;
    int32_t is_hit;
    int64_t order; /* of equal scores the lower one comes first */
} mi_scored;

/* Average precision as COCO has it: the mean over recalls 0, 0.01, ... 1 of the best precision at that recall or above. Sorts the list. */
double mi_average_precision(mi_scored *list, int64_t count, int64_t objects);

#endif
