/* SPDX-License-Identifier: MIT */
/* The other CPUs. */
#ifndef ARCH_SMP_H
#define ARCH_SMP_H

#include <kernel/base/types.h>

/* Starts every CPU of the MADT, up to `limit` CPUs with this one; each runs cpu_init, lapic_init and then
 * kernel_cpu_main. Returns when all that answered within a bounded time run; one warning for each that did
 * not. Thread context, once. */
void smp_start(uint32_t limit);

/* Reschedule IPI to `cpu`. Any context. */
void smp_send_reschedule(uint32_t cpu);
/* Stops all other CPUs by NMI and waits (bounded) until they have stopped. For panic only. */
void smp_stop_others(void);
/* Runs `function` on every other CPU, in interrupt context, and returns when all have. Callers queue up.
 * Interrupts on, no spinlock held. */
void smp_call_others(void (*function)(void *context), void *context);
/* mmu_flush_interrupt on every other CPU. Same context; also before smp_start. */
void smp_flush_tlb_others(void);

#endif
