/* Groups of a point cloud (Qi et al. 2017, PointNet++): centres by farthest point sampling, each with its k nearest points. Rows of points
 * have `channels` values, x, y, z first, all finite. Squared distances are (dx^2 + dy^2) + dz^2 in float32 without fused multiply-add, so
 * that every instruction set chooses the same points; of equal distances the lower index comes first. One thread; no allocation. */
#ifndef MP_GROUPS_H
#define MP_GROUPS_H

#include <stdint.h>

typedef struct mp_cloud {
    const float *points;     /* count x channels */
    int64_t count, channels; /* channels >= 3; count 1 ... MP_MAX_POINTS */
} mp_cloud;

enum { MP_MAX_POINTS = 1 << 24 };

/* Bytes of scratch, aligned to 64, for the calls below; groups of up to `size` points. */
int64_t mp_groups_scratch(int64_t count, int64_t size);

/* The point that is farthest from the centroid: a beginning that does not depend on the order of the points (but for equal distances). */
int64_t mp_outermost(const mp_cloud *cloud);

/* chosen[0] = first; each next one is the point whose distance to the nearest chosen one is largest. 1 <= centres <= count. */
void mp_farthest(const mp_cloud *cloud, int64_t first, int64_t centres, int32_t *chosen, void *scratch);

/* ids[g, 0 ..< size]: the nearest points of point centres[g], by rising distance; 1 <= size <= count. */
void mp_nearest(const mp_cloud *cloud, const int32_t *centres, int64_t groups, int64_t size, int32_t *ids, void *scratch);

/* The same as plain loops, for tests. */
void mp_farthest_reference(const mp_cloud *cloud, int64_t first, int64_t centres, int32_t *chosen, void *scratch);
void mp_nearest_reference(const mp_cloud *cloud, const int32_t *centres, int64_t groups, int64_t size, int32_t *ids, void *scratch);

/* For tests: 0 baseline, 1 AVX2, 2 AVX-512; -1 restores the best. Returns 0 when this CPU cannot run it. */
int32_t mp_kernels_select(int32_t isa);

#endif
