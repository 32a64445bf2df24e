/* SPDX-License-Identifier: MIT */
/* The mmio transport on registers made up here: the order of accesses at both interfaces, the interrupt,
 * reset, configuration, places of devices, and registers that are wrong. */
#include <arch/acpi.h>
#include <arch/clock.h>
#include <arch/io.h>
#include <arch/ioapic.h>
#include <drivers/pci/pci.h>

#include "../../src/drivers/virtio/transport_mmio_internal.h"
#include "transport_machine.h"

#define WINDOW_BYTES 0x200u
#define CONFIG_BYTES 16u

/* ---- The device ---------------------------------------------------------------------------------------- */

static struct {
    uint8_t registers[WINDOW_BYTES] aligned(4096);
    uint64_t offered, accepted;
    uint32_t queue_max, reset_reads, status_in_reset, config_changes, config_writes;
    uint64_t areas[3];
    uint32_t pages, align, page_bytes;
    bool remembers_queues;
    phys_addr_t mapped;
    unsigned mappings;
} d;

static uint32_t reg(uint32_t offset)
{
    return load_le32(d.registers + offset);
}

static void set_reg(uint32_t offset, uint32_t value)
{
    store_le32(d.registers + offset, value);
}

static bool is_legacy(void)
{
    return reg(VIRTIO_MMIO_VERSION) == 1;
}

/* As a device does, from what it was told and nothing else (2.7.2). */
static void enable_legacy(uint32_t page)
{
    uint64_t table = (uint64_t)page * d.page_bytes, size = reg(VIRTIO_MMIO_QUEUE_NUM);
    uint64_t used = table + 16 * size + 2 * (3 + size);
    check(d.align > 0 && is_power_of_two(d.align));
    t.fd = (struct fake_device){.size = (uint16_t)size};
    t.fd.desc = direct_map(table);
    t.fd.avail = direct_map(table + 16 * size);
    t.fd.used = direct_map((used + d.align - 1) / d.align * d.align);
    fd_sleep(&t.fd);
}

static void enable_modern(void)
{
    t.fd = (struct fake_device){.size = (uint16_t)reg(VIRTIO_MMIO_QUEUE_NUM)};
    t.fd.desc = direct_map(d.areas[0]);
    t.fd.avail = direct_map(d.areas[1]);
    t.fd.used = direct_map(d.areas[2]);
    fd_sleep(&t.fd);
}

static void write_status(uint32_t value)
{
    note("status=%x ", value);
    if (value != 0)
        return;
    set_reg(VIRTIO_MMIO_STATUS, d.reset_reads ? d.status_in_reset : 0);
    set_reg(VIRTIO_MMIO_INTERRUPT_STATUS, 0);
    if (!d.remembers_queues) {
        set_reg(VIRTIO_MMIO_QUEUE_READY, 0);
        set_reg(VIRTIO_MMIO_QUEUE_PFN, 0);
    }
    d.page_bytes = d.align = 0;
}

static void write_features(uint32_t value)
{
    uint32_t half = reg(VIRTIO_MMIO_DRIVER_FEATURES_SEL);
    note("features%u ", half);
    check(half < 2 && !(half == 1 && is_legacy()));
    d.accepted &= ~(0xffffffffull << 32 * half);
    d.accepted |= (uint64_t)value << 32 * half;
}

static void write_area(uint32_t offset, uint32_t value)
{
    uint64_t *area = &d.areas[(offset - VIRTIO_MMIO_QUEUE_DESC_LOW) / 16];
    bool is_high = offset % 16 != 0;
    check(!is_legacy() && offset % 16 <= 4);
    *area = is_high ? (uint32_t)*area | (uint64_t)value << 32 : (*area >> 32 << 32) | value;
    note("area%u ", (unsigned)(area - d.areas));
}

