/* The Object File Format: OFF, and COFF, NOFF, STOFF with more numbers behind the coordinates, which are left out. Many files have no line
 * break after OFF. */
#include <string.h>

#include "mk_interrupt.h"
#include "mk_memory.h"
#include "mp_groups.h"
#include "reading.h"

static int32_t take_whole(mp_text *line, const char *what, int64_t *value, mi_error *error) {
    const char *word;
    int64_t length;
    if (!mp_next_word(line, &word, &length)) return mp_fail(error, MI_ERR_FORMAT, "line %lld lacks %s", (long long)line->line, what);
    if (mp_whole(word, length, value)) return MI_OK;
    return mp_fail(error, MI_ERR_FORMAT, "line %lld: '%s' is not %s", (long long)line->line, mp_shown(word, length), what);
}

/* Passes over the word that the file begins with; counts may follow it in the same line. */
static int32_t take_keyword(mp_text *text, mp_text *line, mi_error *error) {
    static const char *const words[] = {"OFF", "COFF", "NOFF", "CNOFF", "STOFF"};
    if (text->end - text->at >= 3 && memcmp(text->at, "\xef\xbb\xbf", 3) == 0) text->at += 3;
    if (!mp_next_line(text, line)) return mp_fail(error, MI_ERR_FORMAT, "the file has no points");
    const char *start = line->at;
    const int64_t length = line->end - start;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const int64_t size = (int64_t)strlen(words[i]);
        if (length < size || memcmp(start, words[i], (size_t)size) != 0) continue;
        line->at = start + size;
        mp_text rest = *line;
        const char *word;
        if (mp_next_word(&rest, &word, &(int64_t){0})) {
            if (*word >= '0' && *word <= '9') return MI_OK;
            break;
        }
        if (!mp_next_line(text, line)) return mp_fail(error, MI_ERR_FORMAT, "the file ends before the numbers of vertices and faces");
        return MI_OK;
    }
    return mp_fail(error, MI_ERR_FORMAT, "not an OFF file that is read: it begins with '%s', not with OFF", mp_shown(start, length));
}

static int32_t read_vertices(mp_text *text, int64_t count, mp_mesh *mesh, mi_error *error) {
    for (int64_t i = 0; i < count; i++) {
        mp_text line;
        if (!mp_next_line(text, &line))
            return mp_fail(error, MI_ERR_FORMAT, "the file ends after %lld of %lld vertices", (long long)i, (long long)count);
        for (int64_t axis = 0; axis < 3; axis++) {
            const char *word;
            int64_t length;
            double value;
            if (!mp_next_word(&line, &word, &length))
                return mp_fail(error, MI_ERR_FORMAT, "line %lld has %lld of the 3 coordinates of vertex %lld", (long long)line.line,
                               (long long)axis, (long long)i);
            if (!mp_number(word, length, &value))
                return mp_fail(error, MI_ERR_FORMAT, "line %lld: '%s' is not a number", (long long)line.line, mp_shown(word, length));
            if (!mp_store(&mesh->vertices, 3 * i + axis, value)) return mp_not_finite(i, "vertex", error);
        }
        if (i % 65536 == 65535 && mk_interrupted()) return mp_fail(error, MI_CANCELLED, "stopped by the caller");
    }
    return MI_OK;
}

static int32_t read_faces(mp_text *text, int64_t count, mp_mesh *mesh, mi_error *error) {
    for (int64_t i = 0; i < count; i++) {
        mp_text line;
        mp_face face = {.number = i};
        int64_t corners, vertex;
        if (!mp_next_line(text, &line))
            return mp_fail(error, MI_ERR_FORMAT, "the file ends after %lld of %lld faces", (long long)i, (long long)count);
        int32_t status = take_whole(&line, "a number of corners", &corners, error);
        while (status == MI_OK && face.corners < corners) {
            status = take_whole(&line, "the number of a vertex", &vertex, error);
            if (status == MI_OK) status = mp_add_corner(mesh, &face, vertex, mesh->vertices.count, error);
        }
        if (status != MI_OK) return status;
        if (i % 65536 == 65535 && mk_interrupted()) return mp_fail(error, MI_CANCELLED, "stopped by the caller");
    }
    return MI_OK;
}

int32_t mp_read_off(const uint8_t *bytes, int64_t count, const mp_reading *reading, mp_points *out, mi_error *error) {
    mp_text text = {(const char *)bytes, (const char *)bytes + count, 1}, line;
    int64_t vertices, faces, channels;
    mp_mesh mesh = {0};
    int32_t status = take_keyword(&text, &line, error);
    if (status == MI_OK) status = take_whole(&line, "a number of vertices", &vertices, error);
    if (status == MI_OK) status = take_whole(&line, "a number of faces", &faces, error);
    if (status == MI_OK) status = mp_channels(reading, 3, &channels, error);
    /* A coordinate and what ends it take two bytes, so a size beyond the file's never gets memory. */
    if (status == MI_OK && vertices > count / 6)
        status =
            mp_fail(error, MI_ERR_FORMAT, "%lld vertices do not fit in the %lld bytes of the file", (long long)vertices, (long long)count);
    if (status == MI_OK) status = mp_make(&mesh.vertices, 1, vertices, 3, error);
    if (status == MI_OK) status = read_vertices(&text, vertices, &mesh, error);
    if (status == MI_OK) status = read_faces(&text, faces, &mesh, error);
    if (status == MI_OK) return mp_finish_mesh(&mesh, faces, reading, out, error);
    mp_release_mesh(&mesh);
    return status;
}
