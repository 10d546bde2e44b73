/* Depthwise convolution with stride 1 and kernels of 3, 5 or 7 columns, by strips of neighbouring positions of one line whose sums stay in
 * registers: a pixel is read once for all positions of the strip that it meets. Included by conv_depthwise.h. */

enum {
    MK_STRIP = 8,        /* positions of a strip */
    MK_STRIP_LISTED = 4, /* the same with masked positions */
    MK_STRIP_ROWS = 7,   /* rows of a kernel, at most */
    MK_STRIP_LINES = 4,  /* lines of a task */
    MK_STRIP_BLOCKS = 16 /* of lines, each with its own sums of the gradient to the kernel, at most */
};

typedef struct strips_plan {
    const mk_places *source, *target;
    int64_t height, width, target_height, target_width, channels, lines; /* lines: of all targets */
    int64_t kernel_rows, kernel_columns, top, left;                      /* the first tap's place beside its target */
    const float *from;                                                   /* the source */
    float *to;                                                           /* the target; the gradient to the kernel only reads it */
    const float *bias, *addend, *zeros;
    int32_t relu;
    float *packed; /* kernels [tap][channel]; of the gradient: blocks of sums */
    int64_t blocks;
} strips_plan;

MK_INLINE int strips_fit(const mk_conv2d *v) {
    const mk_window *r = &v->rows, *c = &v->columns;
    return r->stride == 1 && c->stride == 1 && r->dilation == 1 && c->dilation == 1 && r->kernel <= MK_STRIP_ROWS &&
           (c->kernel == 3 || c->kernel == 5 || c->kernel == 7);
}

static strips_plan strips_make_plan(const mk_conv2d *v, int32_t pass) {
    const int gradient = pass == MK_CONV2D_INPUT_GRADIENT;
    strips_plan s = {.source = gradient ? &v->out : &v->in,
                     .target = gradient ? &v->in : &v->out,
                     .height = gradient ? v->rows.out : v->rows.in,
                     .width = gradient ? v->columns.out : v->columns.in,
                     .target_height = gradient ? v->rows.in : v->rows.out,
                     .target_width = gradient ? v->columns.in : v->columns.out,
                     .channels = v->channels,
                     .kernel_rows = v->rows.kernel,
                     .kernel_columns = v->columns.kernel,
                     .top = gradient ? v->rows.padding - v->rows.kernel + 1 : -v->rows.padding,
                     .left = gradient ? v->columns.padding - v->columns.kernel + 1 : -v->columns.padding,
                     .from = gradient ? v->y : v->x,
                     .to = gradient ? v->x : v->y,
                     .bias = v->bias,
                     .addend = v->addend,
                     .relu = pass == MK_CONV2D_FORWARD ? v->relu : 0};
    s.lines = v->batch * s.target_height;
    s.blocks = mk_least(MK_STRIP_BLOCKS, s.lines);
    return s;
}

/* Zeros of a channel each, then the kernels, or sums of them. */
static mk_scratch strips_scratch(const mk_conv2d *v, int32_t pass) {
    const strips_plan s = strips_make_plan(v, pass);
    const int64_t copies = pass == MK_CONV2D_WEIGHT_GRADIENT ? s.blocks : 1;
    return (mk_scratch){0, (1 + copies * s.kernel_rows * s.kernel_columns) * s.channels * (int64_t)sizeof(float)};
}

/* A strip: its targets, and the pixels that its taps read: rows x (strip + columns - 1). A row of pixels that lie side by side is given
 * by its first alone. */
typedef struct conv_strip {
    int64_t rows[MK_STRIP]; /* of the target, -1: not there */
    const float *pixels[MK_STRIP_ROWS][MK_STRIP + 6];
    int beside[MK_STRIP_ROWS], empty[MK_STRIP_ROWS];
} conv_strip;

