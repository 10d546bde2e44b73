#include "mi_scenes.h"

#include <math.h>

#include "sequence.h"

/* The package says so too; this is for other builds. */
#pragma STDC FP_CONTRACT OFF

/* RandomStream.Purpose.synthetic (5) with substreams 4 and 5. */
enum { STREAM_OBJECTS = 0x405, STREAM_GRAIN = 0x505 };

const char *mi_scene_class(int32_t index) {
    static const char *const names[MI_SCENE_CLASSES] = {"ground", "disc", "square", "triangle", "bar", "cross", "ellipse"};
    return names[index];
}

typedef struct object {
    int32_t shape;
    float row, column, radius, sine, cosine, colour[MI_SCENE_MAX_CHANNELS];
} object;

/* Whether (u, v), in units of the radius and turned into the object's own axes, lies inside. */
static int is_inside(int32_t shape, float u, float v) {
    const float au = fabsf(u), av = fabsf(v);
    switch (shape) {
    case 0: return u * u + v * v <= 1;
    case 1: return au <= 0.85f && av <= 0.85f;
    case 2: return v <= 0.7f && v >= -1 && au <= 0.55f * (v + 1);
    case 3: return au <= 1.2f && av <= 0.35f;
    case 4: return (au <= 1 && av <= 0.33f) || (au <= 0.33f && av <= 1);
    default: return u * u / 1.44f + v * v / 0.36f <= 1;
    }
}

static void draw_objects(sequence *random, float side, int64_t height, int64_t width, int32_t channels, object *objects, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        object *o = &objects[i];
        o->shape = below(random, MI_SCENE_SHAPES);
        o->radius = uniform(random, 0.09f, 0.19f) * side;
        o->row = uniform(random, 0.08f, 0.92f) * (float)height;
        o->column = uniform(random, 0.08f, 0.92f) * (float)width;
        o->sine = uniform(random, -1, 1);
        o->cosine = sqrtf(1 - o->sine * o->sine);
        for (int32_t c = 0; c < channels; c++) o->colour[c] = uniform(random, 20, 235);
    }
}

void mi_scene_draw(uint64_t seed, int64_t index, int64_t height, int64_t width, int32_t channels, uint8_t *pixels, uint8_t *classes,
                   uint8_t *objects) {
    sequence random = {.seed = seed, .index = (uint64_t)index, .stream = STREAM_OBJECTS};
    sequence grain = {.seed = seed, .index = (uint64_t)index, .stream = STREAM_GRAIN};
    object list[MI_SCENE_MAX_OBJECTS];
    float ground[MI_SCENE_MAX_CHANNELS], slope[MI_SCENE_MAX_CHANNELS];
    const int32_t count = 3 + below(&random, MI_SCENE_MAX_OBJECTS - 2);
    draw_objects(&random, (float)(height < width ? height : width), height, width, channels, list, count);
    for (int32_t c = 0; c < channels; c++) {
        ground[c] = uniform(&random, 60, 195);
        slope[c] = uniform(&random, -40, 40);
    }
    const float period = uniform(&random, 3, 9), strength = uniform(&random, 4, 22), tilt = uniform(&random, -1, 1);
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            const int64_t at = y * width + x;
            int32_t top = -1;
            for (int32_t i = 0; i < count; i++) {
                const object *o = &list[i];
                const float down = ((float)y + 0.5f - o->row) / o->radius, right = ((float)x + 0.5f - o->column) / o->radius;
                const float u = o->cosine * right + o->sine * down, v = o->cosine * down - o->sine * right;
                if (is_inside(o->shape, u, v)) top = i;
            }
            classes[at] = (uint8_t)(top < 0 ? 0 : 1 + list[top].shape);
            objects[at] = (uint8_t)(top + 1);
            /* Stripes of the ground: a triangle wave. */
            const float place = ((float)x + tilt * (float)y + 4096) / period, part = place - (float)(int32_t)place;
            const float stripe = strength * (part < 0.5f ? 4 * part - 1 : 3 - 4 * part);
            for (int32_t c = 0; c < channels; c++) {
                const float light = slope[c] * ((float)x / (float)width - 0.5f);
                const float value = (top < 0 ? ground[c] + stripe + light : list[top].colour[c]) + uniform(&grain, -14, 14);
                pixels[at * channels + c] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value + 0.5f);
            }
        }
}
