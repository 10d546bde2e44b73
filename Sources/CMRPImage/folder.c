#define _GNU_SOURCE
#include "mi_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decode_internal.h"
#include "mk_interrupt.h"
#include "mk_memory.h"

static int place_of(const char *name, const char *const *ends, int count) {
    const char *dot = strrchr(name, '.');
    for (int i = 0; dot && i < count; i++)
        if (strcasecmp(dot, ends[i]) == 0) return i;
    return -1;
}

static int is_image_name(const char *name) {
    static const char *const ends[] = {".jpg", ".jpeg", ".jpe", ".jfif", ".png"};
    return place_of(name, ends, sizeof ends / sizeof ends[0]) >= 0;
}

static int is_point_name(const char *name) {
    static const char *const ends[] = {".npy", ".xyz", ".txt", ".pts", ".csv", ".ply", ".off"};
    return place_of(name, ends, sizeof ends / sizeof ends[0]) >= 0;
}

static const char *const other_ends[MI_OTHER_KINDS] = {".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".heic",
                                                       ".heif", ".jp2", ".jxl",  ".ppm", ".pgm", ".pbm",  ".pnm",
                                                       ".tga",  ".dng", ".ico",  ".exr", ".hdr", ".apng"};

const char *mi_other_kind(int32_t kind) { return kind >= 0 && kind < MI_OTHER_KINDS ? other_ends[kind] : ""; }

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

/* Names between two looks whether the caller wants the call to stop. */
enum { POLL = 1 << 14 };

/* Sorts runs and merges them between the two arrays, so that millions of names can be interrupted. Returns 0 when it was stopped. */
static int sort_names(const char **list, const char **scratch, int64_t count) {
    const char **names = list, **other = scratch;
    for (int64_t first = 0; first < count; first += POLL) {
        if (mk_interrupted()) return 0;
        qsort(names + first, (size_t)(count - first < POLL ? count - first : POLL), sizeof *names, by_bytes);
    }
    for (int64_t run = POLL; run < count; run *= 2) {
        for (int64_t first = 0; first < count; first += 2 * run) {
            const int64_t middle = first + run < count ? first + run : count, end = first + 2 * run < count ? first + 2 * run : count;
            int64_t a = first, b = middle;
            for (int64_t i = first; i < end; i++) {
                if (i % POLL == 0 && mk_interrupted()) return 0;
                other[i] = b == end || (a < middle && strcmp(names[a], names[b]) <= 0) ? names[a++] : names[b++];
            }
        }
        const char **swapped = names;
        names = other;
        other = swapped;
    }
    if (names != list) memcpy(list, names, (size_t)count * sizeof *list);
    return 1;
}

mi_listing *mi_list(const char *path, int32_t what, mi_error *error) {
    DIR *folder = opendir(path);
    if (!folder) {
        mi_fail(error, MI_ERR_IO, "cannot open the folder: %s", strerror(errno));
        return NULL;
    }
    void *text = NULL;
    int64_t used = 0, capacity = 0, count = 0, seen = 0, folders = 0, others[MI_OTHER_KINDS] = {0};
    int failed = 0;
    for (;;) {
        if (++seen % POLL == 0 && mk_interrupted()) {
            failed = mi_fail(error, MI_CANCELLED, "stopped");
            break;
        }
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
        const int other = place_of(entry->d_name, other_ends, MI_OTHER_KINDS), is_one = is_folder(dirfd(folder), entry);
        folders += is_one;
        if (other >= 0 && !is_one) others[other]++;
        if (is_one != (what == MI_LIST_FOLDERS)) continue;
        if (!is_one && !(what == MI_LIST_POINTS ? is_point_name(entry->d_name) : is_image_name(entry->d_name))) continue;
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
    /* One block: the record, the pointers, the names; and for sorting as many pointers. */
    const int64_t pointers = (int64_t)sizeof(mi_listing), names = pointers + count * (int64_t)sizeof(char *);
    char *block = failed ? NULL : mk_allocate(names + used);
    const char **other = block ? mk_allocate(count * (int64_t)sizeof(char *)) : NULL;
    if (!other) {
        mk_release(block);
        if (!failed) mi_fail(error, MI_ERR_MEMORY, "memory is short for the names of %lld files", (long long)count);
        mk_release(text);
        return NULL;
    }
    if (used) memcpy(block + names, text, (size_t)used);
    mk_release(text);
    const char **list = (const char **)(void *)(block + pointers);
    const char *name = block + names;
    for (int64_t i = 0; i < count; i++, name += strlen(name) + 1) list[i] = name;
    const int sorted = sort_names(list, other, count);
    mk_release(other);
    if (!sorted) {
        mi_fail(error, MI_CANCELLED, "stopped");
        mk_release(block);
        return NULL;
    }
    mi_listing *listing = (mi_listing *)(void *)block;
    listing->count = count;
    listing->names = list;
    listing->folders = folders;
    memcpy(listing->others, others, sizeof others);
    return listing;
}

/* Deeper trees than this are not looked into. */
enum { MAX_DEPTH = 16 };

static int64_t count_in(int parent, const char *name, int depth, char *path, int64_t length, char *example, int64_t capacity) {
    const int file = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (depth > 0 ? O_NOFOLLOW : 0));
    DIR *folder = file >= 0 ? fdopendir(file) : NULL;
    if (!folder) {
        if (file >= 0) close(file);
        return 0;
    }
    int64_t found = 0, seen = 0;
    const struct dirent *entry;
    while ((entry = readdir(folder))) {
        if (++seen % POLL == 0 && mk_interrupted()) break;
        if (entry->d_name[0] == '.') continue;
        const int64_t end = length + snprintf(path + length, (size_t)(capacity - length), "%s%s", length ? "/" : "", entry->d_name);
        const int64_t cut = end < capacity ? end : capacity - 1;
        if (is_folder(file, entry)) {
            if (depth < MAX_DEPTH) found += count_in(file, entry->d_name, depth + 1, path, cut, example, capacity);
        } else if (depth > 0 && (is_image_name(entry->d_name) || place_of(entry->d_name, other_ends, MI_OTHER_KINDS) >= 0)) {
            if (!example[0] || strcmp(path, example) < 0) memcpy(example, path, (size_t)cut + 1);
            found++;
        }
        path[length] = 0;
    }
    closedir(folder);
    return found;
}

int64_t mi_count_below(const char *path, char *example, int64_t capacity) {
    char current[1024] = "";
    example[0] = 0;
    return count_in(AT_FDCWD, path, 0, current, 0, example, capacity < (int64_t)sizeof current ? capacity : (int64_t)sizeof current);
}

void mi_listing_free(mi_listing *listing) { mk_release(listing); }
