/* SPDX-License-Identifier: MIT */
/* This CPU's local APIC: x2APIC (MSRs) where CPUID has it, else xAPIC (registers). Any context, with
 * interrupts off or preemption off, since it is this CPU's. */
#ifndef ARCH_LAPIC_H
#define ARCH_LAPIC_H

#include <arch/cpu.h>

/* NULL in x2APIC mode. For lapic_eoi. */
extern volatile uint32_t *lapic_eoi_register;
/* CPUs above it are not started: an MSI or an I/O APIC cannot name them (SDM 3A, 10.11.1). */
#define LAPIC_ID_MAX     254u
#define LAPIC_X2APIC_EOI 0x80bu /* SDM 3A, table 11-6 */

/* Maps and enables the LAPIC of this CPU: boot CPU after acpi_init, others from their entry. Masks the
 * legacy PICs on the boot CPU. */
void lapic_init(void);
/* Ends the measuring of the timer's rate, which lapic_init began on the boot CPU. After clock_calibrate. */
void lapic_calibrate(void);
uint32_t lapic_id(void);
bool lapic_is_x2apic(void);
/* The end of the interrupt in service, on its CPU: one store. */
static always_inline void lapic_eoi(void)
{
    if (likely(lapic_eoi_register != NULL))
        *lapic_eoi_register = 0;
    else
        cpu_write_msr(LAPIC_X2APIC_EOI, 0);
}

/* Interrupts this CPU once, with TRAP_TIMER, at clock_ns() == `deadline_ns` or as soon after as the timer
 * can; a deadline in the past fires at once. Replaces the last one. UINT64_MAX: never. TSC-deadline mode
 * where there is one. */
void lapic_timer_set(uint64_t deadline_ns);

void lapic_send_ipi(uint32_t cpu, uint8_t vector);
void lapic_send_nmi(uint32_t cpu);
/* INIT and STARTUP for smp.c; `page` is the trampoline's physical address >> 12. */
void lapic_send_init(uint32_t lapic_id);
void lapic_send_startup(uint32_t lapic_id, uint8_t page);

/* The MSI address and data that deliver `vector`, edge, fixed, to `cpu` (SDM 3A, 11.11). */
void lapic_msi_message(uint32_t cpu, uint8_t vector, uint64_t *address, uint32_t *data);

#endif
