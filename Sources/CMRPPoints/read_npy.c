/* NumPy's format, versions 1 to 3: float32 or float64 in either byte order, in C's or Fortran's order of axes; [P, C], or [N, P, C]. */
#include <string.h>

#include "mk_interrupt.h"
#include "mk_memory.h"
#include "mp_groups.h"
#include "reading.h"

enum { MAX_AXES = 3 };

typedef struct npy_header {
    int bytes, big_endian, fortran, axes; /* bytes of an element; 0: not told yet */
    int64_t shape[MAX_AXES];
} npy_header;

static void skip_blanks(mp_text *text) {
    while (text->at < text->end && (*text->at == ' ' || *text->at == '\n' || *text->at == '\t')) text->at++;
}

static int take(mp_text *text, char wanted) {
    skip_blanks(text);
    if (text->at == text->end || *text->at != wanted) return 0;
    text->at++;
    return 1;
}

static int take_string(mp_text *text, const char **word, int64_t *length) {
    skip_blanks(text);
    if (text->at == text->end || (*text->at != '\'' && *text->at != '"')) return 0;
    const char quote = *text->at++, *end = memchr(text->at, quote, (size_t)(text->end - text->at));
    if (!end) return 0;
    *word = text->at;
    *length = end - text->at;
    text->at = end + 1;
    return 1;
}

static int is_word(const char *word, int64_t length, const char *text) {
    return length == (int64_t)strlen(text) && memcmp(word, text, (size_t)length) == 0;
}

static int32_t take_type(mp_text *text, npy_header *header, mi_error *error) {
    const char *word;
    int64_t length;
    if (!take_string(text, &word, &length)) return mp_fail(error, MI_ERR_FORMAT, "the array's type is not a plain one such as '<f4'");
    const int known =
        length == 3 && (word[0] == '<' || word[0] == '>' || word[0] == '=') && word[1] == 'f' && (word[2] == '4' || word[2] == '8');
    if (!known)
        return mp_fail(error, MI_ERR_FORMAT, "the array's type is '%s': float32 ('<f4') and float64 ('<f8') are read",
                       mp_shown(word, length));
    header->big_endian = word[0] == '>';
    header->bytes = word[2] - '0';
    return MI_OK;
}

static int32_t take_shape(mp_text *text, npy_header *header, mi_error *error) {
    if (!take(text, '(')) return mp_fail(error, MI_ERR_FORMAT, "the array's shape is not a list of numbers");
    header->axes = 0;
    while (!take(text, ')')) {
        const char *word = text->at;
        while (text->at < text->end && *text->at >= '0' && *text->at <= '9') text->at++;
        int64_t side;
        if (text->at == word || !mp_whole(word, text->at - word, &side))
            return mp_fail(error, MI_ERR_FORMAT, "the array's shape has a number that is not in 0 ... 2^63 - 1: '%s'",
                           mp_shown(word, text->at > word ? text->at - word : text->end - word));
        if (header->axes == MAX_AXES) return mp_fail(error, MI_ERR_FORMAT, "the array has more than %d axes", MAX_AXES);
        header->shape[header->axes++] = side;
        take(text, ',');
    }
    return MI_OK;
}

static int32_t take_header(mp_text *text, npy_header *header, mi_error *error) {
    int seen = 0;
    if (!take(text, '{')) return mp_fail(error, MI_ERR_FORMAT, "the array's header does not begin with '{'");
    while (!take(text, '}')) {
        const char *key, *value;
        int64_t length;
        int32_t status = MI_OK;
        if (!take_string(text, &key, &length) || !take(text, ':')) return mp_fail(error, MI_ERR_FORMAT, "the array's header is malformed");
        if (is_word(key, length, "descr")) {
            status = take_type(text, header, error);
            seen |= 1;
        } else if (is_word(key, length, "shape")) {
            status = take_shape(text, header, error);
            seen |= 2;
        } else if (is_word(key, length, "fortran_order")) {
            skip_blanks(text);
            value = text->at;
            while (text->at < text->end && ((*text->at >= 'a' && *text->at <= 'z') || (*text->at >= 'A' && *text->at <= 'Z'))) text->at++;
            header->fortran = is_word(value, text->at - value, "True");
            if (!header->fortran && !is_word(value, text->at - value, "False"))
                return mp_fail(error, MI_ERR_FORMAT, "fortran_order is neither True nor False");
            seen |= 4;
        } else {
            return mp_fail(error, MI_ERR_FORMAT, "the array's header has an unknown entry '%s'", mp_shown(key, length));
        }
        if (status != MI_OK) return status;
        take(text, ',');
    }
    return seen == 7 ? MI_OK : mp_fail(error, MI_ERR_FORMAT, "the array's header lacks descr, fortran_order or shape");
}

