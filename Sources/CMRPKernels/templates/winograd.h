/* Convolutions of 3 x 3 with stride 1 by Winograd's minimal filtering F(4 x 4, 3 x 3) (Lavin & Gray 2016, "Fast Algorithms for
 * Convolutional Neural Networks"): Y = A' [(G g G') * (B' d B)] A for tiles d of 6 x 6 pixels that give 4 x 4 each; * is by element, so
 * that over channels it is 36 matrix products, with 4 times fewer multiplications than the direct sum. The gradient to the input is the
 * same with the kernel turned round; the gradient to the kernel is G' [sum over tiles of (B' d B) * (A dY A')] G.
 *
 * Tiles are transformed by the block, so that all that a block needs stays near: the transformed images never lie in memory as a whole.
 *
 * Of a tensor of visible positions, only the tiles of the output that hold one are computed. With masked cells of at least 4 x 4 such tiles
 * are full; with smaller ones the direct sum may be cheaper (winograd_pays). */
#ifndef MK_WINOGRAD_H
#define MK_WINOGRAD_H

#include "conv_view.h"
#include "gemm.h"

enum {
    MK_WINOGRAD_SIDE = 4,                                         /* of a tile of the output */
    MK_WINOGRAD_POINTS = 36,                                      /* products per channel and tile */
    MK_WINOGRAD_COLUMNS = 64 / MK_TILE_COLUMNS * MK_TILE_COLUMNS, /* outputs at a time */
    MK_WINOGRAD_FLOATS = 1 << 18,                                 /* of a transformed block of images, about */
    MK_WINOGRAD_CHANNELS = 64,                                    /* gradient to the kernel: channels of a task */
    MK_WINOGRAD_CHUNK = 48,                                       /* and tiles at a time */
    MK_WINOGRAD_TASKS = 16,                                       /* and tasks wanted */
    MK_WINOGRAD_LEAST = 16,                                       /* fewer channels do not pay for the transforms */
    MK_WINOGRAD_LEAST_TILES = 48,
};

/* From a source image to a target image through 3 x 3 with zeros around. */
typedef struct winograd_plan {
    const float *from;
    float *to;
    const int32_t *from_rows, *to_rows; /* rows of positions, or NULL */
    const int32_t *list;                /* the tiles to compute, or NULL: all */
    int64_t from_height, from_width, to_height, to_width, padding;
    int64_t channels, outputs, batch;
    int64_t tile_rows, tile_columns, tiles, block; /* tiles: of all images, or of the list; block: of a task */
    int64_t kernel_lane, kernel_channel;           /* strides of the 9 numbers of a kernel, by output and by channel */
    int turned;
    const float *weight, *bias, *addend, *scale;
    int32_t relu;
    float *packed; /* transformed weights: [point][panel][channel][lane], points winograd_point_floats apart */
    /* Gradient to the kernel: `to` is read. */
    int64_t channel_blocks, output_blocks, tile_blocks;
    float *sums; /* tile_blocks x outputs x channels x 9 */
    float *weight_gradient;
    mk_pool *pool;
} winograd_plan;

/* True where the method is allowed and its fewer multiplications pay for the transforms. */
MK_INLINE int winograd_fits(const mk_conv2d *v, int32_t pass) {
    const mk_window *r = &v->rows, *c = &v->columns;
    if (v->direct || v->groups != 1 || r->kernel != 3 || c->kernel != 3 || r->stride != 1 || c->stride != 1) return 0;
    if (r->dilation != 1 || c->dilation != 1 || r->padding != c->padding || r->padding > 2) return 0;
    if (v->channels < MK_WINOGRAD_LEAST || v->out_channels < MK_WINOGRAD_LEAST) return 0;
    const int64_t tiles = mk_ceil_divide(r->out, MK_WINOGRAD_SIDE) * mk_ceil_divide(c->out, MK_WINOGRAD_SIDE);
    /* Few tiles do not pay for the transform of the kernels, which are 4 times as large then. */
    if (pass != MK_CONV2D_WEIGHT_GRADIENT && v->batch * tiles < MK_WINOGRAD_LEAST_TILES) return 0;
    return tiles * MK_WINOGRAD_POINTS * 8 <= r->out * c->out * 9 * 5;
}

