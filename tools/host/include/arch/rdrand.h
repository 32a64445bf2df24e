/* SPDX-License-Identifier: MIT */
/* Host stand-in: the CPU's random numbers are the test's. NULL: there are none. */
#ifndef ARCH_RDRAND_H
#define ARCH_RDRAND_H

#include <kernel/base/types.h>

extern bool (*host_rdrand)(uint64_t *value);
static inline const char *rdrand_name(void)
{
    return host_rdrand ? "rdrand" : NULL;
}
static inline bool rdrand_read(uint64_t *value)
{
    return host_rdrand && host_rdrand(value);
}

#endif
