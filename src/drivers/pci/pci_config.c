/* SPDX-License-Identifier: MIT */
/* Access to configuration space: ECAM (PCI Express 5.0, 7.2.2) through a window that is mapped a bus at a
 * time, or mechanism #1, ports 0xcf8 and 0xcfc (PCI 3.0, 3.2.2.3.2), which reaches 256 bytes of segment 0.
 * Any context. The port pair is one register for the whole machine: ports_lock, which nests in nothing. */
#include <arch/io.h>
#include <drivers/pci/pci.h>
#include <kernel/base/assert.h>
#include <kernel/spinlock.h>

#define PCI_PORT_ADDRESS 0xcf8
#define PCI_PORT_DATA    0xcfc
#define PCI_PORT_ENABLE  0x80000000u

#define PCI_PORT_SPACE_BYTES 256u
#define PCI_ECAM_SPACE_BYTES 4096u

static struct spinlock ports_lock = SPINLOCK_INIT("pci_ports");

static bool is_inside(const struct pci_device *device, uint32_t offset, uint32_t width)
{
    assert(offset % width == 0);
    return offset + width <= (device->ecam ? PCI_ECAM_SPACE_BYTES : PCI_PORT_SPACE_BYTES);
}

/* Selects the register's dword and returns the data port of its first byte. */
static uint16_t select_port(const struct pci_device *device, uint32_t offset)
{
    assert_spin_locked(&ports_lock);
    port_write32(PCI_PORT_ADDRESS, PCI_PORT_ENABLE | (uint32_t)device->bus << 16 |
                                       (uint32_t)device->slot << 11 | (uint32_t)device->function << 8 |
                                       (offset & ~3u));
    return (uint16_t)(PCI_PORT_DATA + (offset & 3));
}

#define PCI_DEFINE_READ(width)                                                               \
    uint##width##_t pci_config_read##width(const struct pci_device *device, uint32_t offset) \
    {                                                                                        \
        if (!is_inside(device, offset, (width) / 8))                                         \
            return (uint##width##_t) ~0ull;                                                  \
        if (device->ecam)                                                                    \
            return mmio_read##width(device->ecam + offset);                                  \
        SPIN_SCOPED_IRQ(&ports_lock);                                                        \
        return port_read##width(select_port(device, offset));                                \
    }
PCI_DEFINE_READ(8)
PCI_DEFINE_READ(16)
PCI_DEFINE_READ(32)

#define PCI_DEFINE_WRITE(width)                                                                           \
    void pci_config_write##width(const struct pci_device *device, uint32_t offset, uint##width##_t value) \
    {                                                                                                     \
        if (!is_inside(device, offset, (width) / 8))                                                      \
            return;                                                                                       \
        if (device->ecam) {                                                                               \
            mmio_write##width(device->ecam + offset, value);                                              \
            return;                                                                                       \
        }                                                                                                 \
        SPIN_SCOPED_IRQ(&ports_lock);                                                                     \
        port_write##width(select_port(device, offset), value);                                            \
    }
PCI_DEFINE_WRITE(8)
PCI_DEFINE_WRITE(16)
PCI_DEFINE_WRITE(32)
