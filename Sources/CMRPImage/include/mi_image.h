/* An image in memory: rows of interleaved pixels (height x width x channels), rows `row_bytes` apart, so that a crop is a view. */
#ifndef MI_IMAGE_H
#define MI_IMAGE_H

#include <stdint.h>

/* Element types. Values are taken as fractions of the type's range when they become float32 (255, 65535), floats as they are.
 * MI_INT32 is for pixel masks only: functions that copy whole pixels take them. */
enum { MI_UINT8 = 0, MI_UINT16 = 1, MI_FLOAT32 = 2, MI_INT32 = 3 };

typedef struct mi_image {
    void *pixels;
    int64_t row_bytes;
    int64_t height, width, channels;
    int32_t type;
} mi_image;

/* Limits of every image that enters the library. */
enum { MI_MAX_SIDE = 65536, MI_MAX_CHANNELS = 4096 };
#define MI_MAX_IMAGE_BYTES ((int64_t)1 << 30)

/* The numbers of the library's status codes, so that an error crosses the boundary unchanged. */
enum {
    MI_OK = 0,
    MI_ERR_ARGUMENT = -1,
    MI_ERR_MEMORY = -4,
    MI_ERR_IO = -5,
    MI_ERR_FORMAT = -6,
    MI_ERR_UNSUPPORTED = -11,
    MI_CANCELLED = 1
};

typedef struct mi_error {
    int32_t code;
    char text[256]; /* one line, no file name: the caller knows it */
} mi_error;

static inline const char *mi_error_text(const mi_error *error) { return error->text; }

static inline int64_t mi_element_bytes(int32_t type) { return type == MI_UINT8 ? 1 : type == MI_UINT16 ? 2 : 4; }

#endif
