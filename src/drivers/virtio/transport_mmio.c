/* SPDX-License-Identifier: MIT */
/* The mmio transport (virtio 1.2, 4.2): the core's steps as accesses to one window of registers. Version 2 is
 * the modern interface; version 1 the legacy one (4.2.4), which differs in how a queue is set up, and in
 * what the core knows of legacy devices. One level-triggered line a device, for all its interrupts.
 *
 * The selectors make registers stateful; they are touched only in thread context, by the thread that starts
 * or resets the device. notify and the interrupt: any context. */
#include <arch/io.h>
#include <arch/mmu.h>
#include <kernel/base/error.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/printf.h>

#include "transport_legacy_internal.h"
#include "transport_mmio_internal.h"
#include "transport_modern_internal.h"

/* Lock legend: I constant after probing; i written while the device is not ready. */
struct virtio_mmio {
    struct virtio_device device;
    struct virtio_mmio_slot slot; /* I */
    volatile uint8_t *registers;  /* I: mapped */
    struct irq *irq;              /* i */
};

static struct virtio_mmio *mmio_of(struct virtio_device *device)
{
    return container_of(device, struct virtio_mmio, device);
}

static uint32_t read32(struct virtio_device *device, enum virtio_mmio_register reg)
{
    return mmio_read32(mmio_of(device)->registers + reg);
}

static void write32(struct virtio_device *device, enum virtio_mmio_register reg, uint32_t value)
{
    mmio_write32(mmio_of(device)->registers + reg, value);
}

/* ---- Both interfaces --------------------------------------------------------------------------------- */

/* The register has 32 bits; a status beyond 8 of them is none, and not 0. */
static uint8_t status_read(struct virtio_device *device)
{
    return (uint8_t)MIN(read32(device, VIRTIO_MMIO_STATUS), 0xffu);
}

static void status_write(struct virtio_device *device, uint8_t status)
{
    write32(device, VIRTIO_MMIO_STATUS, status);
}

static uint32_t device_features(struct virtio_device *device, uint32_t half)
{
    write32(device, VIRTIO_MMIO_DEVICE_FEATURES_SEL, half);
    return read32(device, VIRTIO_MMIO_DEVICE_FEATURES);
}

