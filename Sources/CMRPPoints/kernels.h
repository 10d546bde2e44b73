/* The inner loops over the points of a cloud: kernels_template.h is compiled once per instruction set, and the best that this CPU runs is
 * chosen at the first call. All give the same bits. Planes are the x, y, z of the points, `padded` floats each. */
#ifndef MP_KERNELS_H
#define MP_KERNELS_H

#include <stdint.h>

enum { MP_PADDING = 16 };

typedef struct mp_kernel_table {
    /* distances[i] = the smaller of itself and the squared distance to the centre; returns the first index of the largest. Padding has
     * distance -1. */
    int64_t (*farthest)(const float *planes, int64_t padded, const float *centre, float *distances);
    /* Points from `first` on, a multiple of MP_PADDING, that are nearer than the threshold (NaN: all), as distance << 32 | index: appended
     * to keys until room is left for less than MP_PADDING. Returns the place to go on from; *used goes up. */
    int64_t (*nearer)(const float *planes, int64_t padded, int64_t count, const float *centre, float threshold, int64_t first,
                      uint64_t *keys, int64_t *used, int64_t room);
} mp_kernel_table;

const mp_kernel_table *mp_kernels(void);

#endif
