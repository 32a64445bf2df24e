/* SPDX-License-Identifier: MIT */
/* Host stand-in for the clock: a number that the test moves. */
#ifndef ARCH_CLOCK_H
#define ARCH_CLOCK_H

#include <kernel/base/types.h>

extern uint64_t host_clock_ns;
static inline uint64_t clock_ns(void)
{
    return host_clock_ns;
}
uint64_t clock_wall_seconds(void);

#endif
