/* SPDX-License-Identifier: MIT */
/* A function's interrupts: MSI-X (PCI 3.0, 6.8.2), MSI (6.8.1) and its interrupt pin.
 *
 * The routing of pins is told by AML, which nothing here reads. But firmware also routes each pin to a line
 * of the legacy controllers and leaves the line's number in the interrupt line register; chipsets deliver
 * that line to the I/O APIC input of the same number as well, with the polarity of the MADT's overrides.
 * QEMU's pc and q35 do (PIIX3 and ICH9 PIRQ registers), and so does everything that ever ran DOS. */
#include <arch/io.h>
#include <arch/ioapic.h>
#include <arch/mmu.h>
#include <drivers/pci/pci.h>
#include <kernel/base/assert.h>
#include <kernel/base/error.h>
#include <kernel/log.h>

static void set_control(const struct pci_device *device, uint16_t clear, uint16_t set)
{
    uint32_t offset = device->msix.capability + PCI_MSIX_CONTROL;
    uint16_t control = pci_config_read16(device, offset);
    pci_config_write16(device, offset, (uint16_t)((control & ~clear) | set));
}

static void set_intx(const struct pci_device *device, bool is_on)
{
    uint16_t command = pci_config_read16(device, PCI_COMMAND);
    command &= (uint16_t)~PCI_COMMAND_INTX_DISABLE;
    pci_config_write16(device, PCI_COMMAND, is_on ? command : command | PCI_COMMAND_INTX_DISABLE);
}

static volatile uint8_t *entry_of(const struct pci_device *device, uint32_t index)
{
    assert(device->msix.table != NULL && index < device->msix.count);
    return device->msix.table + index * PCI_MSIX_ENTRY_BYTES;
}

int pci_msix_enable(struct pci_device *device)
{
    struct pci_msix *msix = &device->msix;
    if (pci_capabilities(device, PCI_CAP_MSIX, &msix->capability, 1) == 0)
        return -ENODEV;
    uint32_t count =
        (pci_config_read16(device, msix->capability + PCI_MSIX_CONTROL) & PCI_MSIX_CONTROL_SIZE) + 1u;
    uint32_t where = pci_config_read32(device, msix->capability + PCI_MSIX_TABLE);
    uint32_t bar = where & PCI_MSIX_BIR_MASK, offset = where & ~PCI_MSIX_BIR_MASK;
    if (!pci_bar_contains(device, bar, offset, count * PCI_MSIX_ENTRY_BYTES)) {
        log_error("pci", "%s: MSI-X table of %u entries at 0x%x is not inside BAR %u", device->name, count,
                  offset, bar);
        return -EINVAL;
    }
    msix->table = pci_map_bar(device, bar, offset, count * PCI_MSIX_ENTRY_BYTES);
    if (!msix->table)
        return -ENOMEM;
    msix->count = (uint16_t)count;
    /* Everything stays masked until each entry has been, since firmware may have left any of them open. */
    set_control(device, 0, PCI_MSIX_CONTROL_ENABLE | PCI_MSIX_CONTROL_MASK);
    for (uint32_t i = 0; i < count; i++)
        pci_msix_mask(device, i);
    set_intx(device, false);
    set_control(device, PCI_MSIX_CONTROL_MASK, 0);
    return 0;
}

void pci_msix_attach(struct pci_device *device, uint32_t index, const struct irq *irq)
{
    volatile uint8_t *entry = entry_of(device, index);
    uint64_t address;
    uint32_t data;
    irq_msi_message(irq, &address, &data);
    /* An entry may change only while it is masked (PCI 3.0, 6.8.3.5). */
    pci_msix_mask(device, index);
    mmio_write32(entry + PCI_MSIX_ENTRY_ADDRESS_LOW, (uint32_t)address);
    mmio_write32(entry + PCI_MSIX_ENTRY_ADDRESS_HIGH, (uint32_t)(address >> 32));
    mmio_write32(entry + PCI_MSIX_ENTRY_DATA, data);
    mmio_write32(entry + PCI_MSIX_ENTRY_CONTROL, 0);
}

void pci_msix_mask(struct pci_device *device, uint32_t index)
{
    mmio_write32(entry_of(device, index) + PCI_MSIX_ENTRY_CONTROL, PCI_MSIX_ENTRY_MASKED);
}

void pci_msix_disable(struct pci_device *device)
{
    struct pci_msix *msix = &device->msix;
    if (!msix->table)
        return;
    set_control(device, PCI_MSIX_CONTROL_ENABLE, 0);
    mmu_unmap_device(msix->table, msix->count * PCI_MSIX_ENTRY_BYTES);
    *msix = (struct pci_msix){.table = NULL};
}

int pci_msi_enable(struct pci_device *device, const struct irq *irq)
{
    uint8_t msi;
    uint64_t address;
    uint32_t data;
    if (pci_capabilities(device, PCI_CAP_MSI, &msi, 1) == 0)
        return -ENODEV;
    uint16_t control = pci_config_read16(device, msi + PCI_MSI_CONTROL);
    bool is_64bit = control & PCI_MSI_CONTROL_64;
    irq_msi_message(irq, &address, &data);
    assert(address <= UINT32_MAX && data <= UINT16_MAX);
    control &= (uint16_t) ~(PCI_MSI_CONTROL_ENABLE | PCI_MSI_CONTROL_MESSAGES);
    pci_config_write16(device, msi + PCI_MSI_CONTROL, control);
    pci_config_write32(device, msi + PCI_MSI_ADDRESS_LOW, (uint32_t)address);
    if (is_64bit)
        pci_config_write32(device, msi + PCI_MSI_ADDRESS_HIGH, 0);
    pci_config_write16(device, msi + (is_64bit ? PCI_MSI_DATA_64 : PCI_MSI_DATA), (uint16_t)data);
    set_intx(device, false);
    pci_config_write16(device, msi + PCI_MSI_CONTROL, control | PCI_MSI_CONTROL_ENABLE);
    return 0;
}

int pci_intx_attach(struct pci_device *device, irq_handler *handler, void *context, const char *name,
                    struct irq **irq)
{
    uint8_t pin = pci_config_read8(device, PCI_INTERRUPT_PIN);
    uint8_t line = pci_config_read8(device, PCI_INTERRUPT_LINE);
    if (pin < 1 || pin > 4 || line == 0 || line > 15) {
        log_error("pci", "%s: interrupt pin %u has no line (%u)", device->name, pin, line);
        return -ENODEV;
    }
    struct ioapic_line route = ioapic_isa_line(line);
    /* Pins are level-triggered and active low (PCI 3.0, 2.2.6); an override that says level knows better
     * about the polarity, one that says edge speaks of an ISA card. */
    int error = irq_attach_gsi(route.gsi, true, route.is_level ? route.is_active_low : true, handler, context,
                               name, irq);
    if (error == 0)
        set_intx(device, true);
    return error;
}
