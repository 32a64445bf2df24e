/* SPDX-License-Identifier: MIT */
/* The shell's `lspci`. Thread context. */
#include <drivers/pci/pci.h>
#include <kernel/shell.h>

static const char *class_name(const struct pci_device *device)
{
    static const struct {
        uint16_t code;
        const char *name;
    } names[] = {
        {0x00ff, "unclassified"},    {0x0100, "SCSI controller"},
        {0x0101, "IDE controller"},  {0x0106, "SATA controller"},
        {0x0108, "NVMe controller"}, {0x0180, "storage"},
        {0x0200, "Ethernet"},        {0x0300, "VGA"},
        {0x0600, "host bridge"},     {0x0601, "ISA bridge"},
        {0x0604, "PCI bridge"},      {0x0680, "bridge"},
        {0x0780, "communication"},   {0x0c03, "USB"},
        {0x0c05, "SMBus"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (names[i].code == (device->class_code << 8 | device->subclass))
            return names[i].name;
    }
    return "device";
}

static void print_details(const struct pci_device *device)
{
    console_printf("    subsystem %04x:%04x, revision %u, command 0x%04x, status 0x%04x, line %u\n",
                   device->subsystem_vendor_id, device->subsystem_id, device->revision,
                   pci_config_read16(device, PCI_COMMAND), pci_config_read16(device, PCI_STATUS),
                   pci_config_read8(device, PCI_INTERRUPT_LINE));
    for (uint32_t i = 0; i < PCI_BAR_COUNT; i++) {
        const struct pci_bar *bar = &device->bars[i];
        if (bar->bytes > 0)
            console_printf("    BAR %u: %s 0x%llx, %llu bytes%s\n", i, bar->is_port ? "port" : "memory",
                           (unsigned long long)bar->address, (unsigned long long)bar->bytes,
                           bar->is_64bit ? ", 64-bit" : "");
    }
    if (device->msix.table)
        console_printf("    MSI-X on, %u entries\n", device->msix.count);
}

static int lspci_command(int argc, char **argv)
{
    bool is_verbose = shell_flag(argc, argv, "-v");
    MUTEX_SCOPED(&pci_mutex);
    const struct pci_device *device;
    for (uint32_t i = 0; (device = pci_device_at(i)) != NULL; i++) {
        console_printf("%s %04x:%04x class %02x%02x %s", device->name, device->vendor_id, device->device_id,
                       device->class_code, device->subclass, class_name(device));
        if (device->driver)
            console_printf(", driver %s%s%s", device->driver->name, device->driver_note ? ", " : "",
                           device->driver_note ? device->driver_note : "");
        console_printf("\n");
        if (is_verbose)
            print_details(device);
    }
    return 0;
}

SHELL_COMMAND(lspci, "lspci [-v]", "list PCI functions", lspci_command, "-v: with BARs and MSI-X\n");
