/* SPDX-License-Identifier: MIT */
/* Starts the other CPUs, calls functions on them, stops them.
 *
 * They start one after the other, INIT to all of them first (MP specification 1.4, B.4; SDM 3A, 8.4.4). The
 * one that takes smp_next_stack becomes CPU `next_id`; that makes ids dense whatever CPUs fail to come:
 *
 *     OFFERED  smp_next_stack set              by start_one
 *     TAKEN    smp_next_stack 0                by the new CPU (trampoline.S), or by start_one to give up
 *     RUNNING  cpu_count() == its id + 1       by the new CPU (smp_entry)
 *
 * A CPU that hangs between TAKEN and RUNNING keeps its id and stack, so no other is started after it.
 *
 * Cross calls: `call.is_locked` is a lock, held with interrupts on and preemption off, so that who waits for
 * it answers. */
#include <arch/acpi.h>
#include <arch/clock.h>
#include <arch/lapic.h>
#include <arch/mmu.h>
#include <arch/smp.h>
#include <arch/trap.h>
#include <kernel/base/assert.h>
#include <kernel/entry.h>
#include <kernel/base/string.h>

#include "cpu_internal.h"
#include "smp_internal.h"

#define INIT_SETTLE_NS   (100 * NSEC_PER_USEC)
#define STARTUP_NS       (10 * NSEC_PER_MSEC) /* then a second STARTUP */
#define ARRIVAL_NS       (1 * NSEC_PER_SEC)   /* a busy host may take its time */
#define STOP_NS          (1 * NSEC_PER_SEC)
#define CALL_PATIENCE_NS (2 * NSEC_PER_SEC)

void *smp_next_stack;
static uint32_t next_id;

/* Legend: l whoever set is_locked; a atomic. */
static struct {
    uint32_t is_locked;              /* a */
    uint32_t waiting;                /* a: CPUs that have not returned from it */
    void (*function)(void *context); /* l */
    void *context;                   /* l */
} call;

/* ---- Starting ------------------------------------------------------------------------------------------ */

noreturn void smp_entry(void)
{
    mmu_init_cpu();
    cpu_init(next_id);
    lapic_init();
    cpu_set_count(next_id + 1);
    kernel_cpu_main();
}

/* Labels of one section, though to C objects of their own. */
static size_t trampoline_offset(const char *label)
{
    return (uintptr_t)label - (uintptr_t)trampoline_start;
}

static void copy_trampoline(void)
{
    uint8_t *page = direct_map(TRAMPOLINE);
    phys_addr_t root = mmu_trampoline_root();
    size_t bytes = trampoline_offset(trampoline_end);
    assert(bytes <= PAGE_BYTES && root <= UINT32_MAX);
    memcpy(page, trampoline_start, bytes);
    memcpy(page + trampoline_offset(trampoline_root), &root, sizeof(uint32_t));
}

static bool arrives_within(uint64_t ns)
{
    uint64_t start_ns = clock_ns();
    while (cpu_count() == next_id) {
        if (clock_ns() - start_ns > ns)
            return false;
        cpu_relax();
    }
    return true;
}

enum start_result { START_RUNNING, START_ABSENT, START_HANGS };

/* Starts the CPU of `lapic_id` as `next_id`. */
static enum start_result start_one(uint32_t lapic_id)
{
    struct cpu *cpu = cpu_prepare(next_id, lapic_id);
    if (!gdt_allocate_stacks(cpu)) {
        kernel_warn("smp", "no memory for the stacks of CPU %u", next_id);
        return START_ABSENT;
    }
    __atomic_store_n(&smp_next_stack, kernel_idle_stack(next_id), __ATOMIC_RELEASE);
    lapic_send_startup(lapic_id, TRAMPOLINE >> PAGE_SHIFT);
    if (arrives_within(STARTUP_NS))
        return START_RUNNING;
    lapic_send_startup(lapic_id, TRAMPOLINE >> PAGE_SHIFT);
    if (arrives_within(ARRIVAL_NS))
        return START_RUNNING;
    bool is_revoked = __atomic_exchange_n(&smp_next_stack, NULL, __ATOMIC_ACQ_REL) != NULL;
    kernel_warn("smp", "the CPU with APIC id %u does not %s", lapic_id, is_revoked ? "start" : "come up");
    return is_revoked ? START_ABSENT : START_HANGS;
}

/* Another CPU than this one, which interrupts can reach. */
static bool is_startable(uint32_t lapic_id)
{
    return lapic_id <= LAPIC_ID_MAX && lapic_id != cpu_read(lapic_id);
}

