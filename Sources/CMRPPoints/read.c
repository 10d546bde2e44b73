#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "mk_interrupt.h"
#include "mk_memory.h"
#include "mp_groups.h"
#include "reading.h"

int32_t mp_fail(mi_error *error, int32_t code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return error->code = code;
}

int32_t mp_kind_of(const char *name) {
    static const struct {
        const char *end;
        int32_t kind;
    } ends[] = {{".npy", MP_NPY},  {".xyz", MP_TEXT}, {".txt", MP_TEXT}, {".pts", MP_TEXT},
                {".csv", MP_TEXT}, {".ply", MP_PLY},  {".off", MP_OFF}};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof ends / sizeof *ends; i++)
        if (strcasecmp(dot, ends[i].end) == 0) return ends[i].kind;
    return -1;
}

int32_t mp_read(const uint8_t *bytes, int64_t count, int32_t kind, const mp_reading *reading, mp_points *out, mi_error *error) {
    *out = (mp_points){0};
    if (reading->channels < 0 || reading->channels == 1 || reading->channels == 2 || reading->channels > MP_MAX_CHANNELS)
        return mp_fail(error, MI_ERR_ARGUMENT, "%lld values of a point are outside 3 ... %d", (long long)reading->channels,
                       MP_MAX_CHANNELS);
    if (count == 0) return mp_fail(error, MI_ERR_FORMAT, "the file is empty");
    switch (kind) {
    case MP_NPY: return mp_read_npy(bytes, count, reading, out, error);
    case MP_TEXT: return mp_read_text(bytes, count, reading, out, error);
    case MP_PLY: return mp_read_ply(bytes, count, reading, out, error);
    case MP_OFF: return mp_read_off(bytes, count, reading, out, error);
    default: return mp_fail(error, MI_ERR_ARGUMENT, "%d is no kind of point file", (int)kind);
    }
}

/* ---- memory ---- */

int32_t mp_make(mp_points *points, int64_t clouds, int64_t count, int64_t channels, mi_error *error) {
    if (count < 1 || clouds < 1) return mp_fail(error, MI_ERR_FORMAT, "the file has no points");
    int64_t all;
    if (count > MP_MAX_POINTS || __builtin_mul_overflow(clouds, count, &all) || all > INT64_MAX / (4 * MP_MAX_CHANNELS))
        return mp_fail(error, MI_ERR_UNSUPPORTED, "%lld points are above the limit of %d", (long long)count, MP_MAX_POINTS);
    float *values = mk_allocate(all * channels * 4);
    if (!values)
        return mp_fail(error, MI_ERR_MEMORY, "memory is short for %lld points of %lld values", (long long)all, (long long)channels);
    *points = (mp_points){values, clouds, count, channels};
    return MI_OK;
}

int mp_store(mp_points *points, int64_t at, double value) {
    points->values[at] = (float)value;
    return isfinite(points->values[at]);
}

int32_t mp_not_finite(int64_t point, const char *what, mi_error *error) {
    return mp_fail(error, MI_ERR_FORMAT, "%s %lld has a value that is not a finite float32 number", what, (long long)point);
}

int32_t mp_channels(const mp_reading *reading, int64_t there, int64_t *channels, mi_error *error) {
    if (there < 3) return mp_fail(error, MI_ERR_FORMAT, "points have %lld values, at least 3 are needed", (long long)there);
    if (reading->channels > there)
        return mp_fail(error, MI_ERR_FORMAT, "points have %lld values, %lld are wanted", (long long)there, (long long)reading->channels);
    *channels = reading->channels > 0 ? reading->channels : there < MP_MAX_CHANNELS ? there : MP_MAX_CHANNELS;
    return MI_OK;
}

/* ---- text ---- */

static int is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f'; }
static int ends_word(char c) { return is_blank(c) || c == ',' || c == ';' || c == '#'; }

