/* The names in one folder, sorted by their bytes: the same order on every machine. Hidden entries are left out. */
#ifndef MI_FOLDER_H
#define MI_FOLDER_H

#include "mi_image.h"

typedef struct mi_listing {
    int64_t count;
    const char *const *names;
} mi_listing;

enum { MI_LIST_IMAGES = 0, MI_LIST_FOLDERS = 1 };

/* Files named *.jpg, *.jpeg or *.png (any case), or folders. NULL on error: MI_ERR_IO (with the system's reason) or MI_ERR_MEMORY. */
mi_listing *mi_list(const char *path, int32_t what, mi_error *error);
void mi_listing_free(mi_listing *listing); /* NULL is allowed */

#endif