static winograd_plan winograd_make_plan(const mk_conv2d *v, int32_t pass) {
    const int gradient = pass == MK_CONV2D_INPUT_GRADIENT;
    const mk_places *from = gradient ? &v->out : &v->in, *to = gradient ? &v->in : &v->out;
    winograd_plan w = {.from = gradient ? v->y : v->x,
                       .from_rows = from->rows,
                       .to_rows = to->rows,
                       .to = gradient ? v->x : v->y,
                       .from_height = gradient ? v->rows.out : v->rows.in,
                       .from_width = gradient ? v->columns.out : v->columns.in,
                       .to_height = gradient ? v->rows.in : v->rows.out,
                       .to_width = gradient ? v->columns.in : v->columns.out,
                       .padding = gradient ? 2 - v->rows.padding : v->rows.padding,
                       .channels = gradient ? v->out_channels : v->channels,
                       .outputs = gradient ? v->channels : v->out_channels,
                       .batch = v->batch,
                       .turned = gradient,
                       .weight = v->weight,
                       .bias = v->bias,
                       .addend = v->addend,
                       .scale = pass == MK_CONV2D_FORWARD ? v->scale : NULL,
                       .relu = pass == MK_CONV2D_FORWARD ? v->relu : 0};
    w.kernel_lane = gradient ? 9 : v->channels * 9;
    w.kernel_channel = gradient ? v->channels * 9 : 9;
    w.tile_rows = mk_ceil_divide(w.to_height, MK_WINOGRAD_SIDE);
    w.tile_columns = mk_ceil_divide(w.to_width, MK_WINOGRAD_SIDE);
    w.tiles = w.batch * w.tile_rows * w.tile_columns;
    int64_t panels = MK_WINOGRAD_FLOATS / (MK_WINOGRAD_POINTS * MK_TILE_ROWS * w.channels);
    panels = panels < 2 ? 2 : panels > 8 ? 8 : panels;
    w.block = panels * MK_TILE_ROWS;
    w.channel_blocks = mk_ceil_divide(w.channels, MK_WINOGRAD_CHANNELS);
    w.output_blocks = mk_ceil_divide(w.outputs, MK_WINOGRAD_COLUMNS);
    const int64_t wanted = mk_ceil_divide(MK_WINOGRAD_TASKS, w.channel_blocks * w.output_blocks);
    w.tile_blocks = mk_least(wanted, mk_ceil_divide(w.tiles, 2 * MK_WINOGRAD_CHUNK));
    return w;
}

/* Lists the tiles that hold a visible position; returns their number. */
static int64_t winograd_tiles(const winograd_plan *w, int32_t *list) {
    int64_t count = 0, tile = 0;
    for (int64_t image = 0; image < w->batch; ++image)
        for (int64_t top = 0; top < w->to_height; top += MK_WINOGRAD_SIDE)
            for (int64_t left = 0; left < w->to_width; left += MK_WINOGRAD_SIDE, ++tile) {
                int there = 0;
                for (int64_t y = top; y < mk_least(top + MK_WINOGRAD_SIDE, w->to_height); ++y) {
                    const int32_t *rows = w->to_rows + (image * w->to_height + y) * w->to_width;
                    for (int64_t x = left; x < mk_least(left + MK_WINOGRAD_SIDE, w->to_width); ++x) there |= rows[x] >= 0;
                }
                if (there) list[count++] = (int32_t)tile;
            }
    return count;
}

/* True where `tiles` cost less than the direct sum over `count` positions, some of whose neighbours are masked. */
MK_INLINE int winograd_pays(int64_t tiles, int64_t count) { return tiles * MK_WINOGRAD_POINTS * 2 <= count * 9; }