static void write_register(uint32_t offset, uint32_t value)
{
    switch (offset) {
    case VIRTIO_MMIO_STATUS:
        write_status(value);
        break;
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        set_reg(VIRTIO_MMIO_DEVICE_FEATURES, value < 2 ? (uint32_t)(d.offered >> 32 * value) : 0);
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES:
        write_features(value);
        break;
    case VIRTIO_MMIO_QUEUE_SEL:
        note("select=%u ", value);
        set_reg(VIRTIO_MMIO_QUEUE_NUM_MAX, value == 0 ? d.queue_max : 0);
        break;
    case VIRTIO_MMIO_QUEUE_NUM:
        note("num=%u ", value);
        break;
    case VIRTIO_MMIO_GUEST_PAGE_SIZE:
        check(is_legacy());
        d.page_bytes = value;
        note("page=%u ", value);
        break;
    case VIRTIO_MMIO_QUEUE_ALIGN:
        check(is_legacy());
        d.align = value;
        note("align=%u ", value);
        break;
    case VIRTIO_MMIO_QUEUE_PFN:
        check(is_legacy() && d.page_bytes > 0);
        note("pfn ");
        enable_legacy(value);
        break;
    case VIRTIO_MMIO_QUEUE_READY:
        check(!is_legacy() && value == 1);
        note("ready ");
        enable_modern();
        break;
    case VIRTIO_MMIO_QUEUE_NOTIFY:
        check(reg(VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_DRIVER_OK);
        note("notify=%u ", value);
        if (d.accepted & BIT(VIRTIO_F_NOTIFICATION_DATA))
            check(value == (uint32_t)t.fd.avail->idx << 16 && spin_is_locked(&t.device->queues[0]->lock));
        fd_notify(&t.fd);
        break;
    case VIRTIO_MMIO_INTERRUPT_ACK:
        note("ack=%x ", value);
        set_reg(VIRTIO_MMIO_INTERRUPT_STATUS, reg(VIRTIO_MMIO_INTERRUPT_STATUS) & ~value);
        break;
    default:
        write_area(offset, value);
    }
}

static void on_write(volatile void *address, uint64_t value)
{
    uint32_t offset = (uint32_t)((volatile uint8_t *)address - d.registers);
    if (offset >= VIRTIO_MMIO_CONFIG) { /* 4.2.2.2: in the field's width, which the access has seen to */
        d.config_writes++;
        return;
    }
    check(offset % 4 == 0);
    write_register(offset, (uint32_t)value);
}

/* A new capacity, of which no half is as before. */
static void change_config(void)
{
    store_le64(d.registers + VIRTIO_MMIO_CONFIG,
               load_le64(d.registers + VIRTIO_MMIO_CONFIG) + 0x100000001ull);
    if (!is_legacy())
        set_reg(VIRTIO_MMIO_CONFIG_GENERATION, reg(VIRTIO_MMIO_CONFIG_GENERATION) + 1);
}

static void on_read(const volatile void *address, unsigned bytes)
{
    uint32_t offset = (uint32_t)((const volatile uint8_t *)address - d.registers);
    check(offset + bytes <= WINDOW_BYTES && offset % bytes == 0);
    check(offset >= VIRTIO_MMIO_CONFIG || bytes == 4);
    if (offset == VIRTIO_MMIO_STATUS && d.reset_reads > 0 && reg(offset) == d.status_in_reset &&
        --d.reset_reads == 0)
        set_reg(offset, 0);
    if (offset == VIRTIO_MMIO_CONFIG_GENERATION)
        check(!is_legacy());
    if (offset == VIRTIO_MMIO_CONFIG + 4 && d.config_changes > 0) { /* between the halves of the capacity */
        d.config_changes--;
        change_config();
    }
}

/* ---- The kernel around it -------------------------------------------------------------------------------
 */

static int machine_slots = -1; /* a microvm with devices in the slots of this mask; below 0: none */
static struct virtio_mmio_slot asked[32];
static unsigned asked_count;

volatile void *mmu_map_device(phys_addr_t address, size_t bytes)
{
    if (asked_count < ARRAY_SIZE(asked))
        asked[asked_count++] = (struct virtio_mmio_slot){address, (uint32_t)bytes, 0};
    check(d.mapped == 0 || machine_slots >= 0); /* one at a time, where the test is not about many */
    d.mapped = address;
    d.mappings++;
    if (machine_slots >= 0)
        set_reg(VIRTIO_MMIO_DEVICE_ID, machine_slots >> (address - 0xfeb00000u) / 0x200 & 1 ? 99 : 0);
    return d.registers;
}

void mmu_unmap_device(volatile void *pointer, size_t bytes)
{
    check(pointer == d.registers && bytes > 0 && d.mapped != 0);
    d.mapped = 0;
}

static struct {
    uint32_t gsi;
    bool is_level, is_active_low;
} attached;

int irq_attach_gsi(uint32_t gsi, bool is_level, bool is_active_low, irq_handler *handler, void *context,
                   const char *name, struct irq **irq)
{
    (void)name;
    attached.gsi = gsi;
    attached.is_level = is_level;
    attached.is_active_low = is_active_low;
    note("attach ");
    return irq_new(handler, context, irq);
}

static const char *named[8];
const char *cmdline_value(const char *key, unsigned index)
{
    check(strcmp(key, "virtio_mmio.device") == 0);
    return index < ARRAY_SIZE(named) ? named[index] : NULL;
}

static bool has_pci;
bool pci_is_present(void)
{
    return has_pci;
}

struct acpi_info acpi_info;
static uint32_t gsi_count;
uint32_t ioapic_gsi_count(void)
{
    return gsi_count;
}

/* ---- Helpers --------------------------------------------------------------------------------------------
 */

#define OFFERED_LEGACY (BIT(VIRTIO_F_NOTIFY_ON_EMPTY) | BIT(VIRTIO_F_UNUSED))

static void make(uint32_t version)
{
    begin();
    host_mmio_write = NULL;
    memset(&d, 0, sizeof(d));
    set_reg(VIRTIO_MMIO_MAGIC_VALUE, VIRTIO_MMIO_MAGIC);
    set_reg(VIRTIO_MMIO_VERSION, version);
    set_reg(VIRTIO_MMIO_DEVICE_ID, VIRTIO_ID_BLOCK);
    store_le64(d.registers + VIRTIO_MMIO_CONFIG, 0x123456789aull);
    d.offered = version == 1 ? OFFERED_LEGACY : BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_RESET);
    d.queue_max = 1024;
    d.status_in_reset = 0x80;
    virtio_settings.queue_size = 256;
    machine_slots = -1;
    asked_count = 0;
    host_mmio_write = on_write;
    host_mmio_read = on_read;
}

