/* SPDX-License-Identifier: MIT */
/* Host stand-in: one CPU, number 0, unless a program says otherwise. */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <kernel/base/types.h>

#define CPU_MAX 32u
extern uint32_t host_cpu_id, host_cpu_count;
static inline uint32_t cpu_id(void)
{
    return host_cpu_id;
}
static inline uint32_t cpu_count(void)
{
    return host_cpu_count;
}
static inline uint64_t interrupts_save(void)
{
    return 0;
}
static inline void interrupts_restore(uint64_t flags)
{
    (void)flags;
}
static inline void cpu_relax(void)
{
}

#endif