/* Fills in the strip from column x on; returns 0 when none of its targets is there. */
static int strip_locate(const strips_plan *s, int64_t line, int64_t x, int64_t length, conv_strip *strip) {
    const int64_t image = line / s->target_height, y = line - image * s->target_height + s->top, left = x + s->left;
    const int64_t columns = length + s->kernel_columns - 1;
    int any = 0;
    for (int64_t o = 0; o < length; ++o) {
        int64_t row = x + o < s->target_width ? line * s->target_width + x + o : -1;
        if (row >= 0 && s->target->rows) row = s->target->rows[row];
        strip->rows[o] = row;
        any |= row >= 0;
    }
    if (!any) return 0;
    for (int64_t i = 0; i < s->kernel_rows; ++i) {
        strip->empty[i] = y + i < 0 || y + i >= s->height;
        if (strip->empty[i]) continue;
        const int64_t first = (image * s->height + y + i) * s->width + left;
        strip->beside[i] = !s->source->rows && left >= 0 && left + columns <= s->width;
        if (strip->beside[i]) {
            strip->pixels[i][0] = s->from + first * s->channels;
            continue;
        }
        int there = 0;
        for (int64_t j = 0; j < columns; ++j) {
            int64_t row = left + j >= 0 && left + j < s->width ? first + j : -1;
            if (row >= 0 && s->source->rows) row = s->source->rows[row];
            strip->pixels[i][j] = row >= 0 ? s->from + row * s->channels : s->zeros;
            there |= row >= 0;
        }
        strip->empty[i] = !there;
    }
    return 1;
}

/* The sums of a vector of channels; `length`, `columns` and `beside` are constants. */
MK_INLINE void strip_row(const float *const *pixels, const float *kernel, int64_t channels, int64_t c, const int64_t n, const int length,
                         const int columns, const int beside, vf *sum) {
    vf weight[7];
    MK_UNROLL for (int j = 0; j < columns; ++j) weight[j] = vf_load_part(kernel + j * channels + c, n);
    MK_UNROLL for (int j = 0; j < length + columns - 1; ++j) {
        const vf x = vf_load_part(beside ? pixels[0] + j * channels + c : pixels[j] + c, n);
        MK_UNROLL for (int o = 0; o < length; ++o) {
            if (j - o >= 0 && j - o < columns) sum[o] = vf_fma(x, weight[j - o], sum[o]);
        }
    }
}

MK_INLINE void strip_compute(const strips_plan *s, const conv_strip *strip, const int length, const int columns) {
    const int64_t channels = s->channels;
    MK_EACH_VECTOR(c, n, channels, {
        vf sum[MK_STRIP];
        MK_UNROLL for (int o = 0; o < length; ++o) sum[o] = s->bias ? vf_load_part(s->bias + c, n) : vf_splat(0);
        for (int64_t i = 0; i < s->kernel_rows; ++i) {
            const float *kernel = s->packed + i * columns * channels;
            if (strip->empty[i]) continue;
            if (strip->beside[i])
                strip_row(strip->pixels[i], kernel, channels, c, n, length, columns, 1, sum);
            else
                strip_row(strip->pixels[i], kernel, channels, c, n, length, columns, 0, sum);
        }
        MK_UNROLL for (int o = 0; o < length; ++o) {
            if (strip->rows[o] < 0) continue;
            const int64_t at = strip->rows[o] * channels + c;
            if (s->addend) sum[o] += vf_load_part(s->addend + at, n);
            vf_store_part(s->to + at, vf_relu(sum[o], s->relu), n);
        }
    });
}

MK_INLINE void strip_gradient_row(const float *const *pixels, float *sums, int64_t channels, int64_t c, const int64_t n, const int length,
                                  const int columns, const int beside, const vf *dy) {
    vf sum[7];
    MK_UNROLL for (int j = 0; j < columns; ++j) sum[j] = vf_load_part(sums + j * channels + c, n);
    MK_UNROLL for (int j = 0; j < length + columns - 1; ++j) {
        const vf x = vf_load_part(beside ? pixels[0] + j * channels + c : pixels[j] + c, n);
        MK_UNROLL for (int o = 0; o < length; ++o) {
            if (j - o >= 0 && j - o < columns) sum[j - o] = vf_fma(x, dy[o], sum[j - o]);
        }
    }
    MK_UNROLL for (int j = 0; j < columns; ++j) vf_store_part(sums + j * channels + c, sum[j], n);
}

