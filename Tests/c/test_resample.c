/* Resizing on every instruction set against plain loops that follow Pillow's definition; normalisation, crops and flips against theirs;
 * memory around every output. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../Sources/CMRPImage/kernels.h"
#include "check.h"
#include "mi_pixels.h"
#include "mi_resample.h"
#include "mk_random.h"

static uint32_t draws;

static uint32_t word(void) {
    uint32_t words[4];
    mk_philox(11, 99, 0, draws++, words);
    return words[0];
}

static int64_t between(int64_t low, int64_t high) { return low + (int64_t)(((uint64_t)word() * (uint64_t)(high - low + 1)) >> 32); }

enum { MARGIN = 64, POISON = 0xa5 };

/* An image in its own block with poisoned margins and, for half of them, padding after each row. */
static mi_image make(int64_t height, int64_t width, int64_t channels, int32_t type, int fill) {
    const int64_t row = width * channels * mi_element_bytes(type), stride = row + 4 * between(0, 3);
    uint8_t *block = malloc((size_t)(height * stride + 2 * MARGIN));
    memset(block, POISON, (size_t)(height * stride + 2 * MARGIN));
    mi_image image = {block + MARGIN, stride, height, width, channels, type};
    for (int64_t y = 0; fill && y < height; y++)
        for (int64_t i = 0; i < width * channels; i++) {
            uint8_t *at = block + MARGIN + y * stride;
            const uint32_t v = word() % 4 == 0 ? 0xffffffffu * (word() & 1) : word(); /* many extremes: overshoots are cut off */
            if (type == MI_UINT8) at[i] = (uint8_t)v;
            if (type == MI_UINT16) ((uint16_t *)at)[i] = (uint16_t)v;
            if (type == MI_FLOAT32) ((float *)at)[i] = (float)v * 0x1p-32f - 0.5f;
        }
    return image;
}

static void release(const mi_image *image, const char *what) {
    const uint8_t *block = (const uint8_t *)image->pixels - MARGIN;
    const int64_t row = image->width * image->channels * mi_element_bytes(image->type);
    int clean = 1;
    for (int i = 0; i < MARGIN; i++) clean &= block[i] == POISON && block[MARGIN + image->height * image->row_bytes + i] == POISON;
    for (int64_t y = 0; y < image->height; y++)
        for (int64_t i = row; i < image->row_bytes; i++) clean &= block[MARGIN + y * image->row_bytes + i] == POISON;
    CHECK(clean, "%s wrote beside its output", what);
    free((void *)block);
}

static double value(const mi_image *image, int64_t y, int64_t x, int64_t c) {
    const uint8_t *row = (const uint8_t *)image->pixels + y * image->row_bytes;
    const int64_t i = x * image->channels + c;
    return image->type == MI_UINT8 ? row[i] : image->type == MI_UINT16 ? ((const uint16_t *)row)[i] : ((const float *)row)[i];
}

