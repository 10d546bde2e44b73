#include "mi_instances.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "masks.h"

/* ---- Targets ---- */

typedef struct object {
    int64_t id, area, row_sum, column_sum, top, bottom, left, right;
} object;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most_of(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t most_objects(const mi_instance_targets *t) { return least(t->height * t->width, MI_LAST_OBJECT); }

int64_t mi_instance_scratch(const mi_instance_targets *t) {
    const int64_t table = (MI_LAST_OBJECT + 1) * 4, cells = t->grid_rows * t->grid_columns * 8, map = t->map_rows * t->map_columns * 8;
    return table + most_objects(t) * (int64_t)sizeof(object) + 3 * cells + map;
}

typedef struct parts {
    object *objects;
    int64_t *owners, *known_cell, *all_cell; /* of each cell: its object + 1, known pixels, all pixels */
    float *share, *known;                    /* of each place of a map */
    int32_t *table;
} parts;

static parts parts_of(const mi_instance_targets *t, void *scratch) {
    const int64_t cells = t->grid_rows * t->grid_columns, map = t->map_rows * t->map_columns;
    parts p;
    p.objects = scratch;
    p.owners = (int64_t *)(p.objects + most_objects(t));
    p.known_cell = p.owners + cells;
    p.all_cell = p.known_cell + cells;
    p.share = (float *)(p.all_cell + cells);
    p.known = p.share + map;
    p.table = (int32_t *)(p.known + map);
    memset(p.owners, 0, (size_t)cells * 24);
    memset(p.known, 0, (size_t)map * 4);
    memset(p.table, 0, (MI_LAST_OBJECT + 1) * 4);
    return p;
}

static int is_known(int32_t id, int32_t ignored) { return id != ignored && id >= 0; }

/* Measures the objects and counts the known pixels of cells and places. */
static int64_t list_objects(const mi_instance_targets *t, const int32_t *ids, parts *p) {
    int64_t count = 0;
    for (int64_t y = 0; y < t->height; y++) {
        const int64_t row = y * t->grid_rows / t->height * t->grid_columns, place = y * t->map_rows / t->height * t->map_columns;
        for (int64_t x = 0; x < t->width; x++) {
            const int32_t id = ids[y * t->width + x];
            const int64_t cell = row + x * t->grid_columns / t->width;
            p->all_cell[cell]++;
            if (!is_known(id, t->ignored)) continue;
            p->known_cell[cell]++;
            p->known[place + x * t->map_columns / t->width]++;
            if (id == 0 || id > MI_LAST_OBJECT) continue;
            if (p->table[id] == 0) {
                p->objects[count] = (object){id, 0, 0, 0, y, y, x, x};
                p->table[id] = (int32_t)++count;
            }
            object *o = &p->objects[p->table[id] - 1];
            o->area++, o->row_sum += y, o->column_sum += x;
            o->bottom = y, o->left = least(o->left, x), o->right = most_of(o->right, x);
        }
    }
    return count;
}

/* The largest first; of equal ones that with the smaller id. */
static int by_area(const void *a, const void *b) {
    const object *x = a, *y = b;
    if (x->area != y->area) return x->area > y->area ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* The cells first ... last along one side whose middle cell holds the centre. */
static void cells_of(double centre, int64_t extent, int64_t pixels, int64_t cells, int64_t *first, int64_t *last) {
    const double scale = (double)cells / (double)pixels, half = 0.1 * (double)extent;
    const int64_t own = least((int64_t)(centre * scale), cells - 1);
    const int64_t low = (int64_t)floor((centre - half) * scale), high = (int64_t)floor((centre + half) * scale);
    *first = most_of(most_of(low, own - 1), 0);
    *last = least(least(high, own + 1), cells - 1);
}

static void assign_cells(const mi_instance_targets *t, const object *objects, int64_t count, int64_t *owners) {
    for (int64_t i = 0; i < count; i++) {
        const object *o = &objects[i];
        int64_t top, bottom, left, right;
        cells_of((double)o->row_sum / (double)o->area + 0.5, o->bottom - o->top + 1, t->height, t->grid_rows, &top, &bottom);
        cells_of((double)o->column_sum / (double)o->area + 0.5, o->right - o->left + 1, t->width, t->grid_columns, &left, &right);
        for (int64_t row = top; row <= bottom; row++)
            for (int64_t column = left; column <= right; column++) owners[row * t->grid_columns + column] = i + 1;
    }
}

/* The object's share of each place of the map. */
static void share_of(const mi_instance_targets *t, const int32_t *ids, const object *o, const float *known, float *share) {
    const int64_t map = t->map_rows * t->map_columns;
    memset(share, 0, (size_t)map * 4);
    for (int64_t y = o->top; y <= o->bottom; y++) {
        const int64_t place = y * t->map_rows / t->height * t->map_columns;
        for (int64_t x = o->left; x <= o->right; x++)
            if (ids[y * t->width + x] == o->id) share[place + x * t->map_columns / t->width]++;
    }
    for (int64_t i = 0; i < map; i++) share[i] = known[i] > 0 ? share[i] / known[i] : -1;
}

int64_t mi_instance_targets_make(const mi_instance_targets *t, const int32_t *ids, void *scratch) {
    const int64_t cells = t->grid_rows * t->grid_columns, map = t->map_rows * t->map_columns;
    parts p = parts_of(t, scratch);
    const int64_t count = list_objects(t, ids, &p);
    qsort(p.objects, (size_t)count, sizeof(object), by_area);
    assign_cells(t, p.objects, count, p.owners);
    int64_t positive = 0;
    for (int64_t cell = 0; cell < cells; cell++) positive += p.owners[cell] > 0;
    if (positive > t->most) return positive;
    int64_t row = 0;
    for (int64_t cell = 0; cell < cells; cell++) {
        const int known = 2 * p.known_cell[cell] >= p.all_cell[cell] && p.all_cell[cell] > 0;
        t->objectness[cell] = p.owners[cell] > 0 ? 1 : known ? 0 : -1;
        if (p.owners[cell] > 0) t->cells[row++] = (int32_t)cell;
    }
    for (int64_t i = 0; i < map; i++) t->foreground[i] = p.known[i] > 0 ? 0 : -1;
    for (int64_t i = 0; i < count; i++) {
        share_of(t, ids, &p.objects[i], p.known, p.share);
        for (int64_t j = 0; j < map; j++) t->foreground[j] = p.share[j] > t->foreground[j] ? p.share[j] : t->foreground[j];
        for (int64_t j = 0; j < positive; j++)
            if (p.owners[t->cells[j]] == i + 1) memcpy(t->masks + j * map, p.share, (size_t)map * 4);
    }
    memset(t->masks + positive * map, 0, (size_t)((t->most - positive) * map) * 4);
    for (row = positive; row < t->most; row++) t->cells[row] = -1;
    return positive;
}

/* ---- Instances ---- */

typedef struct candidate {
    float score;
    int32_t cell; /* the cell, later the row of masks */
    int64_t area;
} candidate;

static int64_t words_of(int64_t places) { return (places + 63) / 64; }

int64_t mi_find_scratch(const mi_cells *c, int64_t most) {
    const int64_t cells = c->grid_rows * c->grid_columns, map = c->map_rows * c->map_columns;
    return cells * (int64_t)sizeof(candidate) + 2 * most * words_of(map) * 8 + most * map * 4;
}

static int by_score(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->cell < y->cell ? -1 : x->cell > y->cell;
}

/* Whether no neighbour has a larger logit, and none before it an equal one. */
static int is_peak(const mi_cells *c, int64_t row, int64_t column) {
    const float own = c->objectness[row * c->grid_columns + column];
    for (int64_t y = most_of(row - 1, 0); y <= least(row + 1, c->grid_rows - 1); y++)
        for (int64_t x = most_of(column - 1, 0); x <= least(column + 1, c->grid_columns - 1); x++) {
            const float other = c->objectness[y * c->grid_columns + x];
            const int isBefore = y < row || (y == row && x < column);
            if (other > own || (isBefore && other == own)) return 0;
        }
    return own == own; /* not for a NaN */
}

/* Writes the mask's logits and bits; returns the mean sigmoid inside. */
static float draw_mask(const mi_cells *c, int32_t cell, float *mask, uint64_t *bits, int64_t *area) {
    const float *kernel = c->kernels + cell * (c->channels + 1);
    const int64_t map = c->map_rows * c->map_columns;
    double inside = 0;
    *area = 0;
    memset(bits, 0, (size_t)words_of(map) * 8);
    for (int64_t i = 0; i < map; i++) {
        float sum = kernel[c->channels];
        for (int64_t k = 0; k < c->channels; k++) sum += kernel[k] * c->features[i * c->channels + k];
        mask[i] = sum;
        if (!(sum > 0)) continue;
        bits[i / 64] |= 1ull << (i % 64);
        inside += 1 / (1 + exp(-(double)sum));
        ++*area;
    }
    return *area > 0 ? (float)(inside / (double)*area) : 0;
}

static int overlaps(const candidate *a, const candidate *b, const uint64_t *bits, int64_t words) {
    const uint64_t *x = bits + a->cell * words, *y = bits + b->cell * words;
    int64_t both = 0;
    for (int64_t i = 0; i < words; i++) both += __builtin_popcountll(x[i] & y[i]);
    return 2 * both > a->area + b->area - both;
}

void mi_find_instances(const mi_cells *c, mi_instances *found, void *scratch) {
    enum { SMALLEST = 4 };
    const int64_t cells = c->grid_rows * c->grid_columns, map = c->map_rows * c->map_columns, words = words_of(map);
    candidate *list = scratch;
    uint64_t *bits = (uint64_t *)(list + cells);
    float *kept = (float *)(bits + 2 * found->most * words);
    int64_t count = 0, masks = 0;
    for (int64_t cell = 0; cell < cells; cell++)
        if (is_peak(c, cell / c->grid_columns, cell % c->grid_columns))
            list[count++] = (candidate){(float)(1 / (1 + exp(-(double)c->objectness[cell]))), (int32_t)cell, 0};
    qsort(list, (size_t)count, sizeof(candidate), by_score);
    count = least(count, 2 * found->most);
    for (int64_t i = 0; i < count; i++) {
        candidate own = list[i];
        own.score *= draw_mask(c, own.cell, found->masks + masks * map, bits + masks * words, &own.area);
        own.cell = (int32_t)masks;
        if (own.area >= SMALLEST) list[masks++] = own;
    }
    qsort(list, (size_t)masks, sizeof(candidate), by_score);
    found->count = 0, found->map_rows = c->map_rows, found->map_columns = c->map_columns;
    for (int64_t i = 0; i < masks && found->count < found->most; i++) {
        int64_t j = 0;
        while (j < found->count && !overlaps(&list[i], &list[j], bits, words)) j++;
        if (j < found->count) continue;
        list[found->count] = list[i];
        memcpy(kept + found->count * map, found->masks + list[i].cell * map, (size_t)map * 4);
        found->scores[found->count++] = list[i].score;
    }
    memcpy(found->masks, kept, (size_t)(found->count * map) * 4);
}

/* Marks the pixels of line y that belong to a mask; returns whether there are any. */
static int draw_line(const float *mask, int64_t rows, int64_t columns, int64_t y, int64_t height, int64_t width, uint8_t *line) {
    int64_t first, second;
    const float share = bilinear_source(y, rows, height, &first, &second);
    const float *a = mask + first * columns, *b = mask + second * columns;
    int any = 0;
    for (int64_t x = 0; x < columns && !any; x++) any = a[x] > 0 || b[x] > 0;
    if (!any) return 0;
    any = 0;
    for (int64_t x = 0; x < width; x++) {
        int64_t left, right;
        const float part = bilinear_source(x, columns, width, &left, &right);
        const float upper = a[left] + (a[right] - a[left]) * part, lower = b[left] + (b[right] - b[left]) * part;
        line[x] = upper + (lower - upper) * share > 0;
        any |= line[x];
    }
    return any;
}

void mi_paint_instances(const mi_instances *found, const mi_image *ids, int32_t *boxes, uint8_t *line) {
    const int64_t map = found->map_rows * found->map_columns, width = ids->width;
    for (int64_t y = 0; y < ids->height; y++) memset((char *)ids->pixels + y * ids->row_bytes, 0, (size_t)width * 2);
    for (int64_t i = found->count - 1; i >= 0; i--) {
        int32_t *box = boxes + 4 * i;
        int64_t left = width, right = 0, top = -1, bottom = 0;
        for (int64_t y = 0; y < ids->height; y++) {
            if (!draw_line(found->masks + i * map, found->map_rows, found->map_columns, y, ids->height, width, line)) continue;
            uint16_t *out = (uint16_t *)((char *)ids->pixels + y * ids->row_bytes);
            if (top < 0) top = y;
            bottom = y + 1;
            for (int64_t x = 0; x < width; x++) {
                if (!line[x]) continue;
                out[x] = (uint16_t)(i + 1);
                left = least(left, x), right = most_of(right, x + 1);
            }
        }
        box[0] = (int32_t)(top < 0 ? 0 : left), box[1] = (int32_t)most_of(top, 0), box[2] = (int32_t)right, box[3] = (int32_t)bottom;
    }
}

/* ---- Measures ---- */

int64_t mi_list_objects(const mi_image *ids, int32_t ignored, int32_t *places, int64_t *areas, int64_t most) {
    int64_t count = 0;
    for (int64_t y = 0; y < ids->height; y++)
        for (int64_t x = 0; x < ids->width; x++) {
            const int32_t id = id_at(ids, y, x);
            if (!is_known(id, ignored) || id == 0 || id > MI_LAST_OBJECT) continue;
            if (places[id] == 0) {
                if (count == most) return -1;
                areas[count] = 0;
                places[id] = (int32_t)++count;
            }
            areas[places[id] - 1]++;
        }
    return count;
}

void mi_forget_objects(const mi_image *ids, int32_t *places) {
    for (int64_t y = 0; y < ids->height; y++)
        for (int64_t x = 0; x < ids->width; x++) {
            const int32_t id = id_at(ids, y, x);
            if (id >= 0 && id <= MI_LAST_OBJECT) places[id] = 0;
        }
}

void mi_overlaps(const mi_instances *found, const mi_image *ids, int32_t ignored, const int32_t *places, int64_t objects, int64_t *both,
                 int64_t *areas, uint8_t *line) {
    const int64_t map = found->map_rows * found->map_columns;
    memset(both, 0, (size_t)(found->count * objects) * 8);
    for (int64_t i = 0; i < found->count; i++) {
        areas[i] = 0;
        for (int64_t y = 0; y < ids->height; y++) {
            if (!draw_line(found->masks + i * map, found->map_rows, found->map_columns, y, ids->height, ids->width, line)) continue;
            for (int64_t x = 0; x < ids->width; x++) {
                const int32_t id = id_at(ids, y, x);
                if (!line[x] || !is_known(id, ignored)) continue;
                areas[i]++;
                if (id > 0 && id <= MI_LAST_OBJECT) both[i * objects + places[id] - 1]++;
            }
        }
    }
}

int64_t mi_match(int64_t count, int64_t objects, const int64_t *both, const int64_t *areas, const int64_t *object_areas, double threshold,
                 uint8_t *hits, uint8_t *taken) {
    int64_t matched = 0;
    memset(taken, 0, (size_t)objects);
    for (int64_t i = 0; i < count; i++) {
        double best = threshold;
        int64_t choice = -1;
        for (int64_t j = 0; j < objects; j++) {
            const int64_t shared = both[i * objects + j];
            const double overlap = (double)shared / (double)(areas[i] + object_areas[j] - shared);
            if (taken[j] || overlap < best) continue;
            best = overlap, choice = j;
        }
        hits[i] = choice >= 0;
        if (choice < 0) continue;
        taken[choice] = 1;
        matched++;
    }
    return matched;
}

static int by_scored(const void *a, const void *b) {
    const mi_scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

double mi_average_precision(mi_scored *list, int64_t count, int64_t objects) {
    qsort(list, (size_t)count, sizeof(mi_scored), by_scored);
    int64_t hits = 0, place = count;
    double total = 0, best = 0;
    for (int64_t i = 0; i < count; i++) hits += list[i].is_hit;
    /* From the highest recall down, with the best precision at that recall or above. */
    for (int64_t step = 100; step >= 0; step--) {
        while (place > 0 && (double)hits / (double)objects >= 0.01 * (double)step) {
            const double precision = (double)hits / (double)place;
            best = precision > best ? precision : best;
            hits -= list[--place].is_hit;
        }
        total += best;
    }
    return total / 101;
}
