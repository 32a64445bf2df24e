/* SPDX-License-Identifier: MIT */
/* Host stand-in: one CPU, number 0. */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <kernel/base/types.h>

#define CPU_MAX 32u
static inline uint32_t cpu_id(void)
{
    return 0;
}
static inline uint32_t cpu_count(void)
{
    return 1;
}
static inline void cpu_relax(void)
{
}

#endif
