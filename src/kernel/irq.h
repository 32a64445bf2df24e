/* SPDX-License-Identifier: MIT */
/* Device interrupts: vectors per CPU, handlers, counts. Two kinds: message-signalled (a vector of its own)
 * and lines through the I/O APIC (shared, level or edge). Handlers run with interrupts off, may spin,
 * complete and wake; they may not sleep or allocate. Each runs inside a wake batch (kernel/sched.h). */
#ifndef KERNEL_IRQ_H
#define KERNEL_IRQ_H

#include <kernel/base/types.h>

struct irq;

/* True: the interrupt was this device's (for shared lines; message-signalled handlers return true). */
typedef bool irq_handler(void *context);

/* A vector of CPU `cpu` for `handler`. `name` is copied, at most 23 bytes ("vd0-queue0"). -ENOSPC when that
 * CPU has none left, -ENOMEM. Thread context. */
must_check int irq_allocate_msi(uint32_t cpu, irq_handler *handler, void *context, const char *name,
                                struct irq **irq);
/* The message that the device must write. */
void irq_msi_message(const struct irq *irq, uint64_t *address, uint32_t *data);

/* A handler on the ISA line or the GSI; several may share it. -ENODEV, -ENOSPC, -ENOMEM. */
must_check int irq_attach_isa(uint8_t isa_irq, irq_handler *handler, void *context, const char *name,
                              struct irq **irq);
must_check int irq_attach_gsi(uint32_t gsi, bool is_level, bool is_active_low, irq_handler *handler,
                              void *context, const char *name, struct irq **irq);

/* No call of the handler runs or will run after it returns. The device must have been silenced.
 * Thread context. */
void irq_free(struct irq *irq);

uint64_t irq_count(const struct irq *irq);
uint8_t irq_vector(const struct irq *irq);
uint32_t irq_cpu(const struct irq *irq);
const char *irq_name(const struct irq *irq);
/* All registered ones, for the `irq` command. Under the table's lock: `each` must not sleep. */
void irq_for_each(void (*each)(const struct irq *irq, void *context), void *context);
/* Interrupts that no handler claimed, since boot. */
uint64_t irq_spurious_count(void);

/* kernel/entry.h's kernel_interrupt is here: finds the vector's handlers on this CPU, EOI, calls them. */

#endif
