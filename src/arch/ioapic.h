/* SPDX-License-Identifier: MIT */
/* The I/O APICs of the MADT, by global system interrupt (GSI). Thread or early-boot context; one lock. */
#ifndef ARCH_IOAPIC_H
#define ARCH_IOAPIC_H

#include <kernel/base/types.h>

/* Maps all I/O APICs and masks every line. After acpi_init. */
void ioapic_init(void);

/* The GSI and polarity of a legacy ISA line, with the MADT's overrides. */
struct ioapic_line {
    uint32_t gsi;
    bool is_level, is_active_low;
};
struct ioapic_line ioapic_isa_line(uint8_t isa_irq);

/* Delivers `line` as `vector` on `cpu`, unmasked. -ENODEV when no I/O APIC has that GSI. */
must_check int ioapic_route(struct ioapic_line line, uint32_t cpu, uint8_t vector);
void ioapic_mask(uint32_t gsi);
void ioapic_unmask(uint32_t gsi);
/* How many lines there are: GSIs 0..count - 1 may exist. */
uint32_t ioapic_gsi_count(void);

#endif
