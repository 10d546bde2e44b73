/* Checks for the plain C test programs: each failed check prints one line; main returns CHECK_REPORT(). */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

static long check_count, check_failures;

#define CHECK_FAIL(...)                                                                                                          \
    do {                                                                                                                         \
        check_count++;                                                                                                           \
        check_failures++;                                                                                                        \
        fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                                                          \
        fprintf(stderr, __VA_ARGS__);                                                                                            \
        fprintf(stderr, "\n");                                                                                                   \
    } while (0)

#define CHECK(condition)                                                                                                         \
    do {                                                                                                                         \
        if (condition) {                                                                                                         \
            check_count++;                                                                                                       \
        } else {                                                                                                                 \
            CHECK_FAIL("%s is false", #condition);                                                                               \
        }                                                                                                                        \
    } while (0)

#define CHECK_REPORT() (printf("%s: %ld checks, %ld failed\n", __FILE__, check_count, check_failures), check_failures != 0)

#endif
