/* SPDX-License-Identifier: MIT */
/* The modern PCI transport on registers made up here: feature words, a queue's registers, and interrupts:
 * how many vectors the device has or takes, which handler each reaches, with more than one queue too. */
#include "../../src/drivers/virtio/transport_pci.c"

#include <kernel/base/bits.h>
#include <string.h>

#include "check.h"

#define QUEUES     3u
#define NO_VECTOR  VIRTIO_MSI_NO_VECTOR
#define NOTIFY_OFF 2u

/* ---- The device ------------------------------------------------------------------------------------- */

static struct {
    uint64_t features, accepted;
    uint32_t vectors;         /* entries of its MSI-X table */
    uint32_t vectors_refused; /* a mask of entries that it does not take */
    uint16_t config_vector, queue_vectors[QUEUES];
    uint8_t isr, generation, status;
    uint32_t isr_reads;
    struct irq *entries[QUEUES + 2]; /* of the MSI-X table */
    uint16_t doorbell;               /* as rung last, with what, and with what held */
    uint64_t doorbell_value;
    uint32_t doorbell_bytes;
    uint32_t rings_locked; /* a mask */
} d;

static uint8_t common[sizeof(struct virtio_pci_common_cfg)] aligned(8), isr_register[1], notify_registers[64];

#define REGISTER(field)                                                                                 \
    (*(__typeof__(((struct virtio_pci_common_cfg *)0)->field) *)(common +                               \
                                                                 offsetof(struct virtio_pci_common_cfg, \
                                                                          field)))

/* The registers show what was selected; reading the interrupt status clears it. */
static void before_read(const volatile void *address, unsigned bytes)
{
    uint32_t queue = MIN(REGISTER(queue_select), (uint16_t)(QUEUES - 1));
    (void)bytes;
    REGISTER(device_feature) = (uint32_t)(d.features >> 32 * REGISTER(device_feature_select));
    REGISTER(config_generation) = d.generation;
    REGISTER(device_status) = d.status;
    REGISTER(config_msix_vector) = d.config_vector;
    REGISTER(queue_msix_vector) = d.queue_vectors[queue];
    if (address == isr_register) {
        isr_register[0] = d.isr;
        d.isr = 0;
        d.isr_reads++;
    }
}

static uint16_t take_vector(uint16_t entry)
{
    return d.vectors_refused >> entry & 1 ? NO_VECTOR : entry;
}

static void ring_doorbell(uint16_t offset, uint64_t value);

static void after_write(volatile void *address, uint64_t value)
{
    if (address == &REGISTER(driver_feature))
        d.accepted |= (uint64_t)(uint32_t)value << 32 * REGISTER(driver_feature_select);
    if (address == &REGISTER(config_msix_vector))
        d.config_vector = take_vector((uint16_t)value);
    if (address == &REGISTER(queue_msix_vector))
        d.queue_vectors[REGISTER(queue_select)] = take_vector((uint16_t)value);
    if ((volatile uint8_t *)address >= notify_registers &&
        (volatile uint8_t *)address < notify_registers + 64)
        ring_doorbell((uint16_t)((volatile uint8_t *)address - notify_registers), value);
}

/* ---- The kernel around it ---------------------------------------------------------------------------- */

struct virtio_settings virtio_settings = {.has_msix = true};

struct irq {
    irq_handler *handler;
    void *context;
    uint32_t cpu;
    bool is_used;
};
static struct irq irqs[8];

static int new_irq(uint32_t cpu, irq_handler *handler, void *context, struct irq **irq)
{
    for (size_t i = 0; i < ARRAY_SIZE(irqs); i++) {
        if (irqs[i].is_used)
            continue;
        irqs[i] = (struct irq){handler, context, cpu, true};
        *irq = &irqs[i];
        return 0;
    }
    return -ENOSPC;
}

int irq_allocate_msi(uint32_t cpu, irq_handler *handler, void *context, const char *name, struct irq **irq)
{
    (void)name;
    return new_irq(cpu, handler, context, irq);
}
void irq_free(struct irq *irq)
{
    check(irq->is_used);
    irq->is_used = false;
}
uint8_t irq_vector(const struct irq *irq)
{
    return (uint8_t)(48 + (irq - irqs));
}
uint32_t irq_cpu(const struct irq *irq)
{
    return irq->cpu;
}

