#include "mrp_types.h"