/* Transformed kernels of a point; an odd number of cache lines, as all points of a kernel are written at once. */
MK_INLINE int64_t winograd_point_floats(const winograd_plan *w) {
    return mk_ceil_divide(w->outputs, MK_TILE_COLUMNS) * MK_TILE_COLUMNS * w->channels + 16;
}

/* Rows of transformed channels lie an odd number of cache lines apart. */
MK_INLINE int64_t winograd_stride(int64_t channels) { return mk_ceil_divide(channels, 32) * 32 + 16; }

MK_INLINE int64_t winograd_source_floats(const winograd_plan *w) { return MK_WINOGRAD_POINTS * w->block * winograd_stride(w->channels); }

static mk_scratch winograd_scratch(const mk_conv2d *v, int32_t pass) {
    winograd_plan w = winograd_make_plan(v, pass);
    const int64_t zeros = (w.channels > w.outputs ? w.channels : w.outputs) + 16;
    mk_scratch need;
    if (pass == MK_CONV2D_WEIGHT_GRADIENT) {
        need.per_worker = zeros + MK_WINOGRAD_POINTS * (MK_WINOGRAD_CHUNK * (winograd_stride(MK_WINOGRAD_CHANNELS) + MK_WINOGRAD_COLUMNS) +
                                                        MK_WINOGRAD_CHANNELS * MK_WINOGRAD_COLUMNS);
        need.shared = w.tile_blocks * w.outputs * w.channels * 9;
    } else {
        need.per_worker = zeros + winograd_source_floats(&w) + MK_WINOGRAD_POINTS * w.block * winograd_stride(MK_WINOGRAD_COLUMNS);
        need.shared = MK_WINOGRAD_POINTS * winograd_point_floats(&w);
    }
    if (w.to_rows) need.shared += mk_ceil_divide(w.tiles, 16) * 16;
    need.per_worker *= (int64_t)sizeof(float);
    need.shared *= (int64_t)sizeof(float);
    return need;
}

/* B' d: the transform of 6 pixels of the source. */
MK_INLINE void winograd_source(const vf d[6], vf t[6]) {
    const vf four = vf_splat(4), five = vf_splat(5), two = vf_splat(2);
    vf even = vf_fma(-four, d[2], d[4]), odd = vf_fma(-four, d[1], d[3]), even2 = d[4] - d[2], odd2 = two * (d[3] - d[1]);
    t[0] = vf_fma(four, d[0], vf_fma(-five, d[2], d[4]));
    t[1] = even + odd;
    t[2] = even - odd;
    t[3] = even2 + odd2;
    t[4] = even2 - odd2;
    t[5] = vf_fma(four, d[1], vf_fma(-five, d[3], d[5]));
}

/* A' m: the 4 outputs of 6 products. */
MK_INLINE void winograd_target(const vf m[6], vf y[4]) {
    vf a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
    y[0] = m[0] + a + c;
    y[1] = vf_fma(vf_splat(2), d, b);
    y[2] = vf_fma(vf_splat(4), c, a);
    y[3] = vf_fma(vf_splat(8), d, b) + m[5];
}

/* A dy: the gradient of that, 6 of products from 4 of outputs. */
MK_INLINE void winograd_target_gradient(const vf y[4], vf m[6]) {
    vf even = y[0] + y[2], odd = y[1] + y[3], even2 = vf_fma(vf_splat(4), y[2], y[0]), odd2 = vf_fma(vf_splat(8), y[3], y[1] + y[1]);
    m[0] = y[0];
    m[1] = even + odd;
    m[2] = even - odd;
    m[3] = even2 + odd2;
    m[4] = even2 - odd2;
    m[5] = y[3];
}

