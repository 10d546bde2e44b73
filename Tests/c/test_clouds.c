/* Drawing, moving and grouping of clouds, and generated ones. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "mp_clouds.h"

enum { COUNT = 200, CHANNELS = 4 };
static float points[COUNT * CHANNELS], out[3 * COUNT * CHANNELS];
static int32_t order[COUNT], seen[COUNT];
static _Alignas(64) char scratch[1 << 16];

static double distance(const float *a, const float *b) { return sqrt(pow(a[0] - b[0], 2) + pow(a[1] - b[1], 2) + pow(a[2] - b[2], 2)); }

static void begin(void) {
    mp_shape(1, 4, COUNT, out);
    for (int i = 0; i < COUNT; i++) {
        memcpy(points + i * CHANNELS, out + 3 * i, 12);
        points[i * CHANNELS + 3] = (float)i;
    }
}

static void test_draw(void) {
    const mp_cloud cloud = {points, COUNT, CHANNELS};
    for (int farthest = 0; farthest < 2; farthest++) {
        for (int64_t wanted = 50; wanted <= 500; wanted += 225) {
            memset(seen, 0, sizeof seen);
            farthest ? mp_draw_farthest(&cloud, wanted, order, scratch, out) : mp_draw(&cloud, wanted, 9, order, out);
            for (int i = 0; i < wanted; i++) {
                const int id = (int)out[i * CHANNELS + 3];
                CHECK(id >= 0 && id < COUNT && !memcmp(out + i * CHANNELS, points + id * CHANNELS, 16));
                seen[id]++;
            }
            for (int id = 0; id < COUNT; id++) CHECK(seen[id] >= wanted / COUNT && seen[id] <= (wanted + COUNT - 1) / COUNT);
        }
    }
    float first[COUNT * CHANNELS];
    mp_draw(&cloud, COUNT, 9, order, first);
    mp_draw(&cloud, COUNT, 9, order, out);
    CHECK(!memcmp(first, out, sizeof first));
    mp_draw(&cloud, COUNT, 10, order, out);
    CHECK(memcmp(first, out, sizeof first));
}

static void test_changes(void) {
    for (int turn = MP_TURN_NONE; turn <= MP_TURN_ANY; turn++) {
        const mp_change change = {turn, 1, 1, 1, 0, 0};
        memcpy(out, points, sizeof points);
        mp_apply_change(out, COUNT, CHANNELS, &change, 5);
        double moved = 0;
        for (int i = 0; i + 1 < COUNT; i++) {
            const float *before = points + i * CHANNELS, *after = out + i * CHANNELS;
            CHECK(fabs(distance(before, before + CHANNELS) - distance(after, after + CHANNELS)) < 1e-5);
            CHECK(turn == MP_TURN_ANY || fabs(before[1] - after[1]) < 1e-6);
            CHECK(before[3] == after[3]);
            moved += distance(before, after);
        }
        CHECK(turn == MP_TURN_NONE ? moved < 1e-6 : moved > 1);
    }
    const mp_change change = {MP_TURN_NONE, 2, 0.5, 2, 0.2, 0.01};
    memcpy(out, points, sizeof points);
    mp_apply_change(out, COUNT, CHANNELS, &change, 6);
    for (int axis = 0; axis < 3; axis++) { /* one factor and one shift for each axis, but for the jitter */
        const float *a = points + axis, *b = points + 7 * CHANNELS + axis, *c = out + axis, *d = out + 7 * CHANNELS + axis;
        const double factor = (*d - *c) / (*b - *a), shift = *c - factor * *a;
        double worst = 0;
        for (int i = 0; i < COUNT; i++) worst = fmax(worst, fabs(out[i * CHANNELS + axis] - factor * points[i * CHANNELS + axis] - shift));
        CHECK(worst > 1e-4 && worst < 1, "%g", worst);
    }
    mp_to_unit_ball(out, COUNT, CHANNELS);
    double mean[3] = {0}, largest = 0;
    for (int i = 0; i < COUNT; i++) {
        const float origin[3] = {0};
        for (int axis = 0; axis < 3; axis++) mean[axis] += out[i * CHANNELS + axis] / COUNT;
        largest = fmax(largest, distance(out + i * CHANNELS, origin));
    }
    CHECK(fabs(largest - 1) < 1e-6 && fabs(mean[0]) + fabs(mean[1]) + fabs(mean[2]) < 1e-6);
    float same[] = {5, 5, 5, 5, 5, 5};
    mp_to_unit_ball(same, 2, 3);
    CHECK(same[0] == 0 && same[5] == 0);
}

static void test_groups(void) {
    enum { GROUPS = 8, SIZE = 6 };
    static int32_t ids[GROUPS * (1 + SIZE)];
    static float image[GROUPS * (1 + SIZE) * CHANNELS];
    mp_group_image(&(mp_cloud){points, COUNT, CHANNELS}, 3, GROUPS, SIZE, ids, scratch, image);
    CHECK(ids[0] == 3 && ids[GROUPS] == 3);
    for (int g = 0; g < GROUPS; g++) {
        const float *row = image + g * (1 + SIZE) * CHANNELS, *centre = points + ids[g] * CHANNELS;
        CHECK(!memcmp(row, centre, 12) && row[3] == 0);
        for (int i = 0; i < SIZE; i++) {
            const float *pixel = row + (1 + i) * CHANNELS, *point = points + ids[GROUPS + g * SIZE + i] * CHANNELS;
            CHECK(pixel[0] == point[0] - centre[0] && pixel[2] == point[2] - centre[2] && pixel[3] == point[3]);
        }
        CHECK(row[CHANNELS] == 0 && row[CHANNELS + 1] == 0);
    }
}

static void test_shapes(void) {
    static float cloud[3 * 2000], again[3 * 2000];
    for (int index = 0; index < 2 * MP_SHAPES; index++) {
        mp_shape(7, index, 2000, cloud);
        mp_shape(7, index, 2000, again);
        CHECK(!memcmp(cloud, again, sizeof cloud));
        double largest = 0, low = 1, high = -1;
        for (int i = 0; i < 2000; i++) {
            const float origin[3] = {0};
            CHECK(isfinite(cloud[3 * i]) && isfinite(cloud[3 * i + 1]) && isfinite(cloud[3 * i + 2]));
            largest = fmax(largest, distance(cloud + 3 * i, origin));
            low = fmin(low, cloud[3 * i + 2]), high = fmax(high, cloud[3 * i + 2]);
        }
        CHECK(fabs(largest - 1) < 1e-6 && high - low > 0.1, "%s: %g, %g ... %g", mp_shape_name(index % MP_SHAPES), largest, low, high);
        mp_shape(8, index, 2000, again);
        CHECK(memcmp(cloud, again, sizeof cloud));
    }
    CHECK(!strcmp(mp_shape_name(0), "ellipsoid") && !strcmp(mp_shape_name(9), "frustum") && !mp_shape_name(10)[0]);
}

int main(void) {
    begin();
    test_draw();
    test_changes();
    test_groups();
    test_shapes();
    return check_result("test_clouds");
}
