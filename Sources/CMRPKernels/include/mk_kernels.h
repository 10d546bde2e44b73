/* The numeric kernels behind one table of function pointers, so that a caller chooses precision and instruction set once.
 *
 * mk_kernels_float32(isa): the fast float32 kernels.   mk_kernels_reference_float32 / _float64(): the same functions as plain
 * loops (reference/reference_kernels.h), which the fast ones are tested against and which gradient checks run in float64.
 *
 * Conventions: matrices are row-major; `real` pointers are float or double by table; every result is the same bit for bit
 * whatever the number of threads (tasks are cut by shape, reductions add in a fixed order); NaN and Inf pass through; sizes are
 * at least 0 and were checked by the caller; no kernel allocates: scratch comes from the pool, and *_scratch says how much.
 * Unless said otherwise outputs do not overlap inputs. */
#ifndef MK_KERNELS_H
#define MK_KERNELS_H

#include <stdint.h>

#include "mk_pool.h"

/* No entry of a kernel table is NULL (mk_kernels_missing): Swift sees function pointers that are not optional. */
#ifdef __clang__
#define MK_NONNULL _Nonnull
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wnullability-completeness"
#else
#define MK_NONNULL
#endif

/* Scratch that a kernel call needs from the pool (mk_pool_reserve). */
typedef struct mk_scratch {
    int64_t per_worker; /* bytes */
    int64_t shared;     /* bytes */
} mk_scratch;

enum { MK_ACTIVATION_NONE = 0, MK_ACTIVATION_GELU = 1, MK_ACTIVATION_GELU_GRADIENT = 2 };

/* C[m,n] = epilogue(op(A)[m,k] op(B)[k,n]); with v = scale[column] sum + bias[column]:
 *   NONE           C = relu?(v (+ residual)), with relu 0: no ReLU, 1: max(0, .), 6: min(max(0, .), 6)
 *   GELU           auxiliary = v (when not NULL);  C = v Phi(v), exact (erf)
 *   GELU_GRADIENT  C = v * d gelu(auxiliary)
 * residual is used with NONE only and may be C itself (accumulation). m, n >= 0; k = 0 gives sum = 0. */
typedef struct mk_gemm {
    int64_t m, n, k;
    const void *a; /* transpose_a 0: m x k with row stride lda; 1: stored k x m with row stride lda */
    int64_t lda;
    const void *b; /* transpose_b 0: k x n with row stride ldb; 1: stored n x k with row stride ldb */
    int64_t ldb;
    void *c;
    int64_t ldc;
    int32_t transpose_a, transpose_b;
    int32_t activation;
    const void *bias;     /* n, or NULL */
    void *auxiliary;      /* m x n, row stride ldc, or NULL */
    const void *residual; /* m x n, row stride ldc, or NULL */
    const void *scale;    /* n, or NULL */
    int32_t relu;
} mk_gemm;

/* Multi-head attention (Vaswani et al. 2017): with scale = 1 / sqrt(head_dim),
 *   out[b,t,h,:] = sum_s p[b,h,t,s] v[b,s,h,:],   p[b,h,t,:] = softmax over s of scale q[b,t,h,:] . k[b,s,h,:].
 * A stride is the distance from a token to the next, in elements; an image follows the one before it after all its tokens. So a linear
 * layer's fused rows (q, k, v), each of D = heads x head_dim, are q = qkv, k = qkv + D, v = qkv + 2 D with three strides of 3 D.
 * The full score matrix of the batch is never stored; log_sum_exp (of the scaled scores) is what the backward pass needs.
 * With lengths, image b attends to its first lengths[b] keys only (limited to 0 ... keys): the others are not read, cost nothing and get
 * gradients of 0. Where no key is left, out is 0 and log_sum_exp is -infinity. */
typedef struct mk_attention {
    int64_t batch, queries, keys, heads, head_dim;
    const void *q;     /* batch x queries x heads x head_dim */
    const void *k, *v; /* batch x keys x heads x head_dim */
    int64_t q_stride, k_stride, v_stride;
    const int32_t *lengths;                     /* batch, or NULL */
    void *out;                                  /* batch x queries x heads x head_dim, without gaps; read by the backward pass */
    void *log_sum_exp;                          /* batch x heads x queries; NULL in inference */
    const void *out_gradient;                   /* backward only: like out */
    void *q_gradient, *k_gradient, *v_gradient; /* backward only: like q, k, v with the same strides; overwritten */
} mk_attention;

/* y[b,i,:] = A + P:  A = x[b, ids[b,i], :] when 0 <= ids[b,i] < rows_in, else fill[:] (zeros when fill is NULL);
 *                    P = table[table_ids[b,i], :] (absent when table is NULL).
 * A stride of 0 shares ids (or x) over the batch; NULL ids mean i. This is the one mechanism behind dropping masked tokens,
 * prepending the class token, restoring the order with mask tokens, and adding positions. */
