/* SPDX-License-Identifier: MIT */
/* Power off and reset (ACPI 6.4, 4.8.3.2, 4.8.3.6, 4.8.3.7; 7.4.2 for the order). Any context, also from a
 * panic: no lock, no allocation, every wait bounded. Registers in memory are mapped at acpi_power_init. */
#include <arch/acpi.h>
#include <arch/clock.h>
#include <arch/io.h>
#include <arch/mmu.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>

#include "acpi_internal.h"

#define PM1_SCI_ENABLED  BIT(0)
#define PM1_SLEEP_ENABLE BIT(13)
#define PM1_TYPE_SHIFT   10
#define PM1_TYPE_MASK    (7u << PM1_TYPE_SHIFT)
#define SLEEP_ENABLE     BIT(5) /* hardware-reduced sleep control register */
#define SLEEP_TYPE_SHIFT 2
#define S5_TYPE_GUESS    5u
#define WAIT_NS          (20 * NSEC_PER_MSEC)
#define SETTLE_NS        (50 * NSEC_PER_MSEC)

#define KEYBOARD_STATUS     0x64
#define KEYBOARD_INPUT_FULL BIT(1)
#define KEYBOARD_RESET      0xfe
#define CHIPSET_RESET       0xcf9

static volatile uint8_t *sleep_memory, *reset_memory;

static volatile uint8_t *map_register(const struct acpi_register *reg)
{
    bool is_memory = reg->address != 0 && reg->space == ACPI_SPACE_MEMORY;
    return is_memory ? mmu_map_device(reg->address, 1) : NULL;
}

void acpi_power_init(void)
{
    assert(!sleep_memory && !reset_memory);
    sleep_memory = map_register(&acpi_power.sleep_control);
    reset_memory = map_register(&acpi_power.reset);
}

static void write_register8(const struct acpi_register *reg, volatile uint8_t *memory, uint8_t value)
{
    if (memory)
        mmio_write8(memory, value);
    else if (reg->address != 0 && reg->address <= UINT16_MAX && reg->space == ACPI_SPACE_PORT)
        port_write8((uint16_t)reg->address, value);
}

static void enter_acpi_mode(uint16_t control_port)
{
    if (!acpi_power.smi_command_port || !acpi_power.acpi_enable ||
        (port_read16(control_port) & PM1_SCI_ENABLED))
        return;
    port_write8(acpi_power.smi_command_port, acpi_power.acpi_enable);
    uint64_t start_ns = clock_ns();
    while (!(port_read16(control_port) & PM1_SCI_ENABLED) && clock_ns() - start_ns < WAIT_NS)
        cpu_relax();
}

static void sleep_by_pm1(const struct acpi_register *reg, uint8_t type)
{
    if (reg->address == 0 || reg->space != ACPI_SPACE_PORT)
        return;
    uint16_t port = (uint16_t)reg->address;
    uint16_t value = port_read16(port) & (uint16_t) ~(PM1_TYPE_MASK | PM1_SLEEP_ENABLE);
    port_write16(port, (uint16_t)(value | type << PM1_TYPE_SHIFT | PM1_SLEEP_ENABLE));
}

static void power_off_by_tables(void)
{
    uint8_t type_a = acpi_power.has_s5 ? acpi_power.s5_type_a : S5_TYPE_GUESS;
    uint8_t type_b = acpi_power.has_s5 ? acpi_power.s5_type_b : S5_TYPE_GUESS;
    if (acpi_power.is_hardware_reduced) {
        write_register8(&acpi_power.sleep_control, sleep_memory,
                        (uint8_t)(type_a << SLEEP_TYPE_SHIFT | SLEEP_ENABLE));
        return;
    }
    if (acpi_power.pm1a_control.address && acpi_power.pm1a_control.space == ACPI_SPACE_PORT)
        enter_acpi_mode((uint16_t)acpi_power.pm1a_control.address);
    sleep_by_pm1(&acpi_power.pm1a_control, type_a);
    sleep_by_pm1(&acpi_power.pm1b_control, type_b);
}

void acpi_poweroff(void)
{
    /* QEMU q35 and newer pc, old pc, VirtualBox: PM1a control, for want of a good FADT. */
    static const struct {
        uint16_t port, value;
    } known[] = {{0x604, 0x2000}, {0xb004, 0x2000}, {0x4004, 0x3400}};
    interrupts_disable();
    power_off_by_tables();
    clock_spin_ns(SETTLE_NS);
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        port_write16(known[i].port, known[i].value);
    clock_spin_ns(SETTLE_NS);
}

static void reset_by_keyboard(void)
{
    uint64_t start_ns = clock_ns();
    while ((port_read8(KEYBOARD_STATUS) & KEYBOARD_INPUT_FULL) && clock_ns() - start_ns < WAIT_NS)
        cpu_relax();
    port_write8(KEYBOARD_STATUS, KEYBOARD_RESET);
}

/* An exception without an IDT shuts the CPU down, which the board answers with a reset. */
static noreturn void reset_by_triple_fault(void)
{
    static const uint8_t no_idt[10];
    __asm__ volatile("lidt %0; ud2" : : "m"(no_idt));
    cpu_stop();
}

noreturn void acpi_reboot(void)
{
    interrupts_disable();
    write_register8(&acpi_power.reset, reset_memory, acpi_power.reset_value);
    clock_spin_ns(SETTLE_NS);
    reset_by_keyboard();
    clock_spin_ns(SETTLE_NS);
    port_write8(CHIPSET_RESET, 0x02);
    port_write8(CHIPSET_RESET, 0x06);
    clock_spin_ns(SETTLE_NS);
    reset_by_triple_fault();
}
