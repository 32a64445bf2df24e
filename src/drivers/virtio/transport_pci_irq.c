/* SPDX-License-Identifier: MIT */
/* Interrupts of a PCI device, the best way that works, tried in this order (virtio 1.2, 4.1.5.1):
 *
 *     1 MSI-X, a vector a queue and one for the configuration    vectors >= queues + 1
 *     2 MSI-X, one for all queues and one for the configuration  vectors >= 2
 *     3 MSI-X, one for everything                                vectors >= 1, modern
 *     4 the interrupt pin, shared with whoever else is on its line
 *
 * A grade works only if the device answers with the vector it was given, not with NO_VECTOR. Once chosen it
 * is kept, and only told to the device again after each reset. Vectors of queue n go to CPU n.
 *
 * Connecting: thread context. Handlers: interrupt context; they take no lock here. */
#include <arch/cpu.h>
#include <kernel/base/error.h>
#include <kernel/log.h>
#include <kernel/printf.h>

#include "transport_pci_internal.h"

/* ---- Handlers --------------------------------------------------------------------------------------- */

static void queues_interrupt(struct virtio_pci *pci)
{
    for (uint32_t i = 0; i < pci->device.queue_count; i++) {
        struct virtqueue *queue = pci->device.queues[i];
        queue->config.interrupt(queue);
    }
}

static bool config_vector(void *context)
{
    struct virtio_pci *pci = context;
    pci->device.driver->config_changed(&pci->device);
    return true;
}

static bool queues_vector(void *context)
{
    queues_interrupt(context);
    return true;
}

static uint32_t generation_of(struct virtio_pci *pci)
{
    return pci->device.transport->config_generation(&pci->device);
}

/* The interrupt status register says nothing reliable with MSI-X, so the generation tells whether the
 * configuration changed; that a device needs a reset does not count as a change, and is seen in its status.
 */
static bool shared_vector(void *context)
{
    struct virtio_pci *pci = context;
    uint32_t generation = generation_of(pci);
    bool is_changed = generation != pci->generation_seen;
    pci->generation_seen = generation;
    if (is_changed || virtio_device_needs_reset(&pci->device))
        pci->device.driver->config_changed(&pci->device);
    queues_interrupt(pci);
    return true;
}

static bool pin_interrupt(void *context)
{
    struct virtio_pci *pci = context;
    /* Before the queues are drained, so that what comes meanwhile raises the line again. */
    uint8_t status = pci->interrupt_ops->isr_read(pci);
    if (status == 0) {
        __atomic_fetch_add(&pci->pin_not_ours, 1, __ATOMIC_RELAXED);
        return false;
    }
    if (status & VIRTIO_PCI_ISR_CONFIG)
        pci->device.driver->config_changed(&pci->device);
    if (status & VIRTIO_PCI_ISR_QUEUE)
        queues_interrupt(pci);
    return true;
}

/* ---- Telling the device ----------------------------------------------------------------------------- */

/* Queue n's MSI-X entry in each grade; the configuration always has entry 0. */
static uint32_t entry_of_queue(enum virtio_pci_interrupts grade, uint32_t index)
{
    if (grade == VIRTIO_PCI_VECTOR_EACH)
        return 1 + index;
    return grade == VIRTIO_PCI_VECTOR_QUEUES ? 1 : 0;
}

static bool set_vectors(struct virtio_pci *pci, enum virtio_pci_interrupts grade)
{
    bool has_msix = grade != VIRTIO_PCI_PIN;
    if (!has_msix)
        return true; /* the registers do not exist, or are ignored, while MSI-X is off */
    if (!pci->interrupt_ops->set_config_vector(pci, 0))
        return false;
    for (uint32_t i = 0; i < pci->device.queue_count; i++) {
        if (!pci->interrupt_ops->set_queue_vector(pci, i, (uint16_t)entry_of_queue(grade, i)))
            return false;
    }
    return true;
}

/* ---- Choosing --------------------------------------------------------------------------------------- */

static uint32_t vectors_of(const struct virtio_pci *pci, enum virtio_pci_interrupts grade)
{
    switch (grade) {
    case VIRTIO_PCI_VECTOR_EACH:
        return pci->device.queue_count + 1;
    case VIRTIO_PCI_VECTOR_QUEUES:
        return 2;
    default:
        return 1;
    }
}

