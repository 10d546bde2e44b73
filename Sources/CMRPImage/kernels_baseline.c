/* The kernels for any processor. */
#define MI_TABLE mi_kernels_baseline

#include "kernels_template.h"