/* G g: the transform of 3 numbers of a kernel. */
MK_INLINE void winograd_kernel(const vf g[3], vf u[6]) {
    const vf sixth = vf_splat(1.0f / 6);
    vf even = (g[0] + g[2]) * -sixth, odd = g[1] * sixth, wide = vf_fma(g[0], vf_splat(1.0f / 24), g[2] * sixth), half = g[1] * (1.0f / 12);
    u[0] = g[0] * 0.25f;
    u[1] = even - odd;
    u[2] = even + odd;
    u[3] = wide + half;
    u[4] = wide - half;
    u[5] = g[2];
}

/* G' u: the gradient of that. */
MK_INLINE void winograd_kernel_gradient(const vf u[6], vf g[3]) {
    const vf sixth = vf_splat(1.0f / 6);
    vf near = (u[1] + u[2]) * sixth, far = u[3] + u[4];
    g[0] = vf_fma(u[0], vf_splat(0.25f), vf_fma(far, vf_splat(1.0f / 24), -near));
    g[1] = vf_fma(u[2] - u[1], sixth, (u[3] - u[4]) * (1.0f / 12));
    g[2] = vf_fma(far, sixth, u[5] - near);
}

/* The addresses of the side x side pixels of an image from (top, left) on; `zeros` beyond the border and where a position is masked. */
MK_INLINE void winograd_pixels(const float *from, const int32_t *rows, int64_t image, int64_t height, int64_t width, int64_t stride,
                               int64_t top, int64_t left, const int side, const float *zeros, const float **at) {
    for (int i = 0; i < side; ++i)
        for (int j = 0; j < side; ++j) {
            const int64_t y = top + i, x = left + j;
            int64_t row = y >= 0 && y < height && x >= 0 && x < width ? (image * height + y) * width + x : -1;
            if (rows && row >= 0) row = rows[row];
            at[i * side + j] = row >= 0 ? from + row * stride : zeros;
        }
}

typedef struct {
    int64_t image, top, left; /* in the target */
} winograd_place;

MK_INLINE winograd_place winograd_locate(const winograd_plan *w, int64_t tile) {
    if (w->list) tile = w->list[tile];
    const int64_t line = tile / w->tile_columns, image = line / w->tile_rows;
    return (winograd_place){image, (line - image * w->tile_rows) * MK_WINOGRAD_SIDE, (tile - line * w->tile_columns) * MK_WINOGRAD_SIDE};
}

/* Channels first ..< first + count of a tile of the source, transformed: to[point * point_stride + channel]. */
static void winograd_load(const winograd_plan *w, int64_t tile, int64_t first, int64_t count, const float *zeros, float *to,
                          int64_t point_stride) {
    const winograd_place place = winograd_locate(w, tile);
    const float *at[36];
    winograd_pixels(w->from, w->from_rows, place.image, w->from_height, w->from_width, w->channels, place.top - w->padding,
                    place.left - w->padding, 6, zeros, at);
    MK_EACH_VECTOR(c, n, count, {
        vf rows[6][6];
        for (int j = 0; j < 6; ++j) {
            vf d[6], t[6];
            MK_UNROLL for (int i = 0; i < 6; ++i) d[i] = vf_load_part(at[i * 6 + j] + first + c, n);
            winograd_source(d, t);
            MK_UNROLL for (int i = 0; i < 6; ++i) rows[i][j] = t[i];
        }
        for (int i = 0; i < 6; ++i) {
            vf t[6];
            winograd_source(rows[i], t);
            MK_UNROLL for (int j = 0; j < 6; ++j) vf_store(to + (i * 6 + j) * point_stride + c, t[j]);
        }
    });
}

