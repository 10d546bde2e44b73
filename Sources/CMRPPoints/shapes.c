/* Ten analytic surfaces. Each is made of parts; a point chooses a part by area and then a place on it. */
#include <math.h>

#include "mp_clouds.h"
#include "sequence.h"

#pragma STDC FP_CONTRACT OFF

/* RandomStream.Purpose.synthetic (5) with substreams that images do not use. */
enum { STREAM_SHAPE = 0x1105 };
enum { ELLIPSOID, BOX, CYLINDER, CONE, TORUS, DOME, PYRAMID, CAPSULE, PRISM, FRUSTUM };
enum { MAX_PARTS = 6 };
static const double TURN = 6.283185307179586;

static const char *const names[MP_SHAPES] = {"ellipsoid", "box",     "cylinder", "cone",  "torus",
                                             "dome",      "pyramid", "capsule",  "prism", "frustum"};

const char *mp_shape_name(int32_t shape) { return shape >= 0 && shape < MP_SHAPES ? names[shape] : ""; }

/* FLAT: origin + s u + t v, a parallelogram, or the triangle s + t <= 1. SIDE: between the circles of radius a at z and b at z + height.
 * BALL: half axes a, b, c, of which the upper half (1), the lower half (-1) or all (0), moved up by z. RING: radii a > b. */
typedef struct part {
    enum { FLAT, TRIANGLE, SIDE, BALL, RING } kind;
    double area, a, b, c, z, height;
    int half;
    double origin[3], u[3], v[3];
} part;

static part side(double low, double high, double z, double height) {
    const double slant = sqrt(height * height + (low - high) * (low - high));
    return (part){.kind = SIDE, .area = TURN / 2 * (low + high) * slant, .a = low, .b = high, .z = z, .height = height};
}

static part disk(double radius, double z) { return side(0, radius, z, 0); }

static part ball(double a, double b, double c, double z, int half) {
    /* Thomsen's formula, to 1 % */
    const double p = 1.6075, mean = (pow(a * b, p) + pow(a * c, p) + pow(b * c, p)) / 3;
    return (part){.kind = BALL, .area = 2 * TURN * pow(mean, 1 / p) / (half ? 2 : 1), .a = a, .b = b, .c = c, .z = z, .half = half};
}

static part flat(int triangle, const double *origin, const double *to_u, const double *to_v) {
    part result = {.kind = triangle ? TRIANGLE : FLAT};
    for (int axis = 0; axis < 3; axis++) {
        result.origin[axis] = origin[axis];
        result.u[axis] = to_u[axis] - origin[axis];
        result.v[axis] = to_v[axis] - origin[axis];
    }
    const double *u = result.u, *v = result.v;
    const double x = u[1] * v[2] - u[2] * v[1], y = u[2] * v[0] - u[0] * v[2], z = u[0] * v[1] - u[1] * v[0];
    result.area = sqrt(x * x + y * y + z * z) * (triangle ? 0.5 : 1);
    return result;
}

/* A horizontal polygon's corners, on a circle or, for four, a rectangle. */
static void corner_of(int corners, int i, double x, double y, double z, double *out) {
    const double angle = TURN * (i + (corners == 4 ? 0.5 : 0)) / corners, size = corners == 4 ? sqrt(2) : 1;
    out[0] = x * size * cos(angle), out[1] = y * size * sin(angle), out[2] = z;
}

/* The sides of a prism, or of a pyramid whose top is above the centre. */
static int walls(part *parts, int corners, double x, double y, double height, int pointed) {
    for (int i = 0; i < corners; i++) {
        double a[3], b[3], top[3] = {0, 0, height};
        corner_of(corners, i, x, y, 0, a);
        corner_of(corners, i + 1, x, y, 0, b);
        if (!pointed) top[0] = a[0], top[1] = a[1];
        parts[i] = flat(pointed, a, b, top);
    }
    return corners;
}

static part base(int corners, double x, double y, double z) {
    double a[3], b[3], c[3];
    corner_of(corners, 0, x, y, z, a);
    corner_of(corners, 1, x, y, z, b);
    corner_of(corners, corners - 1, x, y, z, c);
    return flat(corners == 3, a, b, c);
}

