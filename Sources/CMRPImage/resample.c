#include "mi_resample.h"

#include <math.h>
#include <string.h>

#include "kernels.h"

static double triangle(double x) {
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

/* Keys, "Cubic convolution interpolation for digital image processing", 1981, with a = -0.5. */
static double cubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static double support_of(int32_t filter) { return filter == MI_BICUBIC ? 2 : 1; }

/* One direction of the resize: for each output position the first source position, how many, and their weights. */
typedef struct axis {
    int64_t in_size, out_size, taps;
    float begin, end;
    int needed; /* otherwise this direction stays as it is */
    int32_t *bounds;
    void *weights;       /* int32 or float: out_size x taps */
    int64_t first, last; /* source positions used at all */
} axis;

static axis make_axis(int64_t in_size, int64_t out_size, float begin, float end, int32_t filter) {
    axis a = {.in_size = in_size, .out_size = out_size, .begin = begin, .end = end};
    double scale = (double)(end - begin) / (double)out_size;
    if (scale < 1) scale = 1;
    a.taps = (int64_t)ceil(support_of(filter) * scale) * 2 + 1;
    a.needed = in_size != out_size || begin != 0 || end != (float)in_size;
    return a;
}

static void fill_axis(axis *a, int32_t filter, int fixed_point, double *weights) {
    const double scale = (double)(a->end - a->begin) / (double)a->out_size, stretch = scale < 1 ? 1 : scale;
    const double support = support_of(filter) * stretch, inverse = 1 / stretch;
    for (int64_t o = 0; o < a->out_size; o++) {
        const double center = a->begin + ((double)o + 0.5) * scale;
        int64_t from = (int64_t)(center - support + 0.5), to = (int64_t)(center + support + 0.5);
        if (from < 0) from = 0;
        if (to > a->in_size) to = a->in_size;
        if (to - from > a->taps) to = from + a->taps;
        const int64_t count = to - from;
        double sum = 0;
        for (int64_t k = 0; k < count; k++) {
            const double x = ((double)(k + from) - center + 0.5) * inverse;
            weights[k] = filter == MI_BICUBIC ? cubic(x) : triangle(x);
            sum += weights[k];
        }
        for (int64_t k = 0; k < a->taps; k++) {
            const double w = k >= count ? 0 : sum != 0 ? weights[k] / sum : weights[k];
            if (fixed_point)
                ((int32_t *)a->weights)[o * a->taps + k] = (int32_t)(w * (1 << MI_PRECISION) + (w < 0 ? -0.5 : 0.5));
            else
                ((float *)a->weights)[o * a->taps + k] = (float)w;
        }
        a->bounds[2 * o] = (int32_t)from;
        a->bounds[2 * o + 1] = (int32_t)count;
    }
    a->first = a->bounds[0];
    a->last = a->bounds[2 * a->out_size - 2] + a->bounds[2 * a->out_size - 1];
}

/* ---- scratch: pieces of one block, each on a 64-byte boundary ---- */

typedef struct arena {
    uint8_t *base;
    int64_t used;
} arena;

static void *take(arena *a, int64_t bytes) {
    void *piece = a->base ? a->base + a->used : NULL;
    a->used += (bytes + 63) & ~(int64_t)63;
    return piece;
}

typedef struct workspace {
    axis x, y;
    int vertical_first;
    double *weights;
    uint8_t *between;                      /* result of the first pass: rows of bytes or floats */
    uint8_t *source, *result;              /* floats only */
    uint8_t *block_in, *block_out, *spare; /* the rows that are taken together, transposed */
} workspace;

/* The order of the passes shows in the last bit, or more where a bicubic overshoot is cut off between them. Found by comparing with
 * Pillow 13: it begins with the direction that saves more, columns counting twice. Older versions always begin with columns. */
static int shrinks_more_in_height(const mi_image *in, const mi_image *out) {
    return out->height < in->height && in->height - out->height > 2 * (in->width - out->width);
}

/* Called with base NULL to measure. Intermediate rows are reserved for the whole source: the box decides how many are used. */
static void lay_out(const mi_image *in, mi_box box, int32_t filter, const mi_image *out, arena *memory, workspace *w) {
    const int fixed = in->type == MI_UINT8;
    const int64_t element = fixed ? 1 : 4, rows = fixed ? MI_ROWS : MI_FLOAT_ROWS;
    w->x = make_axis(in->width, out->width, box.left, box.right, filter);
    w->y = make_axis(in->height, out->height, box.top, box.bottom, filter);
    const int64_t in_row = in->width * in->channels * element, out_row = out->width * out->channels * element;
    w->vertical_first = w->x.needed && w->y.needed && shrinks_more_in_height(in, out);
    w->x.bounds = take(memory, 8 * out->width);
    w->y.bounds = take(memory, 8 * out->height);
    w->x.weights = take(memory, 4 * out->width * w->x.taps);
    w->y.weights = take(memory, 4 * out->height * w->y.taps);
    w->weights = take(memory, 8 * (w->x.taps > w->y.taps ? w->x.taps : w->y.taps));
    w->between = take(memory, !(w->x.needed && w->y.needed) ? 0 : w->vertical_first ? out->height * in_row : in->height * out_row);
    w->source = take(memory, fixed ? 0 : in->height * in_row);
    w->result = take(memory, fixed ? 0 : out->height * out_row);
    w->block_in = take(memory, w->x.needed ? rows * in_row : 0);
    w->block_out = take(memory, w->x.needed ? rows * out_row : 0);
    w->spare = take(memory, out_row);
}

int64_t mi_resample_scratch(const mi_image *in, mi_box box, int32_t filter, const mi_image *out) {
    if (filter == MI_NEAREST) return 8 * out->width;
    arena memory = {NULL, 0};
    workspace w;
    lay_out(in, box, filter, out, &memory, &w);
    return memory.used + 64;
}

/* ---- 8 bits ---- */

/* Columns of the source rows first ..< last. */
static void horizontal_u8(const uint8_t *rows, int64_t row_stride, int64_t count, int64_t channels, const axis *x, workspace *w,
                          uint8_t *out, int64_t out_stride) {
    const mi_kernel_table *kernels = mi_kernels();
    const int64_t width = (x->last - x->first) * channels;
    for (int64_t y = 0; y < count; y += MI_ROWS) {
        const uint8_t *from[MI_ROWS];
        uint8_t *to[MI_ROWS];
        for (int64_t i = 0; i < MI_ROWS; i++) { /* past the end: the last row again, thrown away */
            from[i] = rows + (y + i < count ? y + i : count - 1) * row_stride + x->first * channels;
            to[i] = y + i < count ? out + (y + i) * out_stride : w->spare;
        }
        kernels->transpose_in(from, width, w->block_in);
        kernels->horizontal_u8(w->block_in, channels, x->out_size, x->bounds, x->weights, x->taps, w->block_out);
        kernels->transpose_out(w->block_out, x->out_size * channels, to);
    }
}

/* `rows` is the source's row `first`. */
static void vertical_u8(const uint8_t *rows, int64_t row_stride, int64_t first, int64_t width, const axis *y, uint8_t *out,
                        int64_t out_stride) {
    const mi_kernel_table *kernels = mi_kernels();
    for (int64_t o = 0; o < y->out_size; o++)
        kernels->vertical_u8(rows + (y->bounds[2 * o] - first) * row_stride, row_stride, y->bounds[2 * o + 1],
                             (const int32_t *)y->weights + o * y->taps, width, out + o * out_stride);
}

static void resample_u8(const mi_image *in, const mi_image *out, workspace *w) {
    const int64_t channels = in->channels, in_row = in->width * channels, out_row = out->width * channels;
    if (!w->y.needed) {
        horizontal_u8(in->pixels, in->row_bytes, in->height, channels, &w->x, w, out->pixels, out->row_bytes);
    } else if (!w->x.needed) {
        vertical_u8(in->pixels, in->row_bytes, 0, in_row, &w->y, out->pixels, out->row_bytes);
    } else if (w->vertical_first) {
        vertical_u8(in->pixels, in->row_bytes, 0, in_row, &w->y, w->between, in_row);
        horizontal_u8(w->between, in_row, out->height, channels, &w->x, w, out->pixels, out->row_bytes);
    } else { /* only the rows that the vertical pass will read */
        const uint8_t *rows = (const uint8_t *)in->pixels + w->y.first * in->row_bytes;
        horizontal_u8(rows, in->row_bytes, w->y.last - w->y.first, channels, &w->x, w, w->between, out_row);
        vertical_u8(w->between, out_row, w->y.first, out_row, &w->y, out->pixels, out->row_bytes);
    }
}

/* ---- uint16 and float32: float rows; strides in floats ---- */

/* uint16 is rounded and cut off after each pass, as in Pillow. */
static void round_16(float *values, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        const float v = values[i] + 0.5f;
        values[i] = (float)(uint16_t)(v < 0 ? 0 : v > 65535 ? 65535 : v);
    }
}

