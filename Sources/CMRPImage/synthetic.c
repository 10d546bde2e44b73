#include "mi_synthetic.h"

#include <math.h>
#include <string.h>

#include "sequence.h"

/* The package says so too; this is for other builds. */
#pragma STDC FP_CONTRACT OFF

/* RandomStream.Purpose.synthetic (5) with substreams 1, 2, 3. */
enum { STREAM_DEFINITION = 0x105, STREAM_SCENE = 0x205, STREAM_NOISE = 0x305 };
enum { SHAPES = 6, TEXTURES = 6, COLOURS = 6 };

/* ---- the classes ---- */

static int differences(const mi_synthetic_part *a, const mi_synthetic_part *b) {
    return (a->shape != b->shape) + (a->texture != b->texture) + (a->colour_a != b->colour_a);
}

void mi_synthetic_define(mi_synthetic *set) {
    static const float colours[COLOURS][3] = {{0.85f, 0.25f, 0.2f}, {0.2f, 0.7f, 0.3f},   {0.25f, 0.35f, 0.85f},
                                              {0.9f, 0.8f, 0.3f},   {0.75f, 0.3f, 0.75f}, {0.3f, 0.75f, 0.8f}};
    sequence random = {.seed = set->seed, .stream = STREAM_DEFINITION};
    for (int32_t i = 0; i < COLOURS; i++)
        for (int32_t c = 0; c < set->channels; c++) {
            const float drawn = uniform(&random, 0.1f, 0.95f);
            set->palette[i][c] = set->channels == 3 ? colours[i][c] : set->channels == 1 ? 0.05f + 0.18f * (float)i : drawn;
        }
    /* Two parts should differ in at least two of shape, texture and colour; with many classes one has to be enough. */
    for (int32_t i = 0; i < 2 * set->classes; i++) {
        mi_synthetic_part *part = &set->parts[i];
        for (int32_t attempt = 0;; attempt++) {
            part->shape = below(&random, SHAPES);
            part->texture = below(&random, TEXTURES);
            part->colour_a = below(&random, COLOURS);
            part->colour_b = (part->colour_a + 1 + below(&random, COLOURS - 1)) % COLOURS;
            const int wanted = attempt < 500 ? 2 : attempt < 5000 ? 1 : 0;
            int32_t other = 0;
            while (other < i && differences(part, &set->parts[other]) >= wanted) other++;
            if (other == i) break;
        }
    }
}

/* ---- drawing ---- */

static float clamp(float v, float low, float high) { return v < low ? low : v > high ? high : v; }

/* A sine of period 1 made of two parabolas, -1 ... 1: the same bits everywhere. */
static float wave(float turns) {
    const float x = turns - (float)(int32_t)turns + (turns < 0 ? 1.0f : 0.0f); /* 0 ... 1 */
    return x < 0.5f ? 16 * x * (0.5f - x) : -16 * (x - 0.5f) * (1.0f - x);
}

/* Negative inside the glyph, about a distance outside; u right, v down, the glyph within the unit disc. */
static float glyph(int32_t shape, float u, float v) {
    const float au = fabsf(u), av = fabsf(v);
    switch (shape) {
    case 0: return sqrtf(u * u + v * v) - 0.9f; /* disc */
    case 1: return (au > av ? au : av) - 0.74f; /* square */
    case 2: {                                   /* triangle, tip up */
        const float side = 0.87f * au - 0.5f * v - 0.42f, base = v - 0.62f;
        return (side > base ? side : base) * 0.9f - 0.04f;
    }
    case 3: { /* cross */
        const float upright = (au - 0.3f > av - 0.92f) ? au - 0.3f : av - 0.92f;
        const float across = (av - 0.3f > au - 0.92f) ? av - 0.3f : au - 0.92f;
        return upright < across ? upright : across;
    }
    case 4: return fabsf(sqrtf(u * u + v * v) - 0.64f) - 0.29f; /* ring */
    default: { /* hourglass */ const float side = au - 0.8f * av - 0.18f, end = av - 0.86f; return side > end ? side : end;
    }
    }
}

/* Share of the second colour, 0 ... 1. */
static float texture(int32_t kind, float u, float v, float phase) {
    float w;
    switch (kind) {
    case 0: w = wave(1.55f * u + phase + 8); break;
    case 1: w = wave(1.55f * v + phase + 8); break;
    case 2: w = wave(1.1f * (u + v) + phase + 8); break;
    case 3: w = 3 * wave(1.1f * u + phase + 8) * wave(1.1f * v + phase + 8); break;
    case 4: w = wave(1.7f * sqrtf(u * u + v * v) + 0.25f); break;
    default: w = 3 * u; break; /* two halves */
    }
    return clamp(0.5f + 0.9f * w, 0, 1);
}

typedef struct placed {
    const mi_synthetic_part *part;
    float row, column, radius, sine, cosine, phase, opacity;
    float cut_u, cut_v, cut; /* the fragment u cut_u + v cut_v < cut; whole when cut > 2 */
    float tint[MI_SYNTHETIC_MAX_CHANNELS];
} placed;

