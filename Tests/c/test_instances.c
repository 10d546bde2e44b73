/* Instances in C: targets against a plain definition, what is found in a made-up answer, overlaps, matches and average precision. */
#include "mi_instances.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

static uint32_t state = 7;
static int64_t below(int64_t n) {
    state = state * 1664525u + 1013904223u;
    return (int64_t)(state >> 8) % n;
}

/* ---- Targets ---- */

enum {
    HEIGHT = 24,
    WIDTH = 36,
    ROWS = 6,
    COLUMNS = 9,
    MAP_ROWS = 8,
    MAP_COLUMNS = 12,
    CELLS = ROWS * COLUMNS,
    MAP = MAP_ROWS * MAP_COLUMNS
};
static int32_t ids[HEIGHT * WIDTH];

static void draw_scene(int objects, int unknown) {
    memset(ids, 0, sizeof ids);
    for (int i = 1; i <= objects; i++) {
        const int64_t top = below(HEIGHT - 4), left = below(WIDTH - 4), height = 2 + below(9), width = 2 + below(9);
        for (int64_t y = top; y < HEIGHT && y < top + height; y++)
            for (int64_t x = left; x < WIDTH && x < left + width; x++) ids[y * WIDTH + x] = 300 * i;
    }
    for (int64_t x = 0; x < unknown * WIDTH; x++) ids[x] = 255;
}

/* The area of an object, its box, and its centre in pixels. */
static int64_t measure(int32_t id, int64_t box[4], double centre[2]) {
    int64_t area = 0;
    box[0] = box[1] = 1 << 20, box[2] = box[3] = -1, centre[0] = centre[1] = 0;
    for (int64_t i = 0; i < HEIGHT * WIDTH; i++) {
        if (ids[i] != id) continue;
        const int64_t y = i / WIDTH, x = i % WIDTH;
        area++, centre[0] += (double)y + 0.5, centre[1] += (double)x + 0.5;
        if (y < box[0]) box[0] = y;
        if (x < box[1]) box[1] = x;
        if (y > box[2]) box[2] = y;
        if (x > box[3]) box[3] = x;
    }
    if (area) centre[0] /= (double)area, centre[1] /= (double)area;
    return area;
}

/* The object that owns a cell, by the definition; 0: none. */
static int32_t owner_of(int64_t cell) {
    int32_t owner = 0;
    int64_t smallest = INT64_MAX;
    for (int32_t id = 300; id <= 3000; id += 300) {
        int64_t box[4];
        double centre[2];
        const int64_t area = measure(id, box, centre), at[2] = {cell / COLUMNS, cell % COLUMNS};
        if (area == 0 || area > smallest) continue;
        int own = 1;
        for (int side = 0; side < 2; side++) {
            const double scale = side == 0 ? (double)ROWS / HEIGHT : (double)COLUMNS / WIDTH;
            const double half = 0.1 * (double)(box[2 + side] - box[side] + 1);
            const double middle = floor(centre[side] * scale);
            const double low = fmax(floor((centre[side] - half) * scale), middle - 1);
            const double high = fmin(floor((centre[side] + half) * scale), middle + 1);
            own &= (double)at[side] >= low && (double)at[side] <= high;
        }
        if (own) owner = id, smallest = area;
    }
    return owner;
}

static double share_of(int32_t id, int64_t place) {
    int64_t known = 0, own = 0;
    for (int64_t i = 0; i < HEIGHT * WIDTH; i++) {
        if (i / WIDTH * MAP_ROWS / HEIGHT != place / MAP_COLUMNS || i % WIDTH * MAP_COLUMNS / WIDTH != place % MAP_COLUMNS) continue;
        known += ids[i] != 255;
        own += ids[i] == id;
    }
    return known ? (double)own / (double)known : -1;
}

