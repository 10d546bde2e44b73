#define _POSIX_C_SOURCE 199309L /* clock_gettime */
#include "decode_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "mk_interrupt.h"

int32_t mi_fail(mi_error *error, int32_t code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    for (char *c = error->text; *c; c++)
        if (*c == '\n' || *c == '\r') *c = ' ';
    return error->code = code;
}

static int begins(const uint8_t *bytes, int64_t count, const char *magic, int64_t length) {
    return count >= length && memcmp(bytes, magic, (size_t)length) == 0;
}

static int is_jpeg(const uint8_t *bytes, int64_t count) { return begins(bytes, count, "\xff\xd8\xff", 3); }
static int is_png(const uint8_t *bytes, int64_t count) { return begins(bytes, count, "\x89PNG\r\n\x1a\n", 8); }

static int32_t unknown(const uint8_t *bytes, int64_t count, mi_error *error) {
    static const struct {
        const char *magic, *name;
        int length;
    } others[] = {{"GIF8", "a GIF", 4},   {"BM", "a BMP", 2},     {"RIFF", "a WebP", 4},
                  {"II*\0", "a TIFF", 4}, {"MM\0*", "a TIFF", 4}, {"%PDF", "a PDF", 4}};
    if (count == 0) return mi_fail(error, MI_ERR_FORMAT, "the file is empty");
    for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++)
        if (begins(bytes, count, others[i].magic, others[i].length))
            return mi_fail(error, MI_ERR_FORMAT, "%s file: only JPEG and PNG are read", others[i].name);
    char hex[16] = "";
    for (int i = 0; i < 4 && i < count; i++) snprintf(hex + 3 * i, sizeof hex - (size_t)(3 * i), " %02x", bytes[i]);
    return mi_fail(error, MI_ERR_FORMAT, "neither JPEG nor PNG: it begins with%s", hex);
}

/* The limit of the image that this thread decodes. */
static _Thread_local struct {
    double seconds, end;
} limit;

static double processor_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int32_t mi_decode_stops(mi_error *error) {
    if (mk_interrupted()) return mi_fail(error, MI_CANCELLED, "stopped by the caller");
    if (limit.seconds > 0 && processor_seconds() > limit.end)
        return mi_fail(error, MI_ERR_UNSUPPORTED, "decoding takes more than %g s of processor time, which is what decode_seconds allows",
                       limit.seconds);
    return 0;
}

static int32_t check_size(const mi_info *info, mi_error *error) {
    if (info->height < 1 || info->width < 1)
        return mi_fail(error, MI_ERR_FORMAT, "an image of %lld x %lld pixels", (long long)info->height, (long long)info->width);
    if (info->height > MI_MAX_SIDE || info->width > MI_MAX_SIDE ||
        info->height * info->width * info->channels * mi_element_bytes(info->type) > MI_MAX_IMAGE_BYTES)
        return mi_fail(error, MI_ERR_UNSUPPORTED, "%lld x %lld pixels are above the limit of %d per side and %lld bytes decoded",
                       (long long)info->height, (long long)info->width, MI_MAX_SIDE, (long long)MI_MAX_IMAGE_BYTES);
    return MI_OK;
}

int32_t mi_probe(const uint8_t *bytes, int64_t count, int64_t draft_side, mi_info *info, mi_error *error) {
    limit.seconds = 0;
    int32_t status = is_jpeg(bytes, count)  ? mi_jpeg_probe(bytes, count, draft_side, info, error)
                     : is_png(bytes, count) ? mi_png_probe(bytes, count, info, error)
                                            : unknown(bytes, count, error);
    return status == MI_OK ? check_size(info, error) : status;
}

int32_t mi_probe_labels(const uint8_t *bytes, int64_t count, mi_info *info, mi_error *error) {
    limit.seconds = 0;
    if (is_jpeg(bytes, count)) return mi_fail(error, MI_ERR_FORMAT, "a JPEG file: a mask must be a PNG, which keeps its numbers");
    int32_t status = is_png(bytes, count) ? mi_png_probe_labels(bytes, count, info, error) : unknown(bytes, count, error);
    return status == MI_OK ? check_size(info, error) : status;
}

int32_t mi_decode(const uint8_t *bytes, int64_t count, const mi_info *info, const mi_image *out, mi_error *error) {
    limit.seconds = info->seconds;
    limit.end = info->seconds > 0 ? processor_seconds() + info->seconds : 0;
    return is_jpeg(bytes, count)  ? mi_jpeg_decode(bytes, count, info, out, error)
           : is_png(bytes, count) ? mi_png_decode(bytes, count, info, out, error)
                                  : unknown(bytes, count, error);
}
