/* The names in one folder, sorted by their bytes: the same order on every machine. Hidden entries are left out. Names are bytes, which need
 * not be UTF-8. */
#ifndef MI_FOLDER_H
#define MI_FOLDER_H

#include "mi_image.h"

/* Kinds of images that are not read, by the ends of their names. */
enum { MI_OTHER_KINDS = 20 };

typedef struct mi_listing {
    int64_t count;
    const char *const *names;
    /* Things in the same folder beside the names: folders, and images that are not read. */
    int64_t folders;
    int64_t others[MI_OTHER_KINDS];
} mi_listing;

enum { MI_LIST_IMAGES = 0, MI_LIST_FOLDERS = 1, MI_LIST_POINTS = 2 };

/* Files named *.jpg, *.jpeg, *.jpe, *.jfif or *.png (any case), folders, or point files: *.npy, *.xyz, *.txt, *.pts, *.csv, *.ply, *.off. NULL
 * on error: MI_ERR_IO (with the system's reason), MI_ERR_MEMORY, or MI_CANCELLED when mk_interrupted said so. */
mi_listing *mi_list(const char *path, int32_t what, mi_error *error);

/* ".webp" and so on. */
const char *mi_other_kind(int32_t kind);

/* Image files of any kind in the folders below a folder (not in itself), as many as can be looked at: folders that cannot be read, and links to
 * folders, are passed over; less where mk_interrupted says so. `example` gets the path of one, relative to the folder and cut to `capacity`
 * bytes; it stays empty without one. */
int64_t mi_count_below(const char *path, char *example, int64_t capacity);

void mi_listing_free(mi_listing *listing); /* NULL is allowed */

#endif
