/* SPDX-License-Identifier: MIT */
/* The modern PCI transport (virtio 1.2, 4.1): the core's steps as register accesses. Its registers are found
 * by transport_pci_caps.c; interrupts are in transport_pci_irq.c. Probing is here for legacy devices too: one
 * that has both interfaces is driven by the modern one.
 *
 * queue_select makes the common registers stateful; they are touched only in thread context, by the thread
 * that starts or resets the device, one at a time. notify: any context. */
#include <arch/io.h>
#include <arch/mmu.h>
#include <kernel/base/error.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/printf.h>
#include <kernel/thread.h>

#include "transport_modern_internal.h"
#include "transport_pci_internal.h"

#define QUEUE_RESET_WAITS_MAX 1000u

#define COMMON(pci, field) ((pci)->common + offsetof(struct virtio_pci_common_cfg, field))

static uint8_t status_read(struct virtio_device *device)
{
    return mmio_read8(COMMON(virtio_pci_of(device), device_status));
}

static void status_write(struct virtio_device *device, uint8_t status)
{
    mmio_write8(COMMON(virtio_pci_of(device), device_status), status);
}

static uint64_t features_read(struct virtio_device *device)
{
    struct virtio_pci *pci = virtio_pci_of(device);
    mmio_write32(COMMON(pci, device_feature_select), 0);
    uint64_t features = mmio_read32(COMMON(pci, device_feature));
    mmio_write32(COMMON(pci, device_feature_select), 1);
    return features | (uint64_t)mmio_read32(COMMON(pci, device_feature)) << 32;
}

static void features_write(struct virtio_device *device, uint64_t features)
{
    struct virtio_pci *pci = virtio_pci_of(device);
    mmio_write32(COMMON(pci, driver_feature_select), 0);
    mmio_write32(COMMON(pci, driver_feature), (uint32_t)features);
    mmio_write32(COMMON(pci, driver_feature_select), 1);
    mmio_write32(COMMON(pci, driver_feature), (uint32_t)(features >> 32));
}

static uint32_t config_read(struct virtio_device *device, uint32_t offset, uint32_t width)
{
    struct virtio_pci *pci = virtio_pci_of(device);
    if (!pci->config || (uint64_t)offset + width > pci->regions.config.bytes)
        return 0;
    /* In the field's own width (4.1.3.1). */
    switch (width) {
    case 1:
        return mmio_read8(pci->config + offset);
    case 2:
        return mmio_read16(pci->config + offset);
    default:
        return mmio_read32(pci->config + offset);
    }
}

static void config_write(struct virtio_device *device, uint32_t offset, uint32_t width, uint32_t value)
{
    struct virtio_pci *pci = virtio_pci_of(device);
    if (!pci->config || (uint64_t)offset + width > pci->regions.config.bytes)
        return;
    switch (width) {
    case 1:
        mmio_write8(pci->config + offset, (uint8_t)value);
        break;
    case 2:
        mmio_write16(pci->config + offset, (uint16_t)value);
        break;
    default:
        mmio_write32(pci->config + offset, value);
    }
}

static uint32_t config_generation(struct virtio_device *device)
{
    return mmio_read8(COMMON(virtio_pci_of(device), config_generation));
}

static uint32_t queue_size(struct virtio_device *device, uint32_t index)
{
    struct virtio_pci *pci = virtio_pci_of(device);
    if (index >= mmio_read16(COMMON(pci, num_queues)))
        return 0;
    mmio_write16(COMMON(pci, queue_select), (uint16_t)index);
    return mmio_read16(COMMON(pci, queue_size));
}

/* Two halves, as some devices take no 64-bit access (4.1.3.1 allows it). */
static void write_address(volatile uint8_t *at, phys_addr_t address)
{
    mmio_write32(at, (uint32_t)address);
    mmio_write32(at + 4, (uint32_t)(address >> 32));
}

