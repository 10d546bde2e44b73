/* libmrp: pretrains vision encoders by mask reconstruction, and fine-tunes them.
 *
 * Images of any size and number of channels go in; part of each image is hidden; an encoder and a
 * decoder learn to reconstruct what was hidden (masked autoencoders and their relatives), without
 * labels. The encoder is then fine-tuned with labels, or used as it is. Everything runs on the CPU,
 * in this process, and gives the same bits for the same seed whatever the thread count.
 *
 *     #include <mrp.h>
 *     #include <stdio.h>
 *
 *     int main(void) {
 *         mrp_dataset *images = NULL;
 *         mrp_config *options = NULL;
 *         mrp_model *model = NULL;
 *         mrp_status failed = mrp_dataset_open_folder("train", NULL, &images) ||
 *                             mrp_config_create("mae_vit_tiny_32", &options) ||
 *                             mrp_config_set(options, "epochs", "20") ||
 *                             mrp_model_create(options, &model) ||
 *                             mrp_pretrain(model, images, options, NULL, NULL) ||
 *                             mrp_model_save(model, "encoder.safetensors", NULL);
 *         if (failed) fprintf(stderr, "%s\n", mrp_last_error());
 *         mrp_model_destroy(model);
 *         mrp_config_destroy(options);
 *         mrp_dataset_destroy(images);
 *         return failed;
 *     }
 *
 * Ownership. What a create, open or load function hands out is yours until you call its destroy
 * function, which accepts NULL. Arrays and strings that you pass are borrowed for the call, and
 * copied where they are kept. A `const char *` that a function returns belongs to the library,
 * until the next call on that handle (mrp_last_error: until the next failure in that thread).
 *
 * Errors. A function that can fail returns an mrp_status, and its results through pointers, which
 * it leaves alone when it fails. A negative status is an error: mrp_last_error() then says in one
 * line what was wrong and what would have been right. The process goes on, and so do the handles.
 * Nothing is printed, no signal handler is installed, the library never exits or aborts.
 *
 * Threads. Different handles may be used by different threads at once, and options and datasets
 * may be shared. A model, a trainer or a laboratory is used by one thread at a time: a second one
 * gets MRP_ERR_BUSY. Exceptions that any thread may call: mrp_cancel and mrp_lab_cancel, and what
 * reads the progress. After fork, parent and child both go on; what a call of the parent used at
 * that moment gives MRP_ERR_FORKED in the child, wherever MRP_ERR_BUSY is documented.
 *
 * Stopping. A call that can take long is stopped within 100 ms by its callback, by mrp_cancel or
 * mrp_lab_cancel of the handle that it uses, or by the function of mrp_set_interrupt. It then returns
 * MRP_CANCELLED.
 *
 * Strings are UTF-8 and end with a NUL, paths too; only those of image folders may be any bytes.
 * Sizes are int64_t and checked. */
#ifndef MRP_TYPES_H
#define MRP_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header; mrp_version() tells that of the library that was loaded. */
#define MRP_VERSION "0.1.0"
#define MRP_VERSION_NUMBER 100 /* 10000 major + 100 minor + patch */

/* What a function that can fail returns: 0, a positive note, or a negative error. Codes keep their
 * numbers for ever. */
typedef int32_t mrp_status;
enum {
    MRP_OK = 0,
    MRP_CANCELLED = 1,         /* stopped by the caller; what was finished stays */
    MRP_DONE = 2,              /* nothing is left to do */
    MRP_ERR_ARGUMENT = -1,     /* a NULL pointer, or a value outside its range */
    MRP_ERR_HANDLE = -2,       /* not a live handle of this type */
    MRP_ERR_BUSY = -3,         /* the handle is in use by another call */
    MRP_ERR_MEMORY = -4,       /* memory ran out */
    MRP_ERR_IO = -5,           /* a file could not be opened, read or written */
    MRP_ERR_FORMAT = -6,       /* a file or text is not what it should be */
    MRP_ERR_VERSION = -7,      /* a file of a newer or unknown version */
    MRP_ERR_STATE = -8,        /* not possible in the handle's present state */
    MRP_ERR_NUMERIC = -9,      /* NaN or infinity in the data or in the loss */
    MRP_ERR_FORKED = -10,      /* the handle was in use when the process forked */
    MRP_ERR_UNSUPPORTED = -11, /* correct, but not offered by this build or for this model */
    MRP_ERR_DEVICE = -12,      /* an accelerator failed or was lost */
    MRP_ERR_INTERNAL = -99     /* a defect of the library: please report it */
};

