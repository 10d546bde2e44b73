#include "kernels.h"
#define MP_WIDTH 4
#define MP_TABLE mp_kernels_baseline
#include "kernels_template.h"
