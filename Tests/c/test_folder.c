/* Listing of folders: names in the order of their bytes, many of them; a listing that is stopped. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "mi_folder.h"
#include "mk_interrupt.h"

enum { FILES = 50000 }; /* more than three runs of the sort */

static void name_of(char *name, int i) { snprintf(name, 32, "%08x.jpg", (unsigned)i * 2654435761u); }

static int by_bytes(const void *a, const void *b) { return strcmp(a, b); }

static void test_order(const char *folder) {
    static char names[FILES][32];
    for (int i = 0; i < FILES; i++) name_of(names[i], i);
    qsort(names, FILES, sizeof names[0], by_bytes);
    mi_error error = {0};
    mi_listing *listing = mi_list(folder, MI_LIST_IMAGES, &error);
    CHECK(listing != NULL, "%s", folder);
    if (!listing) return;
    CHECK(listing->count == FILES && listing->folders == 0 && listing->others[0] == 1, "%s", folder);
    for (int i = 0; i < FILES; i++) CHECK(strcmp(listing->names[i], names[i]) == 0, "%s", folder);
    mi_listing_free(listing);
}

static int32_t calls, after;
static int32_t stop_later(void *user) {
    (void)user;
    return ++calls > after;
}

/* By the flag at once, and by the function at any of the moments when it is asked. */
static void test_stop(const char *folder) {
    const int32_t flag = 1;
    mi_error error = {0};
    mk_interruption before = mk_interrupt_begin(&flag);
    CHECK(mi_list(folder, MI_LIST_IMAGES, &error) == NULL && error.code == MI_CANCELLED, "%s", folder);
    mk_interrupt_end(before);
    mk_set_interrupt(stop_later, NULL);
    int stopped = 0;
    for (after = 0; after < 3; after++) {
        calls = 0;
        before = mk_interrupt_begin(NULL);
        mi_listing *listing = mi_list(folder, MI_LIST_IMAGES, &error);
        mk_interrupt_end(before);
        CHECK(listing ? listing->count == FILES : error.code == MI_CANCELLED, "%s", folder);
        stopped += listing == NULL;
        mi_listing_free(listing);
    }
    mk_set_interrupt(NULL, NULL);
    CHECK(stopped >= 1, "%s", folder);
}

int main(void) {
    char folder[] = "/tmp/mrp-folder-XXXXXX", name[32];
    if (!mkdtemp(folder)) return 1;
    const int at = open(folder, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < FILES; i++) {
        name_of(name, i);
        close(openat(at, name, O_CREAT | O_WRONLY, 0600));
    }
    close(openat(at, "other.webp", O_CREAT | O_WRONLY, 0600));
    test_order(folder);
    test_stop(folder);
    for (int i = 0; i < FILES; i++) {
        name_of(name, i);
        unlinkat(at, name, 0);
    }
    unlinkat(at, "other.webp", 0);
    close(at);
    rmdir(folder);
    return check_result("test_folder");
}
