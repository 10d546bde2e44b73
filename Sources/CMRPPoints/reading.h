/* What the readers of point files share. */
#ifndef MP_READING_H
#define MP_READING_H

#include <stdint.h>

#include "mp_files.h"

/* Sets code and text of the error; returns the code. */
int32_t mp_fail(mi_error *error, int32_t code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A text with a place in it and the number of its line, from 1. */
typedef struct mp_text {
    const char *at, *end;
    int64_t line;
} mp_text;

/* The next line that is neither empty nor a comment ('#', or '//' too), without its end; 0 at the end of the text. */
int mp_next_line(mp_text *text, mp_text *line);
/* The next word of a line, which blanks, commas and semicolons end; 0 where there is none. */
int mp_next_word(mp_text *line, const char **word, int64_t *length);
/* The whole word as a number: 0 where it is none. "nan" and "inf" give NaN. Does not depend on the locale. */
int mp_number(const char *word, int64_t length, double *value);
/* The same for a whole number 0 ... 2^63 - 1. */
int mp_whole(const char *word, int64_t length, int64_t *value);
/* A word as it may stand in a message: cut, and without control characters. The text stays until the call after the next. */
const char *mp_shown(const char *word, int64_t length);

/* Memory for `count` points; checks that both numbers are in their limits. */
int32_t mp_make(mp_points *points, int64_t clouds, int64_t count, int64_t channels, mi_error *error);
/* Stores a point's value; 0 when it is not finite as float32. */
int mp_store(mp_points *points, int64_t at, double value);
int32_t mp_not_finite(int64_t point, const char *what, mi_error *error);
/* The number of channels to read of a file that has `there`: what is wanted, all for 0. */
int32_t mp_channels(const mp_reading *reading, int64_t there, int64_t *channels, mi_error *error);

/* Triangles that grow. Faces with more than three corners become fans around the first. */
typedef struct mp_mesh {
    mp_points vertices;
    int32_t *triangles; /* used x 3 */
    int64_t used, room;
} mp_mesh;

typedef struct mp_face {
    int64_t number; /* in the file */
    int64_t corners;
    int32_t first, last; /* corner numbers so far */
} mp_face;

/* Adds the next corner of a face, which has to be in 0 ..< vertices.count. */
int32_t mp_add_corner(mp_mesh *mesh, mp_face *face, int64_t vertex, int64_t vertices, mi_error *error);
/* The mesh becomes `out`: points drawn on its triangles, or its vertices where it has no face. Frees it, also on an error. */
int32_t mp_finish_mesh(mp_mesh *mesh, int64_t faces, const mp_reading *reading, mp_points *out, mi_error *error);
void mp_release_mesh(mp_mesh *mesh);

int32_t mp_read_npy(const uint8_t *bytes, int64_t count, const mp_reading *reading, mp_points *out, mi_error *error);
int32_t mp_read_text(const uint8_t *bytes, int64_t count, const mp_reading *reading, mp_points *out, mi_error *error);
int32_t mp_read_ply(const uint8_t *bytes, int64_t count, const mp_reading *reading, mp_points *out, mi_error *error);
int32_t mp_read_off(const uint8_t *bytes, int64_t count, const mp_reading *reading, mp_points *out, mi_error *error);

#endif
