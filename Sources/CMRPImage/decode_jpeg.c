#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "decode_internal.h"

/* Progressive files may repeat scans without end; real ones have about ten. */
enum { MAX_SCANS = 256 };

typedef struct reader {
    struct jpeg_error_mgr manager; /* first, so that libjpeg's pointer is ours */
    jmp_buf escape;
    mi_error *error;
    struct jpeg_progress_mgr progress;
} reader;

static void leave(j_common_ptr info) {
    reader *r = (reader *)info->err;
    char text[JMSG_LENGTH_MAX];
    info->err->format_message(info, text);
    mi_fail(r->error, info->err->msg_code == JERR_OUT_OF_MEMORY ? MI_ERR_MEMORY : MI_ERR_FORMAT, "JPEG: %s", text);
    longjmp(r->escape, 1);
}

/* libjpeg calls damage a warning and fills in gray; here it is an error, unless every pixel is still right. */
static void note(j_common_ptr info, int level) {
    if (level >= 0) return;
    switch (info->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_PROGRESSION: return;
    default: leave(info);
    }
}

static void silent(j_common_ptr info) { (void)info; }

/* Called for each row of blocks, of each scan. */
static void watch(j_common_ptr info) {
    reader *r = (reader *)info->err;
    if (mi_decode_stops(r->error)) longjmp(r->escape, 1);
    if (!info->is_decompressor || ((j_decompress_ptr)info)->input_scan_number <= MAX_SCANS) return;
    mi_fail(r->error, MI_ERR_FORMAT, "JPEG: more than %d scans", MAX_SCANS);
    longjmp(r->escape, 1);
}

static void begin(j_decompress_ptr jpeg, reader *r, mi_error *error) {
    jpeg->err = jpeg_std_error(&r->manager);
    r->manager.error_exit = leave;
    r->manager.emit_message = note;
    r->manager.output_message = silent;
    r->error = error;
    r->progress = (struct jpeg_progress_mgr){.progress_monitor = watch};
}

/* Reads the header and sets colour space and scale, for probing and decoding. */
static int32_t read_header(j_decompress_ptr jpeg, reader *r, const uint8_t *bytes, int64_t count, int32_t draft) {
    jpeg_create_decompress(jpeg);
    jpeg->progress = &r->progress;
    jpeg_mem_src(jpeg, bytes, (unsigned long)count);
    jpeg_read_header(jpeg, TRUE);
    switch (jpeg->num_components) {
    case 1: jpeg->out_color_space = JCS_GRAYSCALE; break;
    case 3: jpeg->out_color_space = JCS_RGB; break;
    case 4: jpeg->out_color_space = JCS_CMYK; break;
    default: return mi_fail(r->error, MI_ERR_FORMAT, "JPEG: %d components are neither gray, colour nor CMYK", jpeg->num_components);
    }
    jpeg->scale_num = 1;
    jpeg->scale_denom = (unsigned)draft;
    jpeg_calc_output_dimensions(jpeg);
    return MI_OK;
}

/* A number of 2 or 4 bytes in the order of a TIFF header. */
static uint32_t number(const uint8_t *p, int bytes, int big) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint32_t)p[i] << 8 * (big ? bytes - 1 - i : i);
    return value;
}

/* The orientation in an EXIF block: tag 0x0112 of the first directory of a TIFF file. 1 when it is not there. */
static int32_t orientation_in(const uint8_t *tiff, int64_t count) {
    if (count < 8) return 1;
    const int big = tiff[0] == 'M';
    if (memcmp(tiff, big ? "MM" : "II", 2) != 0 || number(tiff + 2, 2, big) != 42) return 1;
    const int64_t first = number(tiff + 4, 4, big);
    if (first + 2 > count) return 1;
    const int64_t entries = number(tiff + first, 2, big);
    for (int64_t i = 0; i < entries; i++) {
        const int64_t at = first + 2 + 12 * i;
        if (at + 12 > count) return 1;
        if (number(tiff + at, 2, big) != 0x0112) continue;
        const uint32_t value = number(tiff + at + 8, 2, big);
        return number(tiff + at + 2, 2, big) == 3 && value >= 1 && value <= 8 ? (int32_t)value : 1;
    }
    return 1;
}

