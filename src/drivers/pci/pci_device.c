/* SPDX-License-Identifier: MIT */
/* One function's capabilities and BARs, both written by hardware that may be wrong: the capability list is
 * walked with a limit, and nothing is mapped that does not lie inside a BAR whose size was measured.
 * Pure logic over pci_config_*, so the host's tests drive it with configuration spaces made up for them. */
#include <drivers/pci/pci.h>
#include <kernel/base/assert.h>
#include <kernel/log.h>

#define HEADER_BYTES        0x40u /* no capability lies below */
#define CAPABILITY_WALK_MAX ((256u - HEADER_BYTES) / 4)

uint32_t pci_capabilities(const struct pci_device *device, uint8_t id, uint8_t *offsets, uint32_t limit)
{
    uint32_t found = 0;
    if (!(pci_config_read16(device, PCI_STATUS) & PCI_STATUS_CAPABILITIES))
        return 0;
    uint8_t offset = pci_config_read8(device, PCI_CAPABILITIES);
    /* As many steps as there is room for capabilities: a longer list is a loop. */
    for (uint32_t steps = 0; offset != 0; steps++) {
        /* The lowest two bits are reserved (PCI 3.0, 6.7). */
        offset &= 0xfc;
        if (offset < HEADER_BYTES || steps == CAPABILITY_WALK_MAX) {
            log_warning("pci", "%s: capability list %s at 0x%x", device->name,
                        steps == CAPABILITY_WALK_MAX ? "has a loop" : "points into the header", offset);
            return found;
        }
        if (pci_config_read8(device, offset) == id && found < limit)
            offsets[found++] = offset;
        offset = pci_config_read8(device, offset + 1u);
    }
    return found;
}

/* Writes all ones to the register and returns what sticks; restores it. */
static uint32_t probe_register(const struct pci_device *device, uint32_t offset, uint32_t original)
{
    pci_config_write32(device, offset, ~0u);
    uint32_t mask = pci_config_read32(device, offset);
    pci_config_write32(device, offset, original);
    return mask;
}

/* Reads BAR `index`; how many registers it takes: 2 for a 64-bit one, whose second register is no BAR. */
static uint32_t size_bar(struct pci_device *device, uint32_t index, uint32_t bar_count)
{
    struct pci_bar *bar = &device->bars[index];
    uint32_t offset = PCI_BAR0 + 4 * index;
    uint32_t low = pci_config_read32(device, offset);
    uint32_t mask = probe_register(device, offset, low);
    *bar = (struct pci_bar){.is_port = (low & PCI_BAR_IO) != 0};
    if (mask == 0)
        return 1;
    if (bar->is_port) {
        bar->address = low & PCI_BAR_IO_MASK;
        /* The upper half may read as zeroes: ports have 16 bits. */
        bar->bytes = (uint16_t)(~(mask & PCI_BAR_IO_MASK) + 1);
        return 1;
    }
    uint64_t wide_mask = 0xffffffff00000000ull | (mask & PCI_BAR_MEMORY_MASK);
    bar->address = low & PCI_BAR_MEMORY_MASK;
    bar->is_prefetchable = (low & PCI_BAR_PREFETCH) != 0;
    bar->is_64bit = (low & PCI_BAR_TYPE_MASK) == PCI_BAR_TYPE_64 && index + 1 < bar_count;
    if (bar->is_64bit) {
        uint32_t high = pci_config_read32(device, offset + 4);
        wide_mask = (uint64_t)probe_register(device, offset + 4, high) << 32 | (mask & PCI_BAR_MEMORY_MASK);
        bar->address |= (uint64_t)high << 32;
    }
    bar->bytes = wide_mask & (~wide_mask + 1); /* the lowest bit that sticks */
    return bar->is_64bit ? 2 : 1;
}

void pci_size_bars(struct pci_device *device)
{
    uint32_t count = device->header_type == 0 ? PCI_BAR_COUNT : 2;
    uint16_t command = pci_config_read16(device, PCI_COMMAND);
    /* A BAR full of ones must not catch anybody's accesses. */
    pci_config_write16(device, PCI_COMMAND, (uint16_t)(command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY)));
    for (uint32_t i = 0; i < PCI_BAR_COUNT; i++)
        device->bars[i] = (struct pci_bar){.bytes = 0};
    for (uint32_t i = 0; i < count;)
        i += size_bar(device, i, count);
    pci_config_write16(device, PCI_COMMAND, command);
}

bool pci_bar_contains(const struct pci_device *device, uint32_t bar, uint64_t offset, uint64_t bytes)
{
    if (bar >= PCI_BAR_COUNT)
        return false;
    const struct pci_bar *b = &device->bars[bar];
    /* Address 0: firmware gave it none. */
    return !b->is_port && b->address != 0 && bytes > 0 && offset <= b->bytes && bytes <= b->bytes - offset;
}

bool pci_bar_ports(const struct pci_device *device, uint32_t bar, uint64_t bytes, uint16_t *port)
{
    assert(bar < PCI_BAR_COUNT);
    const struct pci_bar *b = &device->bars[bar];
    *port = (uint16_t)b->address;
    return b->is_port && b->address != 0 && bytes <= b->bytes && b->address + b->bytes <= 0x10000;
}

static void change_command(struct pci_device *device, uint16_t clear, uint16_t set)
{
    uint16_t command = pci_config_read16(device, PCI_COMMAND);
    pci_config_write16(device, PCI_COMMAND, (uint16_t)((command & ~clear) | set));
}

void pci_enable_ports(struct pci_device *device)
{
    change_command(device, 0, PCI_COMMAND_IO);
}

void pci_enable(struct pci_device *device)
{
    change_command(device, 0, PCI_COMMAND_MEMORY | PCI_COMMAND_BUS_MASTER);
}

void pci_disable_bus_master(struct pci_device *device)
{
    change_command(device, PCI_COMMAND_BUS_MASTER, 0);
}
