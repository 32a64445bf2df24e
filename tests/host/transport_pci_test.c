/* SPDX-License-Identifier: MIT */
/* The legacy PCI transport on ports made up here: the order of accesses, vectors and the pin, reset,
 * configuration, and registers that are wrong; and which of its interfaces a device is driven by. */
#include <arch/clock.h>
#include <arch/io.h>

#include "../../src/drivers/virtio/transport_pci_internal.h"
#include "transport_machine.h"

#define PORT_FIRST   0xc000u
#define PORTS        64u
#define CONFIG_BYTES 16u
#define NO_VECTOR    0xffffu

linker_set_declare(pci_drivers, const struct pci_driver);

/* ---- The device ---------------------------------------------------------------------------------------- */

static struct {
    struct pci_device pci;
    uint8_t space[256];
    uint32_t vectors, bar_mask;
    uint32_t vectors_refused; /* a mask of entries that it does not take */
    uint32_t features, accepted, page, pages_read;
    uint16_t queue_size, selected, config_vector, queue_vector;
    uint8_t status, status_in_reset, isr, config[CONFIG_BYTES];
    uint32_t reset_reads, config_changes, accesses;
    bool is_floating; /* nothing answers: all ones */
    bool remembers_queues;
    struct irq *entries[8]; /* of the MSI-X table */
} d;

static bool has_msix(void)
{
    return d.pci.msix.table != NULL;
}

/* As a device does, from the page and nothing else (2.7.2). */
static void enable_queue(uint32_t page)
{
    uint64_t table = (uint64_t)page << 12, size = d.queue_size;
    d.page = page;
    t.fd = (struct fake_device){.size = (uint16_t)size};
    t.fd.desc = direct_map(table);
    t.fd.avail = direct_map(table + 16 * size);
    t.fd.used = direct_map((table + 16 * size + 2 * (3 + size) + 4095) / 4096 * 4096);
    fd_sleep(&t.fd);
}

static void write_status(uint8_t value)
{
    note("status=%x ", value);
    d.status = value;
    if (value != 0)
        return;
    d.status = d.reset_reads ? d.status_in_reset : 0;
    d.page = d.remembers_queues ? d.page : 0;
    d.isr = 0;
    d.config_vector = d.queue_vector = NO_VECTOR;
}

static uint8_t read_status(void)
{
    if (d.reset_reads > 0 && --d.reset_reads == 0)
        d.status = 0;
    return d.status;
}

/* Reading is acknowledging. */
static uint8_t read_isr(void)
{
    uint8_t isr = d.isr;
    note("isr ");
    d.isr = 0;
    return isr;
}

static uint32_t read_config_port(uint32_t offset, unsigned bytes)
{
    uint32_t value = 0;
    check(offset + bytes <= CONFIG_BYTES);
    if (offset == 4 && d.config_changes > 0) { /* between the halves of the capacity */
        d.config_changes--;
        store_le64(d.config, load_le64(d.config) + 0x100000001ull);
    }
    memcpy(&value, d.config + offset, MIN(bytes, CONFIG_BYTES - offset));
    return value;
}

static void write_config_port(uint32_t offset, unsigned bytes, uint32_t value)
{
    check(offset + bytes <= CONFIG_BYTES);
    memcpy(d.config + offset, &value, bytes);
}

/* Register and width as one number. */
#define AT(offset, bytes) ((offset) << 4 | (bytes))

static uint32_t port_read(uint16_t port, unsigned bytes)
{
    uint32_t offset = port - PORT_FIRST, config = has_msix() ? 24 : 20;
    d.accesses++;
    check(offset < PORTS && offset + bytes <= PORTS);
    check(load_le16(d.space + PCI_COMMAND) & PCI_COMMAND_IO);
    if (d.is_floating)
        return 0xffffffff;
    if (offset >= config)
        return read_config_port(offset - config, bytes);
    switch (AT(offset, bytes)) {
    case AT(0, 4):
        return d.features;
    case AT(8, 4):
        return d.page;
    case AT(12, 2):
        return d.selected == 0 ? d.queue_size : 0;
    case AT(18, 1):
        return read_status();
    case AT(19, 1):
        return read_isr();
    case AT(20, 2):
        return d.config_vector;
    case AT(22, 2):
        return d.queue_vector;
    default:
        check(false); /* not a register, or not in its width */
        return 0;
    }
}

