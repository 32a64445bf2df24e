/* SPDX-License-Identifier: MIT */
/* I/O APICs (82093AA data sheet, 3.1 and 3.2): a select and a window register give 64-bit redirection
 * entries, one a line. Everything starts masked. `ioapic_lock` guards select and window of all of them; it is
 * taken with interrupts off and nothing is taken inside it. */
#include <arch/acpi.h>
#include <arch/arch_lock.h>
#include <arch/cpu.h>
#include <arch/io.h>
#include <arch/ioapic.h>
#include <arch/lapic.h>
#include <arch/mmu.h>
#include <arch/trap.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/base/error.h>
#include <kernel/entry.h>

#define IOAPIC_SELECT    0x00
#define IOAPIC_WINDOW    0x10
#define IOAPIC_BYTES     0x20u
#define IOAPIC_VERSION   0x01
#define IOAPIC_ENTRY     0x10
#define IOAPIC_LINES_MAX 240u
#define IOAPIC_DEFAULT   0xfec00000u

#define ENTRY_ACTIVE_LOW BIT(13)
#define ENTRY_LEVEL      BIT(15)
#define ENTRY_MASKED     BIT(16)

struct ioapic {
    volatile uint8_t *registers; /* I */
    uint32_t gsi_base, lines;    /* I */
};

static struct ioapic ioapics[ARRAY_SIZE(acpi_info.ioapics)]; /* I after ioapic_init */
static uint32_t ioapic_count;
static struct arch_lock ioapic_lock;

static uint32_t read_register(const struct ioapic *ioapic, uint32_t reg)
{
    mmio_write32(ioapic->registers + IOAPIC_SELECT, reg);
    return mmio_read32(ioapic->registers + IOAPIC_WINDOW);
}

static void write_register(const struct ioapic *ioapic, uint32_t reg, uint32_t value)
{
    mmio_write32(ioapic->registers + IOAPIC_SELECT, reg);
    mmio_write32(ioapic->registers + IOAPIC_WINDOW, value);
}

static void add_ioapic(phys_addr_t address, uint32_t gsi_base)
{
    struct ioapic *ioapic = &ioapics[ioapic_count];
    ioapic->registers = mmu_map_device(address, IOAPIC_BYTES);
    if (!ioapic->registers)
        return;
    uint32_t version = read_register(ioapic, IOAPIC_VERSION);
    ioapic->lines = (version >> 16 & 0xff) + 1;
    ioapic->gsi_base = gsi_base;
    if (version == UINT32_MAX || version == 0 || ioapic->lines > IOAPIC_LINES_MAX) {
        kernel_warn("ioapic", "nothing answers at %#llx", (unsigned long long)address);
        return;
    }
    for (uint32_t line = 0; line < ioapic->lines; line++)
        write_register(ioapic, IOAPIC_ENTRY + 2 * line, ENTRY_MASKED);
    ioapic_count++;
}

void ioapic_init(void)
{
    assert(ioapic_count == 0);
    for (uint32_t i = 0; i < acpi_info.ioapic_count; i++)
        add_ioapic(acpi_info.ioapics[i].address, acpi_info.ioapics[i].gsi_base);
    if (acpi_info.cpu_count == 0) /* no MADT: every PC has one there */
        add_ioapic(IOAPIC_DEFAULT, 0);
    kernel_info("ioapic", "%u, %u lines", ioapic_count, ioapic_gsi_count());
}

uint32_t ioapic_gsi_count(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < ioapic_count; i++)
        count = MAX(count, ioapics[i].gsi_base + ioapics[i].lines);
    return count;
}

struct ioapic_line ioapic_isa_line(uint8_t isa_irq)
{
    for (uint32_t i = 0; i < acpi_info.override_count; i++) {
        const struct acpi_override *override = &acpi_info.overrides[i];
        if (override->isa_irq == isa_irq)
            return (struct ioapic_line){override->gsi, override->is_level, override->is_active_low};
    }
    return (struct ioapic_line){isa_irq, false, false};
}

static const struct ioapic *find_ioapic(uint32_t gsi)
{
    for (uint32_t i = 0; i < ioapic_count; i++)
        if (gsi >= ioapics[i].gsi_base && gsi - ioapics[i].gsi_base < ioapics[i].lines)
            return &ioapics[i];
    return NULL;
}

int ioapic_route(struct ioapic_line line, uint32_t cpu, uint8_t vector)
{
    const struct ioapic *ioapic = find_ioapic(line.gsi);
    const struct cpu *block = cpu_get(cpu);
    assert(block != NULL && block->lapic_id <= LAPIC_ID_MAX);
    assert(vector >= TRAP_FIRST_IRQ && vector <= TRAP_LAST_IRQ);
    if (!ioapic)
        return -ENODEV;
    uint32_t reg = IOAPIC_ENTRY + 2 * (line.gsi - ioapic->gsi_base);
    uint32_t entry = vector;
    entry |= line.is_level ? ENTRY_LEVEL : 0;
    entry |= line.is_active_low ? ENTRY_ACTIVE_LOW : 0;

    uint64_t flags = arch_lock_irq(&ioapic_lock);
    write_register(ioapic, reg, ENTRY_MASKED); /* so that no half of an entry takes effect */
    write_register(ioapic, reg + 1, block->lapic_id << 24);
    write_register(ioapic, reg, entry);
    arch_unlock_irq(&ioapic_lock, flags);
    return 0;
}

static void set_masked(uint32_t gsi, bool is_masked)
{
    const struct ioapic *ioapic = find_ioapic(gsi);
    if (!ioapic)
        return;
    uint32_t reg = IOAPIC_ENTRY + 2 * (gsi - ioapic->gsi_base);
    uint64_t flags = arch_lock_irq(&ioapic_lock);
    uint32_t entry = read_register(ioapic, reg) & ~(uint32_t)ENTRY_MASKED;
    write_register(ioapic, reg, entry | (is_masked ? ENTRY_MASKED : 0));
    arch_unlock_irq(&ioapic_lock, flags);
}

void ioapic_mask(uint32_t gsi)
{
    set_masked(gsi, true);
}

void ioapic_unmask(uint32_t gsi)
{
    set_masked(gsi, false);
}
