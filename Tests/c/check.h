/* Plain C tests: a macro that reports a false condition with its place, and a message if there is one, and counts it. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

static long check_count, check_failures;

#define CHECK(condition, ...)                                     \
    do {                                                          \
        ++check_count;                                            \
        if (!(condition) && ++check_failures <= 20) {             \
            printf("%s:%d: %s:", __FILE__, __LINE__, #condition); \
            printf(" " __VA_ARGS__);                              \
            printf("\n");                                         \
        }                                                         \
    } while (0)

#define CHECK_FAIL(...)                            \
    do {                                           \
        ++check_count;                             \
        if (++check_failures <= 20) {              \
            printf("%s:%d: ", __FILE__, __LINE__); \
            printf(__VA_ARGS__);                   \
            printf("\n");                          \
        }                                          \
    } while (0)

/* The exit status of a test program. */
static inline int check_result(const char *name) {
    printf("%s: %ld checks, %ld failed\n", name, check_count, check_failures);
    return check_failures != 0 || check_count == 0;
}

#endif
