/* SPDX-License-Identifier: MIT */
/* The per-CPU blocks and the set-up of one CPU: control registers, GS base, and through gdt.c and trap.c its
 * tables. The blocks are static, so that the boot CPU has one before there is memory.
 *
 * cpu_init runs on its own CPU with interrupts off, before anything there reads through GS. */
#include <arch/acpi.h>
#include <arch/clock.h>
#include <arch/cpu.h>
#include <arch/trap.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>

#include "cpu_internal.h"

#define MSR_EFER    0xc0000080u
#define MSR_GS_BASE 0xc0000101u
#define EFER_NXE    BIT(11)

#define CR0_MP   BIT(1)
#define CR0_EM   BIT(2)
#define CR0_WP   BIT(16)
#define CR4_UMIP BIT(11)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)

#define CPUID_7_EBX_SMEP BIT(7)
#define CPUID_7_EBX_SMAP BIT(20)
#define CPUID_7_ECX_UMIP BIT(2)
#define CPUID_EXT_EDX_NX BIT(20)

_Static_assert(offsetof(struct cpu, self) == 0, "cpu_self reads it at GS:0");
_Static_assert(offsetof(struct cpu, preempt_count) == CPU_OFFSET_PREEMPT_COUNT, "entry.S");
_Static_assert(offsetof(struct cpu, interrupt_depth) == CPU_OFFSET_INTERRUPT_DEPTH, "entry.S");
_Static_assert(offsetof(struct cpu, interrupts) == CPU_OFFSET_INTERRUPTS, "entry.S");

static struct cpu cpus[CPU_MAX];
static struct cpu_arch cpu_archs[CPU_MAX];
uint32_t cpu_running_count = 1;

struct cpu *cpu_get(uint32_t id)
{
    return id < MAX(acpi_info.cpu_count, 1u) ? &cpus[id] : NULL;
}

void cpu_set_count(uint32_t count)
{
    assert(count > cpu_running_count && count <= CPU_MAX);
    __atomic_store_n(&cpu_running_count, count, __ATOMIC_RELEASE);
}

struct cpu *cpu_prepare(uint32_t id, uint32_t lapic_id)
{
    assert(id < CPU_MAX && id >= cpu_count());
    struct cpu *cpu = &cpus[id];
    cpu->self = NULL; /* an earlier candidate for this id may have come that far */
    cpu->id = id;
    cpu->lapic_id = lapic_id;
    cpu->arch = &cpu_archs[id];
    return cpu;
}

noreturn void cpu_stop(void)
{
    interrupts_disable();
    __atomic_store_n(&cpu_read(self)->is_stopped, true, __ATOMIC_RELEASE);
    for (;;)
        __asm__ volatile("hlt" : : : "memory"); /* an NMI ends a halt */
}

static uint64_t read_cr0(void)
{
    uint64_t value;
    __asm__ volatile("movq %%cr0, %0" : "=r"(value));
    return value;
}

static uint64_t read_cr4(void)
{
    uint64_t value;
    __asm__ volatile("movq %%cr4, %0" : "=r"(value));
    return value;
}

/* Read-only kernel pages are read-only for the kernel too, no-execute means it, and what a later user mode
 * must not lend to the kernel (its code, its data, descriptor-table reads) is off from the start. */
static void enable_protection(void)
{
    __asm__ volatile("movq %0, %%cr0" : : "r"((read_cr0() | CR0_WP | CR0_MP) & ~CR0_EM) : "memory");
    if (cpu_cpuid(0x80000001, 0).edx & CPUID_EXT_EDX_NX)
        cpu_write_msr(MSR_EFER, cpu_read_msr(MSR_EFER) | EFER_NXE);
    if (cpu_cpuid(0, 0).eax < 7)
        return;
    struct cpuid features = cpu_cpuid(7, 0);
    uint64_t cr4 = read_cr4();
    cr4 |= features.ebx & CPUID_7_EBX_SMEP ? CR4_SMEP : 0;
    cr4 |= features.ebx & CPUID_7_EBX_SMAP ? CR4_SMAP : 0;
    cr4 |= features.ecx & CPUID_7_ECX_UMIP ? CR4_UMIP : 0;
    __asm__ volatile("movq %0, %%cr4" : : "r"(cr4) : "memory");
}

void cpu_init(uint32_t id)
{
    assert(id < CPU_MAX);
    struct cpu *cpu = &cpus[id];
    assert(cpu->self == NULL);
    cpu->self = cpu;
    cpu->id = id;
    cpu->preempt_count = CPU_NO_RESCHEDULE;
    cpu->arch = &cpu_archs[id];
    enable_protection();
    gdt_load(cpu); /* loads null into GS: so before the base */
    cpu_write_msr(MSR_GS_BASE, (uint64_t)cpu);
    trap_init();
    if (id == 0)
        clock_init_early();
}
