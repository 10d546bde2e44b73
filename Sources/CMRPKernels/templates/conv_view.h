/* The view of a tensor that a convolution multiplies: a matrix with one row for each target position and one column for each (tap,
 * channel), of which a block is gathered when it is needed ("implicit GEMM"; the whole matrix never exists).
 *
 * Taps and targets are arithmetic sequences along each axis. In the forward pass the source is x, the targets are all of y. In the
 * gradient to the input the source is the gradient of y; the positions of x fall into stride x stride classes, within each of which
 * the same taps of the kernel meet the same neighbours: a class is a view. */
#ifndef MK_CONV_VIEW_H
#define MK_CONV_VIEW_H

#include "loops.h"

/* Along one axis: target r stands at first + r * step, its tap t reads the source at r * scale + tap_first + t * tap_step and the kernel
 * at kernel_first + t * kernel_step. */
typedef struct conv_axis {
    int64_t source, target; /* sizes of the two tensors */
    int64_t count, first, step;
    int64_t taps, scale, tap_first, tap_step, kernel_first, kernel_step;
} conv_axis;

typedef struct conv_view {
    conv_axis rows, columns;
    const float *from;        /* the source, at the group's first channel */
    int64_t channels, stride; /* taken, and of a whole row of the source */
    const int32_t *source_rows, *positions;
    const int32_t *order; /* with positions: the target rows of this class; NULL: all */
    int64_t count;        /* targets */
} conv_view;

typedef struct conv_target {
    int64_t image, row, column; /* in the sequences of the axes */
    int64_t at;                 /* row of the target tensor */
} conv_target;

static conv_axis forward_axis(const mk_window *w) {
    return (conv_axis){.source = w->in,
                       .target = w->out,
                       .count = w->out,
                       .step = 1,
                       .taps = w->kernel,
                       .scale = w->stride,
                       .tap_first = -w->padding,
                       .tap_step = w->dilation,
                       .kernel_step = 1};
}

/* The taps i of the kernel with phase + padding = i dilation (mod stride), last first, so that they read rising positions. */
static conv_axis gradient_axis(const mk_window *w, int64_t phase) {
    conv_axis axis = {.source = w->out, .target = w->in, .first = phase, .step = w->stride, .scale = 1, .tap_step = 1, .kernel_step = -1};
    axis.count = phase < w->in ? mk_ceil_divide(w->in - phase, w->stride) : 0;
    int64_t previous = -1;
    for (int64_t i = w->kernel - 1; i >= 0; --i) {
        const int64_t reach = phase + w->padding - i * w->dilation;
        if (reach % w->stride != 0) continue;
        const int64_t offset = reach / w->stride;
        if (axis.taps == 0) axis.tap_first = offset, axis.kernel_first = i;
        if (axis.taps == 1) axis.tap_step = offset - axis.tap_first, axis.kernel_step = i - previous;
        previous = i;
        axis.taps++;
    }
    return axis;
}

MK_INLINE int64_t conv_depth(const conv_view *v) { return v->rows.taps * v->columns.taps * v->channels; }

MK_INLINE conv_target conv_locate(const conv_view *v, int64_t index) {
    conv_target t;
    if (v->positions) {
        t.at = v->order ? v->order[index] : index;
        const uint32_t position = (uint32_t)v->positions[t.at], width = (uint32_t)v->columns.target, height = (uint32_t)v->rows.target;
        const uint32_t line = position / width;
        t.column = ((int64_t)(position % width) - v->columns.first) / v->columns.step;
        t.row = ((int64_t)(line % height) - v->rows.first) / v->rows.step;
        t.image = line / height;
    } else {
        const int64_t line = index / v->columns.count;
        t.column = index - line * v->columns.count;
        t.image = line / v->rows.count;
        t.row = line - t.image * v->rows.count;
        t.at = (t.image * v->rows.target + t.row * v->rows.step + v->rows.first) * v->columns.target + t.column * v->columns.step +
               v->columns.first;
    }
    return t;
}

/* The target that follows. */
MK_INLINE conv_target conv_next(const conv_view *v, conv_target t, int64_t index) {
    if (v->positions || t.column + 1 == v->columns.count) return conv_locate(v, index + 1);
    t.column++;
    t.at += v->columns.step;
    return t;
}

/* Columns begin ..< end of one row of the matrix. */
MK_INLINE void conv_gather_row(const conv_view *v, conv_target t, int64_t begin, int64_t end, float *to) {
    const int64_t channels = v->channels, line = v->columns.taps * channels;
    const int64_t left = t.column * v->columns.scale + v->columns.tap_first, top = t.row * v->rows.scale + v->rows.tap_first;
    const int connected = v->columns.tap_step == 1 && v->source_rows == NULL && channels == v->stride;
    for (int64_t tap_row = begin / line, k = begin; k < end; ++tap_row) {
        const int64_t inside = k - tap_row * line, stop = mk_least(line, end - tap_row * line), y = top + tap_row * v->rows.tap_step;
        k += stop - inside;
        if (y < 0 || y >= v->rows.source) {
            mk_zero(to, stop - inside);
            to += stop - inside;
            continue;
        }
        const int64_t source = (t.image * v->rows.source + y) * v->columns.source + left;
        if (connected) {
            /* All taps of this row lie side by side; some may be beyond the border. */
            int64_t low = left < 0 ? -left * channels : 0, high = (v->columns.source - left) * channels;
            low = low < inside ? inside : low < stop ? low : stop;
            high = high > stop ? stop : high > low ? high : low;
            if (low > inside) mk_zero(to, low - inside);
            if (high > low) mk_copy(to + low - inside, v->from + (source * channels + low), high - low);
            if (stop > high) mk_zero(to + high - inside, stop - high);
            to += stop - inside;
            continue;
        }
        for (int64_t tap = inside / channels, c = inside - tap * channels, at = inside; at < stop; ++tap, c = 0) {
            const int64_t count = mk_least(channels - c, stop - at), shift = tap * v->columns.tap_step;
            int64_t row = left + shift < 0 || left + shift >= v->columns.source ? -1 : source + shift;
            if (row >= 0 && v->source_rows) row = v->source_rows[row];
            if (row < 0)
                mk_zero(to, count);
            else
                mk_copy(to, v->from + row * v->stride + c, count);
            to += count;
            at += count;
        }
    }
}

/* Columns begin ..< end of `rows` rows from target `index` on; rows of `to` lie to_stride apart. */
static void conv_gather(const conv_view *v, int64_t index, int64_t rows, int64_t begin, int64_t end, float *to, int64_t to_stride) {
    conv_target t = conv_locate(v, index);
    for (int64_t i = 0; i < rows; ++i) {
        conv_gather_row(v, t, begin, end, to + i * to_stride);
        if (i + 1 < rows) t = conv_next(v, t, index + i);
    }
}

#endif