/* Looks through the segments before the pixels. */
static int32_t orientation(const uint8_t *bytes, int64_t count) {
    int64_t at = 2;
    while (at + 4 <= count && bytes[at] == 0xff) {
        const int marker = bytes[at + 1];
        if (marker == 0xff) { /* a fill byte */
            at++;
            continue;
        }
        if (marker == 0xda || marker == 0xd9) return 1;
        const int64_t length = bytes[at + 2] << 8 | bytes[at + 3];
        if (length < 2 || at + 2 + length > count) return 1;
        if (marker == 0xe1 && length >= 8 && memcmp(bytes + at + 4, "Exif\0\0", 6) == 0) return orientation_in(bytes + at + 10, length - 8);
        at += 2 + length;
    }
    return 1;
}

int32_t mi_jpeg_probe(const uint8_t *bytes, int64_t count, int64_t draft_side, mi_info *info, mi_error *error) {
    struct jpeg_decompress_struct jpeg;
    memset(&jpeg, 0, sizeof jpeg);
    reader r;
    begin(&jpeg, &r, error);
    if (setjmp(r.escape)) {
        jpeg_destroy_decompress(&jpeg);
        return error->code;
    }
    int32_t status = read_header(&jpeg, &r, bytes, count, 1);
    if (status == MI_OK) {
        int32_t draft = 1;
        const int64_t side = jpeg.image_height < jpeg.image_width ? jpeg.image_height : jpeg.image_width;
        if (draft_side > 0)
            while (draft < 8 && side / (2 * draft) >= draft_side) draft *= 2;
        jpeg.scale_denom = (unsigned)draft;
        jpeg_calc_output_dimensions(&jpeg);
        /* Progressive files: all coefficients, 16 bits each. */
        const int64_t samples = (int64_t)jpeg.image_height * jpeg.image_width * jpeg.num_components;
        *info = (mi_info){.height = jpeg.output_height,
                          .width = jpeg.output_width,
                          .channels = jpeg.num_components == 1 ? 1 : 3,
                          .type = MI_UINT8,
                          .draft = draft,
                          .orientation = orientation(bytes, count)};
        if (jpeg.progressive_mode) info->working = 2 * samples;
    }
    jpeg_destroy_decompress(&jpeg);
    return status;
}

/* a b / 255, rounded. */
static inline unsigned scaled(unsigned a, unsigned b) {
    const unsigned t = a * b + 128;
    return ((t >> 8) + t) >> 8;
}

static void cmyk_to_rgb(const uint8_t *from, int64_t width, uint8_t *to) {
    for (int64_t x = 0; x < width; x++, from += 4, to += 3)
        for (int c = 0; c < 3; c++) { /* stored inverted: 255 is no ink */
            const unsigned black = from[3], ink = 255u - from[c];
            to[c] = (uint8_t)(black - scaled(ink, black));
        }
}

int32_t mi_jpeg_decode(const uint8_t *bytes, int64_t count, const mi_info *info, const mi_image *out, mi_error *error) {
    struct jpeg_decompress_struct jpeg;
    memset(&jpeg, 0, sizeof jpeg);
    reader r;
    begin(&jpeg, &r, error);
    if (setjmp(r.escape)) {
        jpeg_destroy_decompress(&jpeg);
        return error->code;
    }
    int32_t status = read_header(&jpeg, &r, bytes, count, info->draft);
    if (status == MI_OK && (jpeg.output_height != out->height || jpeg.output_width != out->width))
        status = mi_fail(error, MI_ERR_FORMAT, "JPEG: the file changed while it was read");
    if (status == MI_OK) {
        jpeg_start_decompress(&jpeg);
        const int cmyk = jpeg.out_color_space == JCS_CMYK;
        JSAMPARRAY line = cmyk ? jpeg.mem->alloc_sarray((j_common_ptr)&jpeg, JPOOL_IMAGE, jpeg.output_width * 4, 1) : NULL;
        while (jpeg.output_scanline < jpeg.output_height) {
            JSAMPROW row = (uint8_t *)out->pixels + jpeg.output_scanline * out->row_bytes;
            if (cmyk) {
                jpeg_read_scanlines(&jpeg, line, 1);
                cmyk_to_rgb(line[0], out->width, row);
            } else {
                jpeg_read_scanlines(&jpeg, &row, 1);
            }
        }
    }
    jpeg_destroy_decompress(&jpeg); /* the file behind the last row is not read: all pixels are decoded */
    return status;
}
