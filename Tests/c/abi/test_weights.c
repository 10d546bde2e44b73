/* The cost of a damaged file: whatever is done to a header, the answer comes from memory of less than twice the file's size, and fast. The
 * program's own malloc counts what the library takes. The times are printed, not judged. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#include "small.h"

/* ---- Counting */

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);
extern size_t malloc_usable_size(void *);

static long long in_use, most;

static void *taken(void *memory) {
    if (memory) {
        const long long now = __atomic_add_fetch(&in_use, (long long)malloc_usable_size(memory), __ATOMIC_RELAXED);
        if (now > most) most = now;
    }
    return memory;
}

static void given(void *memory) {
    if (memory) __atomic_sub_fetch(&in_use, (long long)malloc_usable_size(memory), __ATOMIC_RELAXED);
}

void *malloc(size_t size) { return taken(__libc_malloc(size)); }
void *calloc(size_t count, size_t size) { return taken(__libc_calloc(count, size)); }
void *realloc(void *old, size_t size) {
    given(old);
    return taken(__libc_realloc(old, size));
}
void *memalign(size_t alignment, size_t size) { return taken(__libc_memalign(alignment, size)); }
void *aligned_alloc(size_t alignment, size_t size) { return taken(__libc_memalign(alignment, size)); }
int posix_memalign(void **out, size_t alignment, size_t size) {
    *out = taken(__libc_memalign(alignment, size));
    return *out ? 0 : ENOMEM;
}
void free(void *memory) {
    given(memory);
    __libc_free(memory);
}

/* ---- Files */

static const char *const path = "test_weights.safetensors";
static long long size, largest;
static double slowest;

static double seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Loads the file and returns the status; a model that comes out of it may have the size of one. */
static mrp_status load(void) {
    mrp_model *model = NULL;
    const long long before = in_use;
    most = in_use;
    const double start = seconds();
    const mrp_status status = mrp_model_load(path, NULL, &model);
    const double time = seconds() - start;
    if (status != MRP_OK && most - before > largest) largest = most - before;
    if (time > slowest) slowest = time;
    mrp_model_destroy(model);
    return status;
}

int main(void) {
    mrp_config *options = NULL;
    mrp_model *model = NULL;
    unsigned char first[8];
    WORKS(mrp_config_create(NULL, &options));
    WORKS(mrp_config_set(options, "image_size", "32"));
    WORKS(mrp_config_set(options, "width", "64"));
    WORKS(mrp_config_set(options, "depth", "1"));
    WORKS(mrp_config_set(options, "heads", "2"));
    WORKS(mrp_model_create(options, &model));
    WORKS(mrp_model_save(model, path, NULL));
    mrp_model_destroy(model);
    EXPECT(load() == MRP_OK);
    const int file = open(path, O_RDWR);
    EXPECT(file >= 0 && pread(file, first, 8, 0) == 8);
    size = lseek(file, 0, SEEK_END);
    const long header = 8 + first[0] + 256L * first[1];
    long refused = 0;
    for (long place = 0; place < header; place++) {
        unsigned char byte, flipped;
        EXPECT(pread(file, &byte, 1, place) == 1);
        for (int bit = 0; bit < 8; bit++) {
            flipped = (unsigned char)(byte ^ (1 << bit));
            EXPECT(pwrite(file, &flipped, 1, place) == 1);
            refused += load() != MRP_OK;
        }
        EXPECT(pwrite(file, &byte, 1, place) == 1);
    }
    EXPECT(refused > 7 * header);
    for (long length = header; length >= 0; length--) {
        EXPECT(ftruncate(file, length) == 0);
        EXPECT(load() == MRP_ERR_FORMAT);
    }
    close(file);
    remove(path);
    remove("test_weights.json");
    mrp_config_destroy(options);
    /* The parts of a header are six times its text, which a flipped bit of its length makes up to half the file. */
    EXPECT(largest <= 4 * size);
    const int status = check_result("weights");
    printf("header of %ld bytes, file of %lld: at most %lld bytes taken, slowest answer %.1f ms\n", header, size, largest, 1e3 * slowest);
    return status;
}