static const struct virtio_mmio_slot slot = {0xfeb00e00, WINDOW_BYTES, 12};

static struct virtio_device *start(void)
{
    check_equal(virtio_mmio_add(&slot, false), 0);
    check(t.device && t.device->queue_count == 1);
    return t.device;
}

static void stop(struct virtio_device *device)
{
    virtio_device_destroy_queues(device);
    check_equal(irqs_in_use(), 0);
    free(device); /* it is the first member of the transport's struct */
}

static void raise(uint32_t bits)
{
    set_reg(VIRTIO_MMIO_INTERRUPT_STATUS, reg(VIRTIO_MMIO_INTERRUPT_STATUS) | bits);
}

static const struct irq *irq_of(void)
{
    return t.device->queues[0]->irq;
}

/* ---- Tests ----------------------------------------------------------------------------------------------
 */

static void test_order(void)
{
    make(2);
    struct virtio_device *device = start();
    expect_history("status=0 status=1 status=3 features0 features1 status=b select=0 attach select=0 num=256 "
                   "area0 area0 area1 area1 area2 area2 ready status=f ");
    check_equal(d.accepted, BIT(VIRTIO_F_VERSION_1));
    check(strcmp(device->where, "modern mmio 0xfeb00e00, GSI 12") == 0);
    check_equal(t.capacity, 0x123456789aull);
    check_equal(t.config_reads, 1);
    stop(device);

    make(1);
    device = start();
    expect_history(
        "status=0 status=1 status=3 features0 select=0 attach select=0 num=256 page=4096 align=4096 "
        "pfn status=7 ");
    check_equal(d.accepted, 0);
    check(strcmp(device->where, "legacy mmio 0xfeb00e00, GSI 12") == 0);
    check_equal(t.capacity, 0x123456789aull);
    check_equal(t.config_reads, 2);
    check(attached.gsi == 12 && attached.is_level && !attached.is_active_low);
    stop(device);
}

