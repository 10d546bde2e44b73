/* Checks for the plain C test programs: a failed check prints its place, the condition and an optional message (printf-like); main
 * returns check_result(name). */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

static long check_count, check_failures;

enum { CHECK_PRINTED = 20 }; /* failures beyond these are only counted */

#define CHECK(condition, ...)                                                                                                    \
    do {                                                                                                                         \
        ++check_count;                                                                                                           \
        if (!(condition) && ++check_failures <= CHECK_PRINTED)                                                                   \
            printf("%s:%d: %s is false. ", __FILE__, __LINE__, #condition), printf(" " __VA_ARGS__), printf("\n");               \
    } while (0)

#define CHECK_FAIL(...) CHECK(!"reached", __VA_ARGS__)

/* The exit status of a test program; one that checked nothing has failed. */
static inline int check_result(const char *name)
{
    printf("%s: %ld checks, %ld failed\n", name, check_count, check_failures);
    return check_failures != 0 || check_count == 0;
}

#define CHECK_REPORT() check_result(__FILE__)

#endif