static int queue_enable(struct virtio_device *device, struct virtqueue *queue)
{
    struct virtio_pci *pci = virtio_pci_of(device);
    uint32_t offset, device_size = queue_size(device, queue->config.index);
    uint32_t doorbell_bytes = virtio_has_feature(device, VIRTIO_F_NOTIFICATION_DATA) ? 4 : 2;
    if (device_size < queue->size) {
        log_error(queue->config.name, "the device has %u entries now, not %u", device_size, queue->size);
        return -EIO;
    }
    uint16_t notify_off = mmio_read16(COMMON(pci, queue_notify_off));
    if (!virtio_pci_doorbell_offset(&pci->regions, notify_off, doorbell_bytes, &offset)) {
        log_error(queue->config.name, "its doorbell, %u x %u, does not fit into the notification registers",
                  notify_off, pci->regions.notify_multiplier);
        return -EINVAL;
    }
    queue->doorbell = pci->notify + offset;
    mmio_write16(COMMON(pci, queue_size), queue->size);
    write_address(COMMON(pci, queue_desc), queue->descriptor_area);
    write_address(COMMON(pci, queue_driver), queue->driver_area);
    write_address(COMMON(pci, queue_device), queue->device_area);
    mmio_write16(COMMON(pci, queue_enable), 1);
    return 0;
}

/* 4.1.4.3.2: it reads 1 until the device has done it; then the queue is not enabled. */
static int queue_reset(struct virtio_device *device, struct virtqueue *queue)
{
    struct virtio_pci *pci = virtio_pci_of(device);
    if (pci->regions.common.bytes < offsetof(struct virtio_pci_common_cfg, queue_reset) + sizeof(uint16_t))
        return -EOPNOTSUPP;
    mmio_write16(COMMON(pci, queue_select), queue->config.index);
    mmio_write16(COMMON(pci, queue_reset), 1);
    for (uint32_t waits = 0; mmio_read16(COMMON(pci, queue_reset)) != 0; waits++) {
        if (waits == QUEUE_RESET_WAITS_MAX)
            return -ETIMEDOUT;
        thread_sleep_ns(NSEC_PER_MSEC);
    }
    return mmio_read16(COMMON(pci, queue_enable)) == 0 ? 0 : -EIO;
}

static void notify(struct virtqueue *queue)
{
    mmio_write16(queue->doorbell, queue->config.index);
}

bool virtio_pci_isolate(struct virtio_device *device)
{
    pci_disable_bus_master(virtio_pci_of(device)->pci);
    return true;
}

static const struct virtio_transport_ops ops = {
    .name = "modern PCI",
    .status_read = status_read,
    .status_write = status_write,
    .features_read = features_read,
    .features_write = features_write,
    .config_read = config_read,
    .config_write = config_write,
    .config_generation = config_generation,
    .queue_size = queue_size,
    .interrupts_connect = virtio_pci_interrupts_connect,
    .interrupts_disconnect = virtio_pci_interrupts_disconnect,
    .queue_enable = queue_enable,
    .queue_reset = queue_reset,
    .notify = notify,
    .notify_with_data = virtio_notify_with_data,
    .isolate = virtio_pci_isolate,
    .interrupt_text = virtio_pci_interrupt_text,
};

/* ---- Interrupts -------------------------------------------------------------------------------------- */

static bool set_vector(volatile uint8_t *at, uint16_t entry)
{
    mmio_write16(at, entry);
    return mmio_read16(at) == entry;
}

static bool set_config_vector(struct virtio_pci *pci, uint16_t entry)
{
    return set_vector(COMMON(pci, config_msix_vector), entry);
}

static bool set_queue_vector(struct virtio_pci *pci, uint32_t index, uint16_t entry)
{
    mmio_write16(COMMON(pci, queue_select), (uint16_t)index);
    return set_vector(COMMON(pci, queue_msix_vector), entry);
}

static uint8_t isr_read(struct virtio_pci *pci)
{
    return mmio_read8(pci->isr);
}

static const struct virtio_pci_interrupt_ops interrupt_ops = {set_config_vector, set_queue_vector, isr_read};

/* ---- Probing ---------------------------------------------------------------------------------------- */

