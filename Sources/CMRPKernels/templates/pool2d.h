/* Maximum and average over windows, lanes are channels. Backward, each row of x collects from the windows that cover it, so that no two
 * tasks write the same row. */
#include "conv2d.h"

static void pool2d_task(void *context, int64_t index, int32_t worker) {
    const mk_pool2d *p = context;
    const int64_t channels = p->channels, size = mk_rows_per_task(channels), first = index * size;
    const int64_t last = mk_least(p->out.count, first + size);
    const float *x = p->x;
    const float share = 1.0f / (float)(p->rows.kernel * p->columns.kernel);
    (void)worker;
    for (int64_t row = first; row < last; row++) {
        const int64_t position = p->out.positions ? p->out.positions[row] : row, line = position / p->columns.out;
        const int64_t left = position % p->columns.out * p->columns.stride - p->columns.padding;
        const int64_t top = line % p->rows.out * p->rows.stride - p->rows.padding, image = line / p->rows.out;
        float *y = (float *)p->y + row * channels;
        MK_EACH_VECTOR(c, n, channels, {
            vf value = vf_splat(0);
            vi from = vi_splat(-1);
            for (int64_t i = 0; i < p->rows.kernel; i++)
                for (int64_t j = 0; j < p->columns.kernel; j++) {
                    const int64_t source = place_row(&p->in, p->rows.in, p->columns.in, image, top + i, left + j);
                    if (source < 0) continue;
                    const vf v = vf_load_part(x + source * channels + c, n);
                    if (p->average) {
                        value += v;
                    } else {
                        const vi larger = (from < 0) | (v > value) | (v != v);
                        value = vf_select(larger, v, value);
                        from = (larger & (int32_t)source) | (~larger & from);
                    }
                }
            vf_store_part(y + c, p->average ? value * share : value, n);
            if (!p->average) vf_store_part((float *)p->from + row * channels + c, (vf)from, n);
        });
    }
}

static void pool2d_forward(mk_pool *pool, const mk_pool2d *p) {
    mk_pool_run(pool, mk_ceil_divide(p->out.count, mk_rows_per_task(p->channels)), pool2d_task, (void *)p);
}

static void pool2d_gradient_task(void *context, int64_t index, int32_t worker) {
    const mk_pool2d *p = context;
    const int64_t channels = p->channels, size = mk_rows_per_task(channels), first = index * size;
    const int64_t last = mk_least(p->in.count, first + size);
    const float *dy = p->y;
    const float share = 1.0f / (float)(p->rows.kernel * p->columns.kernel);
    (void)worker;
    for (int64_t row = first; row < last; row++) {
        const int64_t position = p->in.positions ? p->in.positions[row] : row, line = position / p->columns.in;
        const int64_t right = position % p->columns.in + p->columns.padding, down = line % p->rows.in + p->rows.padding;
        const int64_t image = line / p->rows.in;
        float *dx = (float *)p->x + row * channels;
        mk_zero(dx, channels);
        for (int64_t i = 0; i < p->rows.kernel && i <= down; i++) {
            if ((down - i) % p->rows.stride != 0) continue;
            for (int64_t j = 0; j < p->columns.kernel && j <= right; j++) {
                if ((right - j) % p->columns.stride != 0) continue;
                const int64_t window =
                    place_row(&p->out, p->rows.out, p->columns.out, image, (down - i) / p->rows.stride, (right - j) / p->columns.stride);
                if (window < 0) continue;
                MK_EACH_VECTOR(c, n, channels, {
                    vf d = vf_load_part(dy + window * channels + c, n);
                    if (p->average) {
                        d *= share;
                    } else {
                        const vi from = (vi)vf_load_part((const float *)p->from + window * channels + c, n);
                        d = vf_select(from == (int32_t)row, d, vf_splat(0));
                    }
                    vf_store_part(dx + c, vf_load_part(dx + c, n) + d, n);
                });
            }
        }
    }
}

static void pool2d_backward(mk_pool *pool, const mk_pool2d *p) {
    mk_pool_run(pool, mk_ceil_divide(p->in.count, mk_rows_per_task(p->channels)), pool2d_gradient_task, (void *)p);
}