static uint16_t take_vector(const char *whose, uint32_t value)
{
    note("%s=%u ", whose, value);
    return (uint16_t)(d.vectors_refused >> value & 1 ? NO_VECTOR : value);
}

static void port_write(uint16_t port, unsigned bytes, uint32_t value)
{
    uint32_t offset = port - PORT_FIRST;
    d.accesses++;
    if (offset >= (has_msix() ? 24u : 20u)) {
        write_config_port(offset - (has_msix() ? 24u : 20u), bytes, value);
        return;
    }
    if (d.is_floating)
        return;
    switch (AT(offset, bytes)) {
    case AT(4, 4):
        note("features ");
        d.accepted = value;
        break;
    case AT(8, 4):
        note("page ");
        check(d.selected == 0);
        enable_queue(value);
        break;
    case AT(14, 2):
        note("select=%u ", value);
        d.selected = (uint16_t)value;
        break;
    case AT(16, 2):
        note("notify=%u ", value);
        check(d.status & VIRTIO_STATUS_DRIVER_OK);
        fd_notify(&t.fd);
        break;
    case AT(18, 1):
        write_status((uint8_t)value);
        break;
    case AT(20, 2):
        d.config_vector = take_vector("config", value);
        break;
    case AT(22, 2):
        d.queue_vector = take_vector("queue", value);
        break;
    default:
        check(false);
    }
}

/* ---- PCI ------------------------------------------------------------------------------------------------
 */

uint8_t pci_config_read8(const struct pci_device *device, uint32_t offset)
{
    (void)device;
    return d.space[offset];
}
uint16_t pci_config_read16(const struct pci_device *device, uint32_t offset)
{
    (void)device;
    return load_le16(d.space + offset);
}
uint32_t pci_config_read32(const struct pci_device *device, uint32_t offset)
{
    (void)device;
    return load_le32(d.space + offset);
}
void pci_config_write16(const struct pci_device *device, uint32_t offset, uint16_t value)
{
    (void)device;
    store_le16(d.space + offset, value);
}
void pci_config_write32(const struct pci_device *device, uint32_t offset, uint32_t value)
{
    (void)device;
    uint32_t mask = offset == PCI_BAR0 ? d.bar_mask : 0;
    store_le32(d.space + offset, (value & mask) | (load_le32(d.space + offset) & ~mask));
}

/* The modern registers: memory, all zeroes. */
static uint32_t mapped; /* ranges of registers */

volatile void *pci_map_bar(const struct pci_device *device, uint32_t bar, uint64_t offset, size_t bytes)
{
    static uint8_t registers[16384];
    check(device == &d.pci && bar == 4 && offset + bytes <= sizeof(registers));
    mapped++;
    return registers + offset;
}

void mmu_unmap_device(volatile void *pointer, size_t bytes)
{
    check(pointer != NULL && bytes > 0 && mapped > 0);
    mapped--;
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
    check(has_msix() && index < device->msix.count);
    d.entries[index] = NULL;
}
void pci_msix_disable(struct pci_device *device)
{
    device->msix = (struct pci_msix){.table = NULL};
}
int pci_intx_attach(struct pci_device *device, irq_handler *handler, void *context, const char *name,
                    struct irq **irq)
{
    (void)device, (void)name;
    check(!has_msix());
    note("intx ");
    return irq_new(handler, context, irq);
}
int irq_allocate_msi(uint32_t cpu, irq_handler *handler, void *context, const char *name, struct irq **irq)
{
    (void)cpu, (void)name;
    return irq_new(handler, context, irq);
}

/* ---- Helpers --------------------------------------------------------------------------------------------
 */

static void make(uint32_t vectors)
{
    begin();
    memset(&d, 0, sizeof(d));
    d.pci = (struct pci_device){.device_id = VIRTIO_PCI_DEVICE_BLOCK, .name = "00:03.0"};
    d.vectors = vectors;
    d.features = BIT(VIRTIO_F_NOTIFY_ON_EMPTY) | BIT(VIRTIO_F_ANY_LAYOUT) | BIT(VIRTIO_F_UNUSED);
    d.queue_size = 256;
    d.status_in_reset = 0x80;
    d.bar_mask = 0x10000 - PORTS;
    store_le32(d.space + PCI_BAR0, PORT_FIRST | PCI_BAR_IO);
    store_le64(d.config, 0x123456789aull);
    virtio_settings.queue_size = 256;
    virtio_settings.has_msix = true;
    host_port_read = port_read;
    host_port_write = port_write;
}

