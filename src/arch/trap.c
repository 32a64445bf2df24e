/* SPDX-License-Identifier: MIT */
/* The interrupt descriptor table, and what each vector leads to. entry.S calls trap_dispatch for exceptions
 * and trap_interrupt for the LAPIC's own vectors; device vectors go straight to kernel_interrupt. Interrupts
 * are off in all of it, and nothing here takes a lock, since an NMI or a fault may come anywhere. */
#include <arch/cpu.h>
#include <arch/lapic.h>
#include <arch/trap.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/entry.h>

#include "cpu_internal.h"

#define GATE_INTERRUPT 0x8e00u /* present, ring 0, 64-bit, clears IF (SDM 3A, 6.14.1) */

struct gate {
    uint16_t offset_low, selector, flags, offset_middle;
    uint32_t offset_high, reserved;
};
_Static_assert(sizeof(struct gate) == 16, "SDM 3A, figure 6-8");
_Static_assert(sizeof(struct trap_frame) == 22 * 8, "entry.S pushes it");
_Static_assert(offsetof(struct trap_frame, rip) == 136, "entry.S copies it");

static struct gate idt[256] aligned(16);

static const char *const exception_names[32] = {
    "divide error",
    "debug",
    "NMI",
    "breakpoint",
    "overflow",
    "bound range",
    "invalid opcode",
    "device not available",
    "double fault",
    "coprocessor overrun",
    "invalid TSS",
    "segment not present",
    "stack-segment fault",
    "general protection fault",
    "page fault",
    "reserved exception",
    "x87 floating-point error",
    "alignment check",
    "machine check",
    "SIMD floating-point error",
    "virtualization exception",
    "control protection",
    "reserved exception",
    "reserved exception",
    "reserved exception",
    "reserved exception",
    "reserved exception",
    "reserved exception",
    "hypervisor injection",
    "VMM communication",
    "security exception",
    "reserved exception",
};

const char *trap_name(uint64_t vector)
{
    if (vector < ARRAY_SIZE(exception_names))
        return exception_names[vector];
    switch (vector) {
    case TRAP_RESCHEDULE:
        return "reschedule";
    case TRAP_CALL:
        return "call";
    case TRAP_TIMER:
        return "timer";
    case TRAP_SPURIOUS:
        return "spurious";
    default:
        return vector >= TRAP_FIRST_IRQ && vector <= TRAP_LAST_IRQ ? "device interrupt" : "unused vector";
    }
}

static unsigned vector_ist(unsigned vector)
{
    switch (vector) {
    case TRAP_DOUBLE_FAULT:
        return CPU_IST_DOUBLE_FAULT;
    case TRAP_NMI:
        return CPU_IST_NMI;
    case TRAP_MACHINE_CHECK:
        return CPU_IST_MACHINE_CHECK;
    default:
        return CPU_IST_NONE;
    }
}

static void fill_idt(void)
{
    for (unsigned vector = 0; vector < ARRAY_SIZE(idt); vector++) {
        uint64_t entry = (uint64_t)trap_stubs + vector * TRAP_STUB_BYTES;
        idt[vector] = (struct gate){
            .offset_low = (uint16_t)entry,
            .selector = GDT_KERNEL_CODE,
            .flags = (uint16_t)(GATE_INTERRUPT | vector_ist(vector)),
            .offset_middle = (uint16_t)(entry >> 16),
            .offset_high = (uint32_t)(entry >> 32),
        };
    }
}

void trap_init(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } packed idtr = {sizeof(idt) - 1, (uint64_t)idt};
    if (cpu_id() == 0)
        fill_idt();
    __asm__ volatile("lidt %0" : : "m"(idtr));
}

/* True when trap_try waits for this exception: then the frame leads back into it. */
static bool divert_to_try(struct trap_frame *frame)
{
    struct cpu_arch *arch = cpu_read(arch);
    if (arch->try_rsp == 0 || frame->vector == TRAP_DOUBLE_FAULT || frame->vector == TRAP_MACHINE_CHECK)
        return false;
    frame->rip = (uint64_t)trap_try_failed;
    frame->rsp = arch->try_rsp;
    return true;
}

void trap_dispatch(struct trap_frame *frame)
{
    if (frame->vector == TRAP_NMI)
        kernel_nmi(frame);
    else if (!divert_to_try(frame))
        kernel_exception(frame);
}

void trap_interrupt(uint8_t vector)
{
    debug_assert(cpu_read(interrupt_depth) == 1);
    switch (vector) {
    case TRAP_TIMER:
        lapic_eoi();
        kernel_timer_interrupt();
        break;
    case TRAP_RESCHEDULE:
        lapic_eoi();
        /* Only a CPU itself may change its count; so this is how another one asks for kernel_preempt. */
        cpu_write(preempt_count, cpu_read(preempt_count) & ~CPU_NO_RESCHEDULE);
        break;
    case TRAP_CALL:
        lapic_eoi();
        smp_call_interrupt();
        break;
    case TRAP_SPURIOUS: /* not in service: no EOI (SDM 3A, 10.9) */
        break;
    default:
        lapic_eoi();
        kernel_warn("trap", "interrupt on the unused vector %#x", vector);
    }
}

bool trap_try(void (*access)(void *context), void *context)
{
    struct cpu_arch *arch = cpu_read(arch);
    assert(!interrupts_are_enabled());
    assert(arch->try_rsp == 0);
    return trap_try_call(access, context, &arch->try_rsp);
}