/* Requests go round at sizes that put the parts of the ring in different places. */
static void test_traffic(void)
{
    static const uint32_t sizes[] = {2, 4, 128, 256, 1024};
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
        make(1 + i % 2);
        virtio_settings.queue_size = sizes[i / 2];
        struct virtio_device *device = start();
        check_equal(device->queues[0]->size, sizes[i / 2]);
        uint64_t sum = 0;
        for (uint64_t token = 1; token < 3000; token++) {
            send(token);
            check_equal(serve(token), 1);
            raise(VIRTIO_MMIO_INTERRUPT_QUEUE);
            check(irq_call(irq_of()));
            check_equal(reg(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
            sum += token;
        }
        check_equal(t.taken, sum);
        check(virtqueue_is_idle(device->queues[0]));
        stop(device);
    }
}

/* As far as once around the index that the doorbell tells. */
static void test_notification_data(void)
{
    make(2);
    d.offered |= BIT(VIRTIO_F_NOTIFICATION_DATA);
    struct virtio_device *device = start();
    check(d.accepted & BIT(VIRTIO_F_NOTIFICATION_DATA));
    for (uint64_t token = 1; token < 66000; token++) {
        history[0] = '\0';
        send(token);
        check_equal(serve(token), 1); /* or it was not notified */
        raise(VIRTIO_MMIO_INTERRUPT_QUEUE);
        check(irq_call(irq_of()));
    }
    check_equal(t.taken, 65999ull * 66000 / 2);
    stop(device);
}

static void complete_another(void)
{
    send(8);
    check_equal(serve(8), 1);
    raise(VIRTIO_MMIO_INTERRUPT_QUEUE);
}

/* Acknowledged, then drained: what comes meanwhile keeps the line up (hazard 6). */
static void test_interrupt(void)
{
    make(2);
    struct virtio_device *device = start();
    check(!irq_call(irq_of())); /* a neighbour's */
    history[0] = '\0';
    send(7);
    serve(7);
    raise(VIRTIO_MMIO_INTERRUPT_QUEUE);
    t.during = complete_another;
    check(irq_call(irq_of()));
    expect_history("notify=0 ack=1 drain notify=0 ");
    check_equal(t.taken, 7);
    check_equal(reg(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INTERRUPT_QUEUE);
    check(irq_call(irq_of()));
    check_equal(t.taken, 15);
    raise(VIRTIO_MMIO_INTERRUPT_CONFIG);
    history[0] = '\0';
    check(irq_call(irq_of()));
    expect_history("ack=2 changed ");
    raise(VIRTIO_MMIO_INTERRUPT_CONFIG | VIRTIO_MMIO_INTERRUPT_QUEUE);
    check(irq_call(irq_of()));
    expect_history("ack=3 changed drain ");
    raise(0xfffffff0u); /* bits that are none: acknowledged all the same, or the line stays up */
    check(irq_call(irq_of()));
    check_equal(reg(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    stop(device);
}

static void test_reset(void)
{
    for (uint32_t version = 1; version <= 2; version++) {
        make(version);
        d.reset_reads = 4;
        uint64_t before = host_clock_ns;
        struct virtio_device *device = start();
        check(host_clock_ns > before && d.reset_reads == 0);
        d.reset_reads = 9;
        check_equal(virtio_device_stop(device), 0);
        check_equal(d.reset_reads, 0);
        history[0] = '\0';
        check_equal(virtio_device_resume(device), 0);
        expect_history(version == 1 ? "status=1 status=3 features0 select=0 num=256 page=4096 align=4096 pfn "
                                    : "status=1 status=3 features0 features1 status=b select=0 num=256 area0 "
                                      "area0 area1 area1 area2 area2 ready ");
        virtio_device_ready(device);
        send(5);
        check_equal(serve(5), 1);
        raise(VIRTIO_MMIO_INTERRUPT_QUEUE);
        check(irq_call(irq_of())); /* the same line */
        check_equal(t.taken, 5);
        stop(device);
    }
}

/* A change between the two halves: by the generation, or by reading until it is the same twice. */
static void test_config(void)
{
    for (uint32_t version = 1; version <= 2; version++) {
        make(version);
        d.config_changes = 3;
        struct virtio_device *device = start();
        check_equal(t.capacity, 0x123456789aull + 3 * 0x100000001ull);
        check_equal(d.config_changes, 0);
        check(t.config_reads >= 4);
        check_equal(virtio_config_read(device, WINDOW_BYTES - VIRTIO_MMIO_CONFIG - 1, 1), 0);
        check_equal(virtio_config_read(device, WINDOW_BYTES - VIRTIO_MMIO_CONFIG, 4), 0); /* past the end */
        check_equal(virtio_config_read(device, 0xfffffffcu, 4), 0);
        d.registers[VIRTIO_MMIO_CONFIG + 9] = 0x5a;
        d.registers[VIRTIO_MMIO_CONFIG + 10] = 0xc3;
        uint8_t *field = d.registers + VIRTIO_MMIO_CONFIG + 32;
        virtio_config_write(device, 32, 1, 0x1ff);
        virtio_config_write(device, 36, 2, 0x1ffee);
        virtio_config_write(device, 40, 4, 0x12345678);
        check(load_le32(field) == 0xff && load_le32(field + 4) == 0xffee &&
              load_le64(field + 8) == 0x12345678);
        virtio_config_write(device, WINDOW_BYTES - VIRTIO_MMIO_CONFIG, 1, 0xff); /* past the end */
        virtio_config_write(device, 0xfffffffcu, 4, 0xff);
        check_equal(d.config_writes, 3);
        check_equal(virtio_config_read(device, 9, 1), 0x5a);
        check_equal(virtio_config_read(device, 10, 2), 0xc3);
        stop(device);
    }
}

/* Refused with one line that says why, and one that says who. */
static void expect_refused(int error, const char *why)
{
    log_capture();
    __lsan_disable(); /* a device that failed keeps its memory */
    int result = virtio_mmio_add(&slot, false);
    __lsan_enable();
    bool is_at_driver = t.device != NULL;
    unsigned lines = log_lines(why);
    check_equal(-result, error);
    check_equal(lines, 1);
    check_equal(irqs_in_use(), 0);
    if (is_at_driver)
        check(reg(VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_FAILED);
    t.device = NULL;
}

static void test_wrong_registers(void)
{
    static const uint32_t versions[] = {0, 3, 0xffffffff};
    make(2);
    set_reg(VIRTIO_MMIO_MAGIC_VALUE, 0xffffffff);
    expect_refused(ENXIO, "magic 0xffffffff");
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
        make(versions[i]);
        expect_refused(EINVAL, "neither 1 nor 2");
    }
    make(2);
    set_reg(VIRTIO_MMIO_DEVICE_ID, 0);
    expect_refused(ENODEV, "an empty slot");
    check_equal(d.mapped, 0);
    make(2);
    d.offered = 0;
    expect_refused(EOPNOTSUPP, "offers no VERSION_1");
    make(2);
    set_reg(VIRTIO_MMIO_QUEUE_READY, 1);
    d.remembers_queues = true;
    expect_refused(EIO, "did not forget");
    make(1);
    set_reg(VIRTIO_MMIO_QUEUE_PFN, 77);
    d.remembers_queues = true;
    expect_refused(EIO, "did not forget");
    for (uint32_t version = 1; version <= 2; version++) {
        make(version);
        d.queue_max = 0;
        expect_refused(EOPNOTSUPP, "queue 0 of 0 entries");
        make(version);
        d.reset_reads = UINT32_MAX;
        d.status_in_reset = version == 1 ? 0xffffffff : 0x100; /* its lowest byte is not all of it */
        expect_refused(EBUSY, "no answer to a reset");
        make(version);
        irq_error = -ENODEV; /* no I/O APIC has the line */
        irq_room = 0;
        expect_refused(ENODEV, "queues cannot be set up");
        irq_error = 0;
        make(version);
        d.queue_max = 0xffffffff; /* too good, but what is asked of it is there */
        struct virtio_device *device = start();
        check_equal(device->queues[0]->size, 256);
        stop(device);
    }
    make(1); /* its memory past what a page number names */
    uintptr_t base = host_direct_base;
    host_direct_base -= 1ull << 45;
    expect_refused(EOPNOTSUPP, "out of a legacy device's reach");
    host_direct_base = base;
}

/* ---- Places ---------------------------------------------------------------------------------------------
 */

static void test_parse(void)
{
    static const char *const bad[] = {
        "",
        "512",
        "512@0xfeb00e00",
        "@0xfeb00e00:12",
        "512@:12",
        "512@0xfeb00e00:",
        "512:12@0xfeb00e00",
        "255@0xfeb00e00:12",
        "2M@0xfeb00e00:12",
        "512@0xfeb00e02:12",
        "512@0xfeb00e00:1024",
        "512@0xfeb00e00:-1",
        "512@0xfeb00e00 :12",
        "512@0x1feb00e00feb00e00:12",
        "512@0xfeb00e00:12:0000000000000000000000000000000000000000000000000000"};
    struct virtio_mmio_slot found = {0};
    check_equal(virtio_mmio_parse("512@0xfeb00e00:12", &found), 0);
    check(found.address == 0xfeb00e00 && found.bytes == 512 && found.gsi == 12);
    check_equal(virtio_mmio_parse("4K@4273995776:0x2f:3", &found), 0);
    check(found.address == 0xfec00000 && found.bytes == 4096 && found.gsi == 47);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        check_equal(-virtio_mmio_parse(bad[i], &found), EINVAL);
    for (unsigned round = 0; round < 20000; round++) {
        static const char letters[] = "0159abfx@@::KM ";
        char text[24];
        uint32_t length = fd_random(sizeof(text));
        for (uint32_t i = 0; i < length; i++)
            text[i] = letters[fd_random(sizeof(letters) - 1)];
        text[length] = '\0';
        if (virtio_mmio_parse(text, &found) == 0)
            check(found.bytes >= 256 && found.gsi < 1024 && found.address % 4 == 0);
    }
}

static void init(const char *first, const char *second, const char *third)
{
    named[0] = first;
    named[1] = second;
    named[2] = third;
    log_capture();
    __lsan_disable();
    virtio_mmio_init();
    __lsan_enable();
}

static void test_named(void)
{
    make(2);
    set_reg(VIRTIO_MMIO_DEVICE_ID, 0);
    init("512@0xfeb00e00:12", "512@0xfeb00c00:11", "512@0xfeb00e00:9");
    check_equal(log_lines("empty slot"), 2); /* the third is the first again */
    check(asked_count == 2 && asked[0].address == 0xfeb00e00 && asked[1].address == 0xfeb00c00);
    make(2);
    set_reg(VIRTIO_MMIO_DEVICE_ID, 0);
    has_pci = true; /* named ones are looked at there too */
    init("nonsense", "512@0xfeb00c00:11", NULL);
    check_equal(log_lines("ignored"), 1);
    check(asked_count == 1 && asked[0].address == 0xfeb00c00);
    make(2);
    init(NULL, NULL, NULL);
    check_equal(log_lines(""), 0);
    check_equal(asked_count, 0); /* those addresses are PCI's */
    has_pci = false;
}

/* No driver takes type 99, so nothing stays mapped and nothing is left behind but its place. */
static void expect_slots(uint32_t lines, uint32_t cpus, unsigned slots, uint32_t gsi_first)
{
    char where[64];
    make(2);
    machine_slots = 1 << (slots - 1) | 1;
    gsi_count = lines;
    acpi_info.cpu_count = cpus;
    setenv("UMBRA_HOST_LOG", "1", 1);
    init(NULL, NULL, NULL);
    unsetenv("UMBRA_HOST_LOG");
    snprintf(where, sizeof(where), "0x%x, GSI %u", 0xfeb00000 + 0x200 * (slots - 1), gsi_first + slots - 1);
    check_equal(log_lines(where), 1);
    check_equal(asked_count, slots);
    check_equal(asked[0].address, 0xfeb00000 + 0x200 * (slots - 1)); /* the last is the first */
}

static void test_slots(void)
{
    expect_slots(48, 2, 24, 24);
    expect_slots(24, 1, 8, 16);
    expect_slots(24, 0, 8, 5);
    make(2); /* another machine: one look, no line */
    set_reg(VIRTIO_MMIO_MAGIC_VALUE, 0xffffffff);
    init(NULL, NULL, NULL);
    check_equal(log_lines(""), 0);
    check_equal(asked_count, 1);
}

int main(void)
{
    lower_memory();
    test_order();
    test_traffic();
    test_notification_data();
    test_interrupt();
    test_reset();
    test_config();
    test_wrong_registers();
    test_parse();
    test_named();
    test_slots();
    return check_finish();
}
