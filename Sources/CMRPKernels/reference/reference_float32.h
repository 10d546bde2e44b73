/* The float32 reference kernels by name, for a fast table that has no better one of its own. */
#ifndef MK_REFERENCE_FLOAT32_H
#define MK_REFERENCE_FLOAT32_H

#include "mk_kernels.h"

mk_scratch mk_reference_float32_gemm_scratch(const mk_gemm *g);
void mk_reference_float32_gemm(mk_pool *pool, const mk_gemm *g);
mk_scratch mk_reference_float32_attention_scratch(const mk_attention *a);
void mk_reference_float32_attention_forward(mk_pool *pool, const mk_attention *a);
void mk_reference_float32_attention_backward(mk_pool *pool, const mk_attention *a);
void mk_reference_float32_layer_norm_forward(mk_pool *pool, int64_t rows, int64_t width, const void *x, const void *gamma,
                                             const void *beta, double epsilon, void *y, void *mean, void *inverse_deviation);
mk_scratch mk_reference_float32_layer_norm_scratch(int64_t rows, int64_t width);
void mk_reference_float32_layer_norm_backward(mk_pool *pool, int64_t rows, int64_t width, const void *x, const void *gamma,
                                              const void *mean, const void *inverse_deviation, const void *dy, const void *addend,
                                              void *dx, void *dgamma, void *dbeta);
void mk_reference_float32_standardize_rows(mk_pool *pool, int64_t rows, int64_t width, const void *x, double epsilon, void *y);
mk_scratch mk_reference_float32_column_sum_scratch(int64_t rows, int64_t columns);
void mk_reference_float32_column_sum(mk_pool *pool, int64_t rows, int64_t columns, const void *x, void *out);
void mk_reference_float32_mean_tokens(mk_pool *pool, int64_t batch, int64_t tokens, int64_t width, int64_t first, const void *x,
                                      void *y);
void mk_reference_float32_mean_tokens_gradient(mk_pool *pool, int64_t batch, int64_t tokens, int64_t width, int64_t first,
                                               const void *dy, void *dx);
void mk_reference_float32_add(mk_pool *pool, int64_t count, const void *a, const void *b, void *y);
void mk_reference_float32_scale(mk_pool *pool, int64_t count, double factor, const void *x, void *y);
void mk_reference_float32_gather(mk_pool *pool, const mk_gather *g);
void mk_reference_float32_gather_gradient(mk_pool *pool, const mk_gather_gradient *gradient);
void mk_reference_float32_extract_patches(mk_pool *pool, const mk_patches *p);
void mk_reference_float32_scatter_patches(mk_pool *pool, const mk_patches *p);
mk_scratch mk_reference_float32_squared_error_scratch(int64_t count);
void mk_reference_float32_squared_error(mk_pool *pool, int64_t count, const void *prediction, const void *target, void *loss);
void mk_reference_float32_squared_error_gradient(mk_pool *pool, int64_t count, const void *prediction, const void *target,
                                                 const void *loss_gradient, void *out);
mk_scratch mk_reference_float32_cross_entropy_scratch(int64_t rows, int64_t classes);
void mk_reference_float32_cross_entropy(mk_pool *pool, int64_t rows, int64_t classes, const void *logits, const int32_t *labels,
                                        double smoothing, void *log_sum_exp, void *loss);
void mk_reference_float32_cross_entropy_gradient(mk_pool *pool, int64_t rows, int64_t classes, const void *logits,
                                                 const int32_t *labels, double smoothing, const void *log_sum_exp,
                                                 const void *loss_gradient, void *dlogits);
void mk_reference_float32_softmax_rows(mk_pool *pool, int64_t rows, int64_t width, const void *x, void *y);
void mk_reference_float32_adamw(mk_pool *pool, const mk_adamw *a);

#endif