static void jitter(const mi_synthetic *set, sequence *random, const mi_synthetic_part *part, placed *p) {
    p->part = part;
    const float s = uniform(random, -0.3f, 0.3f); /* about 17 degrees */
    p->sine = s;
    p->cosine = sqrtf(1 - s * s);
    p->phase = uniform(random, 0, 1);
    p->opacity = uniform(random, 0.8f, 1);
    p->cut = 3, p->cut_u = 1, p->cut_v = 0;
    for (int32_t c = 0; c < set->channels; c++) p->tint[c] = uniform(random, -0.14f, 0.14f);
}

static void draw_part(const mi_synthetic *set, const placed *p, float *image) {
    const int32_t channels = set->channels;
    const float edge = p->radius > 2 ? p->radius : 2; /* pixels per unit: softens the outline over one pixel */
    int32_t top = (int32_t)(p->row - p->radius - 1), bottom = (int32_t)(p->row + p->radius + 2);
    int32_t left = (int32_t)(p->column - p->radius - 1), right = (int32_t)(p->column + p->radius + 2);
    if (top < 0) top = 0;
    if (left < 0) left = 0;
    if (bottom > set->height) bottom = set->height;
    if (right > set->width) right = set->width;
    const float *a = set->palette[p->part->colour_a], *b = set->palette[p->part->colour_b];
    for (int32_t y = top; y < bottom; y++)
        for (int32_t x = left; x < right; x++) {
            const float dx = ((float)x + 0.5f - p->column) / p->radius, dy = ((float)y + 0.5f - p->row) / p->radius;
            const float u = p->cosine * dx + p->sine * dy, v = p->cosine * dy - p->sine * dx;
            float distance = glyph(p->part->shape, u, v);
            const float cut = u * p->cut_u + v * p->cut_v - p->cut;
            if (cut > distance) distance = cut;
            const float cover = p->opacity * clamp(0.5f - distance * edge, 0, 1);
            if (cover <= 0) continue;
            const float share = texture(p->part->texture, u, v, p->phase);
            float *pixel = image + ((int64_t)y * set->width + x) * channels;
            for (int32_t c = 0; c < channels; c++) {
                const float colour = a[c] + (b[c] - a[c]) * share + p->tint[c];
                pixel[c] += (colour - pixel[c]) * cover;
            }
        }
}

/* Smooth noise: a lattice of random colours, one point every `spacing` pixels, blended with cubic steps. */
static void add_noise_octave(const mi_synthetic *set, sequence *random, float spacing, float strength, float *lattice, float *image) {
    const int32_t channels = set->channels;
    const int32_t rows = (int32_t)((float)set->height / spacing) + 2, columns = (int32_t)((float)set->width / spacing) + 2;
    for (int32_t i = 0; i < rows * columns * channels; i++) lattice[i] = uniform(random, -strength, strength);
    for (int32_t y = 0; y < set->height; y++) {
        const float fy = (float)y / spacing;
        const int32_t iy = (int32_t)fy;
        const float ty = (fy - (float)iy) * (fy - (float)iy) * (3 - 2 * (fy - (float)iy));
        for (int32_t x = 0; x < set->width; x++) {
            const float fx = (float)x / spacing;
            const int32_t ix = (int32_t)fx;
            const float tx = (fx - (float)ix) * (fx - (float)ix) * (3 - 2 * (fx - (float)ix));
            const float *p = lattice + ((int64_t)iy * columns + ix) * channels, *q = p + (int64_t)columns * channels;
            float *pixel = image + ((int64_t)y * set->width + x) * channels;
            for (int32_t c = 0; c < channels; c++) {
                const float upper = p[c] + (p[channels + c] - p[c]) * tx, lower = q[c] + (q[channels + c] - q[c]) * tx;
                pixel[c] += upper + (lower - upper) * ty;
            }
        }
    }
}

static void draw_bar(const mi_synthetic *set, sequence *random, float scale, float *image) {
    const float row = uniform(random, 0, (float)set->height), column = uniform(random, 0, (float)set->width);
    const float s = uniform(random, -1, 1), c = sqrtf(1 - s * s), half = uniform(random, 0.02f, 0.04f) * scale;
    const float length = uniform(random, 0.2f, 0.5f) * scale;
    const float *colour = set->palette[below(random, COLOURS)];
    const float dark = uniform(random, 0.3f, 1);
    for (int32_t y = 0; y < set->height; y++)
        for (int32_t x = 0; x < set->width; x++) {
            const float dx = (float)x + 0.5f - column, dy = (float)y + 0.5f - row;
            const float along = fabsf(c * dx + s * dy) - length, across = fabsf(c * dy - s * dx) - half;
            const float cover = clamp(0.5f - (along > across ? along : across), 0, 1);
            if (cover <= 0) continue;
            float *pixel = image + ((int64_t)y * set->width + x) * set->channels;
            for (int32_t k = 0; k < set->channels; k++) pixel[k] += (colour[k] * dark - pixel[k]) * cover;
        }
}

static const float LATTICE_FINE = 5.0f;