static void load_row(const mi_image *in, int64_t y, float *values) {
    const int64_t count = in->width * in->channels;
    const uint8_t *row = (const uint8_t *)in->pixels + y * in->row_bytes;
    if (in->type == MI_FLOAT32) {
        memcpy(values, row, (size_t)count * 4);
    } else {
        for (int64_t i = 0; i < count; i++) values[i] = ((const uint16_t *)row)[i];
    }
}

static void store_row(const float *values, const mi_image *out, int64_t y) {
    const int64_t count = out->width * out->channels;
    uint8_t *row = (uint8_t *)out->pixels + y * out->row_bytes;
    if (out->type == MI_FLOAT32) {
        memcpy(row, values, (size_t)count * 4);
    } else {
        for (int64_t i = 0; i < count; i++) ((uint16_t *)row)[i] = (uint16_t)values[i];
    }
}

static void horizontal_float(const float *rows, int64_t count, int64_t channels, const axis *x, workspace *w, int32_t type, float *out) {
    const mi_kernel_table *kernels = mi_kernels();
    const int64_t in_row = x->in_size * channels, out_row = x->out_size * channels, width = (x->last - x->first) * channels;
    float *block_in = (float *)w->block_in, *block_out = (float *)w->block_out;
    for (int64_t y = 0; y < count; y += MI_FLOAT_ROWS) {
        for (int64_t r = 0; r < MI_FLOAT_ROWS; r++) {
            const float *row = rows + (y + r < count ? y + r : count - 1) * in_row + x->first * channels;
            for (int64_t i = 0; i < width; i++) block_in[i * MI_FLOAT_ROWS + r] = row[i];
        }
        kernels->horizontal_float(block_in, channels, x->out_size, x->bounds, x->weights, x->taps, block_out);
        for (int64_t r = 0; r < MI_FLOAT_ROWS && y + r < count; r++) {
            float *row = out + (y + r) * out_row;
            for (int64_t i = 0; i < out_row; i++) row[i] = block_out[i * MI_FLOAT_ROWS + r];
            if (type == MI_UINT16) round_16(row, out_row);
        }
    }
}

