#ifndef MRP_TYPES_H
#define MRP_TYPES_H
#endif
