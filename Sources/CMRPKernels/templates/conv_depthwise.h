/* Convolution of each channel by itself (channels = groups = out_channels): lanes are channels; no product of matrices is in it. */

#include "conv_strips.h"

typedef struct depthwise_job {
    const mk_conv2d *v;
    int32_t pass;
    int64_t taps, blocks;
    float *packed; /* weights as [tap][channel]; the gradient: blocks of them */
} depthwise_job;

static mk_scratch depthwise_scratch(const mk_conv2d *v, int32_t pass) {
    if (strips_fit(v)) return strips_scratch(v, pass);
    const int64_t blocks = pass == MK_CONV2D_WEIGHT_GRADIENT ? mk_blocks(v->out.count) : 1;
    return (mk_scratch){0, blocks * v->rows.kernel * v->columns.kernel * v->channels * (int64_t)sizeof(float)};
}

/* The row of places at a position, -1 where nothing is. */
MK_INLINE int64_t place_row(const mk_places *places, int64_t height, int64_t width, int64_t image, int64_t y, int64_t x) {
    if (y < 0 || y >= height || x < 0 || x >= width) return -1;
    const int64_t position = (image * height + y) * width + x;
    return places->rows ? places->rows[position] : position;
}

/* The row of x that tap (i, j) of row `image, y, x` of y meets; in the gradient to the input the row of y that meets x there. */
MK_INLINE int64_t depthwise_row(const mk_conv2d *v, int gradient, int64_t image, int64_t y, int64_t x, int64_t i, int64_t j) {
    if (!gradient)
        return place_row(&v->in, v->rows.in, v->columns.in, image, y * v->rows.stride - v->rows.padding + i * v->rows.dilation,
                         x * v->columns.stride - v->columns.padding + j * v->columns.dilation);
    const int64_t down = y + v->rows.padding - i * v->rows.dilation, right = x + v->columns.padding - j * v->columns.dilation;
    if (down < 0 || right < 0 || down % v->rows.stride != 0 || right % v->columns.stride != 0) return -1;
    return place_row(&v->out, v->rows.out, v->columns.out, image, down / v->rows.stride, right / v->columns.stride);
}

static void depthwise_task(void *context, int64_t index, int32_t worker) {
    const depthwise_job *job = context;
    const mk_conv2d *v = job->v;
    const int gradient = job->pass == MK_CONV2D_INPUT_GRADIENT;
    const mk_places *target = gradient ? &v->in : &v->out;
    const int64_t width = gradient ? v->columns.in : v->columns.out, height = gradient ? v->rows.in : v->rows.out, channels = v->channels;
    const int64_t size = mk_rows_per_task(channels), first = index * size, last = mk_least(target->count, first + size);
    const float *from = gradient ? v->y : v->x, *bias = v->bias, *addend = v->addend;
    const int32_t relu = gradient ? 0 : v->relu;
    (void)worker;
    for (int64_t row = first; row < last; ++row) {
        const int64_t position = target->positions ? target->positions[row] : row;
        const int64_t x = position % width, y = position / width % height, image = position / width / height;
        float *to = (float *)(gradient ? v->x : v->y) + row * channels;
        MK_EACH_VECTOR(c, n, channels, {
            vf sum = addend ? vf_load_part(addend + row * channels + c, n) : vf_splat(0);
            if (bias) sum += vf_load_part(bias + c, n);
            vf_store_part(to + c, sum, n);
        });
        for (int64_t i = 0; i < v->rows.kernel; ++i)
            for (int64_t j = 0; j < v->columns.kernel; ++j) {
                const int64_t source = depthwise_row(v, gradient, image, y, x, i, j);
                if (source < 0) continue;
                const float *at = from + source * channels, *weight = job->packed + (i * v->columns.kernel + j) * channels;
                MK_EACH_VECTOR(c, n, channels, {
                    vf_store_part(to + c, vf_fma(vf_load_part(at + c, n), vf_load_part(weight + c, n), vf_load_part(to + c, n)), n);
                });
            }
        if (relu) MK_EACH_VECTOR(c, n, channels, { vf_store_part(to + c, vf_relu(vf_load_part(to + c, n), relu), n); });
    }
}

static void depthwise_weights_task(void *context, int64_t block, int32_t worker) {
    const depthwise_job *job = context;
    const mk_conv2d *v = job->v;
    const int64_t channels = v->channels, size = mk_block_rows(v->out.count), first = block * size;
    const int64_t last = mk_least(v->out.count, first + size);
    float *sums = job->packed + block * job->taps * channels;
    (void)worker;
    mk_zero(sums, job->taps * channels);
    for (int64_t row = first; row < last; ++row) {
        const int64_t position = v->out.positions ? v->out.positions[row] : row;
        const int64_t x = position % v->columns.out, y = position / v->columns.out % v->rows.out,
                      image = position / v->columns.out / v->rows.out;
        const float *dy = (const float *)v->y + row * channels;
        for (int64_t i = 0; i < v->rows.kernel; ++i)
            for (int64_t j = 0; j < v->columns.kernel; ++j) {
                const int64_t source = depthwise_row(v, 0, image, y, x, i, j);
                if (source < 0) continue;
                const float *at = (const float *)v->x + source * channels;
                float *sum = sums + (i * v->columns.kernel + j) * channels;
                MK_EACH_VECTOR(c, n, channels, {
                    vf_store_part(sum + c, vf_fma(vf_load_part(at + c, n), vf_load_part(dy + c, n), vf_load_part(sum + c, n)), n);
                });
            }
    }
}

static void depthwise(mk_pool *pool, const mk_conv2d *v, int32_t pass) {
    if (strips_fit(v)) {
        depthwise_strips(pool, v, pass);
        return;
    }
    depthwise_job job = {v, pass, v->rows.kernel * v->columns.kernel, mk_blocks(v->out.count), mk_pool_shared(pool)};
    const float *scale = pass == MK_CONV2D_FORWARD ? v->scale : NULL;
    float *weight = v->weight;
    if (pass == MK_CONV2D_WEIGHT_GRADIENT) {
        mk_pool_run(pool, job.blocks, depthwise_weights_task, &job);
        for (int64_t tap = 0; tap < job.taps; ++tap)
            for (int64_t c = 0; c < v->channels; ++c) {
                float sum = 0;
                for (int64_t block = 0; block < job.blocks; ++block) sum += job.packed[(block * job.taps + tap) * v->channels + c];
                weight[c * job.taps + tap] = sum;
            }
        return;
    }
    for (int64_t tap = 0; tap < job.taps; ++tap)
        for (int64_t c = 0; c < v->channels; ++c) job.packed[tap * v->channels + c] = (scale ? scale[c] : 1) * weight[c * job.taps + tap];
    const int64_t rows = pass == MK_CONV2D_FORWARD ? v->out.count : v->in.count;
    mk_pool_run(pool, mk_ceil_divide(rows, mk_rows_per_task(v->channels)), depthwise_task, &job);
}