/* 0: a type that has no transitional id of its own, or none at all. */
static uint32_t device_type(uint16_t device_id)
{
    if (device_id >= VIRTIO_PCI_DEVICE_MODERN)
        return device_id - VIRTIO_PCI_DEVICE_MODERN;
    switch (device_id) {
    case VIRTIO_PCI_DEVICE_NETWORK:
        return VIRTIO_ID_NETWORK;
    case VIRTIO_PCI_DEVICE_BLOCK:
        return VIRTIO_ID_BLOCK;
    case VIRTIO_PCI_DEVICE_CONSOLE:
        return VIRTIO_ID_CONSOLE;
    case VIRTIO_PCI_DEVICE_ENTROPY:
        return VIRTIO_ID_ENTROPY;
    default:
        return 0;
    }
}

static volatile uint8_t *map_region(const struct virtio_pci *pci, const struct virtio_pci_region *region)
{
    return pci_map_bar(pci->pci, region->bar, region->offset, region->bytes);
}

static void unmap_region(volatile uint8_t *registers, const struct virtio_pci_region *region)
{
    if (registers)
        mmu_unmap_device(registers, region->bytes);
}

/* Also half mapped, or one without regions. */
static void unmap_regions(struct virtio_pci *pci)
{
    unmap_region(pci->common, &pci->regions.common);
    unmap_region(pci->notify, &pci->regions.notify);
    unmap_region(pci->isr, &pci->regions.isr);
    unmap_region(pci->config, &pci->regions.config);
}

static int map_regions(struct virtio_pci *pci)
{
    const struct virtio_pci_regions *regions = &pci->regions;
    pci->common = map_region(pci, &regions->common);
    pci->notify = map_region(pci, &regions->notify);
    pci->isr = map_region(pci, &regions->isr);
    if (regions->config.bytes > 0)
        pci->config = map_region(pci, &regions->config);
    return pci->common && pci->notify && pci->isr ? 0 : -ENOMEM;
}

int virtio_pci_add(struct virtio_pci *pci, const struct virtio_transport_ops *transport)
{
    struct virtio_device *device = &pci->device;
    device->transport = transport;
    device->type = device_type(pci->pci->device_id);
    snprintf(device->where, sizeof(device->where), "%s %s", transport->name, pci->pci->name);
    pci->pci->driver_data = pci;
    pci->pci->driver_note = transport->name;
    pci_enable(pci->pci);
    return virtio_device_add(device);
}

static int start_modern(struct virtio_pci *pci)
{
    int error = map_regions(pci);
    if (error)
        return error;
    pci->interrupt_ops = &interrupt_ops;
    return virtio_pci_add(pci, &ops);
}

static int start(struct virtio_pci *pci)
{
    int error = virtio_pci_find_regions(pci->pci, &pci->regions);
    if (error == -ENODEV)
        return virtio_pci_legacy_start(pci);
    return error ? error : start_modern(pci);
}

static void forget(struct virtio_pci *pci)
{
    pci->pci->driver_data = NULL;
    pci->pci->driver_note = NULL;
    pci_disable_bus_master(pci->pci);
    unmap_regions(pci);
    heap_free(pci);
}

static int probe(struct pci_device *device)
{
    struct virtio_pci *pci = heap_alloc_zeroed(sizeof(*pci));
    if (!pci)
        return -ENOMEM;
    pci->pci = device;
    int error = start(pci);
    if (error) {
        forget(pci);
        return error;
    }
    device->is_fixed = !pci->device.driver->remove;
    return 0;
}

static void remove_device(struct pci_device *device)
{
    struct virtio_pci *pci = device->driver_data;
    virtio_device_remove(&pci->device);
    forget(pci);
}

static const struct pci_driver virtio_pci_driver = {
    .name = "virtio",
    .vendor_id = VIRTIO_PCI_VENDOR,
    .device_id_first = VIRTIO_PCI_DEVICE_FIRST,
    .device_id_last = VIRTIO_PCI_DEVICE_LAST,
    .probe = probe,
    .remove = remove_device,
};
PCI_DRIVER(virtio_pci_driver);
