/* SPDX-License-Identifier: MIT */
/* Device interrupts: which handler a vector of a CPU belongs to.
 *
 * A message-signalled vector has one handler. It is acknowledged first: a message that comes while the
 * handler runs is then latched and taken right after it. A level-triggered line stays asserted until its
 * device is content, so it is acknowledged last; all its handlers are asked, since two devices may assert it
 * at once, and an interrupt that none of them claims is counted, not fatal: a device may have withdrawn it.
 * Only a line that nobody claims many times in a row is masked, as it would take the CPU for good.
 *
 * Lock: "irq" guards the tables and the list, thread context only. kernel_interrupt reads the tables without
 * it: a handler is complete before it is linked, and it is freed only after irq_free has run as a thread on
 * the CPU that may have been in it. */
#include <arch/ioapic.h>
#include <arch/lapic.h>
#include <arch/trap.h>
#include <kernel/base/error.h>
#include <kernel/entry.h>
#include <kernel/heap.h>
#include <kernel/irq.h>
#include <kernel/log.h>
#include <kernel/string.h>
#include <kernel/trace.h>

#include "sched_internal.h"

#define IRQ_NAME_BYTES 24
/* Below are what the legacy interrupt controllers could still deliver, spuriously. */
#define IRQ_FIRST_VECTOR  (TRAP_FIRST_IRQ + 16)
#define IRQ_VECTORS       256 /* a power of two: indexing is a shift */
#define IRQ_UNCLAIMED_MAX 10000u

enum irq_kind { IRQ_MESSAGE, IRQ_EDGE_LINE, IRQ_LEVEL_LINE };

/* Lock legend: I constant once linked; l irq_lock; h the handlers' CPU, in the interrupt. */
struct irq {
    struct irq *next_shared;     /* l, read by h: further handlers of a line */
    irq_handler *handler;        /* I */
    void *context;               /* I */
    uint64_t count;              /* h */
    uint32_t cpu;                /* I */
    uint32_t unclaimed_in_a_row; /* h: the first of a line counts */
    uint32_t gsi;                /* I: of a line */
    uint8_t vector;              /* I */
    uint8_t kind;                /* I: enum irq_kind */
    struct list all_node;        /* l */
    char name[IRQ_NAME_BYTES];   /* I */
};

static struct spinlock irq_lock = SPINLOCK_INIT("irq");
static struct irq *vector_table[CPU_MAX][IRQ_VECTORS]; /* irq_lock to write */
static struct list all_irqs = LIST_INIT(all_irqs);     /* irq_lock */
static uint64_t spurious_counts[CPU_MAX];              /* each its CPU's */

static noinline void note_unclaimed(struct irq *first)
{
    spurious_counts[cpu_id()]++;
    if (!first || ++first->unclaimed_in_a_row != IRQ_UNCLAIMED_MAX)
        return;
    ioapic_mask(first->gsi);
    log_error("irq", "line %u (%s): %u interrupts in a row that no device claims: masked", first->gsi,
              first->name, IRQ_UNCLAIMED_MAX);
}

static noinline void line_interrupt(struct irq *first)
{
    bool is_claimed = false;
    if (first->kind == IRQ_EDGE_LINE)
        lapic_eoi();
    for (struct irq *irq = first; irq; irq = __atomic_load_n(&irq->next_shared, __ATOMIC_ACQUIRE)) {
        bool is_mine = irq->handler(irq->context);
        irq->count += is_mine;
        is_claimed |= is_mine;
    }
    if (unlikely(!is_claimed))
        note_unclaimed(first);
    else
        first->unclaimed_in_a_row = 0;
    if (first->kind == IRQ_LEVEL_LINE)
        lapic_eoi();
}

void kernel_interrupt(uint8_t vector)
{
    struct run_queue *local = this_run_queue();
    struct irq *irq = __atomic_load_n(&vector_table[cpu_id()][vector], __ATOMIC_ACQUIRE);
    debug_assert(!interrupts_are_enabled());
    sched_interrupt_begins();
    trace(TRACE_IRQ, vector, 0);
    wake_batch_begin(local);
    if (likely(irq && irq->kind == IRQ_MESSAGE)) {
        lapic_eoi();
        irq->count++;
        irq->handler(irq->context);
    } else if (irq) {
        line_interrupt(irq);
    } else {
        lapic_eoi();
        note_unclaimed(NULL);
    }
    wake_batch_end(local);
}

static struct irq *irq_new(irq_handler *handler, void *context, const char *name, enum irq_kind kind)
{
    struct irq *irq = heap_alloc_zeroed(sizeof(*irq));
    assert(handler);
    if (!irq)
        return NULL;
    irq->handler = handler;
    irq->context = context;
    irq->kind = (uint8_t)kind;
    string_copy(irq->name, name, sizeof(irq->name));
    return irq;
}

/* irq_lock held. A free vector of `cpu`, or 0. */
static uint8_t find_vector(uint32_t cpu)
{
    for (unsigned vector = IRQ_FIRST_VECTOR; vector <= TRAP_LAST_IRQ; vector++)
        if (!vector_table[cpu][vector])
            return (uint8_t)vector;
    return 0;
}

