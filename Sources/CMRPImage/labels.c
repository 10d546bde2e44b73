#include "mi_labels.h"

#include <math.h>
#include <string.h>

#include "masks.h"

static void set_id(void *row, int32_t type, int64_t x, int32_t id) {
    if (type == MI_UINT8) {
        ((uint8_t *)row)[x] = (uint8_t)id;
    } else if (type == MI_UINT16) {
        ((uint16_t *)row)[x] = (uint16_t)id;
    } else {
        ((int32_t *)row)[x] = id;
    }
}

int64_t mi_colours_to_ids(const mi_image *rgb, const uint8_t *colours, int64_t count, const mi_image *ids) {
    int64_t last = 0; /* neighbours have the same colour more often than not */
    for (int64_t y = 0; y < rgb->height; y++) {
        const uint8_t *pixel = (const uint8_t *)rgb->pixels + y * rgb->row_bytes;
        for (int64_t x = 0; x < rgb->width; x++, pixel += 3) {
            if (count == 0 || memcmp(colours + 3 * last, pixel, 3) != 0) {
                int64_t place = 0;
                while (place < count && memcmp(colours + 3 * place, pixel, 3) != 0) place++;
                if (place == count) return y * rgb->width + x;
                last = place;
            }
            set_id((char *)ids->pixels + y * ids->row_bytes, ids->type, x, (int32_t)last);
        }
    }
    return -1;
}

int64_t mi_first_id_beyond(const mi_image *ids, int64_t classes, int32_t ignored) {
    for (int64_t y = 0; y < ids->height; y++)
        for (int64_t x = 0; x < ids->width; x++) {
            const int32_t id = id_at(ids, y, x);
            if ((id < 0 || id >= classes) && id != ignored) return y * ids->width + x;
        }
    return -1;
}

int32_t mi_id_at(const mi_image *ids, int64_t pixel) { return id_at(ids, pixel / ids->width, pixel % ids->width); }

void mi_id_range(const mi_image *ids, int32_t ignored, int32_t *low, int32_t *high) {
    *low = INT32_MAX, *high = INT32_MIN;
    for (int64_t y = 0; y < ids->height; y++)
        for (int64_t x = 0; x < ids->width; x++) {
            const int32_t id = id_at(ids, y, x);
            if (id == ignored) continue;
            if (id < *low) *low = id;
            if (id > *high) *high = id;
        }
}

void mi_fill_ids(const mi_image *ids, int32_t id) {
    for (int64_t y = 0; y < ids->height; y++)
        for (int64_t x = 0; x < ids->width; x++) set_id((char *)ids->pixels + y * ids->row_bytes, ids->type, x, id);
}

static int is_class(int32_t id, int64_t classes, int32_t ignored) { return id >= 0 && id < classes && id != ignored; }

double mi_pixel_factors(const int32_t *ids, int64_t count, int64_t classes, int32_t ignored, const float *weights, int32_t *labels,
                        float *factors) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        const int known = is_class(ids[i], classes, ignored);
        labels[i] = known ? ids[i] : 0;
        factors[i] = !known ? 0 : weights ? weights[ids[i]] : 1;
        sum += factors[i];
    }
    const float scale = sum > 0 ? (float)((double)count / sum) : 0;
    for (int64_t i = 0; i < count; i++) factors[i] *= scale;
    return sum;
}

void mi_pixel_presence(const int32_t *ids, int64_t count, int64_t classes, int32_t ignored, float *presence) {
    for (int64_t i = 0; i < count; i++) presence[i] = is_class(ids[i], classes, ignored) ? 1 : 0;
}

/* Writes line y of `height` to the scratch row. */
static void scores_of_line(const mi_scores *s, int64_t y, int64_t height) {
    int64_t first, second;
    const float share = bilinear_source(y, s->height, height, &first, &second);
    const float *a = s->values + first * s->width * s->classes, *b = s->values + second * s->width * s->classes;
    for (int64_t i = 0; i < s->width * s->classes; i++) s->row[i] = a[i] + (b[i] - a[i]) * share;
}

