/* The table of one instruction set. */
#ifndef MK_TABLE_H
#define MK_TABLE_H

#include "attention.h"
#include "batch_norm.h"
#include "conv2d.h"
#include "elementwise.h"
#include "gather.h"
#include "gemm.h"
#include "hog.h"
#include "image_norm.h"
#include "layer_norm.h"
#include "losses.h"
#include "patches.h"
#include "pool2d.h"
#include "updates.h"

const mk_kernels MK_NAME(table) = {
    .name = MK_TABLE_NAME,
    .element_bytes = 4,
    .gemm_scratch = MK_NAME(gemm_scratch),
    .gemm = MK_NAME(gemm),
    .attention_scratch = MK_NAME(attention_scratch),
    .attention_forward = MK_NAME(attention_forward),
    .attention_backward = MK_NAME(attention_backward),
    .layer_norm_forward = MK_NAME(layer_norm_forward),
    .layer_norm_scratch = MK_NAME(layer_norm_scratch),
    .layer_norm_backward = MK_NAME(layer_norm_backward),
    .column_sum_scratch = MK_NAME(column_sum_scratch),
    .column_sum = MK_NAME(column_sum),
    .gather = MK_NAME(gather),
    .gather_gradient = MK_NAME(gather_gradient),
    .extract_patches = MK_NAME(extract_patches),
    .scatter_patches = MK_NAME(scatter_patches),
    .standardize_rows = MK_NAME(standardize_rows),
    .squared_error_scratch = MK_NAME(squared_error_scratch),
    .squared_error = MK_NAME(squared_error),
    .squared_error_gradient = MK_NAME(squared_error_gradient),
    .cross_entropy_scratch = MK_NAME(cross_entropy_scratch),
    .cross_entropy = MK_NAME(cross_entropy),
    .cross_entropy_gradient = MK_NAME(cross_entropy_gradient),
    .smooth_l1 = MK_NAME(smooth_l1),
    .smooth_l1_gradient = MK_NAME(smooth_l1_gradient),
    .argmax_rows = MK_NAME(argmax_rows),
    .hog = MK_NAME(hog),
    .soft_cross_entropy = MK_NAME(soft_cross_entropy),
    .soft_cross_entropy_gradient = MK_NAME(soft_cross_entropy_gradient),
    .softmax_rows = MK_NAME(softmax_rows),
    .mean_tokens = MK_NAME(mean_tokens),
    .mean_tokens_gradient = MK_NAME(mean_tokens_gradient),
    .add = MK_NAME(add),
    .scale = MK_NAME(scale),
    .gelu_gradient = MK_NAME(gelu_gradient),
    .blend = MK_NAME(blend),
    .scale_images = MK_NAME(scale_images),
    .conv2d_scratch = MK_NAME(conv2d_scratch),
    .conv2d = MK_NAME(conv2d),
    .column_moments_scratch = MK_NAME(column_moments_scratch),
    .column_moments = MK_NAME(column_moments),
    .batch_norm_scratch = MK_NAME(batch_norm_scratch),
    .batch_norm_forward = MK_NAME(batch_norm_forward),
    .batch_norm_fold = MK_NAME(batch_norm_fold),
    .batch_norm_backward = MK_NAME(batch_norm_backward),
    .image_norm_scratch = MK_NAME(image_norm_scratch),
    .group_norm_forward = MK_NAME(group_norm_forward),
    .group_norm_backward = MK_NAME(group_norm_backward),
    .response_norm_forward = MK_NAME(response_norm_forward),
    .response_norm_backward = MK_NAME(response_norm_backward),
    .pool2d_forward = MK_NAME(pool2d_forward),
    .pool2d_backward = MK_NAME(pool2d_backward),
    .norm = MK_NAME(norm),
    .update_scratch = MK_NAME(update_scratch),
    .adamw = MK_NAME(adamw),
    .sgd = MK_NAME(sgd),
};

#endif
