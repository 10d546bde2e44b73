#include <png.h>
#include <setjmp.h>
#include <string.h>

#include "decode_internal.h"

typedef struct source {
    const uint8_t *bytes;
    int64_t count, at;
    mi_error *error;
} source;

static void leave(png_structp png, png_const_charp message) {
    source *s = png_get_error_ptr(png);
    mi_fail(s->error, MI_ERR_FORMAT, "PNG: %s", message);
    longjmp(png_jmpbuf(png), 1);
}

static void ignore(png_structp png, png_const_charp message) { (void)png, (void)message; }

static void read_bytes(png_structp png, png_bytep to, size_t count) {
    source *s = png_get_io_ptr(png);
    if ((int64_t)count > s->count - s->at) png_error(png, "premature end of file");
    memcpy(to, s->bytes + s->at, count);
    s->at += (int64_t)count;
}

static uint32_t big_endian(const uint8_t *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }

int32_t mi_png_probe(const uint8_t *bytes, int64_t count, mi_info *info, mi_error *error) {
    if (count < 33) return mi_fail(error, MI_ERR_FORMAT, "PNG: premature end of file");
    if (big_endian(bytes + 8) != 13 || memcmp(bytes + 12, "IHDR", 4) != 0) return mi_fail(error, MI_ERR_FORMAT, "PNG: no header chunk");
    const uint8_t depth = bytes[24], colour = bytes[25];
    if (colour > 6 || colour == 1 || colour == 5) return mi_fail(error, MI_ERR_FORMAT, "PNG: unknown colour type %d", colour);
    *info = (mi_info){.height = big_endian(bytes + 20),
                      .width = big_endian(bytes + 16),
                      .channels = (colour == 0 || colour == 4) ? 1 : 3,
                      .type = depth == 16 ? MI_UINT16 : MI_UINT8,
                      .draft = 1,
                      .orientation = 1};
    return MI_OK;
}

int32_t mi_png_probe_labels(const uint8_t *bytes, int64_t count, mi_info *info, mi_error *error) {
    const int32_t status = mi_png_probe(bytes, count, info, error);
    if (status != MI_OK) return status;
    info->labels = 1;
    if (bytes[25] == PNG_COLOR_TYPE_PALETTE) info->channels = 1;
    return MI_OK;
}

int32_t mi_png_decode(const uint8_t *bytes, int64_t count, const mi_info *info, const mi_image *out, mi_error *error) {
    source s = {bytes, count, 0, error};
    mi_fail(error, MI_ERR_MEMORY, "PNG: memory is short"); /* libpng returned NULL */
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &s, leave, ignore);
    if (!png) return error->code;
    png_infop header = png_create_info_struct(png);
    if (!header) {
        png_destroy_read_struct(&png, NULL, NULL);
        return error->code;
    }
    if (setjmp(png_jmpbuf(png))) {
        png_destroy_read_struct(&png, &header, NULL);
        return error->code;
    }
    png_set_read_fn(png, &s, read_bytes);
    png_set_user_limits(png, MI_MAX_SIDE, MI_MAX_SIDE);
    /* Texts and profiles are not looked at: neither kept nor decompressed. */
    static const png_byte unused[] = "tEXt\0zTXt\0iTXt\0iCCP\0sPLT";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, unused, sizeof unused / 5);
    png_set_chunk_cache_max(png, 64);
    png_set_chunk_malloc_max(png, 1 << 24);
    png_read_info(png, header);
    if (info->labels) {
        png_set_packing(png); /* below 8 bits: the numbers themselves, a byte each */
    } else {
        if (png_get_color_type(png, header) == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
        if (png_get_bit_depth(png, header) < 8) png_set_expand_gray_1_2_4_to_8(png);
    }
    png_set_strip_alpha(png);
    const uint16_t one = 1;
    if (*(const uint8_t *)&one == 1) png_set_swap(png); /* PNG's 16 bits are big-endian */
    const int passes = png_set_interlace_handling(png);
    png_read_update_info(png, header);
    if ((int64_t)png_get_rowbytes(png, header) != info->width * info->channels * mi_element_bytes(info->type) ||
        (int64_t)png_get_image_height(png, header) != out->height || info->width != out->width)
        png_error(png, "rows are not what the header says");
    for (int pass = 0; pass < passes; pass++)
        for (int64_t y = 0; y < out->height; y++) {
            if (y % 8 == 0 && mi_decode_stops(error)) longjmp(png_jmpbuf(png), 1);
            png_read_row(png, (uint8_t *)out->pixels + y * out->row_bytes, NULL);
        }
    png_destroy_read_struct(&png, &header, NULL);
    return MI_OK;
}
