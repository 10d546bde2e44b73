/* Point clouds from files: NumPy arrays (.npy), one point a line (.xyz, .txt, .pts, .csv), PLY and OFF. A file with faces (PLY, OFF) gives
 * points on them, drawn evenly by area; one without gives its vertices. Values become float32 and are finite, or the file is refused. */
#ifndef MP_FILES_H
#define MP_FILES_H

#include <stdint.h>

#include "mi_image.h"

enum { MP_NPY = 0, MP_TEXT = 1, MP_PLY = 2, MP_OFF = 3 };
enum { MP_MAX_CHANNELS = 64 };

/* The kind of a file by the end of its name, any case; -1: none of these. */
int32_t mp_kind_of(const char *name);

typedef struct mp_reading {
    int64_t channels; /* values wanted of each point, x, y, z first; 0: all that the file has, up to MP_MAX_CHANNELS */
    int64_t samples;  /* points to draw from faces, at least 1 */
    uint64_t seed;    /* of that drawing, together with `file` */
    uint32_t file;
} mp_reading;

typedef struct mp_points {
    float *values;                   /* clouds x count x channels; mk_release frees them */
    int64_t clouds, count, channels; /* clouds: 1, but for an array of three dimensions */
} mp_points;

/* Reads a file that lies in memory. PLY: x, y, z and then the other properties of a vertex in the order of the file; points on faces get
 * them by linear interpolation. Errors, one line without the file's name: MI_ERR_FORMAT, MI_ERR_UNSUPPORTED (more than MP_MAX_POINTS),
 * MI_ERR_MEMORY, MI_CANCELLED when mk_interrupted said so. */
int32_t mp_read(const uint8_t *bytes, int64_t count, int32_t kind, const mp_reading *reading, mp_points *out, mi_error *error);

#endif
