/* Strings that the C ABI hands out and that must be there even when memory has run out: the last error of each thread, the names of
 * the status codes, the facts of this build. */
#ifndef MT_LAST_ERROR_H
#define MT_LAST_ERROR_H

#include <stdint.h>

enum { MT_LAST_ERROR_CAPACITY = 1024 };

/* Keeps a copy for the calling thread: one line (control characters become spaces), cut to the capacity at a character's
 * boundary. NULL empties it. */
void mt_set_last_error(const char *text);

/* The calling thread's text, never NULL, in memory that stays until the thread ends. */
const char *mt_last_error(void);

/* The name of a status code such as "MRP_ERR_MEMORY", or "unknown status". */
const char *mt_status_name(int32_t status);

/* The name of a phase or of a run's end from static memory; "" for one that does not exist. */
const char *mt_static_name(const char *name);

const char *mt_version(void);

/* Version, commit and compiler of the C sources, such as "libmrp 0.1.0, commit 0123456789ab, clang 21.0.0". */
const char *mt_build(void);

#endif