static void driver_features(struct virtio_device *device, uint32_t half, uint32_t features)
{
    write32(device, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
    write32(device, VIRTIO_MMIO_DRIVER_FEATURES, features);
}

static uint32_t config_read(struct virtio_device *device, uint32_t offset, uint32_t width)
{
    struct virtio_mmio *mmio = mmio_of(device);
    uint64_t at = (uint64_t)VIRTIO_MMIO_CONFIG + offset;
    if (at + width > mmio->slot.bytes)
        return 0;
    /* In the field's own width (4.2.2.2). */
    switch (width) {
    case 1:
        return mmio_read8(mmio->registers + at);
    case 2:
        return mmio_read16(mmio->registers + at);
    default:
        return mmio_read32(mmio->registers + at);
    }
}

static void config_write(struct virtio_device *device, uint32_t offset, uint32_t width, uint32_t value)
{
    struct virtio_mmio *mmio = mmio_of(device);
    uint64_t at = (uint64_t)VIRTIO_MMIO_CONFIG + offset;
    if (at + width > mmio->slot.bytes)
        return;
    switch (width) {
    case 1:
        mmio_write8(mmio->registers + at, (uint8_t)value);
        break;
    case 2:
        mmio_write16(mmio->registers + at, (uint16_t)value);
        break;
    default:
        mmio_write32(mmio->registers + at, value);
    }
}

static uint32_t queue_size(struct virtio_device *device, uint32_t index)
{
    write32(device, VIRTIO_MMIO_QUEUE_SEL, index);
    return read32(device, VIRTIO_MMIO_QUEUE_NUM_MAX);
}

/* Selects the queue, which the device must not have in use already, and tells its size. */
static int select_queue(struct virtqueue *queue, enum virtio_mmio_register in_use)
{
    struct virtio_device *device = queue->device;
    uint32_t device_size = queue_size(device, queue->config.index);
    if (device_size < queue->size || read32(device, in_use) != 0) {
        log_error(queue->config.name, "the device has %u entries now, not %u, or did not forget the old ones",
                  device_size, queue->size);
        return -EIO;
    }
    queue->doorbell = mmio_of(device)->registers + VIRTIO_MMIO_QUEUE_NOTIFY;
    write32(device, VIRTIO_MMIO_QUEUE_NUM, queue->size);
    return 0;
}

static void notify(struct virtqueue *queue)
{
    mmio_write32(queue->doorbell, queue->config.index);
}

/* Only the device itself could stop its DMA. */
static bool isolate(struct virtio_device *device)
{
    return false;
}

/* ---- The interrupt ----------------------------------------------------------------------------------- */

static bool interrupt(void *context)
{
    struct virtio_device *device = context;
    uint32_t status = read32(device, VIRTIO_MMIO_INTERRUPT_STATUS);
    if (status == 0)
        return false;
    /* Acknowledged before the queues are drained, and never after: what completes meanwhile raises the line
     * again. */
    write32(device, VIRTIO_MMIO_INTERRUPT_ACK, status);
    if (status & VIRTIO_MMIO_INTERRUPT_CONFIG)
        device->driver->config_changed(device);
    for (uint32_t i = 0; status & VIRTIO_MMIO_INTERRUPT_QUEUE && i < device->queue_count; i++)
        device->queues[i]->config.interrupt(device->queues[i]);
    return true;
}

static int interrupts_connect(struct virtio_device *device)
{
    struct virtio_mmio *mmio = mmio_of(device);
    if (mmio->irq)
        return 0; /* no reset undoes it */
    int error = irq_attach_gsi(mmio->slot.gsi, true, false, interrupt, device, device->name, &mmio->irq);
    for (uint32_t i = 0; error == 0 && i < device->queue_count; i++)
        device->queues[i]->irq = mmio->irq;
    return error;
}

static void interrupts_disconnect(struct virtio_device *device)
{
    struct virtio_mmio *mmio = mmio_of(device);
    if (mmio->irq)
        irq_free(mmio->irq);
    mmio->irq = NULL;
    for (uint32_t i = 0; i < device->queue_count; i++)
        device->queues[i]->irq = NULL;
}

static void interrupt_text(const struct virtqueue *queue, char *text, size_t bytes)
{
    if (queue->irq)
        snprintf(text, bytes, "line vector %u on CPU %u", irq_vector(queue->irq), irq_cpu(queue->irq));
    else
        snprintf(text, bytes, "no interrupt");
}

/* ---- Modern ------------------------------------------------------------------------------------------ */

static uint64_t modern_features_read(struct virtio_device *device)
{
    uint64_t low = device_features(device, 0);
    return low | (uint64_t)device_features(device, 1) << 32;
}

static void modern_features_write(struct virtio_device *device, uint64_t features)
{
    driver_features(device, 0, (uint32_t)features);
    driver_features(device, 1, (uint32_t)(features >> 32));
}

static uint32_t modern_config_generation(struct virtio_device *device)
{
    return read32(device, VIRTIO_MMIO_CONFIG_GENERATION);
}

static void write_address(struct virtio_device *device, enum virtio_mmio_register low, phys_addr_t address)
{
    write32(device, low, (uint32_t)address);
    write32(device, low + 4, (uint32_t)(address >> 32));
}

static int modern_queue_enable(struct virtio_device *device, struct virtqueue *queue)
{
    int error = select_queue(queue, VIRTIO_MMIO_QUEUE_READY);
    if (error)
        return error;
    write_address(device, VIRTIO_MMIO_QUEUE_DESC_LOW, queue->descriptor_area);
    write_address(device, VIRTIO_MMIO_QUEUE_DRIVER_LOW, queue->driver_area);
    write_address(device, VIRTIO_MMIO_QUEUE_DEVICE_LOW, queue->device_area);
    write32(device, VIRTIO_MMIO_QUEUE_READY, 1);
    return 0;
}

static const struct virtio_transport_ops modern_ops = {
    .name = "modern mmio",
    .status_read = status_read,
    .status_write = status_write,
    .features_read = modern_features_read,
    .features_write = modern_features_write,
    .config_read = config_read,
    .config_write = config_write,
    .config_generation = modern_config_generation,
    .queue_size = queue_size,
    .interrupts_connect = interrupts_connect,
    .interrupts_disconnect = interrupts_disconnect,
    .queue_enable = modern_queue_enable,
    .notify = notify,
    .notify_with_data = virtio_notify_with_data,
    .isolate = isolate,
    .interrupt_text = interrupt_text,
};

/* ---- Legacy ------------------------------------------------------------------------------------------ */

static uint64_t legacy_features_read(struct virtio_device *device)
{
    return device_features(device, 0);
}

static void legacy_features_write(struct virtio_device *device, uint64_t features)
{
    assert(features <= UINT32_MAX);
    driver_features(device, 0, (uint32_t)features);
}

static int legacy_queue_enable(struct virtio_device *device, struct virtqueue *queue)
{
    uint32_t page;
    int error = virtio_legacy_page(queue, &page);
    if (error == 0)
        error = select_queue(queue, VIRTIO_MMIO_QUEUE_PFN);
    if (error)
        return error;
    /* The unit of the page number; of the device, not of the queue, but a reset may have forgotten it. */
    write32(device, VIRTIO_MMIO_GUEST_PAGE_SIZE, VIRTQ_LEGACY_ALIGN);
    write32(device, VIRTIO_MMIO_QUEUE_ALIGN, VIRTQ_LEGACY_ALIGN);
    write32(device, VIRTIO_MMIO_QUEUE_PFN, page);
    return 0;
}

static const struct virtio_transport_ops legacy_ops = {
    .name = "legacy mmio",
    .is_legacy = true,
    .status_read = status_read,
    .status_write = status_write,
    .features_read = legacy_features_read,
    .features_write = legacy_features_write,
    .config_read = config_read,
    .config_write = config_write,
    .queue_size = queue_size,
    .interrupts_connect = interrupts_connect,
    .interrupts_disconnect = interrupts_disconnect,
    .queue_enable = legacy_queue_enable,
    .notify = notify,
    .isolate = isolate,
    .interrupt_text = interrupt_text,
};

/* ---- Probing ----------------------------------------------------------------------------------------- */

/* Which interface the registers are; see virtio_mmio_add. */
static int identify(const volatile uint8_t *registers, const struct virtio_mmio_slot *slot, bool is_a_guess,
                    const struct virtio_transport_ops **ops)
{
    unsigned long long address = slot->address;
    uint32_t magic = mmio_read32(registers + VIRTIO_MMIO_MAGIC_VALUE);
    if (magic != VIRTIO_MMIO_MAGIC) {
        if (!is_a_guess)
            log_error("virtio", "mmio 0x%llx: no virtio device there: magic 0x%08x", address, magic);
        return -ENXIO;
    }
    uint32_t version = mmio_read32(registers + VIRTIO_MMIO_VERSION);
    if (version != VIRTIO_MMIO_VERSION_LEGACY && version != VIRTIO_MMIO_VERSION_MODERN) {
        log_error("virtio", "mmio 0x%llx: version %u is neither 1 nor 2", address, version);
        return -EINVAL;
    }
    *ops = version == VIRTIO_MMIO_VERSION_LEGACY ? &legacy_ops : &modern_ops;
    if (mmio_read32(registers + VIRTIO_MMIO_DEVICE_ID) != 0)
        return 0;
    if (!is_a_guess)
        log_warning("virtio", "mmio 0x%llx: an empty slot", address);
    return -ENODEV;
}

static int start(const struct virtio_mmio_slot *slot, volatile uint8_t *registers,
                 const struct virtio_transport_ops *ops)
{
    struct virtio_mmio *mmio = heap_alloc_zeroed(sizeof(*mmio));
    if (!mmio)
        return -ENOMEM;
    mmio->slot = *slot;
    mmio->registers = registers;
    mmio->device.transport = ops;
    mmio->device.type = mmio_read32(registers + VIRTIO_MMIO_DEVICE_ID);
    snprintf(mmio->device.where, sizeof(mmio->device.where), "%s 0x%llx, GSI %u", ops->name,
             (unsigned long long)slot->address, slot->gsi);
    /* A device that failed keeps its memory and stays mapped, as on PCI. */
    return virtio_device_add(&mmio->device);
}

int virtio_mmio_add(const struct virtio_mmio_slot *slot, bool is_a_guess)
{
    const struct virtio_transport_ops *ops;
    volatile uint8_t *registers = mmu_map_device(slot->address, slot->bytes);
    if (!registers) {
        log_error("virtio", "mmio 0x%llx cannot be mapped", (unsigned long long)slot->address);
        return -ENOMEM;
    }
    int error = identify(registers, slot, is_a_guess, &ops);
    if (error == 0)
        return start(slot, registers, ops);
    mmu_unmap_device(registers, slot->bytes);
    return error;
}
