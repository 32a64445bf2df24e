/* SPDX-License-Identifier: MIT */
/* PCI on the machine that the kernel runs on. What a hostile device may say is tested on the host. */
#include <drivers/pci/pci.h>
#include <kernel/test.h>

/* Both ways into configuration space lead to the same functions. */
KTEST(pci_config_ways_agree, KTEST_FAST)
{
    MUTEX_SCOPED(&pci_mutex);
    struct pci_device *device;
    for (uint32_t i = 0; (device = pci_device_at(i)) != NULL; i++) {
        struct pci_device by_port = *device;
        by_port.ecam = NULL;
        if (device->segment != 0)
            continue;
        for (uint32_t offset = 0; offset < 256; offset += 4) {
            /* Identity only: status and the like may change between two reads. */
            if (offset == PCI_VENDOR_ID || offset == PCI_REVISION || offset == PCI_SUBSYSTEM_VENDOR_ID)
                ktest_expect_equal(pci_config_read32(&by_port, offset), pci_config_read32(device, offset));
        }
        ktest_expect_equal(pci_config_read8(device, PCI_VENDOR_ID + 1), device->vendor_id >> 8);
        ktest_expect_equal(pci_config_read8(device, 4096), 0xff);
        ktest_expect_equal(pci_config_read32(&by_port, 256), 0xffffffff);
    }
}

KTEST(pci_addresses_are_distinct, KTEST_FAST)
{
    MUTEX_SCOPED(&pci_mutex);
    struct pci_device *a, *b;
    for (uint32_t i = 0; (a = pci_device_at(i)) != NULL; i++) {
        ktest_expect(a->vendor_id != 0xffff && a->slot < 32 && a->function < 8);
        for (uint32_t j = i + 1; (b = pci_device_at(j)) != NULL; j++)
            ktest_expect(a->segment != b->segment || a->bus != b->bus || a->slot != b->slot ||
                         a->function != b->function);
    }
}

/* With MSI-X on, the function is not masked, may write its messages, and does not use its pin. */
KTEST(pci_msix_is_open, KTEST_FAST)
{
    MUTEX_SCOPED(&pci_mutex);
    struct pci_device *device;
    for (uint32_t i = 0; (device = pci_device_at(i)) != NULL; i++) {
        if (!device->msix.table)
            continue;
        uint16_t control = pci_config_read16(device, device->msix.capability + PCI_MSIX_CONTROL);
        uint16_t command = pci_config_read16(device, PCI_COMMAND);
        ktest_expect_equal(control & (PCI_MSIX_CONTROL_ENABLE | PCI_MSIX_CONTROL_MASK),
                           PCI_MSIX_CONTROL_ENABLE);
        ktest_expect(command & PCI_COMMAND_BUS_MASTER);
        ktest_expect(command & PCI_COMMAND_MEMORY);
        ktest_expect(command & PCI_COMMAND_INTX_DISABLE);
    }
}