static const struct pci_driver *the_driver(void)
{
    linker_set_foreach (pci_drivers, const struct pci_driver, driver) {
        check(driver->vendor_id == VIRTIO_PCI_VENDOR);
        return driver;
    }
    return NULL;
}

static int probe(void)
{
    pci_size_bars(&d.pci);
    return the_driver()->probe(&d.pci);
}

/* Nothing of the device is left: memory is the leak checker's. */
static void check_forgotten(void)
{
    check_equal(irqs_in_use(), 0);
    check_equal(mapped, 0);
    check(!d.pci.driver_data && !d.pci.driver_note && !d.pci.msix.table);
    check(!(load_le16(d.space + PCI_COMMAND) & PCI_COMMAND_BUS_MASTER)); /* R6 */
}

static struct virtio_device *start(void)
{
    check_equal(probe(), 0);
    check(t.device && t.device->queue_count == 1);
    check(load_le16(d.space + PCI_COMMAND) & PCI_COMMAND_BUS_MASTER);
    return t.device;
}

static void stop(struct virtio_device *device)
{
    check(device == &((struct virtio_pci *)d.pci.driver_data)->device);
    the_driver()->remove(&d.pci);
    check_forgotten();
}

/* By the vector that the device was told, or by its pin. */
static void interrupt(void)
{
    d.isr |= VIRTIO_PCI_ISR_QUEUE;
    if (has_msix())
        check(irq_call(d.entries[d.queue_vector]));
    else
        check(irq_call(t.device->queues[0]->irq));
}

/* Refused with one line that says why. */
static void expect_refused(int error, const char *why)
{
    log_capture();
    int result = probe();
    unsigned lines = log_lines(why);
    check_equal(-result, error);
    check_equal(lines, 1);
    check_forgotten();
}

/* ---- Tests ----------------------------------------------------------------------------------------------
 */

/* In the field's width, and nothing past the end. */
static void check_writes(struct virtio_device *device)
{
    virtio_config_write(device, 8, 1, 0x1ff);
    virtio_config_write(device, 10, 2, 0x1ffee);
    virtio_config_write(device, 12, 4, 0x12345678);
    check_equal(load_le64(d.config + 8), 0x12345678ffee00ffull);
    uint32_t accesses = d.accesses;
    virtio_config_write(device, PORTS - 20, 1, 0xff);
    virtio_config_write(device, 0xfffffffcu, 4, 0xff);
    check_equal(d.accesses, accesses);
}

static void test_order(void)
{
    make(2);
    struct virtio_device *device = start();
    expect_history(
        "status=0 status=1 status=3 features select=0 config=0 select=0 queue=1 select=0 page status=7 ");
    check_equal(d.accepted, BIT(VIRTIO_F_ANY_LAYOUT));
    check(strcmp(device->where, "legacy PCI 00:03.0") == 0 && strcmp(d.pci.driver_note, "legacy PCI") == 0);
    check_equal(t.capacity, 0x123456789aull); /* read at 20 ... */
    t.capacity = 0;
    check(irq_call(d.entries[d.config_vector]));
    check_equal(t.config_changes, 1);
    read_config(device);
    check_equal(t.capacity, 0x123456789aull);                  /* ... and at 24 */
    check_equal(virtio_config_read(device, PORTS - 24, 1), 0); /* past the end */
    check_equal(virtio_config_read(device, 0xfffffffcu, 4), 0);
    check_writes(device);
    stop(device);

    make(0);
    device = start();
    expect_history("status=0 status=1 status=3 features select=0 intx select=0 page status=7 ");
    read_config(device);
    check_equal(t.capacity, 0x123456789aull);
    check_writes(device);
    stop(device);
}