typedef struct mk_gather {
    int64_t batch, rows_in, rows_out, width;
    const void *x; /* batch x rows_in x width */
    const int32_t *ids;
    int64_t ids_stride; /* per image: rows_out, or 0 when shared */
    const void *fill;   /* width, or NULL */
    const void *table;  /* table_rows x width, or NULL */
    int64_t table_rows;
    const int32_t *table_ids; /* every entry in 0 ..< table_rows */
    int64_t table_ids_stride;
    void *y; /* batch x rows_out x width */
} mk_gather;

/* Gradients of mk_gather; each may be NULL when it is not wanted. All are overwritten. Rows of x that no id names get zero. */
typedef struct mk_gather_gradient {
    mk_gather forward; /* x, fill, table, y are not read */
    const void *y_gradient;
    void *x_gradient;     /* batch x rows_in x width */
    void *fill_gradient;  /* width */
    void *table_gradient; /* table_rows x width */
} mk_gather_gradient;

/* Rows of tokens on their way to experts and back. A choice of experts is three lists, made by route_to_one or route_to_many:
 *   sources   row of the tokens for each of `count` routed rows, which are sorted by expert
 *   offsets   experts + 1: expert e has the routed rows offsets[e] ..< offsets[e + 1]
 *   places    rows x ways: the routed rows that a row of the tokens became, in rising order of the expert; -1 where there is none */
typedef struct mk_routed_rows {
    int64_t rows, ways, count, width;
    const int32_t *sources, *places;
    const void *gates; /* count: factors of the routed rows; NULL: all 1 */
} mk_routed_rows;

enum { MK_GATE_UNIT = 0, MK_GATE_SCORE = 1, MK_GATE_SELECTED = 2 };

/* The factor of each routed row, from the score s[row / tokens][expert] that sent it there (scores: rows x experts):
 *   UNIT      1, and its gradient is that of s / stop(s): ds = dgate / s
 *   SCORE     s
 *   SELECTED  softmax of s over each `group` routed rows that follow one another: those that an expert took from one image */
typedef struct mk_gates {
    int64_t rows, experts, tokens, count, group;
    int32_t kind;
    const void *scores;
    const int32_t *sources, *offsets;
} mk_gates;

/* Patches of images. Image: channels x height x width. A patch row has patch_height * patch_width * channels values, ordered
 * (channel, row, column) when channels_last = 0 (what a convolution weight expects) or (row, column, channel) when 1 (what the
 * MAE target is; He et al. 2021). Patch l = grid_row * grid_width + grid_column; ids as in mk_gather, entries in range. */
typedef struct mk_patches {
    int64_t batch, channels, height, width, patch_height, patch_width;
    int32_t channels_last;
    int64_t rows_out;   /* patches taken per image */
    const int32_t *ids; /* NULL: all in order */
    int64_t ids_stride;
    void *images;  /* batch x channels x height x width; read by extract, overwritten by scatter */
    void *patches; /* batch x rows_out x (patch_height patch_width channels); written by extract, read by scatter */
} mk_patches;

/* The visible positions of an image tensor. Images are channels last: batch x height x width positions, one row of channels each.
 * A whole tensor has count = batch height width rows in the order of positions, and NULL twice. A tensor of visible positions only
 * has `count` rows; positions[row] = (image height + y) width + x, ascending, and rows[position] = row, or -1 where it is masked: such
 * positions count as zeros in a convolution and not at all in a maximum. */
typedef struct mk_places {
    int64_t count;
    const int32_t *positions; /* count, or NULL */
    const int32_t *rows;      /* batch x height x width, or NULL */
} mk_places;

/* Sizes along one axis: out = (in + 2 padding - dilation (kernel - 1) - 1) / stride + 1, rounded down, at least 1; each but padding is
 * at least 1, padding at least 0. */
typedef struct mk_window {
    int64_t in, out, kernel, stride, padding, dilation;
} mk_window;

enum { MK_CONV2D_FORWARD = 0, MK_CONV2D_INPUT_GRADIENT = 1, MK_CONV2D_WEIGHT_GRADIENT = 2 };

/* Convolution in two dimensions (cross-correlation), zeros beyond the border:
 *   y[b, oy, ox, o] = bias[o] + sum over i, j, c of weight[o, c, i, j] x[b, oy stride - padding + i dilation, ox ..., group first + c]
 * and, in the forward pass, with a batch norm of frozen statistics and what follows it: y = relu?(bias + scale[o] sum + addend).
 * With group(o) = o / (out_channels / groups), whose input channels begin at group * channels / groups; groups divides both.
 *   FORWARD          reads x, weight, scale, bias, addend; writes y (+ addend, when not NULL; it may be y itself)
 *   INPUT_GRADIENT   reads y (the gradient), weight, bias, addend; writes x (its gradient + bias + addend; it may be x itself): it is
 *                    the transposed convolution too, and the bias is that one's
 *   WEIGHT_GRADIENT  reads x and y (the gradient); writes weight (its gradient)
 * A kernel of 1 x 1 with stride 1 and no padding needs `in` and `out` to be the same places. */
