/* SPDX-License-Identifier: MIT */
/* assert(): our own invariants, in every build. debug_assert(): too dear for the request path, so only in
 * BUILD=debug. Neither is for what a device, a disk image, a boot loader or a user sent. */
#ifndef KERNEL_BASE_ASSERT_H
#define KERNEL_BASE_ASSERT_H

#include <kernel/base/types.h>

noreturn cold void assert_failed(const char *expression, const char *file, int line, const char *function);

#undef assert
#define assert(expression)                                            \
    do {                                                              \
        if (unlikely(!(expression)))                                  \
            assert_failed(#expression, __FILE__, __LINE__, __func__); \
    } while (0)

#ifdef UMBRA_DEBUG
#define debug_assert(expression) assert(expression)
#else
#define debug_assert(expression) ((void)sizeof(expression))
#endif

#endif
