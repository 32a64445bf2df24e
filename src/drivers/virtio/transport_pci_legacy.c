/* SPDX-License-Identifier: MIT */
/* The legacy PCI transport (virtio 1.2, 4.1.4.8): registers in the ports of BAR 0, for devices that have no
 * modern ones.
 *
 *      0 device features    8 queue address (page)   16 queue notify    20 configuration, or with MSI-X on:
 *      4 driver features   12 queue size (fixed)     18 status          20 its vector   22 the queue's vector
 *                          14 queue select           19 interrupts      24 configuration
 *
 * Contexts as in transport_pci.c. */
#include <arch/io.h>
#include <kernel/base/error.h>
#include <kernel/log.h>
#include <kernel/printf.h>

#include "transport_legacy_internal.h"
#include "transport_pci_internal.h"

#define BAR                 0u
#define PORT(legacy, field) ((uint16_t)((legacy)->port + offsetof(struct virtio_pci_legacy, field)))
#define CONFIG_WITHOUT_MSIX offsetof(struct virtio_pci_legacy, config_msix_vector)
#define CONFIG_WITH_MSIX    sizeof(struct virtio_pci_legacy)

static uint8_t status_read(struct virtio_device *device)
{
    return port_read8(PORT(virtio_pci_of(device), device_status));
}

static void status_write(struct virtio_device *device, uint8_t status)
{
    port_write8(PORT(virtio_pci_of(device), device_status), status);
}

static uint64_t features_read(struct virtio_device *device)
{
    return port_read32(PORT(virtio_pci_of(device), device_features));
}

static void features_write(struct virtio_device *device, uint64_t features)
{
    assert(features <= UINT32_MAX);
    port_write32(PORT(virtio_pci_of(device), driver_features), (uint32_t)features);
}

/* The port of a field; false past the end. */
static bool config_port(const struct virtio_pci *pci, uint32_t offset, uint32_t width, uint16_t *port)
{
    uint64_t at = (uint64_t)offset + (pci->pci->msix.table ? CONFIG_WITH_MSIX : CONFIG_WITHOUT_MSIX);
    *port = (uint16_t)(pci->port + at);
    return at + width <= pci->pci->bars[BAR].bytes;
}

static uint32_t config_read(struct virtio_device *device, uint32_t offset, uint32_t width)
{
    uint16_t port;
    if (!config_port(virtio_pci_of(device), offset, width, &port))
        return 0;
    switch (width) {
    case 1:
        return port_read8(port);
    case 2:
        return port_read16(port);
    default:
        return port_read32(port);
    }
}

static void config_write(struct virtio_device *device, uint32_t offset, uint32_t width, uint32_t value)
{
    uint16_t port;
    if (!config_port(virtio_pci_of(device), offset, width, &port))
        return;
    switch (width) {
    case 1:
        port_write8(port, (uint8_t)value);
        break;
    case 2:
        port_write16(port, (uint16_t)value);
        break;
    default:
        port_write32(port, value);
    }
}

static uint32_t queue_size(struct virtio_device *device, uint32_t index)
{
    struct virtio_pci *pci = virtio_pci_of(device);
    port_write16(PORT(pci, queue_select), (uint16_t)index);
    return port_read16(PORT(pci, queue_size));
}

static int queue_enable(struct virtio_device *device, struct virtqueue *queue)
{
    struct virtio_pci *pci = virtio_pci_of(device);
    uint32_t page, device_size = queue_size(device, queue->config.index);
    int error = virtio_legacy_page(queue, &page);
    if (error)
        return error;
    if (device_size != queue->size || port_read32(PORT(pci, queue_address)) != 0) {
        log_error(queue->config.name, "the device has %u entries now, not %u, or did not forget the old ones",
                  device_size, queue->size);
        return -EIO;
    }
    port_write32(PORT(pci, queue_address), page);
    return 0;
}

static void notify(struct virtqueue *queue)
{
    port_write16(PORT(virtio_pci_of(queue->device), queue_notify), queue->config.index);
}

static const struct virtio_transport_ops ops = {
    .name = "legacy PCI",
    .is_legacy = true,
    .is_queue_size_fixed = true,
    .status_read = status_read,
    .status_write = status_write,
    .features_read = features_read,
    .features_write = features_write,
    .config_read = config_read,
    .config_write = config_write,
    .queue_size = queue_size,
    .interrupts_connect = virtio_pci_interrupts_connect,
    .interrupts_disconnect = virtio_pci_interrupts_disconnect,
    .queue_enable = queue_enable,
    .notify = notify,
    .isolate = virtio_pci_isolate,
    .interrupt_text = virtio_pci_interrupt_text,
};

/* ---- Interrupts -------------------------------------------------------------------------------------- */

static bool set_config_vector(struct virtio_pci *pci, uint16_t entry)
{
    port_write16(PORT(pci, config_msix_vector), entry);
    return port_read16(PORT(pci, config_msix_vector)) == entry;
}

static bool set_queue_vector(struct virtio_pci *pci, uint32_t index, uint16_t entry)
{
    port_write16(PORT(pci, queue_select), (uint16_t)index);
    port_write16(PORT(pci, queue_msix_vector), entry);
    return port_read16(PORT(pci, queue_msix_vector)) == entry;
}

static uint8_t isr_read(struct virtio_pci *pci)
{
    return port_read8(PORT(pci, isr_status));
}

static const struct virtio_pci_interrupt_ops interrupt_ops = {set_config_vector, set_queue_vector, isr_read};

/* ---- Probing ----------------------------------------------------------------------------------------- */

int virtio_pci_legacy_start(struct virtio_pci *pci)
{
    /* 4.1.2.3: what is legacy has an id of its own and revision 0. */
    if (pci->pci->device_id >= VIRTIO_PCI_DEVICE_MODERN || pci->pci->revision != 0) {
        log_error("virtio", "%s: neither modern registers nor a legacy device", pci->pci->name);
        return -ENODEV;
    }
    if (!pci_bar_ports(pci->pci, BAR, CONFIG_WITH_MSIX, &pci->port)) {
        log_error("virtio", "%s: no legacy registers: BAR %u has not %zu ports that firmware placed",
                  pci->pci->name, BAR, CONFIG_WITH_MSIX);
        return -EINVAL;
    }
    pci->interrupt_ops = &interrupt_ops;
    pci_enable_ports(pci->pci);
    return virtio_pci_add(pci, &ops);
}