/* The same of the gradient of the target; lanes past count are 0. */
static void winograd_load_gradient(const winograd_plan *w, int64_t tile, int64_t first, int64_t count, const float *zeros, float *to,
                                   int64_t point_stride, int64_t panel_stride) {
    const winograd_place place = winograd_locate(w, tile);
    const float *at[16];
    winograd_pixels(w->to, w->to_rows, place.image, w->to_height, w->to_width, w->outputs, place.top, place.left, 4, zeros, at);
    MK_EACH_VECTOR(c, n, count, {
        vf rows[6][4];
        for (int j = 0; j < 4; ++j) {
            vf d[4], t[6];
            MK_UNROLL for (int i = 0; i < 4; ++i) d[i] = vf_load_part(at[i * 4 + j] + first + c, n);
            winograd_target_gradient(d, t);
            MK_UNROLL for (int i = 0; i < 6; ++i) rows[i][j] = t[i];
        }
        float *lanes = to + c / MK_TILE_COLUMNS * panel_stride + c % MK_TILE_COLUMNS;
        for (int i = 0; i < 6; ++i) {
            vf t[6];
            winograd_target_gradient(rows[i], t);
            MK_UNROLL for (int j = 0; j < 6; ++j) vf_store(lanes + (i * 6 + j) * point_stride, t[j]);
        }
    });
}

/* Products of a tile become outputs first ..< first + count of 4 x 4 pixels. */
static void winograd_store(const winograd_plan *w, int64_t tile, int64_t first, int64_t count, const float *from, int64_t point_stride) {
    const winograd_place place = winograd_locate(w, tile);
    const int64_t rows = mk_least(MK_WINOGRAD_SIDE, w->to_height - place.top);
    const int64_t columns = mk_least(MK_WINOGRAD_SIDE, w->to_width - place.left);
    const int32_t relu = w->relu;
    const int64_t corner = (place.image * w->to_height + place.top) * w->to_width + place.left;
    MK_EACH_VECTOR(c, n, count, {
        vf lines[4][6];
        for (int j = 0; j < 6; ++j) {
            vf m[6], y[4];
            MK_UNROLL for (int i = 0; i < 6; ++i) m[i] = vf_load(from + (i * 6 + j) * point_stride + c);
            winograd_target(m, y);
            MK_UNROLL for (int i = 0; i < 4; ++i) lines[i][j] = y[i];
        }
        const vf bias = w->bias ? vf_load_part(w->bias + first + c, n) : vf_splat(0);
        for (int64_t i = 0; i < rows; ++i) {
            vf y[4];
            winograd_target(lines[i], y);
            for (int64_t j = 0; j < columns; ++j) {
                int64_t row = corner + i * w->to_width + j;
                if (w->to_rows && (row = w->to_rows[row]) < 0) continue;
                const int64_t at = row * w->outputs + first + c;
                vf sum = y[j] + bias;
                if (w->addend) sum += vf_load_part(w->addend + at, n);
                vf_store_part(w->to + at, vf_relu(sum, relu), n);
            }
        }
    });
}

/* The kernels of MK_WIDTH outputs from `lane` on and of up to MK_WIDTH channels: to[channel * 9 + tap] is a vector over the outputs. They
 * are read by whole vectors: in the order of a row of weights, where channels follow each other, else kernel by kernel. */
static void winograd_numbers(const winograd_plan *w, int64_t lane, int64_t channel, int64_t channels, vf to[9 * MK_WIDTH]) {
    const int64_t rows = mk_least(MK_WIDTH, w->outputs - lane), flat = w->kernel_channel == 9, count = flat ? channels * 9 : 9;
    const float *from = w->weight + lane * w->kernel_lane + channel * w->kernel_channel;
    for (int64_t c = 0; c < (flat ? 1 : channels); ++c)
        for (int64_t p = 0; p < count; p += MK_WIDTH) {
            vf block[MK_WIDTH];
            load_transposed(from + c * w->kernel_channel + p, w->kernel_lane, MK_WIDTH, rows, count - p, block);
            MK_UNROLL for (int i = 0; i < MK_WIDTH; ++i) {
                if (i < count - p) to[c * 9 + p + i] = block[i];
            }
        }
    if (!w->scale) return;
    const vf scale = vf_load_n(w->scale + lane, rows);
    for (int64_t i = 0; i < channels * 9; ++i) to[i] *= scale;
}