typedef struct mk_conv2d {
    int64_t batch, channels, out_channels, groups;
    mk_window rows, columns;
    mk_places in, out;
    int32_t direct;     /* 1: never by Winograd's method, whose rounding errors are some ten times larger */
    void *x;            /* in.count x channels */
    void *weight;       /* out_channels x channels / groups x rows.kernel x columns.kernel */
    void *y;            /* out.count x out_channels */
    const void *bias;   /* of the channels of what is written, or NULL; not with WEIGHT_GRADIENT */
    const void *addend; /* shape of what is written, or NULL; not with WEIGHT_GRADIENT */
    const void *scale;  /* out_channels, or NULL; FORWARD only */
    int32_t relu;       /* 0, 1, 6 as in mk_batch_norm; FORWARD only */
} mk_conv2d;

/* y = relu?((x - mean) / sqrt(variance + epsilon) gamma + beta + residual) per column of a matrix (Ioffe & Szegedy 2015), with
 * relu 0: no ReLU, 1: max(0, .), 6: min(max(0, .), 6).
 * Backward, with dz = dy where y > 0 (and y < 6; dy without relu) and h = (x - mean) / sqrt(variance + epsilon):
 *   dgamma = sum dz h, dbeta = sum dz, dresidual = dz,
 *   dx = gamma / sqrt(variance + epsilon) (dz - average dz - h average(dz h)); without the averages when the statistics are frozen. */
typedef struct mk_batch_norm {
    int64_t rows, width;
    const void *x, *gamma, *beta;
    const void *mean, *variance; /* width; variance is the biased one */
    const void *residual;        /* rows x width, or NULL; may be y */
    double epsilon;
    int32_t relu, frozen;
    void *y; /* written by forward (it may be x), read by backward where relu is 1 */
    const void *y_gradient;
    void *x_gradient;        /* may be y_gradient */
    void *residual_gradient; /* or NULL */
    void *gamma_gradient, *beta_gradient;
} mk_batch_norm;

/* Normalisation of each image [rows, width] by itself, channels last.
 * Group norm (Wu & He 2018): y = (x - mean) / sqrt(variance + epsilon) gamma + beta, mean and biased variance over the rows and over the
 * width / groups channels of a group; groups divides width.
 * Global response normalisation (Woo et al. 2023, ConvNeXt V2): y = x + gamma x N + beta with N = G / (average of G + epsilon), G the
 * Euclidean norm of a channel over the rows and the average that over the channels; where G is 0, its gradient is taken as 0. */
typedef struct mk_image_norm {
    int64_t batch, rows, width, groups; /* groups: group norm only */
    const void *x, *gamma, *beta;
    double epsilon;
    void *y;           /* may be x */
    void *mean, *rstd; /* group norm: batch x groups, written by forward and read by backward */
    void *norms;       /* response norm: G, batch x width, likewise */
    const void *y_gradient;
    void *x_gradient; /* may be y_gradient */
    void *gamma_gradient, *beta_gradient;
} mk_image_norm;

/* Maximum or average (divided by the window's area, as torch does) over windows; dilation is 1. A maximum skips what is not there;
 * where nothing is there it is 0 and its index -1. */
typedef struct mk_pool2d {
    int64_t batch, channels;
    mk_window rows, columns;
    mk_places in, out;
    int32_t average;
    void *x;       /* in.count x channels: read by forward, overwritten by backward (the gradient) */
    void *y;       /* out.count x channels: written by forward, read by backward (the gradient) */
    int32_t *from; /* out.count x channels: the row of x of each maximum; written by forward, read by backward; NULL for averages */
} mk_pool2d;

/* Bilinear resizing of channels-last images, as torch's interpolate without align_corners: pixel i of n reads place (i + 0.5) m / n - 0.5 among
 * m, kept inside the border. No low-pass where it shrinks. */
typedef struct mk_resize {
    int64_t batch, channels, in_height, in_width, out_height, out_width;
    void *x; /* batch x in_height x in_width x channels: read by forward, overwritten by backward (the gradient) */
    void *y; /* batch x out_height x out_width x channels: written by forward, read by backward (the gradient) */
} mk_resize;

/* Histograms of oriented gradients (Dalal & Triggs 2005), per channel and cell, as scikit-image's hog() makes them with blocks of one cell
 * and block_norm "L2": gradients are differences of the two neighbours, zero at the border; an angle in [0, 180) degrees votes for one of
 * `bins` equal bins with its magnitude; a cell's histogram h, an average over pixels, becomes h / sqrt(sum h^2 + epsilon^2).
 * A patch has cell_rows x cell_columns cells of cell_height x cell_width pixels; patches form a grid from the image's first pixel on. */
typedef struct mk_hog {
    int64_t batch, channels, height, width;
    int64_t grid_height, grid_width, cell_rows, cell_columns, cell_height, cell_width, bins;
    double epsilon;
    const void *images; /* batch x channels x height x width */
    void *out;          /* batch x (grid_height grid_width) x (cell_rows cell_columns channels bins) */
} mk_hog;

