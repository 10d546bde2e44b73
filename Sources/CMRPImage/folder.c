#define _GNU_SOURCE
#include "mi_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "decode_internal.h"
#include "mk_memory.h"

static int is_image_name(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0 || strcasecmp(dot, ".png") == 0);
}

/* Asks the file system only where the entry itself does not tell. A link to nothing counts as a file, so that reading it reports it. */
static int is_folder(int folder, const struct dirent *entry) {
    if (entry->d_type == DT_DIR) return 1;
    if (entry->d_type != DT_UNKNOWN && entry->d_type != DT_LNK) return 0;
    struct stat status;
    return fstatat(folder, entry->d_name, &status, 0) == 0 && S_ISDIR(status.st_mode);
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Doubles a block. Returns 0 when memory is short; the old block then stays. */
static int grow(void **block, int64_t used, int64_t *capacity, int64_t needed) {
    if (needed <= *capacity) return 1;
    int64_t larger = *capacity ? 2 * *capacity : 1 << 14;
    while (larger < needed) larger *= 2;
    void *moved = mk_allocate(larger);
    if (!moved) return 0;
    if (used) memcpy(moved, *block, (size_t)used);
    mk_release(*block);
    *block = moved;
    *capacity = larger;
    return 1;
}

mi_listing *mi_list(const char *path, int32_t what, mi_error *error) {
    DIR *folder = opendir(path);
    if (!folder) {
        mi_fail(error, MI_ERR_IO, "cannot open the folder: %s", strerror(errno));
        return NULL;
    }
    void *text = NULL;
    int64_t used = 0, capacity = 0, count = 0;
    int failed = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (!entry) {
            if (errno != 0) {
                mi_fail(error, MI_ERR_IO, "cannot read the folder: %s", strerror(errno));
                failed = 1;
            }
            break;
        }
        if (entry->d_name[0] == '.') continue;
        if (what == MI_LIST_IMAGES && !is_image_name(entry->d_name)) continue;
        if (is_folder(dirfd(folder), entry) != (what == MI_LIST_FOLDERS)) continue;
        const int64_t length = (int64_t)strlen(entry->d_name) + 1;
        if (!grow(&text, used, &capacity, used + length)) {
            mi_fail(error, MI_ERR_MEMORY, "memory is short for the names of %lld files", (long long)count);
            failed = 1;
            break;
        }
        memcpy((char *)text + used, entry->d_name, (size_t)length);
        used += length;
        count++;
    }
    closedir(folder);
    /* One block: the record, the pointers, the names. */
    const int64_t pointers = (int64_t)sizeof(mi_listing), names = pointers + count * (int64_t)sizeof(char *);
    char *block = failed ? NULL : mk_allocate(names + used);
    if (!block) {
        if (!failed) mi_fail(error, MI_ERR_MEMORY, "memory is short for the names of %lld files", (long long)count);
        mk_release(text);
        return NULL;
    }
    if (used) memcpy(block + names, text, (size_t)used);
    mk_release(text);
    const char **list = (const char **)(void *)(block + pointers);
    const char *name = block + names;
    for (int64_t i = 0; i < count; i++, name += strlen(name) + 1) list[i] = name;
    qsort(list, (size_t)count, sizeof *list, by_bytes);
    mi_listing *listing = (mi_listing *)(void *)block;
    listing->count = count;
    listing->names = list;
    return listing;
}

void mi_listing_free(mi_listing *listing) { mk_release(listing); }