static double element(const uint8_t *at, const npy_header *header) {
    uint8_t bytes[8];
    for (int i = 0; i < header->bytes; i++) bytes[i] = at[header->big_endian ? header->bytes - 1 - i : i];
    float single;
    double wide;
    memcpy(&single, bytes, 4);
    if (header->bytes == 4) return single;
    memcpy(&wide, bytes, 8);
    return wide;
}

/* The element at (cloud, point, channel) is element `cloud steps[0] + point steps[1] + channel steps[2]` of the file. */
static int32_t copy(const uint8_t *data, const npy_header *header, const int64_t *shape, mp_points *out, mi_error *error) {
    int64_t steps[3] = {shape[1] * shape[2], shape[2], 1}, at = 0;
    if (header->fortran) steps[0] = 1, steps[1] = shape[0], steps[2] = shape[0] * shape[1];
    for (int64_t row = 0; row < out->clouds * out->count; row++) {
        const int64_t first = row / out->count * steps[0] + row % out->count * steps[1];
        for (int64_t c = 0; c < out->channels; c++, at++)
            if (!mp_store(out, at, element(data + (first + c * steps[2]) * header->bytes, header)))
                return mp_not_finite(row, "point", error);
        if (row % 65536 == 65535 && mk_interrupted()) return mp_fail(error, MI_CANCELLED, "stopped by the caller");
    }
    return MI_OK;
}

static int32_t data_of(const uint8_t *bytes, int64_t count, npy_header *header, int64_t *start, mi_error *error) {
    if (count < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0)
        return mp_fail(error, MI_ERR_FORMAT, "not a .npy file: it does not begin with NUMPY");
    const int version = bytes[6], wide = version > 1;
    if (version < 1 || version > 3) return mp_fail(error, MI_ERR_FORMAT, "version %d of the .npy format is not 1, 2 or 3", version);
    int64_t length = 0;
    for (int i = wide && count >= 12 ? 3 : 1; i >= 0; i--) length = length << 8 | bytes[8 + i];
    *start = (wide ? 12 : 10) + length;
    if (*start > count)
        return mp_fail(error, MI_ERR_FORMAT, "the header of %lld bytes does not fit in the %lld bytes of the file", (long long)length,
                       (long long)count);
    mp_text text = {(const char *)bytes + (wide ? 12 : 10), (const char *)bytes + *start, 1};
    return take_header(&text, header, error);
}

int32_t mp_read_npy(const uint8_t *bytes, int64_t count, const mp_reading *reading, mp_points *out, mi_error *error) {
    npy_header header = {0};
    int64_t start, channels, size = 0;
    int32_t status = data_of(bytes, count, &header, &start, error);
    if (status != MI_OK) return status;
    if (header.axes < 2)
        return mp_fail(error, MI_ERR_FORMAT, "the array has %d axes: [points, values] or [clouds, points, values] is read", header.axes);
    const int64_t shape[3] = {header.axes == 3 ? header.shape[0] : 1, header.shape[header.axes - 2], header.shape[header.axes - 1]};
    if (__builtin_mul_overflow(shape[0], shape[1], &size) || __builtin_mul_overflow(size, shape[2], &size) ||
        __builtin_mul_overflow(size, (int64_t)header.bytes, &size) || size > count - start)
        return mp_fail(error, MI_ERR_FORMAT,
                       "an array of %lld x %lld x %lld values of %d bytes does not fit in the %lld bytes after the header",
                       (long long)shape[0], (long long)shape[1], (long long)shape[2], header.bytes, (long long)(count - start));
    if (size < count - start)
        return mp_fail(error, MI_ERR_FORMAT, "%lld bytes follow the array of %lld bytes", (long long)(count - start - size),
                       (long long)size);
    if ((status = mp_channels(reading, shape[2], &channels, error)) != MI_OK) return status;
    if ((status = mp_make(out, shape[0], shape[1], channels, error)) != MI_OK) return status;
    status = copy(bytes + start, &header, shape, out, error);
    if (status != MI_OK) mk_release(out->values), *out = (mp_points){0};
    return status;
}