enum { MK_HOG_BINS = 64 }; /* at most */

/* Contrast of unit features against classes of a von Mises-Fisher distribution (Du et al. 2024, ProCo; formulas in von_mises_fisher.h):
 *   scores[r, j] = log C(k~) - log C(kappa_j) = log of the mean of exp(x . z_r / temperature) over features x of class j
 * Backward writes dz = sum over j of dscores[r, j] A(k~) kappa_j / (temperature k~) m_j / |m_j|, A = I_{nu+1} / I_nu: the derivative of the
 * score as a function of the cosine alone, which is that of z as far as z moves on the sphere. All is computed in double. */
typedef struct mk_contrast {
    int64_t rows, classes, width; /* width >= 16 */
    double temperature;
    int32_t unbiased;   /* concentrations by the unbiased |mean|^2 */
    double views;       /* features that one image adds to its class in an epoch */
    const void *z;      /* rows x width, of length 1 */
    const void *means;  /* classes x width: of the features of each class */
    const void *counts; /* classes: features in each mean */
    const void *images; /* classes: images of each class, an upper limit of what counts as independent */
    void *scores;       /* rows x classes; written by forward */
    const void *scores_gradient;
    void *z_gradient; /* rows x width */
} mk_contrast;

/* Chamfer distance between sets of points (Fan et al. 2017; squared distances, as Point-MAE), the mean over sets of
 *   mean over i of min over j |a_i - b_j|^2  +  mean over j of min over i |a_i - b_j|^2.
 * Of equally near points the first counts. The gradient takes the choice of the nearest as constant. Rows are at least 1. */
typedef struct mk_chamfer {
    int64_t sets, rows_a, rows_b, width;
    const void *a;      /* sets x rows_a x width */
    const void *b;      /* sets x rows_b x width */
    int32_t *nearest_a; /* sets x rows_a: the point of b that is nearest to each of a; written by forward, read by the gradient */
    int32_t *nearest_b; /* sets x rows_b: the same the other way round */
} mk_chamfer;

/* Rows of maps in pairs, a against b, rows x width each. `factors` (one for each row; NULL: 1) weigh the rows. A place of `b` below 0 has no target:
 * it adds 0 and gets no gradient. */
typedef struct mk_maps {
    int64_t rows, width;
    const void *a, *b, *factors;
    double positive, negative, gamma; /* of logit_entropy */
    int32_t squared;                  /* of map_dice */
} mk_maps;

/* The largest of rows, each times its factor: y[b, w] = max over r of factors[b, r] x[b, r, w], of equal ones the first. */
typedef struct mk_row_maximum {
    int64_t batch, rows, width;
    const void *x, *factors;
    void *y;          /* batch x width; written by forward */
    int32_t *winners; /* batch x width: the row; written by forward, read by the gradient */
} mk_row_maximum;

typedef struct mk_adamw {
    int64_t count;
    void *parameter, *first_moment, *second_moment;
    const void *gradient;
    double learning_rate, beta1, beta2, epsilon, weight_decay;
    int64_t step;          /* 1 at the first update, for the bias correction */
    double gradient_scale; /* multiplies the gradient first */
    int32_t layer_wise;    /* LAMB: the whole step is scaled by |parameter| / |update| */
} mk_adamw;

typedef struct mk_sgd {
    int64_t count;
    void *parameter, *buffer; /* buffer: the momentum's, zero before the first step */
    const void *gradient;
    double learning_rate, momentum, weight_decay;
    double trust;          /* LARS: the gradient is scaled by trust |parameter| / |gradient + decay|; 0: plain SGD */
    double gradient_scale; /* multiplies the gradient first */
    int32_t nesterov;
} mk_sgd;