static void test_targets(void) {
    static float objectness[CELLS], masks[CELLS * MAP], foreground[MAP];
    static int32_t cells[CELLS];
    mi_instance_targets t = {HEIGHT, WIDTH, ROWS, COLUMNS, MAP_ROWS, MAP_COLUMNS, CELLS, 255, objectness, cells, masks, foreground};
    void *scratch = malloc((size_t)mi_instance_scratch(&t));
    for (int round = 0; round < 12; round++) {
        draw_scene(round == 0 ? 0 : 1 + round % 7, round % 3 == 1 ? 9 : round == 11 ? HEIGHT : 0);
        memset(objectness, 77, sizeof objectness), memset(masks, 77, sizeof masks), memset(cells, 77, sizeof cells);
        const int64_t found = mi_instance_targets_make(&t, ids, scratch);
        int64_t row = 0;
        for (int64_t cell = 0; cell < CELLS; cell++) {
            const int32_t owner = owner_of(cell);
            int64_t known = 0, all = 0;
            for (int64_t i = 0; i < HEIGHT * WIDTH; i++) {
                if (i / WIDTH * ROWS / HEIGHT != cell / COLUMNS || i % WIDTH * COLUMNS / WIDTH != cell % COLUMNS) continue;
                all++, known += ids[i] != 255;
            }
            CHECK(objectness[cell] == (owner ? 1 : 2 * known >= all ? 0 : -1));
            if (!owner) continue;
            CHECK(cells[row] == cell);
            for (int64_t i = 0; i < MAP; i++) CHECK(fabs(masks[row * MAP + i] - share_of(owner, i)) < 1e-6);
            row++;
        }
        CHECK(found == row);
        for (; row < CELLS; row++) CHECK(cells[row] == -1 && masks[row * MAP] == 0 && masks[row * MAP + MAP - 1] == 0);
        for (int64_t i = 0; i < MAP; i++) {
            double largest = share_of(-7, i);
            for (int32_t id = 300; id <= 3000; id += 300) largest = fmax(largest, share_of(id, i));
            CHECK(fabs(foreground[i] - largest) < 1e-6);
        }
        if (found < 2) continue;
        t.most = found - 1, objectness[0] = 9;
        CHECK(mi_instance_targets_make(&t, ids, scratch) == found && objectness[0] == 9);
        t.most = CELLS;
    }
    free(scratch);
}

/* ---- Instances ---- */

