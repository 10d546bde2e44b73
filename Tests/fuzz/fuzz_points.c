/* Point files: the first byte chooses the reader and what is wanted of it, the rest is the file. C only: no library is needed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mk_memory.h"
#include "mp_files.h"
#include "mp_groups.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    if (count < 1) return 0;
    const int32_t kind = bytes[0] % 4;
    const mp_reading reading = {bytes[0] & 4 ? 3 + bytes[0] / 8 % 4 : 0, 1 + bytes[0] / 32, 1, 2};
    mp_points points;
    mi_error error = {0};
    const int32_t status = mp_read(bytes + 1, (int64_t)count - 1, kind, &reading, &points, &error);
    if (status == MI_OK) {
        const int64_t values = points.clouds * points.count * points.channels;
        if (values < 3 || (reading.channels > 0 && points.channels != reading.channels)) abort();
        for (int64_t i = 0; i < values; i++)
            if (!isfinite(points.values[i])) abort();
        mk_release(points.values);
    } else {
        if (status != MI_ERR_FORMAT && status != MI_ERR_UNSUPPORTED && status != MI_ERR_MEMORY) abort();
        if (points.values || error.code != status || !error.text[0] || !memchr(error.text, 0, sizeof error.text)) abort();
        for (const char *c = error.text; *c; c++)
            if (*c < ' ' || *c > '~') abort(); /* one line for people */
    }
    if (mk_bytes_in_use() != 0) abort();
    return 0;
}
