/* One point a line. A first line of names (CSV) is passed over; a first line with a single whole number is the number of points (PTS). */
#include <string.h>

#include "mk_interrupt.h"
#include "mk_memory.h"
#include "reading.h"

static int64_t words_of(mp_text line) {
    const char *word;
    int64_t length, words = 0;
    while (mp_next_word(&line, &word, &length)) words++;
    return words;
}

static int is_names(mp_text line) {
    const char *word;
    int64_t length;
    double value;
    if (!mp_next_word(&line, &word, &length)) return 0;
    const char first = word[0];
    return ((first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z') || first == '"') && !mp_number(word, length, &value);
}

static int32_t store_line(mp_text line, int64_t point, mp_points *points, mi_error *error) {
    const char *word;
    int64_t length;
    for (int64_t c = 0; c < points->channels && mp_next_word(&line, &word, &length); c++) {
        double value;
        if (!mp_number(word, length, &value))
            return mp_fail(error, MI_ERR_FORMAT, "line %lld: '%s' is not a number", (long long)line.line, mp_shown(word, length));
        if (!mp_store(points, point * points->channels + c, value)) return mp_not_finite(line.line, "line", error);
    }
    return MI_OK;
}

/* Counts the points from the place of `text` on, whose lines all have as many words as the first. */
static int32_t count_lines(mp_text text, int64_t *count, int64_t *words, mi_error *error) {
    mp_text line;
    int64_t first = 0;
    *count = 0;
    while (mp_next_line(&text, &line)) {
        const int64_t here = words_of(line);
        if (*count == 0) *words = here, first = line.line;
        if (here != *words)
            return mp_fail(error, MI_ERR_FORMAT, "line %lld has %lld values, line %lld has %lld", (long long)line.line, (long long)here,
                           (long long)first, (long long)*words);
        if (++*count % 65536 == 0 && mk_interrupted()) return mp_fail(error, MI_CANCELLED, "stopped by the caller");
    }
    return *count > 0 ? MI_OK : mp_fail(error, MI_ERR_FORMAT, "the file has no points");
}

int32_t mp_read_text(const uint8_t *bytes, int64_t count, const mp_reading *reading, mp_points *out, mi_error *error) {
    mp_text text = {(const char *)bytes, (const char *)bytes + count, 1}, line;
    if (memchr(bytes, 0, (size_t)count)) return mp_fail(error, MI_ERR_FORMAT, "the file is not a text: it has a byte of 0");
    if (count >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) text.at += 3;
    mp_text rest = text;
    int64_t announced = -1, lines, words, channels;
    if (mp_next_line(&rest, &line)) {
        const char *word;
        int64_t length;
        const int single = words_of(line) == 1;
        if (is_names(line)) text = rest;
        mp_text first = line;
        if (single && mp_next_word(&first, &word, &length) && mp_whole(word, length, &announced)) text = rest;
    }
    int32_t status = count_lines(text, &lines, &words, error);
    if (status != MI_OK) return status;
    if (announced >= 0 && announced != lines)
        return mp_fail(error, MI_ERR_FORMAT, "the first line announces %lld points, %lld follow", (long long)announced, (long long)lines);
    if ((status = mp_channels(reading, words, &channels, error)) != MI_OK) return status;
    if ((status = mp_make(out, 1, lines, channels, error)) != MI_OK) return status;
    for (int64_t i = 0; status == MI_OK && mp_next_line(&text, &line); i++) {
        status = store_line(line, i, out, error);
        if (i % 65536 == 65535 && mk_interrupted()) status = mp_fail(error, MI_CANCELLED, "stopped by the caller");
    }
    if (status != MI_OK) mk_release(out->values), *out = (mp_points){0};
    return status;
}