/* Gives `irq` a vector of its own on `cpu`. */
static int link_vector(struct irq *irq, uint32_t cpu)
{
    SPIN_SCOPED(&irq_lock);
    irq->cpu = cpu;
    irq->vector = find_vector(cpu);
    if (irq->vector == 0)
        return -ENOSPC;
    list_push_back(&all_irqs, &irq->all_node);
    __atomic_store_n(&vector_table[cpu][irq->vector], irq, __ATOMIC_RELEASE);
    return 0;
}

int irq_allocate_msi(uint32_t cpu, irq_handler *handler, void *context, const char *name, struct irq **irq)
{
    assert(cpu < cpu_count());
    struct irq *new = irq_new(handler, context, name, IRQ_MESSAGE);
    if (!new)
        return -ENOMEM;
    int result = link_vector(new, cpu);
    if (result == 0)
        *irq = new;
    else
        heap_free(new);
    return result;
}

void irq_msi_message(const struct irq *irq, uint64_t *address, uint32_t *data)
{
    assert(irq->kind == IRQ_MESSAGE);
    lapic_msi_message(irq->cpu, irq->vector, address, data);
}

/* irq_lock held. The first handler of the line, or NULL. */
static struct irq *find_line(uint32_t gsi)
{
    list_foreach (node, &all_irqs) {
        struct irq *irq = list_entry(node, struct irq, all_node);
        if (irq->kind != IRQ_MESSAGE && irq->gsi == gsi)
            return vector_table[irq->cpu][irq->vector];
    }
    return NULL;
}

/* True when the line was in use, and `irq` is now its last handler. */
static bool link_shared(struct irq *irq)
{
    SPIN_SCOPED(&irq_lock);
    struct irq *last = find_line(irq->gsi);
    if (!last)
        return false;
    irq->kind = last->kind; /* the first one decided it */
    irq->cpu = last->cpu;
    irq->vector = last->vector;
    while (last->next_shared)
        last = last->next_shared;
    list_push_back(&all_irqs, &irq->all_node);
    __atomic_store_n(&last->next_shared, irq, __ATOMIC_RELEASE);
    return true;
}

/* Takes `irq` out of the tables; true when its line, if it is one, has no other handler. */
static bool unlink(struct irq *irq)
{
    SPIN_SCOPED(&irq_lock);
    struct irq **link = &vector_table[irq->cpu][irq->vector];
    bool is_last = *link == irq && !irq->next_shared;
    while (*link != irq) {
        assert(*link);
        link = &(*link)->next_shared;
    }
    list_remove(&irq->all_node);
    __atomic_store_n(link, irq->next_shared, __ATOMIC_RELEASE);
    return is_last;
}

/* Lines go to the boot CPU: they are the slow path, or a serial port. */
static int attach_line(struct ioapic_line line, irq_handler *handler, void *context, const char *name,
                       struct irq **irq)
{
    struct irq *new = irq_new(handler, context, name, line.is_level ? IRQ_LEVEL_LINE : IRQ_EDGE_LINE);
    if (!new)
        return -ENOMEM;
    *irq = new;
    new->gsi = line.gsi;
    if (link_shared(new))
        return 0;
    int result = link_vector(new, 0);
    if (result == 0 && (result = ioapic_route(line, new->cpu, new->vector)) != 0)
        unlink(new);
    if (result != 0) {
        heap_free(new); /* no interrupt can have come: the line leads nowhere */
        *irq = NULL;
    }
    return result;
}

int irq_attach_isa(uint8_t isa_irq, irq_handler *handler, void *context, const char *name, struct irq **irq)
{
    return attach_line(ioapic_isa_line(isa_irq), handler, context, name, irq);
}

int irq_attach_gsi(uint32_t gsi, bool is_level, bool is_active_low, irq_handler *handler, void *context,
                   const char *name, struct irq **irq)
{
    struct ioapic_line line = {.gsi = gsi, .is_level = is_level, .is_active_low = is_active_low};
    return attach_line(line, handler, context, name, irq);
}

void irq_free(struct irq *irq)
{
    lockdep_might_sleep("irq_free");
    bool is_last = unlink(irq);
    if (is_last && irq->kind != IRQ_MESSAGE)
        ioapic_mask(irq->gsi);
    sched_wait_for_cpu(irq->cpu); /* no handler is left below a thread that runs there */
    heap_free(irq);
}

uint64_t irq_count(const struct irq *irq)
{
    return read_once(irq->count);
}

uint8_t irq_vector(const struct irq *irq)
{
    return irq->vector;
}

uint32_t irq_cpu(const struct irq *irq)
{
    return irq->cpu;
}

const char *irq_name(const struct irq *irq)
{
    return irq->name;
}

void irq_for_each(void (*each)(const struct irq *irq, void *context), void *context)
{
    SPIN_SCOPED(&irq_lock);
    list_foreach (node, &all_irqs) {
        each(list_entry(node, struct irq, all_node), context);
    }
}

uint64_t irq_spurious_count(void)
{
    uint64_t sum = 0;
    for (uint32_t cpu = 0; cpu < CPU_MAX; cpu++)
        sum += read_once(spurious_counts[cpu]);
    return sum;
}
