/* The check that a kernel table is complete. */
#include <stddef.h>
#include <string.h>

#include "mk_kernels.h"

typedef void (*function)(void);

#define ENTRY(name) {#name, offsetof(mk_kernels, name)}

static const struct {
    const char *name;
    size_t offset;
} entries[] = {
    ENTRY(gemm_scratch),
    ENTRY(gemm),
    ENTRY(attention_scratch),
    ENTRY(attention_forward),
    ENTRY(attention_backward),
    ENTRY(layer_norm_forward),
    ENTRY(layer_norm_scratch),
    ENTRY(layer_norm_backward),
    ENTRY(column_sum_scratch),
    ENTRY(column_sum),
    ENTRY(gather),
    ENTRY(gather_gradient),
    ENTRY(extract_patches),
    ENTRY(scatter_patches),
    ENTRY(standardize_rows),
    ENTRY(squared_error_scratch),
    ENTRY(squared_error),
    ENTRY(squared_error_gradient),
    ENTRY(cross_entropy_scratch),
    ENTRY(cross_entropy),
    ENTRY(cross_entropy_gradient),
    ENTRY(soft_cross_entropy),
    ENTRY(soft_cross_entropy_gradient),
    ENTRY(smooth_l1),
    ENTRY(smooth_l1_gradient),
    ENTRY(argmax_rows),
    ENTRY(hog),
    ENTRY(unit_rows),
    ENTRY(unit_rows_gradient),
    ENTRY(class_means_scratch),
    ENTRY(class_means),
    ENTRY(contrast_scratch),
    ENTRY(contrast_forward),
    ENTRY(contrast_backward),
    ENTRY(chamfer_scratch),
    ENTRY(chamfer),
    ENTRY(chamfer_gradient),
    ENTRY(softmax_rows),
    ENTRY(softmax_gradient),
    ENTRY(route_to_one),
    ENTRY(route_to_many_scratch),
    ENTRY(route_to_many),
    ENTRY(gates),
    ENTRY(gates_gradient),
    ENTRY(dispatch_rows),
    ENTRY(combine_rows),
    ENTRY(balance_loss),
    ENTRY(balance_gradient),
    ENTRY(entropy_loss),
    ENTRY(entropy_gradient),
    ENTRY(mean_tokens),
    ENTRY(mean_tokens_gradient),
    ENTRY(add),
    ENTRY(add_row),
    ENTRY(scale),
    ENTRY(gelu_gradient),
    ENTRY(blend),
    ENTRY(scale_images),
    ENTRY(conv2d_scratch),
    ENTRY(conv2d),
    ENTRY(column_moments_scratch),
    ENTRY(column_moments),
    ENTRY(batch_norm_scratch),
    ENTRY(batch_norm_forward),
    ENTRY(batch_norm_fold),
    ENTRY(batch_norm_backward),
    ENTRY(image_norm_scratch),
    ENTRY(group_norm_forward),
    ENTRY(group_norm_backward),
    ENTRY(response_norm_forward),
    ENTRY(response_norm_backward),
    ENTRY(pool2d_forward),
    ENTRY(pool2d_backward),
    ENTRY(resize_forward),
    ENTRY(resize_backward),
    ENTRY(gelu),
    ENTRY(focal),
    ENTRY(focal_gradient),
    ENTRY(dice_scratch),
    ENTRY(dice),
    ENTRY(dice_gradient),
    ENTRY(sigmoid),
    ENTRY(sigmoid_gradient),
    ENTRY(maps_scratch),
    ENTRY(logit_entropy),
    ENTRY(logit_entropy_gradient),
    ENTRY(map_entropy),
    ENTRY(map_entropy_gradient),
    ENTRY(map_dice),
    ENTRY(map_dice_gradient),
    ENTRY(row_maximum),
    ENTRY(row_maximum_gradient),
    ENTRY(append_columns),
    ENTRY(leading_columns),
    ENTRY(montage),
    ENTRY(norm),
    ENTRY(update_scratch),
    ENTRY(adamw),
    ENTRY(sgd),
};

enum { FIRST = offsetof(mk_kernels, gemm_scratch) };

_Static_assert(sizeof entries / sizeof *entries == (sizeof(mk_kernels) - FIRST) / sizeof(function), "an entry of mk_kernels is not listed");

const char *mk_kernels_missing(const mk_kernels *table) {
    for (size_t i = 0; i < sizeof entries / sizeof *entries; ++i) {
        function entry; /* read as bytes: the compiler may take a _Nonnull member for not NULL */
        memcpy(&entry, (const char *)table + entries[i].offset, sizeof entry);
        if (entry == NULL) return entries[i].name;
    }
    return NULL;
}
