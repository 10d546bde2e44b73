/* Studies of the laboratory. An odd first byte: the rest are the axes; even: the rest is the file that is to be continued, which keeps its
 * bytes where it is refused. */
#include "fuzz.h"

static mrp_lab *lab;
static const char *path;

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    lab = tiny_lab();
    path = strdup(place("study.csv"));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    if (count < 1) return 0;
    const uint8_t *rest = bytes + 1;
    const size_t length = count - 1;
    if (bytes[0] & 1) {
        char *axes = text_of(rest, length < 200 ? length : 200);
        unlink(path);
        sound(mrp_lab_study(lab, axes, path, NULL, NULL));
        free(axes);
        return 0;
    }
    write_file(path, rest, length);
    if (sound(mrp_lab_study(lab, "tau=1.1,1.2", path, NULL, NULL)) == MRP_OK) return 0;
    size_t size;
    uint8_t *after = read_file(path, &size);
    REQUIRE(size == length && memcmp(after, rest, length) == 0);
    free(after);
    return 0;
}