/* Four cells of a grid of 4 x 4 have boxes as masks, one feature each. */
static void test_found(void) {
    enum { GRID = 4, SIDE = 8, FEATURES = 4, MOST = 5 };
    static float objectness[GRID * GRID], kernels[GRID * GRID * (FEATURES + 1)], features[SIDE * SIDE * FEATURES], scores[MOST];
    static float masks[2 * MOST * SIDE * SIDE];
    static const int boxes[FEATURES][4] = {{0, 0, 4, 4}, {0, 0, 4, 5}, {4, 4, 8, 8}, {7, 0, 8, 1}}; /* the second overlaps the first */
    static const int cells[FEATURES] = {0, 2, 10, 8};
    for (int i = 0; i < GRID * GRID; i++) objectness[i] = -4;
    for (int f = 0; f < FEATURES; f++) {
        objectness[cells[f]] = (float)(2 - f) * 0.5f;
        kernels[cells[f] * (FEATURES + 1) + f] = 8;
        for (int i = 0; i < GRID * GRID; i++) kernels[i * (FEATURES + 1) + FEATURES] = -4;
        for (int i = 0; i < SIDE * SIDE; i++) {
            const int y = i / SIDE, x = i % SIDE;
            features[i * FEATURES + f] = y >= boxes[f][0] && x >= boxes[f][1] && y < boxes[f][2] && x < boxes[f][3];
        }
    }
    objectness[1] = objectness[0]; /* no peak: an equal one is before it */
    mi_cells c = {GRID, GRID, SIDE, SIDE, FEATURES, objectness, kernels, features};
    mi_instances found = {MOST, 0, 0, 0, scores, masks};
    void *scratch = malloc((size_t)mi_find_scratch(&c, MOST));
    mi_find_instances(&c, &found, scratch);
    /* The second is suppressed, the fourth is smaller than four places. */
    CHECK(found.count == 2);
    const double inside = 1 / (1 + exp(-4.0));
    CHECK(fabs(scores[0] - inside / (1 + exp(-1.0))) < 1e-6 && fabs(scores[1] - inside / (1 + exp(0.0))) < 1e-6);
    uint16_t own[16 * 16];
    int32_t box[8];
    uint8_t line[16];
    mi_image image = {.pixels = own, .row_bytes = 32, .height = 16, .width = 16, .channels = 1, .type = MI_UINT16};
    mi_paint_instances(&found, &image, box, line);
    for (int y = 0; y < 16; y++)
        for (int x = 0; x < 16; x++) CHECK(own[y * 16 + x] == (y < 8 && x < 8 ? 1 : y >= 8 && x >= 8 ? 2 : 0));
    CHECK(box[0] == 0 && box[1] == 0 && box[2] == 8 && box[3] == 8 && box[4] == 8 && box[5] == 8 && box[6] == 16 && box[7] == 16);

    /* Against objects: one that the first covers by half, one that nothing covers; the last row is not known. */
    int32_t truth[16 * 16] = {0}, *places = calloc(MI_LAST_OBJECT + 1, 4);
    for (int y = 0; y < 8; y++)
        for (int x = 0; x < 12; x++) truth[y * 16 + x] = 9;
    truth[10 * 16] = 4;
    for (int x = 0; x < 16; x++) truth[15 * 16 + x] = 255;
    mi_image masked = {.pixels = truth, .row_bytes = 64, .height = 16, .width = 16, .channels = 1, .type = MI_INT32};
    int64_t areas[8], both[4], own_areas[2];
    CHECK(mi_list_objects(&masked, 255, places, areas, 8) == 2 && areas[0] == 96 && areas[1] == 1 && places[9] == 1 && places[4] == 2);
    mi_overlaps(&found, &masked, 255, places, 2, both, own_areas, line);
    CHECK(both[0] == 64 && both[1] == 0 && both[2] == 0 && both[3] == 0 && own_areas[0] == 64 && own_areas[1] == 56);
    uint8_t hits[2], taken[2];
    CHECK(mi_match(2, 2, both, own_areas, areas, 0.65, hits, taken) == 1 && hits[0] == 1 && hits[1] == 0);
    CHECK(mi_match(2, 2, both, own_areas, areas, 0.7, hits, taken) == 0 && hits[0] == 0);
    mi_forget_objects(&masked, places);
    CHECK(places[9] == 0 && places[4] == 0);
    CHECK(mi_list_objects(&masked, 255, places, areas, 1) == -1);
    free(places);
    free(scratch);
}

/* ---- Average precision ---- */

/* The definition: precision at each recall threshold is the best of all prefixes with that recall. */
static double precision_of(const mi_scored *list, int64_t count, int64_t objects) {
    double total = 0;
    for (int step = 0; step <= 100; step++) {
        double best = 0;
        for (int64_t end = 1; end <= count; end++) {
            int64_t hits = 0;
            for (int64_t i = 0; i < end; i++) hits += list[i].is_hit;
            if ((double)hits / (double)objects >= 0.01 * step) best = fmax(best, (double)hits / (double)end);
        }
        total += best;
    }
    return total / 101;
}

static void test_precision(void) {
    mi_scored list[60], sorted[60];
    for (int round = 0; round < 20; round++) {
        const int64_t count = 1 + below(60);
        int64_t objects = 1 + below(10);
        for (int64_t i = 0; i < count; i++) {
            list[i] = (mi_scored){(float)below(12) / 8, (int32_t)below(2), i};
            objects += list[i].is_hit;
        }
        memcpy(sorted, list, sizeof list);
        const double found = mi_average_precision(sorted, count, objects);
        for (int64_t i = 1; i < count; i++)
            CHECK(sorted[i - 1].score > sorted[i].score ||
                  (sorted[i - 1].score == sorted[i].score && sorted[i - 1].order < sorted[i].order));
        CHECK(fabs(found - precision_of(sorted, count, objects)) < 1e-12);
    }
    CHECK(mi_average_precision(list, 0, 3) == 0);
}

int main(void) {
    test_targets();
    test_found();
    test_precision();
    return check_result("test_instances");
}