/* One panel of outputs: transforms its kernels. */
static void winograd_pack_task(void *context, int64_t panel, int32_t worker) {
    const winograd_plan *w = context;
    const int64_t first = panel * MK_TILE_COLUMNS;
    const int64_t lanes = mk_ceil_divide(mk_least(w->outputs - first, MK_TILE_COLUMNS), MK_WIDTH) * MK_WIDTH;
    const int64_t point_stride = winograd_point_floats(w);
    (void)worker;
    for (int64_t c0 = 0; c0 < w->channels; c0 += MK_WIDTH)
        for (int64_t lane = 0; lane < lanes; lane += MK_WIDTH) {
            const int64_t channels = mk_least(MK_WIDTH, w->channels - c0);
            vf numbers[9 * MK_WIDTH];
            winograd_numbers(w, first + lane, c0, channels, numbers);
            for (int64_t c = 0; c < channels; ++c) {
                vf rows[6][3];
                for (int j = 0; j < 3; ++j) {
                    vf g[3], u[6];
                    MK_UNROLL for (int i = 0; i < 3; ++i) g[i] = numbers[c * 9 + (w->turned ? 8 - (i * 3 + j) : i * 3 + j)];
                    winograd_kernel(g, u);
                    MK_UNROLL for (int i = 0; i < 6; ++i) rows[i][j] = u[i];
                }
                float *to = w->packed + panel * MK_TILE_COLUMNS * w->channels + (c0 + c) * lanes + lane;
                for (int i = 0; i < 6; ++i) {
                    vf u[6];
                    winograd_kernel(rows[i], u);
                    for (int j = 0; j < 6; ++j) vf_store(to + (i * 6 + j) * point_stride, u[j]);
                }
            }
        }
}

static void winograd_task(void *context, int64_t index, int32_t worker) {
    const winograd_plan *w = context;
    const int64_t first = index * w->block, count = mk_least(w->block, w->tiles - first);
    const int64_t stride = winograd_stride(w->channels), sums_stride = winograd_stride(MK_WINOGRAD_COLUMNS);
    const int64_t point_stride = winograd_point_floats(w), pass_k = mk_even_part(w->channels, MK_GEMM_K);
    float *zeros = mk_pool_scratch(w->pool, worker), *source = zeros + (w->channels > w->outputs ? w->channels : w->outputs) + 16;
    float *sums = source + winograd_source_floats(w);
    mk_zero(zeros, w->channels);
    for (int64_t tile = 0; tile < count; ++tile)
        winograd_load(w, first + tile, 0, w->channels, zeros, source + tile * stride, w->block * stride);
    for (int64_t column = 0; column < w->outputs; column += MK_WINOGRAD_COLUMNS) {
        const int64_t width = mk_least(MK_WINOGRAD_COLUMNS, w->outputs - column);
        for (int64_t point = 0; point < MK_WINOGRAD_POINTS; ++point)
            for (int64_t k = 0; k < w->channels; k += pass_k)
                for (int64_t tile = 0; tile < count; tile += MK_TILE_ROWS)
                    for (int64_t part = 0; part < width; part += MK_TILE_COLUMNS) {
                        const int64_t panel = (column + part) / MK_TILE_COLUMNS;
                        const int64_t vectors = mk_ceil_divide(mk_least(MK_TILE_COLUMNS, width - part), MK_WIDTH);
                        float *c = sums + (point * w->block + tile) * sums_stride + part;
                        gemm_tile t = {
                            .k = mk_least(pass_k, w->channels - k),
                            .a = source + (point * w->block + tile) * stride + k,
                            .a_stride = stride,
                            .b = w->packed + point * point_stride + panel * MK_TILE_COLUMNS * w->channels + k * vectors * MK_WIDTH,
                            .b_stride = vectors * MK_WIDTH,
                            .c = c,
                            .ldc = sums_stride,
                            .addend = k > 0 ? c : NULL,
                            .last_lanes = MK_WIDTH,
                            .next_c = (const char *)(c + MK_TILE_COLUMNS),
                            .next_read = (const char *)(c + MK_TILE_COLUMNS),
                            .ahead = (const char *)(source + (point * w->block + tile + MK_TILE_ROWS) * stride + k),
                            .ahead_shift = 5,
                            .ahead_step = 64};
                        gemm_tile_functions[0][vectors - 1][mk_least(MK_TILE_ROWS, count - tile) - 1](&t);
                    }
        for (int64_t tile = 0; tile < count; ++tile)
            winograd_store(w, first + tile, column, width, sums + tile * sums_stride, w->block * sums_stride);
    }
}

