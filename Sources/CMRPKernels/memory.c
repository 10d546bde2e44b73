#include "mk_memory.h"
