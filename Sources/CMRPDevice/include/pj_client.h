/* A client of accelerators: a PJRT plug-in, which is found and loaded at run time, as a handful of calls. Safe to use from several threads;
 * an executable runs on one at a time. A plug-in stays loaded and keeps its one client to the end of the process. */
#ifndef PJ_CLIENT_H
#define PJ_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PJ_OK = 0, PJ_FAILED = 1, PJ_MEMORY = 2, PJ_MISSING = 3 };
enum { PJ_TEXT = 2048 };

typedef struct pj_client pj_client;
typedef struct pj_executable pj_executable;
typedef struct pj_buffer pj_buffer;
typedef struct pj_event pj_event;

/* An option of a client or of a compilation: text, or a number when text is NULL. */
typedef struct {
    const char *name;
    const char *text;
    int64_t number;
    bool is_flag;
} pj_option;

/* All functions that may fail return PJ_OK or another code and then write one line into `error` (PJ_TEXT bytes). */

/* The client of the plug-in at `path`; the first call of a process loads it and makes its client with these options. */
int pj_open(const char *path, const pj_option *options, size_t count, pj_client **client, char *error);

/* Names stay as long as the process. */
const char *pj_platform(const pj_client *client);
const char *pj_version(const pj_client *client);
int pj_device_count(const pj_client *client);
const char *pj_device_kind(const pj_client *client, int device);
/* Bytes in use, at their peak, and in all; -1 where the plug-in does not say. */
void pj_memory(const pj_client *client, int device, int64_t *in_use, int64_t *peak, int64_t *limit);

/* Compiles StableHLO text for `replicas` devices. */
int pj_compile(pj_client *client, const char *text, size_t size, int replicas, const pj_option *options, size_t count,
               pj_executable **executable, char *error);
/* Loads what pj_serialize gave. */
int pj_load(pj_client *client, const void *bytes, size_t size, int replicas, pj_executable **executable, char *error);
/* Gives the bytes of an executable to `body`. */
int pj_serialize(const pj_executable *executable, void (*body)(void *context, const void *bytes, size_t size), void *context, char *error);
void pj_executable_destroy(pj_executable *executable);
size_t pj_output_count(const pj_executable *executable);
/* Device memory of a run: temporary values, and arguments and results without what they share. -1: unknown. */
int64_t pj_run_bytes(const pj_executable *executable);

/* Copies host memory to a device. `type` is a PJRT_TYPE. With `event` the memory may be reused when it is ready; without, at return. */
int pj_upload(pj_client *client, int device, const void *data, int type, const int64_t *dims, size_t rank, pj_buffer **buffer,
              pj_event **event, char *error);
int pj_download(pj_buffer *buffer, void *memory, size_t bytes, char *error);
void pj_buffer_destroy(pj_buffer *buffer);

/* Starts a run: argument a of replica r is arguments[r * argument_count + a], results likewise. Donated arguments are consumed, also when
 * the run fails; they are destroyed as others. `events` gets one event per replica. */
int pj_execute(pj_executable *executable, pj_buffer *const *arguments, size_t argument_count, pj_buffer **results, pj_event **events,
               char *error);

bool pj_is_ready(pj_event *event);
/* Waits, destroys the event and tells how its work ended. NULL is ready. */
int pj_await(pj_event *event, char *error);

#endif