int mp_next_line(mp_text *text, mp_text *line) {
    while (text->at < text->end) {
        const char *newline = memchr(text->at, '\n', (size_t)(text->end - text->at)), *end = newline ? newline : text->end;
        *line = (mp_text){text->at, end, text->line};
        text->at = newline ? newline + 1 : text->end;
        text->line++;
        while (line->at < line->end && is_blank(*line->at)) line->at++;
        const int64_t length = line->end - line->at;
        if (length > 0 && line->at[0] != '#' && !(length > 1 && line->at[0] == '/' && line->at[1] == '/')) return 1;
    }
    return 0;
}

/* A comma ends a word, and blanks around it belong to it. */
int mp_next_word(mp_text *line, const char **word, int64_t *length) {
    while (line->at < line->end && is_blank(*line->at)) line->at++;
    if (line->at == line->end || *line->at == '#') return 0;
    *word = line->at;
    while (line->at < line->end && !ends_word(*line->at)) line->at++;
    *length = line->at - *word;
    while (line->at < line->end && is_blank(*line->at)) line->at++;
    if (line->at < line->end && (*line->at == ',' || *line->at == ';')) line->at++;
    return 1;
}

const char *mp_shown(const char *word, int64_t length) {
    static _Thread_local char texts[2][40];
    static _Thread_local int next;
    char *text = texts[next = !next];
    const int64_t shown = length < 32 ? length : 32;
    for (int64_t i = 0; i < shown; i++) text[i] = word[i] >= ' ' && word[i] < 127 ? word[i] : '?';
    memcpy(text + shown, length > shown ? "..." : "", length > shown ? 4 : 1);
    return text;
}

int mp_whole(const char *word, int64_t length, int64_t *value) {
    int64_t sum = 0;
    for (int64_t i = 0; i < length; i++) {
        if (word[i] < '0' || word[i] > '9') return 0;
        if (__builtin_mul_overflow(sum, (int64_t)10, &sum) || __builtin_add_overflow(sum, (int64_t)(word[i] - '0'), &sum)) return 0;
    }
    *value = sum;
    return length > 0;
}

static int is_not_finite(const char *word, int64_t length) {
    return (length == 3 && (strncasecmp(word, "nan", 3) == 0 || strncasecmp(word, "inf", 3) == 0)) ||
           (length == 8 && strncasecmp(word, "infinity", 8) == 0);
}

/* 19 digits count, more than a double has; powers of ten err by some units of a double's last place, far below float32. */
static double decimal(uint64_t digits, int64_t exponent) {
    double value = (double)digits, factor = 1, power = 10;
    if (digits == 0 || exponent < -400) return 0;
    if (exponent > 400) return INFINITY;
    for (int64_t left = exponent < 0 ? -exponent : exponent; left > 0; left >>= 1, power *= power)
        if (left & 1) factor *= power;
    if (exponent >= 0) return value * factor;
    return value / factor;
}

int mp_number(const char *word, int64_t length, double *value) {
    const char *at = word, *end = word + length;
    const int negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+')) at++;
    if (is_not_finite(at, end - at)) return *value = NAN, 1;
    uint64_t digits = 0;
    int64_t exponent = 0, seen = 0, fraction = 0;
    for (; at < end; at++) {
        if (*at == '.' && !fraction) {
            fraction = 1;
            continue;
        }
        if (*at < '0' || *at > '9') break;
        seen = 1;
        if (digits < UINT64_MAX / 10 - 1) {
            digits = digits * 10 + (uint64_t)(*at - '0');
            exponent -= fraction;
        } else {
            exponent += !fraction;
        }
    }
    if (!seen) return 0;
    if (at < end && (*at == 'e' || *at == 'E')) {
        int64_t power = 0;
        const int less = ++at < end && *at == '-';
        if (at < end && (*at == '-' || *at == '+')) at++;
        if (at == end) return 0;
        for (; at < end && *at >= '0' && *at <= '9'; at++) power = power < 100000 ? power * 10 + (*at - '0') : power;
        exponent += less ? -power : power;
    }
    if (at != end) return 0;
    *value = negative ? -decimal(digits, exponent) : decimal(digits, exponent);
    return 1;
}
