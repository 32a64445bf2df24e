/* SPDX-License-Identifier: MIT */
/* The CPU that runs this code: its per-CPU block (reached through GS), interrupt flag, halt, CPUID, MSRs.
 *
 * struct cpu is the only per-CPU storage; the kernel keeps larger per-CPU state in arrays indexed by
 * cpu_id(). A value read from it is stable only while the thread cannot migrate: interrupts off or
 * preemption off (except cpu_read(current), which moves with the thread). */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <kernel/base/types.h>

#define CPU_MAX 32u

/* preempt_count holds this bit while no reschedule is wanted, so that "may preempt now" is one test for 0
 * after a decrement. */
#define CPU_NO_RESCHEDULE 0x80000000u

struct cpu_arch;
struct thread;

struct cpu {
    struct cpu *self;         /* I: offset 0, read through GS */
    struct thread *current;   /* the running thread; written by the context switch only */
    uint32_t id;              /* I: 0..cpu_count() - 1 */
    uint32_t preempt_count;   /* nesting of preempt_disable, and CPU_NO_RESCHEDULE inverted */
    uint32_t interrupt_depth; /* above 0: in an interrupt handler */
    uint32_t lapic_id;        /* I */
    bool is_idle;             /* the idle thread has halted or is about to */
    bool is_stopped;          /* a: in cpu_stop() */
    uint64_t interrupts;      /* taken since boot */
    uint64_t halted_ns;       /* spent halted since boot */
    struct cpu_arch *arch;    /* I: GDT, TSS and IST stacks (arch/cpu_internal.h) */
} aligned(CACHE_LINE_BYTES);

_Static_assert(offsetof(struct cpu, current) == 8, "entry.S and switch.S know this offset");

/* Reads or writes one field of this CPU's block in one instruction. */
#define cpu_read(field)         (((const volatile __seg_gs struct cpu *)0)->field)
#define cpu_write(field, value) (((volatile __seg_gs struct cpu *)0)->field = (value))

static always_inline uint32_t cpu_id(void)
{
    return cpu_read(id);
}

/* The block of CPU `id`, which the MADT announced; NULL when there is none. It runs the kernel only when
 * `id` < cpu_count(). Any context. */
struct cpu *cpu_get(uint32_t id);
/* CPUs that run the kernel: 1 until smp_start(). */
static inline uint32_t cpu_count(void)
{
    extern uint32_t cpu_running_count; /* cpu.c's */
    return __atomic_load_n(&cpu_running_count, __ATOMIC_ACQUIRE);
}

/* Turns interrupts off and returns what interrupts_restore needs to bring back the former state. */
static always_inline uint64_t interrupts_save(void)
{
    uint64_t flags;
    __asm__ volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
    return flags;
}
static always_inline void interrupts_enable(void)
{
    __asm__ volatile("sti" : : : "memory");
}
static always_inline void interrupts_disable(void)
{
    __asm__ volatile("cli" : : : "memory");
}
#define CPU_FLAG_INTERRUPT 0x200u
static always_inline bool interrupts_were_enabled(uint64_t flags)
{
    return (flags & CPU_FLAG_INTERRUPT) != 0;
}
static always_inline void interrupts_restore(uint64_t flags)
{
    if (interrupts_were_enabled(flags))
        interrupts_enable();
}
static always_inline bool interrupts_are_enabled(void)
{
    uint64_t flags;
    __asm__ volatile("pushfq; popq %0" : "=r"(flags) : : "memory");
    return interrupts_were_enabled(flags);
}

static always_inline void cpu_relax(void)
{
    __builtin_ia32_pause();
}
/* With interrupts off: enables them and halts in one step, so that an interrupt that is already pending
 * ends the halt. Returns with interrupts on. */
static always_inline void cpu_halt_enabling_interrupts(void)
{
    __asm__ volatile("sti; hlt" : : : "memory");
}
/* Halts for good, interrupts off, and marks this CPU stopped: where a panic leaves the other CPUs. */
noreturn void cpu_stop(void);

static always_inline uint64_t cpu_timestamp(void)
{
    return __builtin_ia32_rdtsc();
}

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};
static inline struct cpuid cpu_cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r;
    __asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}
static inline uint64_t cpu_read_msr(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}
static inline void cpu_write_msr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

/* Sets up this CPU: GS base to its block, GDT, TSS with IST stacks for double fault, NMI and machine
 * check, IDT, CR0.WP, EFER.NXE, and SMEP/SMAP/UMIP where there are any. Each CPU once, before anything
 * else; the boot CPU's block and stacks are static. */
void cpu_init(uint32_t id);

#endif
