/* SPDX-License-Identifier: MIT */
/* Formatted text. %d %i %u %x %X %o %c %s %p %% with flags - 0 + blank #, width, precision (also *),
 * and hh h l ll z j t; on the host the C library's. No floating point anywhere in the kernel. Any context. */
#ifndef KERNEL_PRINTF_H
#define KERNEL_PRINTF_H

#include <kernel/base/types.h>

#ifndef __KERNEL__
#include <stdio.h>
#else
/* Return the length of the whole text, as the C library's do, though at most `bytes` - 1 are stored. */
int snprintf(char *to, size_t bytes, const char *format, ...) printf_like(3, 4);
int vsnprintf(char *to, size_t bytes, const char *format, va_list arguments) printf_like(3, 0);
#endif

#endif
