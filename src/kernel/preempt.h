/* SPDX-License-Identifier: MIT */
/* Preemption of this CPU. Nests. Cheap: one instruction each way and a branch. */
#ifndef KERNEL_PREEMPT_H
#define KERNEL_PREEMPT_H

#include <arch/cpu.h>

/* Switches to a better thread if one is wanted and interrupts are on. kernel/sched.c. */
void sched_preempt(void);

static always_inline void preempt_disable(void)
{
    __asm__ volatile("incl %%gs:%c0" : : "i"(offsetof(struct cpu, preempt_count)) : "memory", "cc");
}

static always_inline void preempt_enable_no_reschedule(void)
{
    __asm__ volatile("decl %%gs:%c0" : : "i"(offsetof(struct cpu, preempt_count)) : "memory", "cc");
}

/* A wanted reschedule happens here, if this was the outermost and interrupts are on. */
static always_inline void preempt_enable(void)
{
    bool is_wanted;
    __asm__ volatile("decl %%gs:%c1"
                     : "=@ccz"(is_wanted)
                     : "i"(offsetof(struct cpu, preempt_count))
                     : "memory");
    if (unlikely(is_wanted))
        sched_preempt();
}

static always_inline bool preempt_is_enabled(void)
{
    return (cpu_read(preempt_count) & ~CPU_NO_RESCHEDULE) == 0;
}

#endif
