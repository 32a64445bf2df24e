/* SPDX-License-Identifier: MIT */
/* The PCI transports' files: transport_pci.c (the modern ops, and probing), transport_pci_caps.c (where the
 * modern registers are), transport_pci_legacy.c (the legacy ops), transport_pci_irq.c (interrupts of both).
 */
#ifndef TRANSPORT_PCI_INTERNAL_H
#define TRANSPORT_PCI_INTERNAL_H

#include <drivers/pci/pci.h>
#include <drivers/virtio/transport_pci_spec.h>
#include <drivers/virtio/virtio.h>

/* One structure of registers inside a BAR; bytes 0: the device has none. */
struct virtio_pci_region {
    uint8_t bar;
    uint32_t offset, bytes;
};

struct virtio_pci_regions {
    struct virtio_pci_region common, notify, isr, config;
    uint32_t notify_multiplier;
};

/* How the device interrupts, best first. */
enum virtio_pci_interrupts {
    VIRTIO_PCI_NOT_CONNECTED,
    VIRTIO_PCI_VECTOR_EACH,   /* MSI-X: one for the configuration, one a queue */
    VIRTIO_PCI_VECTOR_QUEUES, /* MSI-X: one for the configuration, one for all queues */
    VIRTIO_PCI_VECTOR_SHARED, /* MSI-X: one for everything */
    VIRTIO_PCI_PIN,           /* INTx */
};

struct virtio_pci;

/* The registers of interrupts, which the interfaces have in different places. */
struct virtio_pci_interrupt_ops {
    /* Names the MSI-X entry of the configuration, or of queue `index`. False: it read back as another, which
     * is how a device says that it has no room (4.1.5.1.2). */
    bool (*set_config_vector)(struct virtio_pci *pci, uint16_t entry);
    bool (*set_queue_vector)(struct virtio_pci *pci, uint32_t index, uint16_t entry);
    uint8_t (*isr_read)(struct virtio_pci *pci); /* acknowledges, and lowers the pin's line (4.1.5.3) */
};

/* Lock legend: I constant after probing; i written by virtio_pci_interrupts_connect while the device is not
 * ready, read by interrupt handlers. */
struct virtio_pci {
    struct virtio_device device;
    struct pci_device *pci;                               /* I */
    const struct virtio_pci_interrupt_ops *interrupt_ops; /* I */
    struct virtio_pci_regions regions;                    /* I: modern */
    volatile uint8_t *common, *notify, *isr, *config;     /* I: modern: mapped; config may be NULL */
    uint16_t port;                                        /* I: legacy: the first of BAR 0 */
    enum virtio_pci_interrupts interrupts;                /* i */
    struct irq *irqs[VIRTQUEUES_MAX + 1];                 /* i: [0] configuration (or all), [1 + n] queue n */
    uint32_t generation_seen;                             /* i: then the shared handler's */
    uint64_t pin_not_ours;                                /* a: pin interrupts of a neighbour on the line */
};

static inline struct virtio_pci *virtio_pci_of(struct virtio_device *device)
{
    return container_of(device, struct virtio_pci, device);
}

/* The device's registers are known: hands it to the core. */
must_check int virtio_pci_add(struct virtio_pci *pci, const struct virtio_transport_ops *ops);
/* The same for one without a modern interface; -ENODEV, -EINVAL after one line when it has no legacy one. */
must_check int virtio_pci_legacy_start(struct virtio_pci *pci);

/* Reads the device's capabilities. 0; -ENODEV: no modern interface; -EINVAL: one that cannot be used, in one
 * log line. */
must_check int virtio_pci_find_regions(const struct pci_device *pci, struct virtio_pci_regions *regions);
/* The offset of a queue's doorbell, of `bytes`, in the notify region; false when it is not inside, or not
 * aligned. */
bool virtio_pci_doorbell_offset(const struct virtio_pci_regions *regions, uint16_t queue_notify_off,
                                uint32_t bytes, uint32_t *offset);

/* transport ops, see there. */
int virtio_pci_interrupts_connect(struct virtio_device *device);
void virtio_pci_interrupts_disconnect(struct virtio_device *device);
void virtio_pci_interrupt_text(const struct virtqueue *queue, char *text, size_t bytes);
bool virtio_pci_isolate(struct virtio_device *device);

#endif
