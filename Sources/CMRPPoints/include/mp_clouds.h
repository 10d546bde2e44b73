/* Point clouds on their way to a network, and generated ones. Rows have `channels` values, x, y, z first; only these are moved. Random numbers
 * are functions of the seed (and of the cloud's number) alone; one thread, no allocation. */
#ifndef MP_CLOUDS_H
#define MP_CLOUDS_H

#include "mp_groups.h"

/* Point sets of `wanted` points: drawn at random without repetition where there are enough, else all of them and then some again. `order` is
 * scratch of cloud->count numbers. */
void mp_draw(const mp_cloud *cloud, int64_t wanted, uint64_t seed, int32_t *order, float *out);

/* The same without chance: the points that are farthest from each other, from the outermost on; scratch as of mp_groups_scratch. */
void mp_draw_farthest(const mp_cloud *cloud, int64_t wanted, int32_t *order, void *scratch, float *out);

/* Moves the mean to 0 and the farthest point to distance 1; a cloud of one place stays there. */
void mp_to_unit_ball(float *points, int64_t count, int64_t channels);

enum { MP_TURN_NONE = 0, MP_TURN_UPRIGHT = 1, MP_TURN_ANY = 2 };

/* Changes of a cloud, in this order. */
typedef struct mp_change {
    int32_t turn, up_axis;        /* about the axis up_axis (0, 1, 2), or by any rotation, uniformly */
    double scale_low, scale_high; /* a factor for each axis */
    double shift;                 /* -shift ... shift along each axis */
    double jitter;                /* deviation of what is added to each coordinate; cut at 5 deviations, as PointNet++ does at 0.05 */
} mp_change;

void mp_apply_change(float *points, int64_t count, int64_t channels, const mp_change *change, uint64_t seed);

/* Groups as an image: `groups` rows of 1 + size pixels of `channels` values, first the centre (its other channels 0), then its nearest
 * points, coordinates less the centre's. The first centre is point `first`. `ids` is scratch of groups x (1 + size). */
void mp_group_image(const mp_cloud *cloud, int64_t first, int64_t groups, int64_t size, int32_t *ids, void *scratch, float *image);

/* Generated surfaces of random proportions in the unit ball, upright (z) and turned about z: `count` points of cloud `index` of the endless
 * sequence that the seed fixes, evenly by area, with noise of 0.02. Its class is index % MP_SHAPES. */
enum { MP_SHAPES = 10 };
const char *mp_shape_name(int32_t shape); /* "ellipsoid" ... */
void mp_shape(uint64_t seed, int64_t index, int64_t count, float *points);

#endif
