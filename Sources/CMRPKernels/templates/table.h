/* The table of one instruction set. Entries without a vector version of their own are the reference's. */
#ifndef MK_TABLE_H
#define MK_TABLE_H

#define MK_REFERENCE(x) mk_reference_float32_##x

const mk_kernels MK_NAME(table) = {
    .name = MK_TABLE_NAME,
    .element_bytes = 4,
    .gemm_scratch = MK_REFERENCE(gemm_scratch),
    .gemm = MK_REFERENCE(gemm),
    .attention_scratch = MK_REFERENCE(attention_scratch),
    .attention_forward = MK_REFERENCE(attention_forward),
    .attention_backward = MK_REFERENCE(attention_backward),
    .layer_norm_forward = MK_REFERENCE(layer_norm_forward),
    .layer_norm_scratch = MK_REFERENCE(layer_norm_scratch),
    .layer_norm_backward = MK_REFERENCE(layer_norm_backward),
    .column_sum_scratch = MK_REFERENCE(column_sum_scratch),
    .column_sum = MK_REFERENCE(column_sum),
    .gather = MK_REFERENCE(gather),
    .gather_gradient = MK_REFERENCE(gather_gradient),
    .extract_patches = MK_REFERENCE(extract_patches),
    .scatter_patches = MK_REFERENCE(scatter_patches),
    .standardize_rows = MK_REFERENCE(standardize_rows),
    .squared_error_scratch = MK_REFERENCE(squared_error_scratch),
    .squared_error = MK_REFERENCE(squared_error),
    .squared_error_gradient = MK_REFERENCE(squared_error_gradient),
    .cross_entropy_scratch = MK_REFERENCE(cross_entropy_scratch),
    .cross_entropy = MK_REFERENCE(cross_entropy),
    .cross_entropy_gradient = MK_REFERENCE(cross_entropy_gradient),
    .softmax_rows = MK_REFERENCE(softmax_rows),
    .mean_tokens = MK_REFERENCE(mean_tokens),
    .mean_tokens_gradient = MK_REFERENCE(mean_tokens_gradient),
    .add = MK_REFERENCE(add),
    .scale = MK_REFERENCE(scale),
    .adamw = MK_REFERENCE(adamw),
};

#endif
