/* The table of one instruction set. */
#ifndef MK_TABLE_H
#define MK_TABLE_H

#include "attention.h"
#include "batch_norm.h"
#include "contrast.h"
#include "conv2d.h"
#include "elementwise.h"
#include "gather.h"
#include "gemm.h"
#include "hog.h"
#include "image_norm.h"
#include "layer_norm.h"
#include "losses.h"
#include "maps.h"
#include "patches.h"
#include "pixels.h"
#include "points.h"
#include "pool2d.h"
#include "routing.h"
#include "updates.h"

const mk_kernels MK_TABLE = {
    .name = MK_TABLE_NAME,
    .element_bytes = 4,
    .gemm_scratch = gemm_scratch,
    .gemm = gemm,
    .attention_scratch = attention_scratch,
    .attention_forward = attention_forward,
    .attention_backward = attention_backward,
    .layer_norm_forward = layer_norm_forward,
    .layer_norm_scratch = layer_norm_scratch,
    .layer_norm_backward = layer_norm_backward,
    .column_sum_scratch = column_sum_scratch,
    .column_sum = column_sum,
    .gather = gather,
    .gather_gradient = gather_gradient,
    .extract_patches = extract_patches,
    .scatter_patches = scatter_patches,
    .standardize_rows = standardize_rows,
    .squared_error_scratch = squared_error_scratch,
    .squared_error = squared_error,
    .squared_error_gradient = squared_error_gradient,
    .cross_entropy_scratch = cross_entropy_scratch,
    .cross_entropy = cross_entropy,
    .cross_entropy_gradient = cross_entropy_gradient,
    .smooth_l1 = smooth_l1,
    .smooth_l1_gradient = smooth_l1_gradient,
    .argmax_rows = argmax_rows,
    .hog = hog,
    .soft_cross_entropy = soft_cross_entropy,
    .soft_cross_entropy_gradient = soft_cross_entropy_gradient,
    .unit_rows = unit_rows,
    .unit_rows_gradient = unit_rows_gradient,
    .class_means_scratch = class_means_scratch,
    .class_means = class_means,
    .contrast_scratch = contrast_scratch,
    .contrast_forward = contrast_forward,
    .contrast_backward = contrast_backward,
    .chamfer_scratch = chamfer_scratch,
    .chamfer = chamfer,
    .chamfer_gradient = chamfer_gradient,
    .softmax_rows = softmax_rows,
    .softmax_gradient = softmax_gradient,
    .route_to_one = route_to_one,
    .route_to_many_scratch = route_to_many_scratch,
    .route_to_many = route_to_many,
    .gates = compute_gates,
    .gates_gradient = gates_gradient,
    .dispatch_rows = dispatch_rows,
    .combine_rows = combine_rows,
    .balance_loss = balance_loss,
    .balance_gradient = balance_gradient,
    .entropy_loss = entropy_loss,
    .entropy_gradient = entropy_gradient,
    .mean_tokens = mean_tokens,
    .mean_tokens_gradient = mean_tokens_gradient,
    .add = add_values,
    .add_row = add_row,
    .scale = scale_values,
    .gelu_gradient = gelu_gradient,
    .blend = blend,
    .scale_images = scale_images,
    .conv2d_scratch = conv2d_scratch,
    .conv2d = conv2d,
    .column_moments_scratch = column_moments_scratch,
    .column_moments = column_moments,
    .batch_norm_scratch = batch_norm_scratch,
    .batch_norm_forward = batch_norm_forward,
    .batch_norm_fold = batch_norm_fold,
    .batch_norm_backward = batch_norm_backward,
    .image_norm_scratch = image_norm_scratch,
    .group_norm_forward = group_norm_forward,
    .group_norm_backward = group_norm_backward,
    .response_norm_forward = response_norm_forward,
    .response_norm_backward = response_norm_backward,
    .pool2d_forward = pool2d_forward,
    .pool2d_backward = pool2d_backward,
    .resize_forward = resize_forward,
    .resize_backward = resize_backward,
    .gelu = gelu,
    .focal = focal,
    .focal_gradient = focal_gradient,
    .dice_scratch = dice_scratch,
    .dice = dice,
    .dice_gradient = dice_gradient,
    .sigmoid = sigmoid,
    .sigmoid_gradient = sigmoid_gradient,
    .maps_scratch = maps_scratch,
    .logit_entropy = logit_entropy,
    .logit_entropy_gradient = logit_entropy_gradient,
    .map_entropy = map_entropy,
    .map_entropy_gradient = map_entropy_gradient,
    .map_dice = map_dice,
    .map_dice_gradient = map_dice_gradient,
    .row_maximum = row_maximum,
    .row_maximum_gradient = row_maximum_gradient,
    .append_columns = append_columns,
    .leading_columns = leading_columns,
    .montage = montage,
    .norm = euclidean_norm,
    .update_scratch = update_scratch,
    .adamw = adamw,
    .sgd = sgd,
};

#endif