static int parts_of(int32_t shape, sequence *s, part *parts) {
    const double x = next_between(s, 0.4, 1), y = next_between(s, 0.4, 1), h = next_between(s, 0.6, 2);
    int count = 0;
    switch (shape) {
    case ELLIPSOID: parts[count++] = ball(x, y, h / 2, 0, 0); break;
    case BOX:
    case PRISM:
        count = walls(parts, shape == BOX ? 4 : 3, x, shape == BOX ? y : x, h, 0);
        parts[count] = base(shape == BOX ? 4 : 3, x, shape == BOX ? y : x, 0);
        parts[count + 1] = parts[count];
        parts[count + 1].origin[2] = h;
        count += 2;
        break;
    case CYLINDER:
    case FRUSTUM: {
        const double top = shape == FRUSTUM ? x * next_between(s, 0.3, 0.7) : x;
        parts[count++] = side(x, top, 0, h);
        parts[count++] = disk(x, 0);
        parts[count++] = disk(top, h);
        break;
    }
    case CONE:
        parts[count++] = side(x, 0, 0, h);
        parts[count++] = disk(x, 0);
        break;
    case TORUS: {
        const double b = x * next_between(s, 0.2, 0.5);
        parts[count++] = (part){.kind = RING, .area = TURN * x * TURN * b, .a = x, .b = b};
        break;
    }
    case DOME:
        parts[count++] = ball(x, x, x * y, 0, 1);
        parts[count++] = disk(x, 0);
        break;
    case PYRAMID:
        count = walls(parts, 4, x, x, h, 1);
        parts[count++] = base(4, x, x, 0);
        break;
    default: /* CAPSULE */
        parts[count++] = side(x / 2, x / 2, 0, h);
        parts[count++] = ball(x / 2, x / 2, x / 2, h, 1);
        parts[count++] = ball(x / 2, x / 2, x / 2, 0, -1);
    }
    return count;
}

/* Evenly by area: a direction is kept as often as the surface is wide there. */
static void place_on_ball(const part *p, sequence *s, double *out) {
    const double largest = fmax(p->b * p->c, fmax(p->a * p->c, p->a * p->b));
    for (int attempt = 0; attempt < 64; attempt++) {
        const double angle = TURN * next_share(s), z = next_between(s, -1, 1), r = sqrt(1 - z * z);
        const double d[3] = {r * cos(angle), r * sin(angle), p->half ? fabs(z) * p->half : z};
        out[0] = p->a * d[0], out[1] = p->b * d[1], out[2] = p->z + p->c * d[2];
        const double wide = sqrt(pow(p->b * p->c * d[0], 2) + pow(p->a * p->c * d[1], 2) + pow(p->a * p->b * d[2], 2));
        if (next_share(s) * largest <= wide) return;
    }
}

static void place_on_ring(const part *p, sequence *s, double *out) {
    double angle = 0;
    for (int attempt = 0; attempt < 64; attempt++) {
        angle = TURN * next_share(s);
        if (next_share(s) * (p->a + p->b) <= p->a + p->b * cos(angle)) break;
    }
    const double around = TURN * next_share(s), r = p->a + p->b * cos(angle);
    out[0] = r * cos(around), out[1] = r * sin(around), out[2] = p->b * sin(angle);
}

static void place_on_side(const part *p, sequence *s, double *out) {
    const double share = next_share(s), around = TURN * next_share(s);
    const double r = sqrt(p->a * p->a + share * (p->b * p->b - p->a * p->a));
    const double along = fabs(p->b - p->a) > 1e-9 ? (r - p->a) / (p->b - p->a) : share;
    out[0] = r * cos(around), out[1] = r * sin(around), out[2] = p->z + along * p->height;
}

static void place_on_flat(const part *p, sequence *s, double *out) {
    double a = next_share(s), b = next_share(s);
    if (p->kind == TRIANGLE && a + b > 1) a = 1 - a, b = 1 - b;
    for (int axis = 0; axis < 3; axis++) out[axis] = p->origin[axis] + a * p->u[axis] + b * p->v[axis];
}

static void place_on(const part *p, sequence *s, double *out) {
    switch (p->kind) {
    case BALL: place_on_ball(p, s, out); break;
    case RING: place_on_ring(p, s, out); break;
    case SIDE: place_on_side(p, s, out); break;
    default: place_on_flat(p, s, out);
    }
}

void mp_shape(uint64_t seed, int64_t index, int64_t count, float *points) {
    sequence s = {.seed = seed, .stream = STREAM_SHAPE, .index = (uint64_t)index};
    part parts[MAX_PARTS];
    double total = 0;
    const int used = parts_of((int32_t)(index % MP_SHAPES), &s, parts);
    for (int i = 0; i < used; i++) total += parts[i].area;
    for (int64_t i = 0; i < count; i++) {
        double place = next_share(&s) * total, at[3] = {0};
        int chosen = 0;
        while (chosen < used - 1 && place >= parts[chosen].area) place -= parts[chosen++].area;
        place_on(&parts[chosen], &s, at);
        for (int axis = 0; axis < 3; axis++) points[3 * i + axis] = (float)at[axis];
    }
    mp_to_unit_ball(points, count, 3);
    const mp_change change = {MP_TURN_UPRIGHT, 2, 1, 1, 0, 0.02};
    mp_apply_change(points, count, 3, &change, (uint64_t)next_word(&s) << 32 | next_word(&s));
    mp_to_unit_ball(points, count, 3);
}