int pci_msix_enable(struct pci_device *device)
{
    static uint8_t table[16];
    if (d.vectors == 0)
        return -ENODEV;
    device->msix.table = table;
    device->msix.count = (uint16_t)d.vectors;
    return 0;
}
void pci_msix_attach(struct pci_device *device, uint32_t index, const struct irq *irq)
{
    check(index < device->msix.count && irq->is_used);
    d.entries[index] = (struct irq *)(uintptr_t)irq;
}
void pci_msix_mask(struct pci_device *device, uint32_t index)
{
    check(index < device->msix.count);
    d.entries[index] = NULL;
}
void pci_msix_disable(struct pci_device *device)
{
    device->msix = (struct pci_msix){.table = NULL};
}
int pci_intx_attach(struct pci_device *device, irq_handler *handler, void *context, const char *name,
                    struct irq **irq)
{
    (void)name;
    check(!device->msix.table);
    return new_irq(0, handler, context, irq);
}

/* Probing is tested with the legacy transport's. */
volatile void *pci_map_bar(const struct pci_device *device, uint32_t bar, uint64_t offset, size_t bytes)
{
    (void)device, (void)bar, (void)offset, (void)bytes;
    return NULL;
}
int virtio_pci_find_regions(const struct pci_device *device, struct virtio_pci_regions *regions)
{
    (void)device, (void)regions;
    return -EINVAL;
}
int virtio_pci_legacy_start(struct virtio_pci *pci)
{
    (void)pci;
    return -ENODEV;
}
void mmu_unmap_device(volatile void *pointer, size_t bytes)
{
    (void)pointer, (void)bytes;
}
void virtio_device_remove(struct virtio_device *device)
{
    (void)device;
}
int virtio_device_add(struct virtio_device *device)
{
    (void)device;
    return -ENODEV;
}
void pci_enable(struct pci_device *device)
{
    (void)device;
}
void pci_disable_bus_master(struct pci_device *device)
{
    (void)device;
}
bool virtio_pci_doorbell_offset(const struct virtio_pci_regions *regions, uint16_t queue_notify_off,
                                uint32_t bytes, uint32_t *offset)
{
    d.doorbell_bytes = bytes;
    *offset = queue_notify_off * regions->notify_multiplier;
    return true;
}
bool virtio_device_needs_reset(struct virtio_device *device)
{
    return device->transport->status_read(device) & VIRTIO_STATUS_NEEDS_RESET;
}

/* ---- The driver --------------------------------------------------------------------------------------- */

static struct virtqueue queues[QUEUES];
static struct pci_device function = {.name = "00:03.0"};
static struct virtio_pci pci;
static unsigned drains[QUEUES], config_changes;

static void ring_doorbell(uint16_t offset, uint64_t value)
{
    d.doorbell = offset;
    d.doorbell_value = value;
    for (uint32_t i = 0; i < QUEUES; i++)
        d.rings_locked |= (uint32_t)spin_is_locked(&queues[i].lock) << i;
}

static uint16_t position_of(const struct virtqueue *queue)
{
    return (uint16_t)(0x8120 + queue->config.index);
}

static const struct virtqueue_ops ring_ops = {.position = position_of};

static bool queue_interrupt(void *context)
{
    drains[(struct virtqueue *)context - queues]++;
    return true;
}

static void count_change(struct virtio_device *device)
{
    (void)device;
    config_changes++;
}

static const struct virtio_driver driver = {.name = "test", .config_changed = count_change};