int64_t mi_synthetic_scratch(const mi_synthetic *set) {
    const int64_t lattice = ((int64_t)((float)set->height / LATTICE_FINE) + 3) * ((int64_t)((float)set->width / LATTICE_FINE) + 3);
    const int64_t pixels = (int64_t)set->height * set->width;
    return 4 * set->channels * (pixels + (lattice > 64 ? lattice : 64));
}

void mi_synthetic_draw(const mi_synthetic *set, int64_t index, void *scratch, uint8_t *pixels, mi_synthetic_record *record) {
    const int64_t values = (int64_t)set->height * set->width * set->channels;
    const float scale = (float)(set->height < set->width ? set->height : set->width);
    float *image = scratch, *lattice = image + values;
    sequence random = {.seed = set->seed, .stream = STREAM_SCENE, .index = (uint64_t)index};

    const int32_t label = (int32_t)(index % set->classes);
    const int single = uniform(&random, 0, 1) < (float)set->single_view_fraction;
    const int32_t shown = single ? 1 << below(&random, 2) : 3;

    /* Background: a colour near the palette, so that colour alone is no evidence, with two octaves of smooth noise. */
    const float *base = set->palette[below(&random, COLOURS)];
    const float mix = uniform(&random, 0.2f, 0.7f);
    for (int32_t c = 0; c < set->channels; c++) {
        const float value = base[c] * mix + uniform(&random, 0.15f, 0.75f) * (1 - mix);
        for (int64_t i = c; i < values; i += set->channels) image[i] = value;
    }
    add_noise_octave(set, &random, scale / 3, uniform(&random, 0.1f, 0.28f), lattice, image);
    add_noise_octave(set, &random, scale / LATTICE_FINE > LATTICE_FINE ? scale / LATTICE_FINE : LATTICE_FINE,
                     uniform(&random, 0.03f, 0.12f), lattice, image);

    /* Weak evidence for other classes: small or cut pieces of their parts, behind the true ones. */
    const int32_t fragments = 1 + below(&random, 2) + single;
    for (int32_t i = 0; i < fragments; i++) {
        placed p;
        const int32_t other = (label + 1 + below(&random, set->classes - 1)) % set->classes;
        jitter(set, &random, &set->parts[2 * other + below(&random, 2)], &p);
        p.radius = uniform(&random, 0.13f, 0.19f) * scale;
        p.row = uniform(&random, 0, (float)set->height);
        p.column = uniform(&random, 0, (float)set->width);
        p.opacity = uniform(&random, 0.45f, 0.8f);
        p.cut_u = uniform(&random, -1, 1);
        p.cut_v = sqrtf(1 - p.cut_u * p.cut_u);
        p.cut = uniform(&random, -0.1f, 0.35f);
        draw_part(set, &p, image);
    }

    /* The parts themselves, apart from each other where there is room. */
    placed parts[2];
    for (int32_t p = 0; p < 2; p++) {
        jitter(set, &random, &set->parts[2 * label + p], &parts[p]);
        parts[p].radius = uniform(&random, 0.19f, 0.27f) * scale;
        for (int32_t attempt = 0; attempt < 16; attempt++) {
            const float margin = 0.75f * parts[p].radius;
            parts[p].row = uniform(&random, margin, (float)set->height - margin);
            parts[p].column = uniform(&random, margin, (float)set->width - margin);
            if (p == 0 || shown != 3) break;
            const float dy = parts[1].row - parts[0].row, dx = parts[1].column - parts[0].column;
            const float apart = 0.95f * (parts[0].radius + parts[1].radius);
            if (dy * dy + dx * dx >= apart * apart) break;
        }
    }
    *record = (mi_synthetic_record){label, shown, {-1, -1}, {-1, -1}, {0, 0}};
    for (int32_t p = 0; p < 2; p++) {
        if (!(shown >> p & 1)) continue;
        draw_part(set, &parts[p], image);
        record->row[p] = parts[p].row, record->column[p] = parts[p].column, record->radius[p] = parts[p].radius;
    }
    const int32_t bars = below(&random, 3);
    for (int32_t i = 0; i < bars; i++) draw_bar(set, &random, scale, image);

    /* Light and sensor noise (the sum of two uniform bytes). */
    const float gain = uniform(&random, 0.75f, 1.2f), noise = uniform(&random, 0.015f, 0.05f) * 0x1p-7f * 1.2f;
    float offset[MI_SYNTHETIC_MAX_CHANNELS];
    for (int32_t c = 0; c < set->channels; c++) offset[c] = uniform(&random, -0.06f, 0.06f);
    uint32_t words[4] = {0};
    for (int64_t i = 0, c = 0; i < values; i++) {
        if ((i & 7) == 0) mk_philox(set->seed, STREAM_NOISE, (uint32_t)(i >> 3), (uint64_t)index, words);
        const uint32_t half = (words[(i >> 1) & 3] >> (16 * (i & 1))) & 0xffff;
        const float value = image[i] * gain + offset[c] + noise * (float)((int32_t)(half & 255) + (int32_t)(half >> 8) - 255);
        pixels[i] = (uint8_t)(clamp(value, 0, 1) * 255 + 0.5f);
        c = c + 1 == set->channels ? 0 : c + 1;
    }
}