/* Products summed over tiles become the gradient of kernels [output][channel][9], of one block of both. */
static void winograd_store_kernels(const winograd_plan *w, const float *sums, int64_t channel, int64_t channels, int64_t output,
                                   int64_t outputs, float *to) {
    for (int64_t c = 0; c < channels; ++c)
        for (int64_t o = 0; o < outputs; o += MK_WIDTH) {
            vf rows[3][6];
            float numbers[9][MK_WIDTH];
            for (int j = 0; j < 6; ++j) {
                vf u[6], g[3];
                MK_UNROLL for (int i = 0; i < 6; ++i) u[i] =
                    vf_load(sums + ((i * 6 + j) * MK_WINOGRAD_CHANNELS + c) * MK_WINOGRAD_COLUMNS + o);
                winograd_kernel_gradient(u, g);
                MK_UNROLL for (int i = 0; i < 3; ++i) rows[i][j] = g[i];
            }
            for (int i = 0; i < 3; ++i) {
                vf g[3];
                winograd_kernel_gradient(rows[i], g);
                MK_UNROLL for (int j = 0; j < 3; ++j) vf_store(numbers[i * 3 + j], g[j]);
            }
            for (int64_t lane = 0; lane < mk_least(MK_WIDTH, outputs - o); ++lane)
                for (int tap = 0; tap < 9; ++tap) to[((output + o + lane) * w->channels + channel + c) * 9 + tap] = numbers[tap][lane];
        }
}

static void winograd_weights_task(void *context, int64_t index, int32_t worker) {
    const winograd_plan *w = context;
    const int64_t pairs = w->channel_blocks * w->output_blocks, block = index / pairs, pair = index % pairs;
    const int64_t channel = pair / w->output_blocks * MK_WINOGRAD_CHANNELS, output = pair % w->output_blocks * MK_WINOGRAD_COLUMNS;
    const int64_t channels = mk_least(MK_WINOGRAD_CHANNELS, w->channels - channel);
    const int64_t outputs = mk_least(MK_WINOGRAD_COLUMNS, w->outputs - output);
    const int64_t begin = w->tiles * block / w->tile_blocks, end = w->tiles * (block + 1) / w->tile_blocks;
    const int64_t stride = winograd_stride(MK_WINOGRAD_CHANNELS), panel_floats = MK_WINOGRAD_CHUNK * MK_TILE_COLUMNS;
    float *zeros = mk_pool_scratch(w->pool, worker), *source = zeros + (w->channels > w->outputs ? w->channels : w->outputs) + 16;
    float *target = source + MK_WINOGRAD_POINTS * MK_WINOGRAD_CHUNK * stride;
    float *sums = target + MK_WINOGRAD_POINTS * MK_WINOGRAD_CHUNK * MK_WINOGRAD_COLUMNS;
    mk_zero(zeros, w->channels > w->outputs ? w->channels : w->outputs);
    for (int64_t first = begin; first < end; first += MK_WINOGRAD_CHUNK) {
        const int64_t count = mk_least(MK_WINOGRAD_CHUNK, end - first);
        for (int64_t tile = 0; tile < count; ++tile) {
            winograd_load(w, first + tile, channel, channels, zeros, source + tile * stride, MK_WINOGRAD_CHUNK * stride);
            winograd_load_gradient(w, first + tile, output, outputs, zeros, target + tile * MK_TILE_COLUMNS,
                                   MK_WINOGRAD_CHUNK * MK_WINOGRAD_COLUMNS, panel_floats);
        }
        for (int64_t point = 0; point < MK_WINOGRAD_POINTS; ++point)
            for (int64_t c = 0; c < channels; c += MK_TILE_ROWS)
                for (int64_t part = 0; part < outputs; part += MK_TILE_COLUMNS) {
                    float *to = sums + (point * MK_WINOGRAD_CHANNELS + c) * MK_WINOGRAD_COLUMNS + part;
                    gemm_tile t = {.k = count,
                                   .a = source + point * MK_WINOGRAD_CHUNK * stride + c,
                                   .a_stride = stride,
                                   .b = target + point * MK_WINOGRAD_CHUNK * MK_WINOGRAD_COLUMNS + part / MK_TILE_COLUMNS * panel_floats,
                                   .b_stride = MK_TILE_COLUMNS,
                                   .c = to,
                                   .ldc = MK_WINOGRAD_COLUMNS,
                                   .addend = first > begin ? to : NULL,
                                   .last_lanes = MK_WIDTH,
                                   .next_c = (const char *)(to + MK_TILE_COLUMNS),
                                   .next_read = (const char *)(to + MK_TILE_COLUMNS),
                                   .ahead = (const char *)to,
                                   .ahead_shift = 5,
                                   .ahead_step = 64};
                    const int64_t vectors = mk_ceil_divide(mk_least(MK_TILE_COLUMNS, outputs - part), MK_WIDTH);
                    gemm_tile_functions[1][vectors - 1][mk_least(MK_TILE_ROWS, channels - c) - 1](&t);
                }
    }
    float *to = w->tile_blocks > 1 ? w->sums + block * w->outputs * w->channels * 9 : w->weight_gradient;
    winograd_store_kernels(w, sums, channel, channels, output, outputs, to);
}