static void vertical_float(const float *rows, int64_t first, int64_t width, const axis *y, int32_t type, float *out) {
    const mi_kernel_table *kernels = mi_kernels();
    for (int64_t o = 0; o < y->out_size; o++) {
        float *row = out + o * width;
        kernels->vertical_float(rows + (y->bounds[2 * o] - first) * width, width, y->bounds[2 * o + 1],
                                (const float *)y->weights + o * y->taps, width, row);
        if (type == MI_UINT16) round_16(row, width);
    }
}

static void resample_float(const mi_image *in, const mi_image *out, workspace *w) {
    const int64_t channels = in->channels, in_row = in->width * channels, out_row = out->width * channels;
    const int64_t first = w->y.needed ? w->y.first : 0, last = w->y.needed ? w->y.last : in->height;
    float *source = (float *)w->source, *between = (float *)w->between, *result = (float *)w->result;
    for (int64_t y = first; y < last; y++) load_row(in, y, source + (y - first) * in_row);
    if (!w->y.needed) {
        horizontal_float(source, last - first, channels, &w->x, w, in->type, result);
    } else if (!w->x.needed) {
        vertical_float(source, first, in_row, &w->y, in->type, result);
    } else if (w->vertical_first) {
        vertical_float(source, first, in_row, &w->y, in->type, between);
        horizontal_float(between, out->height, channels, &w->x, w, in->type, result);
    } else {
        horizontal_float(source, last - first, channels, &w->x, w, in->type, between);
        vertical_float(between, first, out_row, &w->y, in->type, result);
    }
    for (int64_t y = 0; y < out->height; y++) store_row(result + y * out_row, out, y);
}

