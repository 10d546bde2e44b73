/* The patch network's updates and probes in float64. */
#define REAL double
#define MK_TABLE mk_patch_updates_float64

#include "templates/patch_network_updates.h"