/* Adds the blocks of tiles. */
static void winograd_sum_task(void *context, int64_t index, int32_t worker) {
    const winograd_plan *w = context;
    const int64_t all = w->outputs * w->channels * 9, first = index * MK_TASK_VALUES;
    (void)worker;
    mk_sum_blocks(w->tile_blocks, all, mk_least(MK_TASK_VALUES, all - first), w->sums + first, w->weight_gradient + first);
}

/* Returns 0, having done nothing, when the visible positions lie so far apart that it would not pay. */
static int conv_winograd(mk_pool *pool, const mk_conv2d *v, int32_t pass) {
    winograd_plan w = winograd_make_plan(v, pass);
    float *shared = mk_pool_shared(pool);
    w.pool = pool;
    if (w.to_rows) {
        int32_t *list = (int32_t *)shared;
        shared += mk_ceil_divide(w.tiles, 16) * 16;
        w.tiles = winograd_tiles(&w, list);
        w.list = list;
        if (w.tiles == 0 || !winograd_pays(w.tiles, pass == MK_CONV2D_INPUT_GRADIENT ? v->in.count : v->out.count)) return 0;
        w.tile_blocks = mk_least(w.tile_blocks, mk_ceil_divide(w.tiles, 2 * MK_WINOGRAD_CHUNK));
    }
    if (pass != MK_CONV2D_WEIGHT_GRADIENT) {
        w.packed = shared;
        mk_pool_run(pool, mk_ceil_divide(w.outputs, MK_TILE_COLUMNS), winograd_pack_task, &w);
        mk_pool_run(pool, mk_ceil_divide(w.tiles, w.block), winograd_task, &w);
        return 1;
    }
    w.weight_gradient = v->weight;
    w.sums = shared;
    mk_pool_run(pool, w.channel_blocks * w.output_blocks * w.tile_blocks, winograd_weights_task, &w);
    if (w.tile_blocks > 1) mk_pool_run(pool, mk_ceil_divide(w.outputs * w.channels * 9, MK_TASK_VALUES), winograd_sum_task, &w);
    return 1;
}

#endif
