/* SPDX-License-Identifier: MIT */
/* IOMMUs (Intel VT-d specification 4.0, 10.4): a unit that translates would do it by firmware's tables, which
 * know nothing of our buffers, and one that remaps interrupts would drop ours. Such a unit is switched off,
 * one thing at a time, as 10.4.4 asks. Early boot. */
#include <arch/acpi.h>
#include <arch/cpu.h>
#include <arch/io.h>
#include <arch/iommu.h>
#include <arch/mmu.h>
#include <kernel/base/bits.h>
#include <kernel/entry.h>

#define GLOBAL_COMMAND      0x18
#define GLOBAL_STATUS       0x1c
#define IOMMU_BYTES         0x20u
#define TRANSLATION         BIT(31)
#define INTERRUPT_REMAPPING BIT(25)
#define STATUS_TO_COMMAND   0x96ffffffu /* without what happens once when it is written (10.4.4) */
#define LOOKS_MAX           1000000u

static uint32_t status(const volatile uint8_t *registers)
{
    return mmio_read32(registers + GLOBAL_STATUS);
}

/* False: it is still on. */
static bool switch_off(volatile uint8_t *registers, uint32_t bit)
{
    mmio_write32(registers + GLOBAL_COMMAND, status(registers) & STATUS_TO_COMMAND & ~bit);
    for (uint32_t looks = 0; looks < LOOKS_MAX; looks++) {
        if (!(status(registers) & bit))
            return true;
        cpu_relax();
    }
    return false;
}

static void expect_off(volatile uint8_t *registers, uint32_t bit, const char *what)
{
    if (!(status(registers) & bit))
        return;
    bool is_off = switch_off(registers, bit);
    kernel_warn("iommu", "firmware left %s on: %s", what,
                is_off ? "switched off" : "it cannot be switched off");
}

static void init_unit(phys_addr_t address)
{
    volatile uint8_t *registers = mmu_map_device(address, IOMMU_BYTES);
    if (!registers)
        return;
    if (status(registers) == UINT32_MAX) {
        kernel_warn("iommu", "nothing answers at %#llx", (unsigned long long)address);
        return;
    }
    expect_off(registers, TRANSLATION, "translation");
    expect_off(registers, INTERRUPT_REMAPPING, "interrupt remapping");
    kernel_info("iommu", "VT-d at %#llx: not used, devices see physical addresses",
                (unsigned long long)address);
}

void iommu_init(void)
{
    for (uint32_t i = 0; i < acpi_info.iommu_count; i++)
        init_unit(acpi_info.iommus[i]);
}