static int allocate_vector(struct virtio_pci *pci, enum virtio_pci_interrupts grade, uint32_t entry)
{
    char name[24];
    if (entry == 0) {
        bool is_shared = grade == VIRTIO_PCI_VECTOR_SHARED;
        snprintf(name, sizeof(name), "%s-%s", pci->device.name, is_shared ? "all" : "config");
        return irq_allocate_msi(0, is_shared ? shared_vector : config_vector, pci, name, &pci->irqs[0]);
    }
    if (grade == VIRTIO_PCI_VECTOR_QUEUES) {
        snprintf(name, sizeof(name), "%s-queues", pci->device.name);
        return irq_allocate_msi(0, queues_vector, pci, name, &pci->irqs[1]);
    }
    struct virtqueue *queue = pci->device.queues[entry - 1];
    return irq_allocate_msi((entry - 1) % cpu_count(), queue->config.interrupt, queue, queue->config.name,
                            &pci->irqs[entry]);
}

static void free_vectors(struct virtio_pci *pci)
{
    for (uint32_t i = 0; i <= VIRTQUEUES_MAX; i++) {
        if (!pci->irqs[i])
            continue;
        if (pci->pci->msix.table)
            pci_msix_mask(pci->pci, i);
        irq_free(pci->irqs[i]);
        pci->irqs[i] = NULL;
    }
}

/* So that the first shared interrupt is not taken for a change, nor a change for nothing new. */
static void note_generation(struct virtio_pci *pci, enum virtio_pci_interrupts grade)
{
    if (grade == VIRTIO_PCI_VECTOR_SHARED)
        pci->generation_seen = generation_of(pci);
}

static bool try_vectors(struct virtio_pci *pci, enum virtio_pci_interrupts grade)
{
    uint32_t count = vectors_of(pci, grade);
    if (count > pci->pci->msix.count || count > VIRTQUEUES_MAX + 1)
        return false;
    if (grade == VIRTIO_PCI_VECTOR_SHARED && pci->device.transport->is_legacy)
        return false; /* without a generation, nothing tells whether the configuration changed */
    for (uint32_t entry = 0; entry < count; entry++) {
        if (allocate_vector(pci, grade, entry) != 0) {
            free_vectors(pci);
            return false;
        }
        pci_msix_attach(pci->pci, entry, pci->irqs[entry]);
    }
    note_generation(pci, grade);
    if (set_vectors(pci, grade))
        return true;
    free_vectors(pci);
    return false;
}

static int choose(struct virtio_pci *pci)
{
    static const enum virtio_pci_interrupts grades[] = {VIRTIO_PCI_VECTOR_EACH, VIRTIO_PCI_VECTOR_QUEUES,
                                                        VIRTIO_PCI_VECTOR_SHARED};
    if (virtio_settings.has_msix && pci_msix_enable(pci->pci) == 0) {
        for (size_t i = 0; i < ARRAY_SIZE(grades); i++) {
            if (try_vectors(pci, grades[i])) {
                pci->interrupts = grades[i];
                return 0;
            }
        }
        pci_msix_disable(pci->pci);
    }
    int error = pci_intx_attach(pci->pci, pin_interrupt, pci, pci->device.name, &pci->irqs[0]);
    if (error == 0)
        pci->interrupts = VIRTIO_PCI_PIN;
    return error;
}

int virtio_pci_interrupts_connect(struct virtio_device *device)
{
    struct virtio_pci *pci = virtio_pci_of(device);
    if (pci->interrupts == VIRTIO_PCI_NOT_CONNECTED) {
        int error = choose(pci);
        for (uint32_t i = 0; error == 0 && i < device->queue_count; i++)
            device->queues[i]->irq = pci->irqs[entry_of_queue(pci->interrupts, i)];
        return error;
    }
    note_generation(pci, pci->interrupts);
    if (set_vectors(pci, pci->interrupts))
        return 0;
    log_error(device->name, "takes its interrupt vectors no more");
    return -EIO;
}

void virtio_pci_interrupts_disconnect(struct virtio_device *device)
{
    struct virtio_pci *pci = virtio_pci_of(device);
    free_vectors(pci);
    pci_msix_disable(pci->pci);
    pci->interrupts = VIRTIO_PCI_NOT_CONNECTED;
    for (uint32_t i = 0; i < device->queue_count; i++)
        device->queues[i]->irq = NULL;
}

void virtio_pci_interrupt_text(const struct virtqueue *queue, char *text, size_t bytes)
{
    static const char *const names[] = {
        [VIRTIO_PCI_NOT_CONNECTED] = "no interrupt",
        [VIRTIO_PCI_VECTOR_EACH] = "MSI-X",
        [VIRTIO_PCI_VECTOR_QUEUES] = "MSI-X for queues",
        [VIRTIO_PCI_VECTOR_SHARED] = "shared MSI-X",
        [VIRTIO_PCI_PIN] = "INTx",
    };
    const char *name = names[virtio_pci_of(queue->device)->interrupts];
    if (queue->irq)
        snprintf(text, bytes, "%s vector %u on CPU %u", name, irq_vector(queue->irq), irq_cpu(queue->irq));
    else
        snprintf(text, bytes, "%s", name);
}