/* Requests go round at sizes that put the parts of the ring in different places (hazards 31, 32). */
static void test_traffic(void)
{
    static const uint16_t sizes[] = {2, 4, 128, 256, 1024};
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
        uint64_t sum = 0;
        make(i % 2 ? 2 : 0);
        d.queue_size = sizes[i / 2];
        virtio_settings.queue_size = 64; /* the ring has the device's size all the same */
        struct virtio_device *device = start();
        check_equal(device->queues[0]->size, d.queue_size);
        for (uint64_t token = 1; token < 3000; token++) {
            send(token);
            check_equal(serve(token), 1);
            interrupt();
            sum += token;
        }
        check_equal(t.taken, sum);
        check(virtqueue_is_idle(device->queues[0]));
        stop(device);
    }
}

/* What works of too few vectors, or of a device that takes fewer than it says (hazards 10, 11). */
static void test_vectors(void)
{
    static const struct {
        uint32_t vectors, refused, queue_vector;
    } cases[] = {{2, 0, 1}, {3, 0, 1}, {1, 0, NO_VECTOR}, {2, 2, NO_VECTOR}, {2, 1, NO_VECTOR}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        make(cases[i].vectors);
        d.vectors_refused = cases[i].refused;
        struct virtio_device *device = start();
        check_equal(has_msix(), cases[i].queue_vector != NO_VECTOR);
        check(!has_msix() || d.queue_vector == cases[i].queue_vector);
        check_equal(irqs_in_use(), has_msix() ? 2 : 1);
        send(3);
        serve(3);
        interrupt();
        check_equal(t.taken, 3);
        stop(device);
    }
    make(2);
    virtio_settings.has_msix = false;
    struct virtio_device *device = start();
    check(!has_msix());
    stop(device);
    make(2); /* the CPU has one vector left, then none, and no line either */
    irq_error = -ENOSPC;
    irq_room = 1;
    expect_refused(ENOSPC, "queues cannot be set up");
    irq_error = 0;
}

static void complete_another(void)
{
    send(8);
    check_equal(serve(8), 1);
    d.isr |= VIRTIO_PCI_ISR_QUEUE;
}

static void test_pin(void)
{
    make(0);
    struct virtio_device *device = start();
    const struct irq *irq = device->queues[0]->irq;
    check(!irq_call(irq)); /* a neighbour's (hazard 8) */
    history[0] = '\0';
    send(7);
    serve(7);
    d.isr = VIRTIO_PCI_ISR_QUEUE;
    t.during = complete_another;
    check(irq_call(irq));
    expect_history("notify=0 isr drain notify=0 ");
    check_equal(t.taken, 7);
    check_equal(d.isr, VIRTIO_PCI_ISR_QUEUE); /* the line is up again */
    check(irq_call(irq));
    check_equal(t.taken, 15);
    history[0] = '\0';
    d.isr = VIRTIO_PCI_ISR_CONFIG;
    check(irq_call(irq));
    expect_history("isr changed ");
    d.isr = VIRTIO_PCI_ISR_CONFIG | VIRTIO_PCI_ISR_QUEUE;
    check(irq_call(irq));
    expect_history("isr changed drain ");
    stop(device);
}

static void test_reset(void)
{
    for (uint32_t vectors = 0; vectors <= 2; vectors += 2) {
        make(vectors);
        d.reset_reads = 4;
        uint64_t before = host_clock_ns;
        struct virtio_device *device = start();
        check(host_clock_ns > before && d.reset_reads == 0);
        d.reset_reads = 9;
        check_equal(virtio_device_stop(device), 0);
        check_equal(d.reset_reads, 0);
        history[0] = '\0';
        check_equal(virtio_device_resume(device), 0);
        expect_history(vectors ? "status=1 status=3 features config=0 select=0 queue=1 select=0 page "
                               : "status=1 status=3 features select=0 page ");
        virtio_device_ready(device);
        send(5);
        check_equal(serve(5), 1);
        interrupt();
        check_equal(t.taken, 5);

        check_equal(virtio_device_stop(device), 0);
        d.queue_size = 512; /* more would not do either */
        log_capture();
        check_equal(-virtio_device_resume(device), EIO);
        check_equal(log_lines("512 entries now, not 256"), 1);
        stop(device);
    }
}

