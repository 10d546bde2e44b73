/* Image files: probe, decode, resample. The first byte chooses draft size and target; checksums of PNG chunks are made right, so that the
 * fuzzer gets behind them. C only: no library is needed. */
#include <stdlib.h>
#include <string.h>

#include "mi_decode.h"
#include "mi_labels.h"
#include "mi_resample.h"

enum { MOST_BYTES = 1 << 20, MOST_RESAMPLED = 4096 };

static uint32_t crc32_of(const uint8_t *bytes, size_t count) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static uint32_t big_endian(const uint8_t *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }

static void mend_checksums(uint8_t *png, size_t count) {
    if (count < 8 || memcmp(png, "\x89PNG", 4) != 0) return;
    for (size_t at = 8; at + 12 <= count;) {
        const uint32_t length = big_endian(png + at);
        if (length > count - at - 12) return;
        const uint32_t crc = crc32_of(png + at + 4, length + 4);
        uint8_t *end = png + at + 8 + length;
        for (int i = 0; i < 4; i++) end[i] = (uint8_t)(crc >> (24 - 8 * i));
        at += 12 + (size_t)length;
    }
}

static mi_image image_of(int64_t height, int64_t width, const mi_info *info) {
    const int64_t row = width * info->channels * mi_element_bytes(info->type);
    const mi_image image = {malloc((size_t)(row * height)), row, height, width, info->channels, info->type};
    return image;
}

static void resample(const mi_image *from, const mi_info *info, int choice) {
    const mi_image to = image_of(1 + choice % 17, 1 + choice / 17, info);
    const mi_box whole = {0, 0, (float)from->width, (float)from->height};
    const int filter = choice & 1 ? MI_BICUBIC : MI_BILINEAR;
    void *scratch = malloc((size_t)mi_resample_scratch(from, whole, filter, &to));
    mi_resample(from, whole, filter, &to, scratch);
    free(scratch);
    free(to.pixels);
}

/* As an image, or as a mask, whose ids are looked at. */
static void decode(const uint8_t *bytes, size_t count, int choice, int is_mask) {
    mi_info info = {0};
    mi_error error = {0};
    int32_t status =
        is_mask ? mi_probe_labels(bytes, (int64_t)count, &info, &error) : mi_probe(bytes, (int64_t)count, choice, &info, &error);
    if (status == MI_OK && info.width * info.channels * mi_element_bytes(info.type) * info.height <= MOST_BYTES) {
        const mi_image image = image_of(info.height, info.width, &info);
        status = mi_decode(bytes, (int64_t)count, &info, &image, &error);
        if (status == MI_OK && is_mask && info.channels == 1) (void)mi_first_id_beyond(&image, choice, 255);
        if (status == MI_OK && !is_mask && info.height * info.width < MOST_RESAMPLED) resample(&image, &info, choice);
        free(image.pixels);
    }
    if (status != MI_OK && status != MI_ERR_FORMAT && status != MI_ERR_UNSUPPORTED && status != MI_ERR_MEMORY) abort();
    if (status != MI_OK && (error.code != status || !error.text[0] || !memchr(error.text, 0, sizeof error.text))) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    if (count < 1) return 0;
    const int choice = bytes[0];
    uint8_t *copy = malloc(count); /* the fuzzer's own bytes are not to be written */
    memcpy(copy, bytes, count);
    const int is_file = bytes[0] == 0x89 || bytes[0] == 0xff; /* a seed from the fixtures, which has no choice before it */
    uint8_t *file = is_file ? copy : copy + 1;
    const size_t size = is_file ? count : count - 1;
    mend_checksums(file, size);
    for (int is_mask = 0; is_mask < 2; is_mask++) decode(file, size, is_file ? (int)(size % 256) : choice, is_mask);
    free(copy);
    return 0;
}
