#include "mp_groups.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

#pragma STDC FP_CONTRACT OFF

static int64_t padded_count(int64_t count) { return (count + MP_PADDING - 1) / MP_PADDING * MP_PADDING; }

/* Candidates that are kept beside the nearest ones before the farther half goes. */
static int64_t key_room(int64_t size) { return 2 * size + 8 * MP_PADDING; }

int64_t mp_groups_scratch(int64_t count, int64_t size) { return padded_count(count) * 4 * 4 + key_room(size) * 8; }

static void fill_planes(const mp_cloud *cloud, float *planes) {
    const int64_t padded = padded_count(cloud->count);
    for (int64_t axis = 0; axis < 3; axis++)
        for (int64_t i = 0; i < padded; i++) planes[axis * padded + i] = i < cloud->count ? cloud->points[i * cloud->channels + axis] : 0;
}

int64_t mp_outermost(const mp_cloud *cloud) {
    double centre[3] = {0};
    for (int64_t i = 0; i < cloud->count; i++)
        for (int axis = 0; axis < 3; axis++) centre[axis] += cloud->points[i * cloud->channels + axis];
    double largest = -1;
    int64_t found = 0;
    for (int64_t i = 0; i < cloud->count; i++) {
        double square = 0;
        for (int axis = 0; axis < 3; axis++) {
            const double difference = cloud->points[i * cloud->channels + axis] - centre[axis] / (double)cloud->count;
            square += difference * difference;
        }
        if (square > largest) largest = square, found = i;
    }
    return found;
}

void mp_farthest(const mp_cloud *cloud, int64_t first, int64_t centres, int32_t *chosen, void *scratch) {
    const int64_t padded = padded_count(cloud->count);
    const mp_kernel_table *kernels = mp_kernels();
    float *planes = scratch, *distances = planes + 3 * padded;
    fill_planes(cloud, planes);
    for (int64_t i = 0; i < padded; i++) distances[i] = i < cloud->count ? INFINITY : -1;
    chosen[0] = (int32_t)first;
    for (int64_t g = 1; g < centres; g++)
        chosen[g] = (int32_t)kernels->farthest(planes, padded, cloud->points + (int64_t)chosen[g - 1] * cloud->channels, distances);
}

/* Brings the `size` smallest of `count` different keys to the front (Hoare's selection); returns the largest of them. */
static uint64_t select_smallest(uint64_t *keys, int64_t count, int64_t size) {
    int64_t low = 0, high = count - 1;
    while (low < high) {
        const uint64_t pivot = keys[low + (high - low) / 2];
        int64_t i = low - 1, j = high + 1;
        for (;;) {
            do i++;
            while (keys[i] < pivot);
            do j--;
            while (keys[j] > pivot);
            if (i >= j) break;
            const uint64_t key = keys[i];
            keys[i] = keys[j];
            keys[j] = key;
        }
        if (size - 1 <= j)
            high = j;
        else
            low = j + 1;
    }
    return keys[size - 1];
}

static int by_key(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void sort_keys(uint64_t *keys, int64_t count) {
    if (count > 128) {
        qsort(keys, (size_t)count, sizeof *keys, by_key);
        return;
    }
    for (int64_t i = 1; i < count; i++) {
        const uint64_t key = keys[i];
        int64_t j = i;
        for (; j > 0 && keys[j - 1] > key; j--) keys[j] = keys[j - 1];
        keys[j] = key;
    }
}

static float distance_of(uint64_t key) {
    const uint32_t bits = (uint32_t)(key >> 32);
    float distance;
    memcpy(&distance, &bits, 4);
    return distance;
}

/* Points come by rising index, so one that is as far as the farthest of the nearest `size` so far is not among them. */
void mp_nearest(const mp_cloud *cloud, const int32_t *centres, int64_t groups, int64_t size, int32_t *ids, void *scratch) {
    const int64_t padded = padded_count(cloud->count), room = key_room(size);
    const mp_kernel_table *kernels = mp_kernels();
    float *planes = scratch;
    uint64_t *keys = (uint64_t *)(void *)(planes + 4 * padded);
    fill_planes(cloud, planes);
    for (int64_t g = 0; g < groups; g++) {
        const float *centre = cloud->points + (int64_t)centres[g] * cloud->channels;
        float threshold = NAN; /* none yet: the first points come whatever their distance */
        int64_t used = 0;
        for (int64_t at = 0; at < padded;) {
            at = kernels->nearer(planes, padded, cloud->count, centre, threshold, at, keys, &used, room);
            if (used >= size && (at < padded || used > size)) {
                threshold = distance_of(select_smallest(keys, used, size));
                used = size;
            }
        }
        sort_keys(keys, size);
        for (int64_t i = 0; i < size; i++) ids[g * size + i] = (int32_t)(uint32_t)keys[i];
    }
}

void mp_farthest_reference(const mp_cloud *cloud, int64_t first, int64_t centres, int32_t *chosen, void *scratch) {
    float *distances = scratch;
    for (int64_t i = 0; i < cloud->count; i++) distances[i] = INFINITY;
    chosen[0] = (int32_t)first;
    for (int64_t g = 1; g < centres; g++) {
        const float *centre = cloud->points + (int64_t)chosen[g - 1] * cloud->channels;
        int64_t best = 0;
        for (int64_t i = 0; i < cloud->count; i++) {
            const float *point = cloud->points + i * cloud->channels;
            const float x = point[0] - centre[0], y = point[1] - centre[1], z = point[2] - centre[2];
            const float square = (x * x + y * y) + z * z;
            if (square < distances[i]) distances[i] = square;
            if (distances[i] > distances[best]) best = i;
        }
        chosen[g] = (int32_t)best;
    }
}

/* Insertion of each point into the list of the nearest ones so far. */
void mp_nearest_reference(const mp_cloud *cloud, const int32_t *centres, int64_t groups, int64_t size, int32_t *ids, void *scratch) {
    float *distances = scratch;
    for (int64_t g = 0; g < groups; g++) {
        const float *centre = cloud->points + (int64_t)centres[g] * cloud->channels;
        int32_t *list = ids + g * size;
        int64_t listed = 0;
        for (int64_t i = 0; i < cloud->count; i++) {
            const float *point = cloud->points + i * cloud->channels;
            const float x = point[0] - centre[0], y = point[1] - centre[1], z = point[2] - centre[2];
            distances[i] = (x * x + y * y) + z * z;
            int64_t at = listed;
            while (at > 0 && distances[list[at - 1]] > distances[i]) at--;
            if (at == size) continue;
            if (listed < size) listed++;
            for (int64_t j = listed - 1; j > at; j--) list[j] = list[j - 1];
            list[at] = (int32_t)i;
        }
    }
}