static void test_config(void)
{
    make(2);
    d.config_changes = 3;
    struct virtio_device *device = start();
    check_equal(t.capacity, 0x123456789aull + 3 * 0x100000001ull);
    check_equal(d.config_changes, 0);
    stop(device);
}

static void test_wrong_registers(void)
{
    static const uint16_t sizes[] = {0, 1, 3, 100, 2048, 0xffff};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        make(2);
        d.queue_size = sizes[i];
        expect_refused(EOPNOTSUPP, "cannot be used: not a power of two");
        check(d.status & VIRTIO_STATUS_FAILED);
    }
    make(2);
    d.is_floating = true;
    expect_refused(ETIMEDOUT, "is not used: ETIMEDOUT");
    check(!(load_le16(d.space + PCI_COMMAND) & PCI_COMMAND_BUS_MASTER));
    make(2);
    d.reset_reads = UINT32_MAX;
    expect_refused(ETIMEDOUT, "no answer to a reset");
    make(2);
    d.page = 77;
    d.remembers_queues = true;
    expect_refused(EIO, "did not forget");
    make(2); /* its memory past what a page number names */
    uintptr_t base = host_direct_base;
    host_direct_base -= 1ull << 45;
    expect_refused(EOPNOTSUPP, "out of a legacy device's reach");
    host_direct_base = base;
    make(2); /* too few ports for the registers */
    d.bar_mask = 0xfff0;
    expect_refused(EINVAL, "no legacy registers");
    make(2); /* memory */
    store_le32(d.space + PCI_BAR0, 0xc000);
    expect_refused(EINVAL, "no legacy registers");
    make(2); /* no address */
    store_le32(d.space + PCI_BAR0, PCI_BAR_IO);
    expect_refused(EINVAL, "no legacy registers");
    make(2); /* past the last port */
    d.bar_mask = 0xffffffc0;
    store_le32(d.space + PCI_BAR0, 0x1c000 | PCI_BAR_IO);
    expect_refused(EINVAL, "no legacy registers");
    make(2);
    d.pci.revision = 1;
    expect_refused(ENODEV, "nor a legacy device");
    make(2);
    d.pci.device_id = VIRTIO_PCI_DEVICE_MODERN + VIRTIO_ID_BLOCK;
    expect_refused(ENODEV, "nor a legacy device");
    check_equal(d.accesses, 0);
}

/* ---- Which interface ------------------------------------------------------------------------------------
 */

static void put_capability(uint8_t at, uint8_t type, uint32_t offset)
{
    uint8_t *capability = d.space + at;
    capability[0] = PCI_CAP_VENDOR;
    capability[1] = d.space[PCI_CAPABILITIES];
    capability[2] = type == VIRTIO_PCI_CAP_NOTIFY_CFG ? 20 : 16;
    capability[3] = type;
    capability[4] = 4;
    store_le32(capability + 8, offset);
    store_le32(capability + 12, 0x1000);
    d.space[PCI_CAPABILITIES] = at;
}

/* One with both interfaces: by the modern one, and the ports stay closed. */
static void test_transitional(void)
{
    make(2);
    store_le16(d.space + PCI_STATUS, PCI_STATUS_CAPABILITIES);
    store_le32(d.space + PCI_BAR0 + 16, 0xfe000000);
    put_capability(0x40, VIRTIO_PCI_CAP_COMMON_CFG, 0);
    put_capability(0x58, VIRTIO_PCI_CAP_NOTIFY_CFG, 0x1000);
    put_capability(0x70, VIRTIO_PCI_CAP_ISR_CFG, 0x2000);
    pci_size_bars(&d.pci);
    d.pci.bars[4] = (struct pci_bar){.address = 0xfe000000, .bytes = 16384};
    log_capture();
    check_equal(-the_driver()->probe(&d.pci), EOPNOTSUPP); /* its registers are all 0 */
    check_equal(log_lines("no VERSION_1 at its modern interface"), 1);
    check_forgotten();
    check_equal(d.accesses, 0);
    check(!(load_le16(d.space + PCI_COMMAND) & PCI_COMMAND_IO));
}

int main(void)
{
    lower_memory();
    test_order();
    test_traffic();
    test_vectors();
    test_pin();
    test_reset();
    test_config();
    test_wrong_registers();
    test_transitional();
    return check_finish();
}