static void make(uint32_t vectors)
{
    memset(&d, 0, sizeof(d));
    d.vectors = vectors;
    d.config_vector = NO_VECTOR;
    memset(common, 0, sizeof(common));
    REGISTER(num_queues) = QUEUES;
    REGISTER(queue_size) = 64;
    REGISTER(queue_notify_off) = NOTIFY_OFF;
    memset(&pci, 0, sizeof(pci));
    pci = (struct virtio_pci){.pci = &function,
                              .interrupt_ops = &interrupt_ops,
                              .common = common,
                              .isr = isr_register,
                              .notify = notify_registers,
                              .regions.notify_multiplier = 8};
    pci.device = (struct virtio_device){.transport = &ops, .driver = &driver, .queue_count = QUEUES};
    for (uint32_t i = 0; i < QUEUES; i++) {
        d.queue_vectors[i] = NO_VECTOR;
        queues[i] = (struct virtqueue){.ops = &ring_ops, .device = &pci.device, .size = 32};
        queues[i].config.index = (uint16_t)i;
        queues[i].config.interrupt = queue_interrupt;
        pci.device.queues[i] = &queues[i];
    }
}

/* What the interrupt of the MSI-X entry did: which queues were drained, as a mask. */
static uint32_t interrupt(const struct irq *irq)
{
    uint32_t mask = 0;
    memset(drains, 0, sizeof(drains));
    config_changes = 0;
    check(irq && irq->is_used && irq->handler(irq->context));
    for (uint32_t i = 0; i < QUEUES; i++) {
        check(drains[i] <= 1);
        mask |= drains[i] << i;
    }
    return mask;
}

static void connect(void)
{
    check_equal(virtio_pci_interrupts_connect(&pci.device), 0);
}

static void disconnect(void)
{
    virtio_pci_interrupts_disconnect(&pci.device);
    for (size_t i = 0; i < ARRAY_SIZE(irqs); i++)
        check(!irqs[i].is_used);
}

/* ---- Tests -------------------------------------------------------------------------------------------- */

/* Hazard 27: bits above 31 are another word. */
static void test_features(void)
{
    make(2);
    d.features = 0x8765432112345678ull;
    check_equal(features_read(&pci.device), 0x8765432112345678ull);
    features_write(&pci.device, 0x9000000180000003ull);
    check_equal(d.accepted, 0x9000000180000003ull);
}

static void test_queue(void)
{
    make(2);
    queues[1].descriptor_area = 0x123456789000ull;
    queues[1].driver_area = 0x23456789a000ull;
    queues[1].device_area = 0x3456789ab000ull;
    check_equal(queue_enable(&pci.device, &queues[1]), 0);
    check(REGISTER(queue_select) == 1 && REGISTER(queue_size) == 32 && REGISTER(queue_enable) == 1);
    check(REGISTER(queue_desc) == 0x123456789000ull && REGISTER(queue_driver) == 0x23456789a000ull &&
          REGISTER(queue_device) == 0x3456789ab000ull);
    notify(&queues[1]);
    check_equal(d.doorbell, NOTIFY_OFF * 8);
    check(d.doorbell_value == 1 && d.doorbell_bytes == 2 && d.rings_locked == 0);
    REGISTER(queue_size) = 16; /* it has become shorter than what was agreed on */
    check_equal(-queue_enable(&pci.device, &queues[1]), EIO);
    REGISTER(num_queues) = 1;
    check_equal(queue_size(&pci.device, 1), 0);
}

/* What is told is read and told in one piece, or one CPU may take back what another has told. */
static void test_notification_data(void)
{
    make(2);
    pci.device.features = BIT(VIRTIO_F_NOTIFICATION_DATA);
    check_equal(queue_enable(&pci.device, &queues[1]), 0);
    check_equal(d.doorbell_bytes, 4);
    ops.notify_with_data(&queues[1]);
    check_equal(d.doorbell, NOTIFY_OFF * 8);
    check_equal(d.doorbell_value, 0x81210001);
    check_equal(d.rings_locked, 1 << 1);
    check(!spin_is_locked(&queues[1].lock));
}

/* Hazards 10, 11 and 13: with as many vectors as queues + 1, with fewer, and with a device that takes fewer
 * than it says, each queue's interrupt reaches its handler. */