/* ---- nearest ---- */

/* The source position of output i. Pillow adds up the steps, but multiplies for 16 bits: it decides the pixel at a tie. */
typedef struct walk {
    double begin, step, sum;
    int multiply;
} walk;

static int64_t step_to(walk *w, int64_t i, int64_t limit) {
    const double position = w->multiply ? w->begin + w->step * ((double)i + 0.5) : w->sum;
    w->sum += w->step;
    return (int64_t)position < limit ? (int64_t)position : limit - 1;
}

static walk make_walk(float begin, float end, int64_t count, int32_t type) {
    const double step = (double)(end - begin) / (double)count;
    return (walk){begin, step, begin + step * 0.5, type == MI_UINT16};
}

static void nearest(const mi_image *in, mi_box box, const mi_image *out, int64_t *columns) {
    const int64_t pixel = in->channels * mi_element_bytes(in->type);
    walk x_walk = make_walk(box.left, box.right, out->width, in->type), y_walk = make_walk(box.top, box.bottom, out->height, in->type);
    for (int64_t x = 0; x < out->width; x++) columns[x] = step_to(&x_walk, x, in->width) * pixel;
    for (int64_t y = 0; y < out->height; y++) {
        const int64_t row = step_to(&y_walk, y, in->height);
        const uint8_t *from = (const uint8_t *)in->pixels + row * in->row_bytes;
        uint8_t *to = (uint8_t *)out->pixels + y * out->row_bytes;
        for (int64_t x = 0; x < out->width; x++) memcpy(to + x * pixel, from + columns[x], (size_t)pixel);
    }
}

void mi_resample(const mi_image *in, mi_box box, int32_t filter, const mi_image *out, void *scratch) {
    if (filter == MI_NEAREST) {
        nearest(in, box, out, scratch);
        return;
    }
    arena memory = {(uint8_t *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63), 0};
    workspace w;
    lay_out(in, box, filter, out, &memory, &w);
    const int fixed = in->type == MI_UINT8;
    if (w.x.needed) {
        fill_axis(&w.x, filter, fixed, w.weights);
        for (int64_t o = 0; o < out->width; o++) w.x.bounds[2 * o] -= (int32_t)w.x.first; /* columns before it are not loaded */
    }
    if (w.y.needed) fill_axis(&w.y, filter, fixed, w.weights);
    if (!w.x.needed && !w.y.needed) {
        const int64_t bytes = in->width * in->channels * mi_element_bytes(in->type);
        for (int64_t y = 0; y < in->height; y++)
            memcpy((uint8_t *)out->pixels + y * out->row_bytes, (const uint8_t *)in->pixels + y * in->row_bytes, (size_t)bytes);
    } else if (fixed) {
        resample_u8(in, out, &w);
    } else {
        resample_float(in, out, &w);
    }
}
