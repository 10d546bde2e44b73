#include "mt_last_error.h"

#include <stddef.h>
#include <string.h>

#include "mrp_types.h"

/* Written by tools/write_commit.sh, which `make build` runs; absent after a plain `swift build`. */
#if __has_include("commit.h")
#include "commit.h"
#else
#define MRP_COMMIT "unknown"
#endif

/* In static memory, so that storing "out of memory" needs none. */
static __thread char last_error[MT_LAST_ERROR_CAPACITY];

void mt_set_last_error(const char *text) {
    size_t length = 0;
    if (text) {
        for (; text[length] && length < sizeof last_error - 1; length++) {
            const unsigned char c = (unsigned char)text[length];
            last_error[length] = c < 0x20 || c == 0x7f ? ' ' : text[length];
        }
        if (text[length]) { /* cut: not in the middle of a UTF-8 sequence, whose later bytes are 10xxxxxx */
            while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80) length--;
        }
    }
    last_error[length] = 0;
}

const char *mt_last_error(void) { return last_error; }

const char *mt_status_name(int32_t status) {
    switch (status) {
#define NAME(code) \
    case code: return #code
        NAME(MRP_OK);
        NAME(MRP_CANCELLED);
        NAME(MRP_DONE);
        NAME(MRP_ERR_ARGUMENT);
        NAME(MRP_ERR_HANDLE);
        NAME(MRP_ERR_BUSY);
        NAME(MRP_ERR_MEMORY);
        NAME(MRP_ERR_IO);
        NAME(MRP_ERR_FORMAT);
        NAME(MRP_ERR_VERSION);
        NAME(MRP_ERR_STATE);
        NAME(MRP_ERR_NUMERIC);
        NAME(MRP_ERR_FORKED);
        NAME(MRP_ERR_UNSUPPORTED);
        NAME(MRP_ERR_DEVICE);
        NAME(MRP_ERR_INTERNAL);
#undef NAME
    default: return "unknown status";
    }
}

const char *mt_version(void) { return MRP_VERSION; }

#define TEXT(x) TEXT_OF(x)
#define TEXT_OF(x) #x

const char *mt_build(void) {
    return "libmrp " MRP_VERSION ", commit " MRP_COMMIT ", clang " TEXT(__clang_major__) "." TEXT(
        __clang_minor__) "." TEXT(__clang_patchlevel__);
}

const char *mt_static_name(const char *name) {
    static const char *const names[] = {
        "pretrain",
        "finetune",
        "finished",
        "time_budget",
        "early_stopping",
        "suspended",
        "pretraining",
        "fine-tuning",
        "frozen probe",
        "supervised learning",
        "study",
        "control tau_one",
        "control ema_teacher",
        "control fixed_teacher",
        "control theta_below_window",
        "control theta_above_window",
        "control random_encoder",
        "control random_encoder_converged",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) return names[i];
    return "";
}
