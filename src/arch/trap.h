/* SPDX-License-Identifier: MIT */
/* The interrupt descriptor table and the way from a vector to the kernel.
 *
 * Vectors: 0..31 exceptions; 32..239 for irq_allocate (kernel/irq.h); the rest below. All handlers run
 * with interrupts off. An exception saves a whole trap_frame and calls trap_dispatch; an interrupt saves
 * only what C may change, counts, calls kernel_interrupt (32..239) or trap_interrupt, and then
 * kernel_preempt when preempt_count is 0 (entry.S). */
#ifndef ARCH_TRAP_H
#define ARCH_TRAP_H

#include <kernel/base/types.h>

enum trap_vector {
    TRAP_NMI = 2,
    TRAP_BREAKPOINT = 3,
    TRAP_DOUBLE_FAULT = 8,
    TRAP_PAGE_FAULT = 14,
    TRAP_MACHINE_CHECK = 18,
    TRAP_FIRST_IRQ = 32,
    TRAP_LAST_IRQ = 239,
    TRAP_RESCHEDULE = 0xf0, /* IPI: look at the run queue */
    TRAP_CALL = 0xf1,       /* IPI: smp_call_others */
    TRAP_TIMER = 0xf3,      /* the LAPIC's one-shot timer */
    TRAP_SPURIOUS = 0xff,
};
/* The panic IPI is an NMI, so that it reaches CPUs that spin with interrupts off. */

struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error_code;
    uint64_t rip, cs, rflags, rsp, ss;
};

/* Fills the IDT (once) and loads it on this CPU. Called by cpu_init. */
void trap_init(void);
/* "page fault" for 14, "timer" for TRAP_TIMER, "device interrupt" for 32..239. */
const char *trap_name(uint64_t vector);

/* Runs `access` so that an exception in it makes this return false instead of a panic: for probing device
 * registers. NMI, double fault and machine check are not caught. Interrupts off; one level, this CPU. */
bool trap_try(void (*access)(void *context), void *context);

#endif