typedef struct mk_kernels {
    const char *name; /* "baseline", "avx2", "avx512", "neon", "reference_float32", "reference_float64" */
    int32_t element_bytes;

    mk_scratch (*MK_NONNULL gemm_scratch)(const mk_gemm *);
    void (*MK_NONNULL gemm)(mk_pool *, const mk_gemm *);

    mk_scratch (*MK_NONNULL attention_scratch)(const mk_attention *); /* enough for forward and backward */
    void (*MK_NONNULL attention_forward)(mk_pool *, const mk_attention *);
    void (*MK_NONNULL attention_backward)(mk_pool *, const mk_attention *);

    /* y = (x - mean) / sqrt(var + epsilon) * gamma + beta per row, biased variance; saves mean and rstd = 1/sqrt(var + epsilon) unless
     * NULL (inference). */
    void (*MK_NONNULL layer_norm_forward)(mk_pool *, int64_t rows, int64_t width, const void *x, const void *gamma, const void *beta,
                                          double epsilon, void *y, void *mean, void *rstd);
    /* dx (+ addend, when not NULL; it may be dx itself), dgamma, dbeta (overwritten). */
    mk_scratch (*MK_NONNULL layer_norm_scratch)(int64_t rows, int64_t width);
    void (*MK_NONNULL layer_norm_backward)(mk_pool *, int64_t rows, int64_t width, const void *x, const void *gamma, const void *mean,
                                           const void *rstd, const void *y_gradient, const void *addend, void *x_gradient,
                                           void *gamma_gradient, void *beta_gradient);

    /* out[column] = sum over rows. */
    mk_scratch (*MK_NONNULL column_sum_scratch)(int64_t rows, int64_t columns);
    void (*MK_NONNULL column_sum)(mk_pool *, int64_t rows, int64_t columns, const void *x, void *out);

    void (*MK_NONNULL gather)(mk_pool *, const mk_gather *);
    void (*MK_NONNULL gather_gradient)(mk_pool *, const mk_gather_gradient *);

    void (*MK_NONNULL extract_patches)(mk_pool *, const mk_patches *);
    void (*MK_NONNULL scatter_patches)(mk_pool *, const mk_patches *); /* gradient of extract: images are zeroed, then patches are added */

    /* y = (x - mean) / sqrt(var + epsilon) per row, unbiased variance (n - 1), as MAE's norm_pix_loss; y may be x. */
    void (*MK_NONNULL standardize_rows)(mk_pool *, int64_t rows, int64_t width, const void *x, double epsilon, void *y);

    /* *loss = mean over count of (prediction - target)^2; partial sums in double over fixed blocks. */
    mk_scratch (*MK_NONNULL squared_error_scratch)(int64_t count);
    void (*MK_NONNULL squared_error)(mk_pool *, int64_t count, const void *prediction, const void *target, void *loss);
    /* out = 2 (prediction - target) / count * *loss_gradient; out may be prediction. */
    void (*MK_NONNULL squared_error_gradient)(mk_pool *, int64_t count, const void *prediction, const void *target,
                                              const void *loss_gradient, void *out);

    /* *loss = mean over rows of weights[row] times the cross entropy against (1 - smoothing) one_hot(label) + smoothing / classes
     * (PyTorch's label_smoothing). NULL weights are all 1. log_sum_exp (rows) is saved for the gradient. Labels are in range. */
    mk_scratch (*MK_NONNULL cross_entropy_scratch)(int64_t rows, int64_t classes);
    void (*MK_NONNULL cross_entropy)(mk_pool *, int64_t rows, int64_t classes, const void *logits, const int32_t *labels, double smoothing,
                                     const void *weights, void *log_sum_exp, void *loss);
    void (*MK_NONNULL cross_entropy_gradient)(mk_pool *, int64_t rows, int64_t classes, const void *logits, const int32_t *labels,
                                              double smoothing, const void *weights, const void *log_sum_exp, const void *loss_gradient,
                                              void *logits_gradient);
    /* The same against targets, rows x classes, whose rows add up to 1; the scratch is that of cross_entropy. */
    void (*MK_NONNULL soft_cross_entropy)(mk_pool *, int64_t rows, int64_t classes, const void *logits, const void *targets,
                                          const void *weights, void *log_sum_exp, void *loss);
    void (*MK_NONNULL soft_cross_entropy_gradient)(mk_pool *, int64_t rows, int64_t classes, const void *logits, const void *targets,
                                                   const void *weights, const void *log_sum_exp, const void *loss_gradient,
                                                   void *logits_gradient);

    /* *loss = mean over count of |d| - beta / 2 where |d| >= beta, else d^2 / (2 beta); d = prediction - target (torch's smooth_l1_loss;
     * beta 0: the absolute error). Scratch as for squared_error. */
    void (*MK_NONNULL smooth_l1)(mk_pool *, int64_t count, double beta, const void *prediction, const void *target, void *loss);
    /* out = clip(d / beta, -1, 1) / count * *loss_gradient, the sign of d with beta 0; out may be prediction. */
    void (*MK_NONNULL smooth_l1_gradient)(mk_pool *, int64_t count, double beta, const void *prediction, const void *target,
                                          const void *loss_gradient, void *out);

    void (*MK_NONNULL argmax_rows)(mk_pool *, int64_t rows, int64_t width, const void *x,
                                   int32_t *out); /* the first of the largest; width >= 1 */

    void (*MK_NONNULL hog)(mk_pool *, const mk_hog *);

    /* y = x / max(|x|, 1e-12) per row, and the lengths; dx = (dy - (dy . y) y) / length. */
    void (*MK_NONNULL unit_rows)(mk_pool *, int64_t rows, int64_t width, const void *x, void *y, void *lengths);
    void (*MK_NONNULL unit_rows_gradient)(mk_pool *, int64_t rows, int64_t width, const void *y, const void *lengths,
                                          const void *y_gradient, void *x_gradient);

    /* The mean of each class's rows of x goes on: with c rows of class j and n before them, mean = (n mean + sum of the rows) / (n + c) and
     * count = n + c; classes without rows stay. Sums in double, row after row. */
    mk_scratch (*MK_NONNULL class_means_scratch)(int64_t width);
    void (*MK_NONNULL class_means)(mk_pool *, int64_t rows, int64_t width, int64_t classes, const void *x, const int32_t *labels,
                                   const void *means, const void *counts, void *new_means, void *new_counts);
    mk_scratch (*MK_NONNULL contrast_scratch)(const mk_contrast *); /* enough for forward and backward */
    void (*MK_NONNULL contrast_forward)(mk_pool *, const mk_contrast *);
    void (*MK_NONNULL contrast_backward)(mk_pool *, const mk_contrast *);

    mk_scratch (*MK_NONNULL chamfer_scratch)(const mk_chamfer *);
    void (*MK_NONNULL chamfer)(mk_pool *, const mk_chamfer *, void *loss);
    /* Either gradient may be NULL; they are overwritten. */
    void (*MK_NONNULL chamfer_gradient)(mk_pool *, const mk_chamfer *, const void *loss_gradient, void *a_gradient, void *b_gradient);

    void (*MK_NONNULL softmax_rows)(mk_pool *, int64_t rows, int64_t width, const void *x, void *y); /* y may be x */

    /* dx = y (dy - sum of y dy over the row), y the softmax. */
    void (*MK_NONNULL softmax_gradient)(mk_pool *, int64_t rows, int64_t width, const void *y, const void *y_gradient, void *x_gradient);

    /* Each of `rows` goes to the expert of its largest score (the first of equal ones), with the `tokens` rows of tokens that it stands for;
     * the order within an expert stays (counting sort). count = rows tokens, ways = 1. */
    void (*MK_NONNULL route_to_one)(mk_pool *, int64_t rows, int64_t experts, int64_t tokens, const void *scores, int32_t *sources,
                                    int32_t *places, int32_t *offsets);
    /* Each expert takes of each image the `capacity` tokens from `first` on with the largest scores (scores: batch x tokens x experts; of
     * equal ones the first), in rising order. count = experts batch capacity, ways = experts. */
    mk_scratch (*MK_NONNULL route_to_many_scratch)(int64_t capacity);
    void (*MK_NONNULL route_to_many)(mk_pool *, int64_t batch, int64_t tokens, int64_t experts, int64_t first, int64_t capacity,
                                     const void *scores, int32_t *sources, int32_t *places, int32_t *offsets);
    void (*MK_NONNULL gates)(mk_pool *, const mk_gates *, void *gates);
    /* dscores (rows x experts, overwritten) from the gates and their gradient. */
    void (*MK_NONNULL gates_gradient)(mk_pool *, const mk_gates *, const void *gates, const void *gates_gradient, void *scores_gradient);
    /* y[i] = gates[i] x[sources[i]]; with `other` (count x width) also products[i] = x[sources[i]] . other[i]. */
    void (*MK_NONNULL dispatch_rows)(mk_pool *, const mk_routed_rows *, const void *x, const void *other, void *y, void *products);
    /* out[r] = addend[r] + sum over the row's places i, in order, of gates[i] y[i]; addend may be NULL or out. */
    void (*MK_NONNULL combine_rows)(mk_pool *, const mk_routed_rows *, const void *y, const void *addend, void *out);
    /* Probabilities p (rows x experts). *loss = variance / mean^2 of the experts' mean probabilities (the squared coefficient of variation;
     * its standard deviation has no gradient at balance), and *loss = mean over rows of -sum p log(p + 1e-9). */
    void (*MK_NONNULL balance_loss)(mk_pool *, int64_t rows, int64_t experts, const void *p, void *loss);
    void (*MK_NONNULL balance_gradient)(mk_pool *, int64_t rows, int64_t experts, const void *p, const void *loss_gradient,
                                        void *p_gradient);
    void (*MK_NONNULL entropy_loss)(mk_pool *, int64_t rows, int64_t experts, const void *p, void *loss);
    void (*MK_NONNULL entropy_gradient)(mk_pool *, int64_t rows, int64_t experts, const void *p, const void *loss_gradient,
                                        void *p_gradient);

    /* y[b,:] = mean over rows first ..< tokens of x[b]; the gradient writes zero to rows before first. */
    void (*MK_NONNULL mean_tokens)(mk_pool *, int64_t batch, int64_t tokens, int64_t width, int64_t first, const void *x, void *y);
    void (*MK_NONNULL mean_tokens_gradient)(mk_pool *, int64_t batch, int64_t tokens, int64_t width, int64_t first, const void *y_gradient,
                                            void *x_gradient);

    void (*MK_NONNULL add)(mk_pool *, int64_t count, const void *a, const void *b, void *y); /* y may be a or b */
    /* y[r,:] = x[r,:] + row; y may be x. */
    void (*MK_NONNULL add_row)(mk_pool *, int64_t rows, int64_t width, const void *x, const void *row, void *y);
    void (*MK_NONNULL scale)(mk_pool *, int64_t count, double factor, const void *x, void *y); /* y may be x */
    /* dx = dy * d gelu(x); dx may be dy. Where a matrix product makes dy, MK_ACTIVATION_GELU_GRADIENT does this in its end. */
    void (*MK_NONNULL gelu_gradient)(mk_pool *, int64_t count, const void *x, const void *y_gradient, void *x_gradient);
    /* y = keep y + share x: running statistics, averages of weights, sums of gradients. With keep 0 y is not read. */
    void (*MK_NONNULL blend)(mk_pool *, int64_t count, double keep, double share, const void *x, void *y);
    /* y[b] = residual[b] + factors[b] x[b] for images of `values` each; residual may be NULL, y may be x or residual. */
    void (*MK_NONNULL scale_images)(mk_pool *, int64_t images, int64_t values, const void *factors, const void *x, const void *residual,
                                    void *y);

    /* See mk_conv2d; `pass` is one of MK_CONV2D_... */
    mk_scratch (*MK_NONNULL conv2d_scratch)(const mk_conv2d *, int32_t pass);
    void (*MK_NONNULL conv2d)(mk_pool *, const mk_conv2d *, int32_t pass);

    /* Mean and biased variance of each column; rows >= 1. */
    mk_scratch (*MK_NONNULL column_moments_scratch)(int64_t rows, int64_t width);
    void (*MK_NONNULL column_moments)(mk_pool *, int64_t rows, int64_t width, const void *x, void *mean, void *variance);
    mk_scratch (*MK_NONNULL batch_norm_scratch)(const mk_batch_norm *); /* enough for forward and backward */
    void (*MK_NONNULL batch_norm_forward)(mk_pool *, const mk_batch_norm *);
    /* Frozen statistics as scale x + shift: reads width, epsilon, gamma, beta, mean, variance. */
    void (*MK_NONNULL batch_norm_fold)(mk_pool *, const mk_batch_norm *, void *scale, void *shift);
    void (*MK_NONNULL batch_norm_backward)(mk_pool *, const mk_batch_norm *);

    mk_scratch (*MK_NONNULL image_norm_scratch)(const mk_image_norm *); /* enough for each of the four */
    void (*MK_NONNULL group_norm_forward)(mk_pool *, const mk_image_norm *);
    void (*MK_NONNULL group_norm_backward)(mk_pool *, const mk_image_norm *);
    void (*MK_NONNULL response_norm_forward)(mk_pool *, const mk_image_norm *);
    void (*MK_NONNULL response_norm_backward)(mk_pool *, const mk_image_norm *);

    void (*MK_NONNULL pool2d_forward)(mk_pool *, const mk_pool2d *);
    void (*MK_NONNULL pool2d_backward)(mk_pool *, const mk_pool2d *);

    void (*MK_NONNULL resize_forward)(mk_pool *, const mk_resize *);
    void (*MK_NONNULL resize_backward)(mk_pool *, const mk_resize *);
    /* y = x Phi(x); y may be x. Where a matrix product makes x, MK_ACTIVATION_GELU does this in its end. */
    void (*MK_NONNULL gelu)(mk_pool *, int64_t count, const void *x, void *y);

    /* *loss = mean over rows of weights[row] (1 - p)^gamma (-log p), p the softmax at the label (Lin et al. 2017, "Focal Loss"); NULL
     * weights are all 1, gamma 0 is the cross entropy. log_sum_exp (rows) is saved for the gradient. Scratch as for cross_entropy. */
    void (*MK_NONNULL focal)(mk_pool *, int64_t rows, int64_t classes, const void *logits, const int32_t *labels, double gamma,
                             const void *weights, void *log_sum_exp, void *loss);
    void (*MK_NONNULL focal_gradient)(mk_pool *, int64_t rows, int64_t classes, const void *logits, const int32_t *labels, double gamma,
                                      const void *weights, const void *log_sum_exp, const void *loss_gradient, void *logits_gradient);
    /* *loss = mean over classes of 1 - sums[0][c] / sums[1][c], with p = softmax(logits), t = one_hot(label), w = weights (NULL: 1):
     * sums[0][c] = 2 sum of w p t + smooth, sums[1][c] = sum of w (p + t) + smooth over all rows (Milletari et al. 2016, "V-Net").
     * log_sum_exp (rows) and sums (2 x classes) are saved for the gradient. */
    mk_scratch (*MK_NONNULL dice_scratch)(int64_t rows, int64_t classes);
    void (*MK_NONNULL dice)(mk_pool *, int64_t rows, int64_t classes, const void *logits, const int32_t *labels, const void *weights,
                            double smooth, void *log_sum_exp, void *sums, void *loss);
    void (*MK_NONNULL dice_gradient)(mk_pool *, int64_t rows, int64_t classes, const void *logits, const int32_t *labels,
                                     const void *weights, const void *log_sum_exp, const void *sums, const void *loss_gradient,
                                     void *logits_gradient);

    /* y = 1 / (1 + exp(-x)); y may be x. */
    void (*MK_NONNULL sigmoid)(mk_pool *, int64_t count, const void *x, void *y);
    void (*MK_NONNULL sigmoid_gradient)(mk_pool *, int64_t count, const void *y, const void *y_gradient, void *x_gradient);
    /* Losses of maps: *loss = mean over rows of the row's factor times its loss; scratch of each is maps_scratch. Of a row:
     * - logit_entropy: the mean over the row of t positive (1 - p)^gamma (-log p) + (1 - t) negative p^gamma (-log(1 - p)), p = sigmoid(a), t = b
     *   (binary cross entropy with soft targets; focal loss, Lin et al. 2017);
     * - map_entropy: the mean over the row of -(b log a + (1 - b) log(1 - a)), a and 1 - a not below 1e-6 (no gradient flows to those);
     * - map_dice: 1 - N / A (Milletari et al. 2016) with N = 2 sum(a b) + 1, A = sum(a) + sum(b) + 1, or squared N = 2 sum(a b),
     *   A = sum(a^2) + sum(b^2) + 0.001; `sums` (rows x 2: N, A) are saved for the gradient.
     * A gradient that is NULL is not wanted. */
    mk_scratch (*MK_NONNULL maps_scratch)(const mk_maps *);
    void (*MK_NONNULL logit_entropy)(mk_pool *, const mk_maps *, void *loss);
    void (*MK_NONNULL logit_entropy_gradient)(mk_pool *, const mk_maps *, const void *loss_gradient, void *a_gradient);
    void (*MK_NONNULL map_entropy)(mk_pool *, const mk_maps *, void *loss);
    void (*MK_NONNULL map_entropy_gradient)(mk_pool *, const mk_maps *, const void *loss_gradient, void *a_gradient, void *b_gradient);
    void (*MK_NONNULL map_dice)(mk_pool *, const mk_maps *, void *sums, void *loss);
    void (*MK_NONNULL map_dice_gradient)(mk_pool *, const mk_maps *, const void *sums, const void *loss_gradient, void *a_gradient,
                                         void *b_gradient);
    void (*MK_NONNULL row_maximum)(mk_pool *, const mk_row_maximum *);
    /* x_gradient: batch x rows x width, 0 where a row did not win; factors_gradient: batch x rows. */
    void (*MK_NONNULL row_maximum_gradient)(mk_pool *, const mk_row_maximum *, const void *y_gradient, void *x_gradient,
                                            void *factors_gradient);
    /* y[b, r] = x[b, r] (width) followed by columns[r] (extra); backwards the first `width` columns of y come back to x. */
    void (*MK_NONNULL append_columns)(mk_pool *, int64_t batch, int64_t rows, int64_t width, int64_t extra, const void *x,
                                      const void *columns, void *y);
    void (*MK_NONNULL leading_columns)(mk_pool *, int64_t rows, int64_t width, int64_t extra, const void *y, void *x);
    /* Montages of planar images: out (count x channels x height x width) has grid x grid tiles each, row by row; tile t is image sources[t],
     * of which each grid x grid neighbours become their mean. height and width are multiples of grid. */
    void (*MK_NONNULL montage)(mk_pool *, int64_t count, int64_t grid, int64_t channels, int64_t height, int64_t width, const void *images,
                               const int32_t *sources, void *out);

    /* sqrt of the sum of squares of `count` values; scratch as for an update. */
    void (*MK_NONNULL norm)(mk_pool *, int64_t count, const void *x, void *out);

    mk_scratch (*MK_NONNULL update_scratch)(int64_t count); /* for updates with a trust ratio */
    /* AdamW (Loshchilov & Hutter 2019), the order of torch.optim.AdamW: p *= 1 - lr wd; then m, v, bias corrections,
     * p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon). With layer_wise: LAMB (You et al. 2020) as in timm. */
    void (*MK_NONNULL adamw)(mk_pool *, const mk_adamw *);
    /* torch.optim.SGD: g += wd p; buffer = momentum buffer + g; p -= lr buffer, or lr (g + momentum buffer) with nesterov. With trust:
     * LARS (You et al. 2017) as in the reference implementation of MAE. */
    void (*MK_NONNULL sgd)(mk_pool *, const mk_sgd *);
} mk_kernels;

/* Instruction sets, in rising order. mk_isa_best() is the best that this CPU and this build can run. */
enum { MK_ISA_BASELINE = 0, MK_ISA_AVX2 = 1, MK_ISA_AVX512 = 2, MK_ISA_NEON = 3 };
int32_t mk_isa_best(void);
int32_t mk_isa_available(int32_t isa);

const mk_kernels *mk_kernels_float32(int32_t isa); /* NULL when it is not available */
const mk_kernels *mk_kernels_reference_float32(void);
const mk_kernels *mk_kernels_reference_float64(void);

/* The name of the first entry of a table that is NULL, or NULL when the table is complete. */
const char *mk_kernels_missing(const mk_kernels *table);

#ifdef __clang__
#pragma clang diagnostic pop
#endif

#endif