static void send_init_to_all(void)
{
    for (uint32_t i = 0; i < acpi_info.cpu_count; i++) {
        uint32_t lapic_id = acpi_info.cpus[i].lapic_id;
        if (is_startable(lapic_id))
            lapic_send_init(lapic_id);
        else if (lapic_id > LAPIC_ID_MAX)
            kernel_warn("smp", "APIC id %u is above %u: this CPU is not used", lapic_id, LAPIC_ID_MAX);
    }
    clock_spin_ns(INIT_SETTLE_NS);
}

void smp_start(uint32_t limit)
{
    bool is_hanging = false;
    assert(cpu_id() == 0 && cpu_count() == 1);
    if (!gdt_allocate_stacks(cpu_get(0)))
        kernel_warn("smp", "no memory for guarded exception stacks");
    limit = MIN(limit, acpi_info.cpu_count);
    if (limit <= 1)
        return;
    copy_trampoline();
    send_init_to_all();
    for (uint32_t i = 0; i < acpi_info.cpu_count && !is_hanging; i++) {
        next_id = cpu_count();
        if (next_id < limit && is_startable(acpi_info.cpus[i].lapic_id))
            is_hanging = start_one(acpi_info.cpus[i].lapic_id) == START_HANGS;
    }
}

/* ---- Calling ------------------------------------------------------------------------------------------- */

void smp_send_reschedule(uint32_t cpu)
{
    lapic_send_ipi(cpu, TRAP_RESCHEDULE);
}

/* One instruction: an interrupt may change the count at any time. */
static void hold_this_cpu(void)
{
    __asm__ volatile("incl %%gs:%c0" : : "i"(offsetof(struct cpu, preempt_count)) : "memory", "cc");
}

static void release_this_cpu(void)
{
    bool is_wanted;
    __asm__ volatile("decl %%gs:%c1"
                     : "=@ccz"(is_wanted)
                     : "i"(offsetof(struct cpu, preempt_count))
                     : "memory");
    if (!is_wanted)
        return;
    uint64_t flags = interrupts_save();
    kernel_preempt();
    interrupts_restore(flags);
}

static void wait_for_answers(void)
{
    uint64_t start_ns = clock_ns();
    bool was_warned = false;
    while (__atomic_load_n(&call.waiting, __ATOMIC_ACQUIRE) > 0) {
        cpu_relax();
        if (was_warned || clock_ns() - start_ns < CALL_PATIENCE_NS)
            continue;
        was_warned = true;
        kernel_warn("smp", "%u CPU(s) have not answered a call for 2 s", call.waiting);
    }
}

/* The acquire pairs with the store of `waiting` in smp_call_others: function and context are there. */
void smp_call_interrupt(void)
{
    uint32_t waiting = __atomic_load_n(&call.waiting, __ATOMIC_ACQUIRE);
    assert(waiting > 0);
    call.function(call.context);
    __atomic_sub_fetch(&call.waiting, 1, __ATOMIC_RELEASE);
}

void smp_call_others(void (*function)(void *context), void *context)
{
    if (cpu_count() == 1)
        return;
    assert(interrupts_are_enabled());
    hold_this_cpu();
    while (__atomic_exchange_n(&call.is_locked, 1, __ATOMIC_ACQUIRE))
        cpu_relax();
    uint32_t count = cpu_count(); /* one that comes later has seen no old page tables */
    call.function = function;
    call.context = context;
    __atomic_store_n(&call.waiting, count - 1, __ATOMIC_SEQ_CST);
    for (uint32_t cpu = 0; cpu < count; cpu++)
        if (cpu != cpu_id())
            lapic_send_ipi(cpu, TRAP_CALL);
    wait_for_answers();
    __atomic_store_n(&call.is_locked, 0, __ATOMIC_RELEASE);
    release_this_cpu();
}

static void flush_tlb(void *context)
{
    mmu_flush_interrupt();
}

void smp_flush_tlb_others(void)
{
    smp_call_others(flush_tlb, NULL);
}

/* ---- Stopping ------------------------------------------------------------------------------------------ */

void smp_stop_others(void)
{
    uint32_t count = cpu_count();
    for (uint32_t cpu = 0; cpu < count; cpu++)
        if (cpu != cpu_id())
            lapic_send_nmi(cpu);
    uint64_t start_ns = clock_ns();
    for (uint32_t cpu = 0; cpu < count; cpu++)
        while (cpu != cpu_id() && !__atomic_load_n(&cpu_get(cpu)->is_stopped, __ATOMIC_ACQUIRE) &&
               clock_ns() - start_ns < STOP_NS)
            cpu_relax();
}
