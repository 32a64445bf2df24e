/* SPDX-License-Identifier: MIT */
/* ACPI tables, read by hand, no AML beyond the \_S5 package: RSDP, XSDT/RSDT, MADT, MCFG, FADT, HPET,
 * DMAR (ACPI 6.4, 5.2). Every table's length and checksum is checked; a bad one is left out with one warning.
 * acpi_init before lapic_init; what it found is constant afterwards. Any context. */
#ifndef ARCH_ACPI_H
#define ARCH_ACPI_H

#include <arch/cpu.h>

struct acpi_cpu {
    uint32_t lapic_id;
};
struct acpi_ioapic {
    phys_addr_t address;
    uint32_t gsi_base;
};
struct acpi_override {
    uint8_t isa_irq;
    uint32_t gsi;
    bool is_level, is_active_low;
};
struct acpi_ecam {       /* one MCFG allocation */
    phys_addr_t address; /* of bus 0's, even if bus_first is not 0 */
    uint16_t segment;
    uint8_t bus_first, bus_last;
};

struct acpi_info {
    struct acpi_cpu cpus[CPU_MAX];
    uint32_t cpu_count; /* enabled ones; 0 without a MADT */
    phys_addr_t lapic_address;
    struct acpi_ioapic ioapics[8];
    uint32_t ioapic_count;
    struct acpi_override overrides[24];
    uint32_t override_count;
    struct acpi_ecam ecams[8];
    uint32_t ecam_count;
    phys_addr_t iommus[8]; /* the registers of VT-d units */
    uint32_t iommu_count;
    phys_addr_t hpet_address; /* 0: none */
    uint16_t pm_timer_port;   /* 0: none */
    uint8_t century;          /* unused when 0 */
};
extern struct acpi_info acpi_info;

void acpi_init(void);
/* ACPI S5 (or QEMU's known ports); returns only if it did not work. */
void acpi_poweroff(void);
/* The FADT's reset register, then the keyboard controller, then port 0xcf9, then a triple fault. */
noreturn void acpi_reboot(void);

#endif
