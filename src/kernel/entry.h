/* SPDX-License-Identifier: MIT */
/* The upcalls: all that arch calls in the kernel. */
#ifndef KERNEL_ENTRY_H
#define KERNEL_ENTRY_H

#include <kernel/base/types.h>

struct boot_info;
struct trap_frame;

/* boot.S's last step, on the boot CPU: stack and boot_info ready, interrupts off, cpu_init(0) done. */
noreturn void kmain(const struct boot_info *boot);
/* Each other CPU's, after cpu_init and lapic_init, interrupts off, on the stack of its idle thread. */
noreturn void kernel_cpu_main(void);

/* A device interrupt, vector 32..239; interrupts off. EOI is the callee's business (kernel/irq.c). */
void kernel_interrupt(uint8_t vector);
/* TRAP_TIMER, after its EOI. */
void kernel_timer_interrupt(void);
/* Before return from an interrupt whose end leaves preempt_count 0: switches threads. Interrupts off. */
void kernel_preempt(void);
/* An exception that nobody handles: ends in a panic that prints `frame`. */
noreturn void kernel_exception(const struct trap_frame *frame);
/* The panic NMI on this CPU, or an NMI from outside (`is_stopping` false: from outside). */
void kernel_nmi(const struct trap_frame *frame);

/* A zeroed page for a page table or stack; NULL without memory. */
void *kernel_page_alloc(void);
void kernel_page_free(void *page);
/* A warning of arch: printf-like, one line. */
void kernel_warn(const char *subsystem, const char *format, ...) printf_like(2, 3);
void kernel_info(const char *subsystem, const char *format, ...) printf_like(2, 3);
/* The stack top and the thread for a CPU's idle thread, before smp_start starts it. */
void *kernel_idle_stack(uint32_t cpu);

#endif