static void test_vectors(void)
{
    static const struct {
        uint32_t vectors, refused;
        enum virtio_pci_interrupts expected;
    } cases[] = {{QUEUES + 2, 0, VIRTIO_PCI_VECTOR_EACH},
                 {QUEUES + 1, 0, VIRTIO_PCI_VECTOR_EACH},
                 {QUEUES, 0, VIRTIO_PCI_VECTOR_QUEUES},
                 {2, 0, VIRTIO_PCI_VECTOR_QUEUES},
                 {1, 0, VIRTIO_PCI_VECTOR_SHARED},
                 {0, 0, VIRTIO_PCI_PIN},
                 {QUEUES + 1, 1u << QUEUES, VIRTIO_PCI_VECTOR_QUEUES},
                 {QUEUES + 1, 1u << 2 | 1u << 1, VIRTIO_PCI_VECTOR_SHARED},
                 {QUEUES + 1, 1u << 0, VIRTIO_PCI_PIN}};
    for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
        make(cases[c].vectors);
        d.vectors_refused = cases[c].refused;
        connect();
        check_equal(pci.interrupts, cases[c].expected);
        for (uint32_t i = 0; i < QUEUES; i++) {
            bool is_pin = cases[c].expected == VIRTIO_PCI_PIN;
            const struct irq *irq = is_pin ? queues[i].irq : d.entries[d.queue_vectors[i]];
            d.isr = VIRTIO_PCI_ISR_QUEUE;
            check(irq == queues[i].irq);
            uint32_t drained = interrupt(irq);
            check_equal(drained, cases[c].expected == VIRTIO_PCI_VECTOR_EACH ? 1u << i : (1u << QUEUES) - 1);
            check_equal(config_changes, 0);
        }
        disconnect();
    }
}

/* The configuration has an interrupt in every grade, and it is told from a queue's. */
static void test_config_interrupt(void)
{
    for (uint32_t vectors = 2; vectors <= QUEUES + 1; vectors++) {
        make(vectors);
        connect();
        check_equal(interrupt(d.entries[d.config_vector]), 0);
        check_equal(config_changes, 1);
        disconnect();
    }
    make(1); /* hazard 9: by the generation; the interrupt status may say anything */
    d.generation = 7;
    d.isr = VIRTIO_PCI_ISR_CONFIG;
    connect();
    interrupt(d.entries[d.config_vector]);
    check(config_changes == 0 && d.isr_reads == 0);
    d.generation++;
    d.isr = 0;
    interrupt(d.entries[d.config_vector]);
    check_equal(config_changes, 1);
    interrupt(d.entries[d.config_vector]);
    check_equal(config_changes, 0);
    d.status = VIRTIO_STATUS_NEEDS_RESET;
    interrupt(d.entries[d.config_vector]);
    check_equal(config_changes, 1);
    disconnect();
}

/* After a reset the device has forgotten its vectors, and is told them again. */
static void test_reconnect(void)
{
    make(QUEUES + 1);
    connect();
    for (uint32_t i = 0; i < QUEUES; i++)
        d.queue_vectors[i] = NO_VECTOR;
    connect();
    for (uint32_t i = 0; i < QUEUES; i++)
        check_equal(d.queue_vectors[i], i + 1);
    d.vectors_refused = 1u << 1;
    check_equal(-virtio_pci_interrupts_connect(&pci.device), EIO);
    disconnect();
}

/* A field of the configuration, in its own width, and nothing past its end. */
static void test_config_write(void)
{
    static uint8_t fields[64];
    make(0);
    pci.device.transport = &ops;
    ops.config_write(&pci.device, 0, 1, 0xff); /* it has none */
    pci.config = fields;
    pci.regions.config.bytes = 48;
    ops.config_write(&pci.device, 32, 1, 0x1ff);
    ops.config_write(&pci.device, 36, 2, 0x1ffee);
    ops.config_write(&pci.device, 40, 4, 0x12345678);
    check_equal(load_le32(fields + 32), 0xff);
    check_equal(load_le32(fields + 36), 0xffee);
    check_equal(load_le64(fields + 40), 0x12345678);
    ops.config_write(&pci.device, 48, 1, 0xff);
    ops.config_write(&pci.device, 0xfffffffcu, 4, 0xff);
    check_equal(load_le64(fields + 48), 0);
}

int main(void)
{
    test_config_write();
    host_mmio_read = before_read;
    host_mmio_write = after_write;
    test_features();
    test_queue();
    test_notification_data();
    test_vectors();
    test_config_interrupt();
    test_reconnect();
    return check_finish();
}
