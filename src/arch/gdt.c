/* SPDX-License-Identifier: MIT */
/* Each CPU's global descriptor table and task state segment (SDM 3A, 3.4.5 and 7.7). The TSS is there for
 * its interrupt stack table: double fault, NMI and machine check run on stacks of their own, since they come
 * when RSP may be worth nothing. The boot CPU starts with static ones and gets guarded ones in smp_start. */
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>

#include "cpu_internal.h"

#define SEGMENT_CODE 0x00af9b000000ffffull /* 64-bit, present, accessed, executable */
#define SEGMENT_DATA 0x00cf93000000ffffull
#define SEGMENT_USER (3ull << 45)
#define SEGMENT_TSS  (0x89ull << 40) /* present, available 64-bit TSS */

static uint8_t boot_stacks[CPU_IST_END - 1][CPU_IST_STACK_BYTES] aligned(16);

struct table_register {
    uint16_t limit;
    uint64_t base;
} packed;

static void *ist_stack(struct cpu *cpu, unsigned slot)
{
    if (cpu->arch->ist_stacks[slot])
        return cpu->arch->ist_stacks[slot];
    assert(cpu->id == 0);
    return boot_stacks[slot - 1];
}

static void set_stacks(struct cpu *cpu)
{
    for (unsigned slot = 1; slot < CPU_IST_END; slot++)
        cpu->arch->tss.ist[slot - 1] = (uint64_t)ist_stack(cpu, slot) + CPU_IST_STACK_BYTES;
}

bool gdt_allocate_stacks(struct cpu *cpu)
{
    assert(cpu->arch != NULL);
    for (unsigned slot = 1; slot < CPU_IST_END; slot++) {
        if (!cpu->arch->ist_stacks[slot])
            cpu->arch->ist_stacks[slot] = mmu_stack_alloc(CPU_IST_STACK_BYTES);
        if (!cpu->arch->ist_stacks[slot])
            return false;
    }
    set_stacks(cpu);
    return true;
}

static void set_tss_descriptor(uint64_t *descriptor, const struct tss *tss)
{
    uint64_t base = (uint64_t)tss;
    descriptor[0] = SEGMENT_TSS | (sizeof(*tss) - 1) | (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56;
    descriptor[1] = base >> 32;
}

void gdt_load(struct cpu *cpu)
{
    struct cpu_arch *arch = cpu->arch;
    arch->gdt[GDT_KERNEL_CODE / 8] = SEGMENT_CODE;
    arch->gdt[GDT_KERNEL_DATA / 8] = SEGMENT_DATA;
    arch->gdt[GDT_USER_DATA / 8] = SEGMENT_DATA | SEGMENT_USER;
    arch->gdt[GDT_USER_CODE / 8] = SEGMENT_CODE | SEGMENT_USER;
    set_tss_descriptor(&arch->gdt[GDT_TSS / 8], &arch->tss);
    arch->tss.io_map_offset = sizeof(arch->tss); /* no I/O bitmap */
    set_stacks(cpu);

    const struct table_register gdtr = {sizeof(arch->gdt) - 1, (uint64_t)arch->gdt};
    __asm__ volatile("lgdt %0\n\t"
                     "pushq %1\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1:\n\t"
                     "movl %2, %%ds; movl %2, %%es; movl %2, %%ss\n\t"
                     "movl %3, %%fs; movl %3, %%gs\n\t"
                     "ltr %w4"
                     :
                     : "m"(gdtr), "i"(GDT_KERNEL_CODE), "r"(GDT_KERNEL_DATA), "r"(0), "r"(GDT_TSS)
                     : "rax", "memory");
}
