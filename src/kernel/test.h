/* SPDX-License-Identifier: MIT */
/* In-kernel tests. A test is a function in a linker set, run by the shell's `ktest`:
 *
 *     KTEST(mutex_is_exclusive, KTEST_FAST) { ... ktest_expect(x == 1); ktest_expect_equal(a, b); }
 *
 * Tests run in a thread of their own, sorted or shuffled by a seed; a failed expectation is printed with
 * file and line, the test goes on, and the run prints the command that repeats it. */
#ifndef KERNEL_TEST_H
#define KERNEL_TEST_H

#include <kernel/base/linker_set.h>
#include <kernel/base/types.h>

enum ktest_flags {
    KTEST_FAST = 0,    /* well under a second under emulation */
    KTEST_SLOW = 1,    /* seconds: only with --slow or by name */
    KTEST_SMP = 2,     /* skipped, with a notice, with fewer than two CPUs */
    KTEST_PROVOKE = 4, /* fails or panics on purpose: only by its whole name */
};

struct ktest {
    const char *name;
    unsigned flags;
    void (*run)(void);
};

#define KTEST(id, flags)                                                 \
    static void ktest_run_##id(void);                                    \
    static const struct ktest ktest_##id = {#id, flags, ktest_run_##id}; \
    linker_set_add(ktests, const struct ktest, ktest_##id);              \
    static void ktest_run_##id(void)

/* Records a failure of the running test. */
void ktest_fail(const char *file, int line, const char *format, ...) printf_like(3, 4);
/* A repeatable random number of the run's seed. */
uint64_t ktest_random(void);

#define ktest_expect(condition)                                        \
    do {                                                               \
        if (!(condition))                                              \
            ktest_fail(__FILE__, __LINE__, "expected %s", #condition); \
    } while (0)
#define ktest_expect_equal(a, b)                                                                          \
    do {                                                                                                  \
        uint64_t ktest_a = (uint64_t)(a), ktest_b = (uint64_t)(b);                                        \
        if (ktest_a != ktest_b)                                                                           \
            ktest_fail(__FILE__, __LINE__, "%s is %llu, %s is %llu", #a, (unsigned long long)ktest_a, #b, \
                       (unsigned long long)ktest_b);                                                      \
    } while (0)

#endif