MK_INLINE void strip_gradient(const strips_plan *s, const conv_strip *strip, const int length, const int columns, float *sums) {
    const int64_t channels = s->channels;
    MK_EACH_VECTOR(c, n, channels, {
        vf dy[MK_STRIP];
        MK_UNROLL for (int o = 0; o < length; ++o) dy[o] =
            strip->rows[o] < 0 ? vf_splat(0) : vf_load_part(s->to + strip->rows[o] * channels + c, n);
        for (int64_t i = 0; i < s->kernel_rows; ++i) {
            float *line = sums + i * columns * channels;
            if (strip->empty[i]) continue;
            if (strip->beside[i])
                strip_gradient_row(strip->pixels[i], line, channels, c, n, length, columns, 1, dy);
            else
                strip_gradient_row(strip->pixels[i], line, channels, c, n, length, columns, 0, dy);
        }
    });
}

/* Lines first ..< last. `sums`: of the gradient to the kernel, else NULL. */
#define MK_STRIP_CASES(length)                          \
    switch (s->kernel_columns) {                        \
    case 3:                                             \
        if (sums)                                       \
            strip_gradient(s, &strip, length, 3, sums); \
        else                                            \
            strip_compute(s, &strip, length, 3);        \
        break;                                          \
    case 5:                                             \
        if (sums)                                       \
            strip_gradient(s, &strip, length, 5, sums); \
        else                                            \
            strip_compute(s, &strip, length, 5);        \
        break;                                          \
    default:                                            \
        if (sums)                                       \
            strip_gradient(s, &strip, length, 7, sums); \
        else                                            \
            strip_compute(s, &strip, length, 7);        \
    }

static void strip_lines(const strips_plan *s, int64_t first, int64_t last, float *sums) {
    conv_strip strip;
    const int64_t length = s->target->rows ? MK_STRIP_LISTED : MK_STRIP;
    for (int64_t line = first; line < last; ++line) {
        for (int64_t x = 0; x < s->target_width; x += length) {
            /* A strip begins at a visible position. */
            while (s->target->rows && x < s->target_width && s->target->rows[line * s->target_width + x] < 0) ++x;
            if (x >= s->target_width || !strip_locate(s, line, x, length, &strip)) continue;
            if (length == MK_STRIP) {
                MK_STRIP_CASES(MK_STRIP)
            } else {
                MK_STRIP_CASES(MK_STRIP_LISTED)
            }
        }
    }
}

static void strips_task(void *context, int64_t index, int32_t worker) {
    const strips_plan *s = context;
    (void)worker;
    strip_lines(s, index * MK_STRIP_LINES, mk_least(s->lines, (index + 1) * MK_STRIP_LINES), NULL);
}

static void strips_gradient_task(void *context, int64_t block, int32_t worker) {
    const strips_plan *s = context;
    float *sums = s->packed + block * s->kernel_rows * s->kernel_columns * s->channels;
    (void)worker;
    mk_zero(sums, s->kernel_rows * s->kernel_columns * s->channels);
    strip_lines(s, s->lines * block / s->blocks, s->lines * (block + 1) / s->blocks, sums);
}

static void depthwise_strips(mk_pool *pool, const mk_conv2d *v, int32_t pass) {
    strips_plan s = strips_make_plan(v, pass);
    const int64_t taps = s.kernel_rows * s.kernel_columns;
    float *shared = mk_pool_shared(pool), *weight = v->weight;
    mk_zero(shared, s.channels);
    s.zeros = shared;
    s.packed = shared + s.channels;
    if (pass == MK_CONV2D_WEIGHT_GRADIENT) {
        mk_pool_run(pool, s.blocks, strips_gradient_task, &s);
        for (int64_t tap = 0; tap < taps; ++tap)
            for (int64_t c = 0; c < s.channels; ++c) {
                float sum = 0;
                for (int64_t block = 0; block < s.blocks; ++block) sum += s.packed[(block * taps + tap) * s.channels + c];
                weight[c * taps + tap] = sum;
            }
        return;
    }
    /* The gradient to the input is the sum with the kernel turned round. */
    const float *scale = pass == MK_CONV2D_FORWARD ? v->scale : NULL;
    for (int64_t tap = 0; tap < taps; ++tap)
        for (int64_t c = 0; c < s.channels; ++c)
            s.packed[tap * s.channels + c] =
                (scale ? scale[c] : 1) * weight[c * taps + (pass == MK_CONV2D_INPUT_GRADIENT ? taps - 1 - tap : tap)];
    mk_pool_run(pool, mk_ceil_divide(s.lines, MK_STRIP_LINES), strips_task, &s);
}