/* Element types of arrays; MRP_INT32 is for masks only. */
enum { MRP_UINT8 = 1, MRP_UINT16 = 2, MRP_FLOAT32 = 3, MRP_INT32 = 4 };

/* Order of the dimensions of an image array: (image, channel, row, column), or (image, row, column,
 * channel). */
enum { MRP_NCHW = 0, MRP_NHWC = 1 };

/* Handles. */
typedef struct mrp_config mrp_config;         /* options: keys and values */
typedef struct mrp_dataset mrp_dataset;       /* images, with labels or without */
typedef struct mrp_model mrp_model;           /* an encoder with its decoder or its head */
typedef struct mrp_trainer mrp_trainer;       /* a training run that the caller steps through */
typedef struct mrp_progress mrp_progress;     /* how far a run is; lives as long as the callback */
typedef struct mrp_lab mrp_lab;               /* the paper's experiment with its options */
typedef struct mrp_lab_report mrp_lab_report; /* what the laboratory found */

/* Called by long functions, on the thread that called them, several times per second. Return 0 to
 * go on; anything else stops the run, which then returns MRP_CANCELLED. `user` is the pointer that
 * was passed along with the function. The callback may read the progress and use other handles;
 * the model of the running call gives MRP_ERR_BUSY. */
typedef int32_t (*mrp_progress_fn)(const mrp_progress *progress, void *user);

/* Asked by calls that can take long, on the thread that called them, every 20 ms or so
 * (mrp_set_interrupt). Return 0 to go on; anything else stops the call, which then returns
 * MRP_CANCELLED and changes nothing but what was finished. `user` is the pointer that was passed along
 * with the function. It may use handles that the call does not. */
typedef int32_t (*mrp_interrupt_fn)(void *user);

/* Chooses what pretraining hides (mrp_trainer_set_masking). `indices` are the numbers of a step's
 * `count` images in their dataset; fill noise, count x patches: in each image the patches with the
 * smallest values stay visible, as many as the mask ratio says. Noise of nothing but 0 and 1 is a
 * mask: 1 hides, and the number must be right. Called once per step, on the thread that steps. Return
 * 0 to go on; anything else stops the step, which then returns MRP_CANCELLED. */
typedef int32_t (*mrp_masking_fn)(const int64_t *indices, int64_t count, int64_t patches,
                                  float *noise, void *user);

/* Gives the targets of objective "given" (mrp_trainer_set_targets). `indices` are the numbers of a
 * step's `count` images in their dataset, `images` their pixels as the network sees them, count x
 * channels x height x width (image_values numbers each), after augmentation and standardisation.
 * Fill targets, count x patches x width: what the student has to predict at each patch. Called once
 * per step, on the thread that steps. Return 0 to go on; anything else stops the step, which then
 * returns MRP_CANCELLED. */
typedef int32_t (*mrp_targets_fn)(const int64_t *indices, int64_t count, const float *images,
                                  int64_t image_values, int64_t patches, int64_t width,
                                  float *targets, void *user);

/* How much of what happens is told to the function of mrp_set_log: errors, warnings too, or all. The
 * numbers are names, not an order. */
enum { MRP_LOG_NONE = 0, MRP_LOG_ERROR = 1, MRP_LOG_INFO = 2, MRP_LOG_WARNING = 3 };

/* Receives one line of text without a newline, borrowed for the call: MRP_LOG_ERROR: what
 * mrp_last_error() says too; MRP_LOG_WARNING: a result that may not be what was expected, because
 * something was left out, guessed, or could not be kept; MRP_LOG_INFO: what a run is going to do, and
 * the files that it reads and writes. Called from any thread that is in a call of the library, which
 * it must not call. */
typedef void (*mrp_log_fn)(int32_t level, const char *text, void *user);

/* An allocator for the library's large memory (mrp_set_allocator). `allocate` returns `bytes` of
 * memory aligned to `alignment` (a power of two), or NULL when there is none; `release` gets the
 * same number of bytes back. Both are called from any thread. */
typedef void *(*mrp_allocate_fn)(size_t bytes, size_t alignment, void *user);
typedef void (*mrp_release_fn)(void *memory, size_t bytes, void *user);

#ifdef MRP_SWIFT_IMPORT
/* Complete for Swift only, so that it sees pointers to distinct types. */
struct mrp_config {
    char opaque;
};
struct mrp_dataset {
    char opaque;
};
struct mrp_model {
    char opaque;
};
struct mrp_trainer {
    char opaque;
};
struct mrp_progress {
    char opaque;
};
struct mrp_lab {
    char opaque;
};
struct mrp_lab_report {
    char opaque;
};
#endif

#ifdef __cplusplus
}
#endif

#endif
