/* SPDX-License-Identifier: MIT */
/* Expectations for the tests that run on the host. A test program ends with `return check_finish();`. */
#ifndef TESTS_HOST_CHECK_H
#define TESTS_HOST_CHECK_H

#include <stdio.h>

static unsigned check_count, check_failures;

#define check(condition)                                                                           \
    do {                                                                                           \
        check_count++;                                                                             \
        if (!(condition)) {                                                                        \
            check_failures++;                                                                      \
            fprintf(stderr, "%s:%d: %s: expected %s\n", __FILE__, __LINE__, __func__, #condition); \
        }                                                                                          \
    } while (0)

#define check_equal(a, b)                                                                            \
    do {                                                                                             \
        unsigned long long check_a = (unsigned long long)(a), check_b = (unsigned long long)(b);     \
        check_count++;                                                                               \
        if (check_a != check_b) {                                                                    \
            check_failures++;                                                                        \
            fprintf(stderr, "%s:%d: %s: %s is %llu, %s is %llu\n", __FILE__, __LINE__, __func__, #a, \
                    check_a, #b, check_b);                                                           \
        }                                                                                            \
    } while (0)

/* The exit status: 0 when every expectation held and there was at least one. */
static inline int check_finish(void)
{
    printf("%u expectations, %u failed\n", check_count, check_failures);
    return check_failures != 0 || check_count == 0;
}

#endif
