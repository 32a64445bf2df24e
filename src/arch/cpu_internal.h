/* SPDX-License-Identifier: MIT */
/* What only cpu.c, gdt.c, trap.c, smp.c and the assembler files of arch know of a CPU. */
#ifndef ARCH_CPU_INTERNAL_H
#define ARCH_CPU_INTERNAL_H

/* Selectors. User segments lie as SYSCALL/SYSRET want them (SDM 2B, SYSRET), for a user mode to come. */
#define GDT_KERNEL_CODE 0x08
#define GDT_KERNEL_DATA 0x10
#define GDT_USER_DATA   0x18
#define GDT_USER_CODE   0x20
#define GDT_TSS         0x28

/* Offsets into struct cpu for assembler, checked in cpu.c. */
#define CPU_OFFSET_PREEMPT_COUNT   20
#define CPU_OFFSET_INTERRUPT_DEPTH 24
#define CPU_OFFSET_INTERRUPTS      40

#define TRAP_STUB_BYTES 16

#ifndef __ASSEMBLER__
#include <arch/cpu.h>

#define CPU_IST_STACK_BYTES (4 * PAGE_BYTES)

/* Interrupt stack table slots, numbered from 1 as in an IDT gate (SDM 3A, 6.14.5). */
enum cpu_ist { CPU_IST_NONE, CPU_IST_DOUBLE_FAULT, CPU_IST_NMI, CPU_IST_MACHINE_CHECK, CPU_IST_END };

struct tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3, io_map_offset;
} packed;
_Static_assert(sizeof(struct tss) == 104, "SDM 3A, figure 7-11");

struct cpu_arch {
    uint64_t gdt[7];
    struct tss tss;
    void *ist_stacks[CPU_IST_END]; /* lowest bytes; by the boot CPU before this one starts */
    uint64_t try_rsp;              /* trap_try's way back; 0: none */
};

/* Gives `cpu` guarded IST stacks in place of what it has. Thread context, on the boot CPU, `cpu` being that
 * one or not running yet. */
must_check bool gdt_allocate_stacks(struct cpu *cpu);
/* Fills and loads this CPU's GDT and TSS. */
void gdt_load(struct cpu *cpu);

/* smp.c, before it starts a CPU: its block, known by `lapic_id`. */
struct cpu *cpu_prepare(uint32_t id, uint32_t lapic_id);
/* smp.c: one more CPU runs. */
void cpu_set_count(uint32_t count);

/* entry.S: 256 entries of TRAP_STUB_BYTES each. */
extern const char trap_stubs[];
/* entry.S: calls `access`, true; or false from trap_try_failed, with *rsp as it was. */
bool trap_try_call(void (*access)(void *context), void *context, uint64_t *rsp);
extern const char trap_try_failed[];

struct trap_frame;
void trap_dispatch(struct trap_frame *frame);
void trap_interrupt(uint8_t vector);

/* smp.c: this CPU's part of smp_call_others. */
void smp_call_interrupt(void);
#endif

#endif