static double weight(int32_t filter, double x) {
    x = fabs(x);
    if (filter == MI_BILINEAR) return x < 1 ? 1 - x : 0;
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

/* One output value of one pass over `count` source values. */
static double filtered(const double *source, int64_t count, float begin, float end, int64_t out_size, int64_t o, int32_t filter,
                       int32_t type) {
    const double scale = (double)(end - begin) / (double)out_size, stretch = scale < 1 ? 1 : scale,
                 center = begin + ((double)o + 0.5) * scale;
    const double support = (filter == MI_BICUBIC ? 2 : 1) * stretch;
    int64_t first = (int64_t)(center - support + 0.5), last = (int64_t)(center + support + 0.5);
    if (first < 0) first = 0;
    if (last > count) last = count;
    double total = 0, sum = 0;
    for (int64_t i = first; i < last; i++) total += weight(filter, ((double)i - center + 0.5) / stretch);
    for (int64_t i = first; i < last; i++) {
        double w = weight(filter, ((double)i - center + 0.5) / stretch) / total;
        if (type == MI_UINT8) w = trunc(w * (1 << 22) + (w < 0 ? -0.5 : 0.5));
        sum += w * source[i];
    }
    if (type == MI_UINT8) sum = floor((sum + (1 << 21)) / (1 << 22));
    if (type == MI_UINT16) sum = floor(sum + 0.5);
    const double top = type == MI_UINT8 ? 255 : 65535;
    return type == MI_FLOAT32 ? sum : sum < 0 ? 0 : sum > top ? top : sum;
}

/* Both passes for one channel, rows of doubles. */
static void plain(const mi_image *in, mi_box box, int32_t filter, const mi_image *out, int64_t c, double *result) {
    const int64_t ih = in->height, iw = in->width, oh = out->height, ow = out->width;
    const int vertical_first = oh < ih && ih - oh > 2 * (iw - ow);
    double *between = malloc(sizeof(double) * (size_t)((ih > oh ? ih : oh) * (iw > ow ? iw : ow))),
           *line = malloc(sizeof(double) * (size_t)(ih + iw));
    const int64_t rows = vertical_first ? oh : ih, columns = vertical_first ? iw : ow;
    for (int64_t y = 0; y < rows; y++)
        for (int64_t x = 0; x < columns; x++) {
            if (vertical_first) {
                for (int64_t i = 0; i < ih; i++) line[i] = value(in, i, x, c);
                between[y * columns + x] = filtered(line, ih, box.top, box.bottom, oh, y, filter, in->type);
            } else {
                for (int64_t i = 0; i < iw; i++) line[i] = value(in, y, i, c);
                between[y * columns + x] = filtered(line, iw, box.left, box.right, ow, x, filter, in->type);
            }
        }
    for (int64_t y = 0; y < oh; y++)
        for (int64_t x = 0; x < ow; x++) {
            if (vertical_first) {
                result[y * ow + x] = filtered(between + y * columns, iw, box.left, box.right, ow, x, filter, in->type);
            } else {
                for (int64_t i = 0; i < ih; i++) line[i] = between[i * columns + x];
                result[y * ow + x] = filtered(line, ih, box.top, box.bottom, oh, y, filter, in->type);
            }
        }
    free(between);
    free(line);
}

static void resize_case(int32_t isa, int32_t type, int32_t filter) {
    const int64_t channels = between(1, 5);
    const mi_image in = make(between(1, 40), between(1, 40), channels, type, 1),
                   out = make(between(1, 40), between(1, 40), channels, type, 0);
    mi_box box = {0, 0, (float)in.width, (float)in.height};
    if (word() & 1) {
        box.left = (float)between(0, 100) / 101 * (float)in.width;
        box.top = (float)between(0, 100) / 101 * (float)in.height;
        box.right = box.left + (0.01f + (float)between(0, 98) / 100) * ((float)in.width - box.left);
        box.bottom = box.top + (0.01f + (float)between(0, 98) / 100) * ((float)in.height - box.top);
    }
    const int64_t bytes = mi_resample_scratch(&in, box, filter, &out);
    uint8_t *scratch = malloc((size_t)bytes + MARGIN);
    memset(scratch, POISON, (size_t)bytes + MARGIN);
    mi_resample(&in, box, filter, &out, scratch);
    for (int i = 0; i < MARGIN; i++) CHECK(scratch[bytes + i] == POISON, "beyond %lld bytes of scratch", (long long)bytes);
    double *expected = malloc(sizeof(double) * (size_t)(out.height * out.width));
    const double tolerance = type == MI_UINT8 ? 0 : type == MI_UINT16 ? 2 : 4e-6;
    for (int64_t c = 0; c < channels; c++) {
        plain(&in, box, filter, &out, c, expected);
        double worst = 0;
        for (int64_t y = 0; y < out.height; y++)
            for (int64_t x = 0; x < out.width; x++) worst = fmax(worst, fabs(value(&out, y, x, c) - expected[y * out.width + x]));
        CHECK(worst <= tolerance, "isa %d type %d filter %d: %lld x %lld -> %lld x %lld off by %g", isa, type, filter, (long long)in.height,
              (long long)in.width, (long long)out.height, (long long)out.width, worst);
    }
    free(expected);
    free(scratch);
    release(&in, "reading");
    release(&out, "resizing");
}

static void pixel_case(int32_t isa, int32_t type) {
    const int64_t channels = between(1, 6), height = between(1, 20), width = between(1, 70);
    const mi_image in = make(height, width, channels, type, 1), out = make(height, width, channels, type, 0);
    float scale[6], shift[6], *planes = malloc(sizeof(float) * (size_t)(channels * height * width + MARGIN));
    for (int c = 0; c < 6; c++) scale[c] = 0.01f * (float)(c + 1), shift[c] = 0.5f - (float)c;
    for (int64_t i = 0; i < MARGIN; i++) planes[channels * height * width + i] = 12345;
    mi_normalize(&in, scale, shift, planes);
    mi_flip_horizontal(&in, &out);
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            for (int64_t c = 0; c < channels; c++) {
                const volatile float scaled = (float)value(&in, y, x, c) * scale[c]; /* no fused multiply-add here */
                CHECK(planes[(c * height + y) * width + x] == scaled + shift[c], "isa %d type %d", isa, type);
                CHECK(value(&out, y, width - 1 - x, c) == value(&in, y, x, c), "isa %d type %d", isa, type);
            }
    for (int64_t i = 0; i < MARGIN; i++) CHECK(planes[channels * height * width + i] == 12345, "normalisation wrote beside its output");
    free(planes);
    const int64_t top = between(-(height - 1), height - 1), left = between(-(width - 1), width - 1);
    mi_crop_reflect(&in, top, left, &out);
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            int64_t sy = llabs(y + top), sx = llabs(x + left);
            if (sy >= height) sy = 2 * (height - 1) - sy;
            if (sx >= width) sx = 2 * (width - 1) - sx;
            for (int64_t c = 0; c < channels; c++)
                CHECK(value(&out, y, x, c) == value(&in, sy, sx, c), "crop %lld %lld", (long long)top, (long long)left);
        }
    release(&in, "reading");
    release(&out, "cropping");
}

static void statistics_case(void) {
    float values[10000];
    for (int i = 0; i < 10000; i++) values[i] = (float)word() - 2e9f;
    CHECK(mi_first_nonfinite(values, 10000) == -1, "all finite");
    const int places[] = {0, 1, 4095, 4096, 9999};
    for (int p = 4; p >= 0; p--) {
        values[places[p]] = p & 1 ? NAN : -INFINITY;
        CHECK(mi_first_nonfinite(values, 10000) == places[p], "place %d", places[p]);
    }
    CHECK(mi_first_nonfinite(values, 0) == -1, "none");
}

int main(void) {
    for (int32_t isa = 0; isa < 3; isa++) {
        if (!mi_kernels_select(isa)) {
            printf("instruction set %d is not on this machine\n", isa);
            continue;
        }
        for (int i = 0; i < 60; i++)
            for (int32_t type = 0; type < 3; type++) {
                resize_case(isa, type, MI_BILINEAR);
                resize_case(isa, type, MI_BICUBIC);
                pixel_case(isa, type);
            }
    }
    CHECK(mi_kernels_select(-1), "the best is always there");
    CHECK(!mi_kernels_select(7), "there is no instruction set 7");
    statistics_case();
    return check_result("resample");
}
