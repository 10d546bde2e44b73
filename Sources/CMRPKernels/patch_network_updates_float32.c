/* The patch network's updates and probes in float32. */
#define REAL float
#define MK_TABLE mk_patch_updates_float32

#include "templates/patch_network_updates.h"
