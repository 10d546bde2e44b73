/* What the programs say about a call: it works, or it fails with this status and one line of text. */
#ifndef CALLS_H
#define CALLS_H

#include <mrp.h>
#include <string.h>

#include "check.h"

/* C99 wants an argument where CHECK takes a message. */
#define EXPECT(condition) CHECK(condition, "")

/* The call must succeed; its error is printed otherwise. */
#define WORKS(call)                                                                             \
    do {                                                                                        \
        mrp_status works_status = (call);                                                       \
        if (works_status == MRP_OK) {                                                           \
            check_count++;                                                                      \
        } else {                                                                                \
            CHECK_FAIL("%s: %s: %s", #call, mrp_status_string(works_status), mrp_last_error()); \
        }                                                                                       \
    } while (0)

/* The call must give `wanted`, with one line of text that holds `word`. */
static inline void fails(mrp_status got, mrp_status wanted, const char *word, const char *call, int line) {
    const char *text = mrp_last_error();
    if (got != wanted) {
        CHECK_FAIL("line %d: %s: %s instead of %s (%s)", line, call, mrp_status_string(got), mrp_status_string(wanted), text);
    } else if (text[0] == 0 || strchr(text, '\n') || strlen(text) > 1000 || !strstr(text, word)) {
        CHECK_FAIL("line %d: %s: the text is '%s', without '%s'", line, call, text, word);
    } else {
        check_count++;
    }
}
#define FAILS(call, wanted, word) fails((call), (wanted), (word), #call, __LINE__)
#define REFUSES(call, word) FAILS(call, MRP_ERR_ARGUMENT, word)

#endif
