/* SPDX-License-Identifier: MIT */
/* Addresses for what was plugged in behind a bridge. Firmware gave the bridge windows, and what is behind a
 * slot comes and goes as a whole: so each time the windows are empty, and are filled from their start, the
 * largest BAR first.
 *
 * A window whose limit is below its base is closed. The prefetchable one may lie above 4 GiB, then only for
 * BARs of 64 bits (PCI-to-PCI bridge 1.2, 3.2.5). Ports are not given out: what was made after 2010 does
 * without.
 * Pure logic over pci_config_*, so the host's tests drive it. */
#include <drivers/pci/pci.h>
#include <kernel/base/bits.h>
#include <kernel/base/error.h>
#include <kernel/log.h>

#define WINDOW_UNIT_BITS 20 /* windows are whole MiB */
#define WINDOW_MASK      0xfff0u

static struct pci_window window_of(uint16_t base, uint16_t limit, uint64_t base_upper, uint64_t limit_upper)
{
    uint64_t first = (uint64_t)(base & WINDOW_MASK) << (WINDOW_UNIT_BITS - 4) | base_upper << 32;
    uint64_t last = (uint64_t)(limit & WINDOW_MASK) << (WINDOW_UNIT_BITS - 4) | limit_upper << 32;
    uint64_t end = last + (1u << WINDOW_UNIT_BITS);
    return first != 0 && first < end ? (struct pci_window){first, end} : (struct pci_window){0, 0};
}

void pci_read_windows(const struct pci_device *bridge, struct pci_windows *windows)
{
    uint16_t base = pci_config_read16(bridge, PCI_PREFETCHABLE_BASE);
    uint16_t limit = pci_config_read16(bridge, PCI_PREFETCHABLE_LIMIT);
    bool is_64bit = (base & PCI_PREFETCHABLE_TYPE) == PCI_PREFETCHABLE_64;
    windows->memory = window_of(pci_config_read16(bridge, PCI_MEMORY_BASE),
                                pci_config_read16(bridge, PCI_MEMORY_LIMIT), 0, 0);
    windows->prefetchable =
        window_of(base, limit, is_64bit ? pci_config_read32(bridge, PCI_PREFETCHABLE_BASE_UPPER) : 0,
                  is_64bit ? pci_config_read32(bridge, PCI_PREFETCHABLE_LIMIT_UPPER) : 0);
}

/* BARs are powers of two, so are their alignments. 0: no room. */
static uint64_t take(struct pci_window *window, uint64_t bytes)
{
    uint64_t start = align_up(window->next, bytes);
    if (window->next == window->end || start < window->next || start >= window->end ||
        bytes > window->end - start)
        return 0;
    window->next = start + bytes;
    return start;
}

static uint64_t take_for(const struct pci_bar *bar, struct pci_windows *windows)
{
    uint64_t address = 0;
    if (bar->is_prefetchable && (bar->is_64bit || windows->prefetchable.end <= GIB(4)))
        address = take(&windows->prefetchable, bar->bytes);
    return address ? address : take(&windows->memory, bar->bytes);
}

static void write_bar(const struct pci_device *device, uint32_t index, uint64_t address)
{
    uint32_t offset = PCI_BAR0 + 4 * index;
    pci_config_write32(device, offset, (uint32_t)address);
    if (device->bars[index].is_64bit)
        pci_config_write32(device, offset + 4, (uint32_t)(address >> 32));
}

/* The largest memory BAR that has no address yet, or NULL. */
static struct pci_bar *largest(struct pci_device *device)
{
    struct pci_bar *found = NULL;
    for (uint32_t i = 0; i < PCI_BAR_COUNT; i++) {
        struct pci_bar *bar = &device->bars[i];
        if (bar->bytes > 0 && !bar->is_port && bar->address == 0 && (!found || bar->bytes > found->bytes))
            found = bar;
    }
    return found;
}

int pci_assign_bars(struct pci_device *device, struct pci_windows *windows)
{
    struct pci_bar *bar;
    for (uint32_t i = 0; i < PCI_BAR_COUNT; i++)
        device->bars[i].address = 0;
    while ((bar = largest(device)) != NULL) {
        uint32_t index = (uint32_t)(bar - device->bars);
        bar->address = take_for(bar, windows);
        if (bar->address == 0) {
            log_error("pci", "%s: BAR %u: no %llu bytes left behind the bridge", device->name, index,
                      (unsigned long long)bar->bytes);
            return -ENOSPC;
        }
        write_bar(device, index, bar->address);
    }
    return 0;
}