/* Scores of pixel x of `width` of the line in the scratch row, behind it. */
static const float *scores_of_pixel(const mi_scores *s, int64_t x, int64_t width) {
    int64_t first, second;
    const float share = bilinear_source(x, s->width, width, &first, &second);
    const float *a = s->row + first * s->classes, *b = s->row + second * s->classes;
    float *out = s->row + s->width * s->classes;
    for (int64_t c = 0; c < s->classes; c++) out[c] = a[c] + (b[c] - a[c]) * share;
    return out;
}

static int64_t largest(const float *scores, int64_t count) {
    int64_t best = 0;
    for (int64_t c = 1; c < count; c++)
        if (scores[c] > scores[best]) best = c;
    return best;
}

void mi_class_map(const mi_scores *scores, const mi_image *out) {
    for (int64_t y = 0; y < out->height; y++) {
        uint16_t *line = (uint16_t *)((char *)out->pixels + y * out->row_bytes);
        scores_of_line(scores, y, out->height);
        for (int64_t x = 0; x < out->width; x++) line[x] = (uint16_t)largest(scores_of_pixel(scores, x, out->width), scores->named);
    }
}

/* 1 in the middle of a side, and the less the nearer its ends are, where a network has seen only one side of what is there. */
static float tent(int64_t place, int64_t side) {
    const int64_t near = place + 1 < side - place ? place + 1 : side - place;
    return (float)(2 * near) / (float)(side + 1);
}

void mi_add_window(const mi_scores *scores, int64_t height, int64_t width, int64_t first_row, int64_t rows, int64_t left, float *sums,
                   float *weights, int64_t sum_width) {
    const int64_t from = left < 0 ? -left : 0, until = left + width > sum_width ? sum_width - left : width;
    for (int64_t y = 0; y < rows; y++) {
        const float of_row = tent(first_row + y, height);
        scores_of_line(scores, first_row + y, height);
        for (int64_t x = from; x < until; x++) {
            const float *own = scores_of_pixel(scores, x, width);
            const int64_t pixel = y * sum_width + left + x;
            const float weight = of_row * tent(x, width);
            for (int64_t c = 0; c < scores->classes; c++) sums[pixel * scores->classes + c] += weight * own[c];
            weights[pixel] += weight;
        }
    }
}

void mi_mean_of_windows(float *sums, const float *weights, int64_t pixels, int64_t classes) {
    for (int64_t i = 0; i < pixels; i++)
        for (int64_t c = 0; c < classes; c++) sums[i * classes + c] /= weights[i];
}

void mi_class_shares(const mi_scores *scores, int64_t height, int64_t width, float *shares) {
    for (int64_t y = 0; y < height; y++) {
        scores_of_line(scores, y, height);
        for (int64_t x = 0; x < width; x++, shares += scores->named) {
            const float *own = scores_of_pixel(scores, x, width);
            const float top = own[largest(own, scores->named)];
            float sum = 0;
            for (int64_t c = 0; c < scores->named; c++) sum += shares[c] = expf(own[c] - top);
            for (int64_t c = 0; c < scores->named; c++) shares[c] /= sum;
        }
    }
}

void mi_score_map(const mi_scores *scores, const mi_image *ids, int32_t ignored, const int32_t *places, mi_map_score *score) {
    for (int64_t y = 0; y < ids->height; y++) {
        scores_of_line(scores, y, ids->height);
        for (int64_t x = 0; x < ids->width; x++) {
            const int32_t id = id_at(ids, y, x);
            if (id == ignored) continue;
            const float *own = scores_of_pixel(scores, x, ids->width);
            const int64_t truth = places[id];
            float top = own[0];
            double sum = 0;
            for (int64_t c = 1; c < scores->classes; c++) top = own[c] > top ? own[c] : top;
            for (int64_t c = 0; c < scores->classes; c++) sum += (double)expf(own[c] - top);
            score->loss += log(sum) + (double)(top - own[truth]);
            score->confusion[truth * scores->named + largest(own, scores->named)]++;
            score->pixels++;
        }
    }
}
