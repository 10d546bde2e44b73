#include "mp_clouds.h"

#include <math.h>
#include <string.h>

#include "sequence.h"

#pragma STDC FP_CONTRACT OFF

/* RandomStream.Purpose.augmentation (4) with substreams of its own: the seed was drawn for one cloud in one epoch. */
enum { STREAM_DRAW = 0x104, STREAM_CHANGE = 0x204 };

static void copy_rows(const mp_cloud *cloud, const int32_t *order, int64_t first, int64_t count, float *out) {
    const size_t bytes = (size_t)cloud->channels * 4;
    for (int64_t i = 0; i < count; i++)
        memcpy(out + (first + i) * cloud->channels, cloud->points + (int64_t)order[i] * cloud->channels, bytes);
}

/* Fisher & Yates, as far as it is needed; again for the points that come twice. */
void mp_draw(const mp_cloud *cloud, int64_t wanted, uint64_t seed, int32_t *order, float *out) {
    sequence random = {.seed = seed, .stream = STREAM_DRAW};
    for (int64_t i = 0; i < cloud->count; i++) order[i] = (int32_t)i;
    for (int64_t first = 0; first < wanted; first += cloud->count) {
        const int64_t taken = wanted - first < cloud->count ? wanted - first : cloud->count;
        for (int64_t i = 0; i < taken; i++) {
            const int64_t j = i + next_below(&random, cloud->count - i);
            const int32_t other = order[j];
            order[j] = order[i];
            order[i] = other;
        }
        copy_rows(cloud, order, first, taken, out);
    }
}

void mp_draw_farthest(const mp_cloud *cloud, int64_t wanted, int32_t *order, void *scratch, float *out) {
    const int64_t once = wanted < cloud->count ? wanted : cloud->count;
    mp_farthest(cloud, mp_outermost(cloud), once, order, scratch);
    for (int64_t first = 0; first < wanted; first += once)
        copy_rows(cloud, order, first, wanted - first < once ? wanted - first : once, out);
}

void mp_to_unit_ball(float *points, int64_t count, int64_t channels) {
    double mean[3] = {0}, largest = 0;
    for (int64_t i = 0; i < count; i++)
        for (int axis = 0; axis < 3; axis++) mean[axis] += points[i * channels + axis] / (double)count;
    for (int64_t i = 0; i < count; i++) {
        double square = 0;
        for (int axis = 0; axis < 3; axis++) square += pow(points[i * channels + axis] - mean[axis], 2);
        if (square > largest) largest = square;
    }
    const double factor = largest > 0 ? 1 / sqrt(largest) : 1;
    for (int64_t i = 0; i < count; i++)
        for (int axis = 0; axis < 3; axis++) {
            float *value = points + i * channels + axis;
            *value = (float)((*value - mean[axis]) * factor);
        }
}

static void turn_about(int32_t axis, double angle, double matrix[3][3]) {
    const int a = (axis + 1) % 3, b = (axis + 2) % 3;
    memset(matrix, 0, 9 * sizeof(double));
    matrix[axis][axis] = 1;
    matrix[a][a] = matrix[b][b] = cos(angle);
    matrix[b][a] = sin(angle);
    matrix[a][b] = -matrix[b][a];
}

/* A quaternion of four normal numbers is a uniform rotation (Marsaglia 1972). */
static void turn_anyhow(sequence *random, double matrix[3][3]) {
    double q[4], length = 0;
    for (int i = 0; i < 4; i++) q[i] = next_normal(random), length += q[i] * q[i];
    const double s = length > 0 ? 2 / length : 0, w = q[0], x = q[1], y = q[2], z = q[3];
    const double rows[3][3] = {{1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)},
                               {s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)},
                               {s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)}};
    memcpy(matrix, rows, sizeof rows);
}

void mp_apply_change(float *points, int64_t count, int64_t channels, const mp_change *change, uint64_t seed) {
    sequence random = {.seed = seed, .stream = STREAM_CHANGE};
    double matrix[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}, factors[3], shifts[3];
    if (change->turn == MP_TURN_UPRIGHT) turn_about(change->up_axis, next_between(&random, 0, 6.283185307179586), matrix);
    if (change->turn == MP_TURN_ANY) turn_anyhow(&random, matrix);
    for (int axis = 0; axis < 3; axis++) {
        factors[axis] = next_between(&random, change->scale_low, change->scale_high);
        shifts[axis] = next_between(&random, -change->shift, change->shift);
    }
    for (int64_t i = 0; i < count; i++) {
        float *point = points + i * channels;
        const double from[3] = {point[0], point[1], point[2]};
        for (int axis = 0; axis < 3; axis++) {
            double value = matrix[axis][0] * from[0] + matrix[axis][1] * from[1] + matrix[axis][2] * from[2];
            value = value * factors[axis] + shifts[axis];
            if (change->jitter > 0) value += change->jitter * fmax(-5, fmin(5, next_normal(&random)));
            point[axis] = (float)value;
        }
    }
}

void mp_group_image(const mp_cloud *cloud, int64_t first, int64_t groups, int64_t size, int32_t *ids, void *scratch, float *image) {
    const int64_t channels = cloud->channels;
    int32_t *centres = ids, *nearest = ids + groups;
    mp_farthest(cloud, first, groups, centres, scratch);
    mp_nearest(cloud, centres, groups, size, nearest, scratch);
    for (int64_t g = 0; g < groups; g++) {
        const float *centre = cloud->points + (int64_t)centres[g] * channels;
        float *row = image + g * (1 + size) * channels;
        for (int64_t c = 0; c < channels; c++) row[c] = c < 3 ? centre[c] : 0;
        for (int64_t i = 0; i < size; i++) {
            const float *point = cloud->points + (int64_t)nearest[g * size + i] * channels;
            for (int64_t c = 0; c < channels; c++) row[(1 + i) * channels + c] = c < 3 ? point[c] - centre[c] : point[c];
        }
    }
}
