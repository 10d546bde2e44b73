/* The decoders on damaged files: every file of Tests/fixtures/images is cut and changed in many ways. Nothing may crash, write beside
 * the image or end without an answer; with --sanitize this is a fuzz test in small. Runs in the repository's root. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "mi_decode.h"
#include "mk_random.h"

enum { MARGIN = 64, POISON = 0xa5, ROUNDS = 300 };

static uint32_t draws;

static uint32_t word(void) {
    uint32_t words[4];
    mk_philox(12, 99, 0, draws++, words);
    return words[0];
}

/* Decodes what claims to be at most 1 MB. Returns the status. */
static int32_t attempt(const uint8_t *bytes, int64_t count, const char *name) {
    mi_info info = {0};
    mi_error error = {0};
    int32_t status = mi_probe(bytes, count, word() % 3 * 5, &info, &error);
    if (status == MI_OK) {
        const int64_t row = info.width * info.channels * mi_element_bytes(info.type), size = row * info.height;
        CHECK(size > 0 && size <= MI_MAX_IMAGE_BYTES, "%s: %lld bytes", name, (long long)size);
        if (size > 1 << 20) return status;
        uint8_t *pixels = malloc((size_t)size + MARGIN);
        memset(pixels, POISON, (size_t)size + MARGIN);
        const mi_image image = {pixels, row, info.height, info.width, info.channels, info.type};
        status = mi_decode(bytes, count, &info, &image, &error);
        for (int i = 0; i < MARGIN; i++) CHECK(pixels[size + i] == POISON, "%s: wrote beside the image", name);
        free(pixels);
    }
    CHECK(status == MI_OK || (error.code == status && error.text[0] && !strchr(error.text, '\n')), "%s: %d %s", name, status, error.text);
    return status;
}

int main(void) {
    const char *folder = "Tests/fixtures/images/";
    DIR *list = opendir(folder);
    CHECK(list != NULL, "run this in the repository's root");
    int files = 0, refused = 0;
    for (const struct dirent *entry; list && (entry = readdir(list));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || (strcmp(dot, ".jpg") != 0 && strcmp(dot, ".png") != 0)) continue;
        char path[512];
        snprintf(path, sizeof path, "%s%s", folder, entry->d_name);
        FILE *file = fopen(path, "rb");
        CHECK(file != NULL, "%s", path);
        if (!file) continue;
        uint8_t whole[1 << 16];
        const int64_t count = (int64_t)fread(whole, 1, sizeof whole, file);
        fclose(file);
        files++;
        for (int i = 0; i < ROUNDS; i++) {
            const int64_t length = i % 3 == 0 ? word() % (count + 1) : count; /* in a block of its own, for the sanitizer */
            uint8_t *copy = malloc((size_t)length + (length == 0));
            memcpy(copy, whole, (size_t)length);
            for (uint32_t k = 0; length > 0 && k < word() % 6; k++) copy[word() % length] = (uint8_t)word();
            refused += attempt(copy, length, entry->d_name) != MI_OK;
            free(copy);
        }
    }
    if (list) closedir(list);
    CHECK(files >= 20, "%d files", files);
    CHECK(refused > files * ROUNDS / 5, "only %d of %d were refused", refused, files * ROUNDS);
    return check_result("decode");
}
