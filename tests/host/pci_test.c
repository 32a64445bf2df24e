/* SPDX-License-Identifier: MIT */
/* Capabilities and BARs, honest and hostile: the parsers of drivers/pci and of the virtio PCI transport on
 * configuration spaces made up here. */
#include <kernel/base/bits.h>
#include <kernel/base/error.h>

#include <string.h>

#include "../../src/drivers/virtio/transport_pci_internal.h"
#include "check.h"

static uint8_t space[256];
static uint32_t bar_masks[PCI_BAR_COUNT]; /* the bits of each register that can be written */
static unsigned reads;

/* ---- A function behind pci_config_* ------------------------------------------------------------------ */

uint8_t pci_config_read8(const struct pci_device *device, uint32_t offset)
{
    (void)device;
    reads++;
    return offset < sizeof(space) ? space[offset] : 0xff;
}

uint16_t pci_config_read16(const struct pci_device *device, uint32_t offset)
{
    (void)device;
    check(offset % 2 == 0);
    return offset < sizeof(space) ? load_le16(space + offset) : 0xffff;
}

uint32_t pci_config_read32(const struct pci_device *device, uint32_t offset)
{
    (void)device;
    check(offset % 4 == 0);
    return offset < sizeof(space) ? load_le32(space + offset) : ~0u;
}

void pci_config_write16(const struct pci_device *device, uint32_t offset, uint16_t value)
{
    (void)device;
    store_le16(space + offset, value);
}

void pci_config_write32(const struct pci_device *device, uint32_t offset, uint32_t value)
{
    (void)device;
    check(offset >= PCI_BAR0 && offset < PCI_BAR0 + 4 * PCI_BAR_COUNT);
    /* BARs change only while nothing decodes them. */
    check(!(load_le16(space + PCI_COMMAND) & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY)));
    uint32_t mask = bar_masks[(offset - PCI_BAR0) / 4];
    store_le32(space + offset, (value & mask) | (load_le32(space + offset) & ~mask));
}

static void set_bar(uint32_t index, uint32_t value, uint32_t mask)
{
    store_le32(space + PCI_BAR0 + 4 * index, value);
    bar_masks[index] = mask;
}

static struct pci_device make(void)
{
    memset(space, 0, sizeof(space));
    memset(bar_masks, 0, sizeof(bar_masks));
    store_le16(space + PCI_STATUS, PCI_STATUS_CAPABILITIES);
    store_le16(space + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
    return (struct pci_device){.name = "test"};
}

/* ---- BARs -------------------------------------------------------------------------------------------- */

static void test_bars(void)
{
    struct pci_device device = make();
    set_bar(0, 0xc001, 0xffe0);         /* 32 ports, upper half reads as zeroes */
    set_bar(1, 0xfebf1000, 0xfffff000); /* 4 KiB */
    set_bar(2, 0, 0);                   /* none */
    set_bar(4, 0x0000000c, 0xffffc000); /* 16 KiB, 64-bit, prefetchable ... */
    set_bar(5, 0x000000e0, 0xffffffff); /* ... at 0xe000000000 */
    pci_size_bars(&device);
    check(device.bars[0].is_port && device.bars[0].address == 0xc000);
    check_equal(device.bars[0].bytes, 32);
    check_equal(device.bars[1].address, 0xfebf1000);
    check_equal(device.bars[1].bytes, 4096);
    check(!device.bars[1].is_64bit && !device.bars[1].is_port);
    check_equal(device.bars[2].bytes, 0);
    check_equal(device.bars[3].bytes, 0);
    check(device.bars[4].is_64bit);
    check_equal(device.bars[4].address, 0xe000000000ull);
    check_equal(device.bars[4].bytes, 16384);
    check_equal(device.bars[5].bytes, 0); /* the upper half is no BAR (hazard 29) */
    check_equal(load_le16(space + PCI_COMMAND), PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
    check_equal(load_le32(space + PCI_BAR0 + 16), 0x0000000c);
    check_equal(load_le32(space + PCI_BAR0 + 20), 0xe0);

    check(pci_bar_contains(&device, 4, 0, 16384) && pci_bar_contains(&device, 4, 16383, 1));
    check(!pci_bar_contains(&device, 4, 0, 16385) && !pci_bar_contains(&device, 4, 16384, 1));
    check(!pci_bar_contains(&device, 4, 0, 0));
    check(!pci_bar_contains(&device, 4, UINT64_MAX, 2) && !pci_bar_contains(&device, 4, 2, UINT64_MAX));
    check(!pci_bar_contains(&device, 0, 0, 4)); /* ports */
    check(!pci_bar_contains(&device, 2, 0, 4) && !pci_bar_contains(&device, 5, 0, 4));
    check(!pci_bar_contains(&device, 6, 0, 4) && !pci_bar_contains(&device, 255, 0, 4));
}

static void test_odd_bars(void)
{
    struct pci_device device = make();
    /* The last BAR says it is 64-bit: there is no other half. More than 4 GiB long. No address. */
    set_bar(5, 0xf0000004, 0xfff00000);
    set_bar(0, 0x00000004, 0x00000000);
    set_bar(1, 0x00000040, 0xfffffff8);
    set_bar(3, 0x00000000, 0xffff0000);
    pci_size_bars(&device);
    check(!device.bars[5].is_64bit && device.bars[5].bytes == MIB(1));
    check_equal(device.bars[3].bytes, 65536);
    check(!pci_bar_contains(&device, 3, 0, 4)); /* firmware gave it no address */

    device.header_type = 1; /* a bridge has two; what follows is something else */
    set_bar(2, 0x12345678, 0);
    pci_size_bars(&device);
    check_equal(device.bars[2].bytes, 0);
    check_equal(device.bars[5].bytes, 0);
}

/* ---- The capability list ------------------------------------------------------------------------------ */

static void put_capability(uint8_t at, uint8_t id, uint8_t next)
{
    space[at] = id;
    space[at + 1] = next;
}

static void test_capability_walk(void)
{
    struct pci_device device = make();
    uint8_t found[8];
    space[PCI_CAPABILITIES] = 0x40;
    put_capability(0x40, PCI_CAP_MSIX, 0x50);
    put_capability(0x50, PCI_CAP_VENDOR, 0x63); /* reserved low bits */
    put_capability(0x60, PCI_CAP_VENDOR, 0);
    check_equal(pci_capabilities(&device, PCI_CAP_VENDOR, found, 8), 2);
    check(found[0] == 0x50 && found[1] == 0x60);
    check_equal(pci_capabilities(&device, PCI_CAP_VENDOR, found, 1), 1);
    check_equal(pci_capabilities(&device, PCI_CAP_EXPRESS, found, 8), 0);

    put_capability(0x60, PCI_CAP_VENDOR, 0x50); /* a loop */
    reads = 0;
    check(pci_capabilities(&device, PCI_CAP_MSIX, found, 8) == 1);
    check(pci_capabilities(&device, PCI_CAP_VENDOR, found, 8) <= 8);
    check(reads < 400);
    put_capability(0x60, PCI_CAP_VENDOR, 0x60); /* itself */
    check(pci_capabilities(&device, PCI_CAP_VENDOR, found, 8) <= 8);
    put_capability(0x60, PCI_CAP_VENDOR, 0x10); /* into the header */
    put_capability(0x10, PCI_CAP_VENDOR, 0);
    check_equal(pci_capabilities(&device, PCI_CAP_VENDOR, found, 8), 2);
    put_capability(0x60, PCI_CAP_VENDOR, 0xfc); /* the last dword */
    check_equal(pci_capabilities(&device, PCI_CAP_VENDOR, found, 8), 2);
    store_le16(space + PCI_STATUS, 0);
    check_equal(pci_capabilities(&device, PCI_CAP_VENDOR, found, 8), 0);
}

/* ---- Virtio's ----------------------------------------------------------------------------------------- */

static uint8_t next_free;

static uint8_t put_virtio(uint8_t type, uint8_t bar, uint32_t offset, uint32_t bytes)
{
    uint8_t at = next_free;
    uint8_t length = type == VIRTIO_PCI_CAP_NOTIFY_CFG ? 20 : 16;
    put_capability(at, PCI_CAP_VENDOR, space[PCI_CAPABILITIES]);
    space[PCI_CAPABILITIES] = at;
    space[at + 2] = length;
    space[at + 3] = type;
    space[at + 4] = bar;
    store_le32(space + at + 8, offset);
    store_le32(space + at + 12, bytes);
    next_free = (uint8_t)(at + 20);
    return at;
}

/* A device as it should be: 16 KiB in BAR 4. The list is walked from the last one put. */
static struct pci_device make_virtio(void)
{
    struct pci_device device = make();
    next_free = 0x40;
    device.bars[4] = (struct pci_bar){.address = 0xe000000000ull, .bytes = 16384, .is_64bit = true};
    device.bars[0] = (struct pci_bar){.address = 0xc000, .bytes = 64, .is_port = true};
    put_virtio(VIRTIO_PCI_CAP_DEVICE_CFG, 4, 0x2000, 0x1000);
    put_virtio(VIRTIO_PCI_CAP_ISR_CFG, 4, 0x1000, 0x1000);
    uint8_t notify = put_virtio(VIRTIO_PCI_CAP_NOTIFY_CFG, 4, 0x3000, 0x1000);
    store_le32(space + notify + 16, 4);
    put_virtio(VIRTIO_PCI_CAP_COMMON_CFG, 4, 0x0000, 0x1000);
    return device;
}

static void test_regions(void)
{
    struct pci_device device = make_virtio();
    struct virtio_pci_regions regions;
    put_virtio(99, 7, ~0u, ~0u);                    /* unknown type: passed over */
    put_virtio(VIRTIO_PCI_CAP_NOTIFY_CFG, 0, 0, 4); /* by port: passed over */
    check_equal(virtio_pci_find_regions(&device, &regions), 0);
    check(regions.common.bar == 4 && regions.common.offset == 0 && regions.common.bytes == 0x1000);
    check(regions.notify.bar == 4 && regions.notify.offset == 0x3000);
    check(regions.isr.offset == 0x1000 && regions.config.offset == 0x2000);
    check_equal(regions.notify_multiplier, 4);

    /* A second structure of a type: the first in the list counts. */
    device = make_virtio();
    put_virtio(VIRTIO_PCI_CAP_ISR_CFG, 4, 0x3800, 4);
    check_equal(virtio_pci_find_regions(&device, &regions), 0);
    check_equal(regions.isr.offset, 0x3800);

    /* A first one that is broken: the next one counts. */
    device = make_virtio();
    put_virtio(VIRTIO_PCI_CAP_COMMON_CFG, 4, 0x3ff0, 0x1000);
    check_equal(virtio_pci_find_regions(&device, &regions), 0);
    check_equal(regions.common.offset, 0);
}

/* Replaces the range of the common structure (the last put, so the first in the list). */
static int with_common(uint8_t bar, uint32_t offset, uint32_t bytes, uint8_t length)
{
    struct pci_device device = make_virtio();
    struct virtio_pci_regions regions;
    uint8_t at = space[PCI_CAPABILITIES];
    space[at + 2] = length;
    space[at + 4] = bar;
    store_le32(space + at + 8, offset);
    store_le32(space + at + 12, bytes);
    return virtio_pci_find_regions(&device, &regions);
}

static void test_hostile_regions(void)
{
    struct virtio_pci_regions regions;
    check_equal(with_common(4, 0, 56, 16), 0);
    check_equal(-with_common(4, 0, 55, 16), EINVAL);          /* too short for its fields */
    check_equal(-with_common(4, 0, 56, 15), EINVAL);          /* the capability is cut short */
    check_equal(-with_common(4, 0, 16385, 16), EINVAL);       /* past the BAR */
    check_equal(-with_common(4, 0xffffffc0, 64, 16), EINVAL); /* the sum wraps in 32 bits */
    check_equal(-with_common(4, 64, 0xffffffff, 16), EINVAL);
    check_equal(-with_common(3, 0, 64, 16), EINVAL); /* no such BAR */
    check_equal(-with_common(6, 0, 64, 16), EINVAL);
    check_equal(-with_common(255, 0, 64, 16), EINVAL);
    struct pci_device device = make();
    space[PCI_CAPABILITIES] = 0;
    check_equal(-virtio_pci_find_regions(&device, &regions), ENODEV); /* legacy only */
    /* At the very end of the space: the multiplier would lie outside. */
    device = make_virtio();
    space[0x40 + 2 * 20 + 3] = 99; /* the one that was fine */
    next_free = 0xec;
    uint8_t at = put_virtio(VIRTIO_PCI_CAP_NOTIFY_CFG, 4, 0x3000, 0x1000);
    check_equal(virtio_pci_find_regions(&device, &regions), 0);
    memmove(space + 0xf0, space + at, 16);
    space[PCI_CAPABILITIES] = 0xf0;
    check_equal(-virtio_pci_find_regions(&device, &regions), EINVAL);
}

static void test_doorbell(void)
{
    struct virtio_pci_regions regions = {.notify = {4, 0x3000, 0x1000}, .notify_multiplier = 4};
    uint32_t offset = 0;
    check(virtio_pci_doorbell_offset(&regions, 3, 2, &offset) && offset == 12);
    check(virtio_pci_doorbell_offset(&regions, 1023, 2, &offset) && offset == 4092);
    check(!virtio_pci_doorbell_offset(&regions, 1024, 2, &offset));
    regions.notify_multiplier = 0; /* one doorbell for all (hazard 28) */
    check(virtio_pci_doorbell_offset(&regions, 0xffff, 2, &offset) && offset == 0);
    regions.notify_multiplier = 0x80000000u; /* wraps in 32 bits */
    check(!virtio_pci_doorbell_offset(&regions, 2, 2, &offset));
    regions.notify_multiplier = 3;
    check(!virtio_pci_doorbell_offset(&regions, 1, 2, &offset));
    regions.notify_multiplier = 4;
    regions.notify.bytes = 2;
    check(virtio_pci_doorbell_offset(&regions, 0, 2, &offset) &&
          !virtio_pci_doorbell_offset(&regions, 1, 2, &offset));
    /* With data, twice as wide. */
    check(!virtio_pci_doorbell_offset(&regions, 0, 4, &offset));
    regions.notify.bytes = 8;
    check(virtio_pci_doorbell_offset(&regions, 1, 4, &offset) && offset == 4);
    check(!virtio_pci_doorbell_offset(&regions, 2, 4, &offset));
    regions.notify_multiplier = 2;
    check(virtio_pci_doorbell_offset(&regions, 1, 2, &offset) && offset == 2);
    check(!virtio_pci_doorbell_offset(&regions, 1, 4, &offset));
    regions.notify.offset = 0x3002;
    check(!virtio_pci_doorbell_offset(&regions, 0, 4, &offset));
    check(virtio_pci_doorbell_offset(&regions, 1, 4, &offset));
}

/* Any bytes at all: nothing but an answer. */
static void test_noise(void)
{
    uint32_t state = 1;
    FILE *log = stderr;
    stderr = fopen("/dev/null", "w");
    for (unsigned round = 0; round < 20000; round++) {
        struct pci_device device = make_virtio();
        struct virtio_pci_regions regions;
        for (unsigned i = 0; i < 1 + round % 24; i++) {
            state = state * 1664525 + 1013904223;
            space[0x34 + (state >> 8) % (sizeof(space) - 0x34)] = (uint8_t)(state >> 24);
        }
        store_le16(space + PCI_STATUS, PCI_STATUS_CAPABILITIES);
        if (virtio_pci_find_regions(&device, &regions) == 0)
            check(
                pci_bar_contains(&device, regions.common.bar, regions.common.offset, regions.common.bytes) &&
                pci_bar_contains(&device, regions.notify.bar, regions.notify.offset, regions.notify.bytes));
    }
    fclose(stderr);
    stderr = log;
}

/* Hazard 12: a device that may not master the bus neither transfers data nor sends messages. */
static void test_enable(void)
{
    struct pci_device device = make();
    store_le16(space + PCI_COMMAND, PCI_COMMAND_INTX_DISABLE);
    pci_enable(&device);
    check_equal(load_le16(space + PCI_COMMAND),
                PCI_COMMAND_INTX_DISABLE | PCI_COMMAND_MEMORY | PCI_COMMAND_BUS_MASTER);
    pci_disable_bus_master(&device);
    check_equal(load_le16(space + PCI_COMMAND), PCI_COMMAND_INTX_DISABLE | PCI_COMMAND_MEMORY);
}

/* ---- Addresses for what is plugged in ----------------------------------------------------------------- */

static struct pci_windows read_windows(uint16_t base, uint16_t limit, uint32_t prefetchable, uint64_t upper)
{
    struct pci_windows windows;
    struct pci_device bridge = {.header_type = 1};
    memset(space, 0, sizeof(space));
    store_le16(space + PCI_MEMORY_BASE, base);
    store_le16(space + PCI_MEMORY_LIMIT, limit);
    store_le32(space + PCI_PREFETCHABLE_BASE, prefetchable);
    store_le32(space + PCI_PREFETCHABLE_BASE_UPPER, (uint32_t)upper);
    store_le32(space + PCI_PREFETCHABLE_LIMIT_UPPER, (uint32_t)(upper >> 32));
    pci_read_windows(&bridge, &windows);
    return windows;
}

static void test_windows(void)
{
    struct pci_windows windows = read_windows(0xfe80, 0xfe90, 0xfdf1fde1, 0);
    check(windows.memory.next == 0xfe800000 && windows.memory.end == 0xfea00000);
    check(windows.prefetchable.next == 0xfde00000 && windows.prefetchable.end == 0xfe000000);
    windows = read_windows(0xfff0, 0, 0x0000fff0, 0); /* closed */
    check(windows.memory.next == windows.memory.end && windows.prefetchable.next == windows.prefetchable.end);
    windows = read_windows(0, 0, 0, 0); /* never set: not the first MiB of memory */
    check(windows.memory.next == windows.memory.end && windows.prefetchable.next == windows.prefetchable.end);
    windows = read_windows(0xfff0, 0xfff0, 0x1ff10001, 0x0000008000000080ull); /* to 4 GiB; above it */
    check(windows.memory.next == 0xfff00000 && windows.memory.end == GIB(4));
    check(windows.prefetchable.next == 0x8000000000ull && windows.prefetchable.end == 0x8020000000ull);
    windows = read_windows(0xfe80, 0xfe90, 0xfdf0fde0, 0x0000008000000080ull); /* of 32 bits: no upper half */
    check(windows.prefetchable.next == 0xfde00000 && windows.prefetchable.end == 0xfe000000);
}

/* The device's BARs, and what its registers hold then. */
static uint64_t bar_register(uint32_t index)
{
    return load_le32(space + PCI_BAR0 + 4 * index) & ~15u;
}

static struct pci_device make_plugged(void)
{
    struct pci_device device = make();
    store_le16(space + PCI_COMMAND, 0);
    set_bar(1, 0, 0xfffff000);                                  /* 4 KiB */
    set_bar(2, PCI_BAR_TYPE_64 | PCI_BAR_PREFETCH, 0xffffc000); /* 16 KiB, 64-bit, prefetchable */
    set_bar(3, 0, 0xffffffff);
    set_bar(4, PCI_BAR_PREFETCH, 0xffff0000); /* 64 KiB, prefetchable */
    set_bar(5, PCI_BAR_IO, 0xffffffe0);
    pci_size_bars(&device);
    return device;
}

static void test_assign(void)
{
    struct pci_device device = make_plugged();
    struct pci_windows windows = {{0xfe801000, 0xfea00000}, {0x8000000000ull, 0x8020000000ull}};
    check_equal(pci_assign_bars(&device, &windows), 0);
    /* The largest first, each at a multiple of its size; above 4 GiB only what has 64 bits. */
    check(device.bars[4].address == 0xfe810000 && bar_register(4) == 0xfe810000);
    check(device.bars[1].address == 0xfe820000 && bar_register(1) == 0xfe820000);
    check(device.bars[2].address == 0x8000000000ull && bar_register(2) == 0 && bar_register(3) == 0x80);
    check(device.bars[5].address == 0 && windows.memory.next == 0xfe821000);

    device = make_plugged(); /* below 4 GiB it may have any that is prefetchable */
    windows = (struct pci_windows){{0xfe800000, 0xfea00000}, {0xfd000000, 0xfd100000}};
    check_equal(pci_assign_bars(&device, &windows), 0);
    check(device.bars[4].address == 0xfd000000 && device.bars[2].address == 0xfd010000);
    check(device.bars[1].address == 0xfe800000);

    device = make_plugged(); /* without a prefetchable window: everything in the other */
    windows = (struct pci_windows){{0xfe800000, 0xfe815000}, {0, 0}};
    check_equal(pci_assign_bars(&device, &windows), 0);
    check(device.bars[4].address == 0xfe800000 && device.bars[2].address == 0xfe810000 &&
          device.bars[1].address == 0xfe814000 && windows.memory.next == windows.memory.end);

    device = make_plugged(); /* a page too short */
    windows = (struct pci_windows){{0xfe800000, 0xfe814000}, {0, 0}};
    check_equal(-pci_assign_bars(&device, &windows), ENOSPC);
    device = make_plugged(); /* to the very end of the address space */
    windows = (struct pci_windows){{UINT64_MAX - 0x5000, UINT64_MAX}, {0, 0}};
    check_equal(-pci_assign_bars(&device, &windows), ENOSPC);
}

int main(void)
{
    test_windows();
    test_assign();
    test_enable();
    test_bars();
    test_odd_bars();
    test_capability_walk();
    test_regions();
    test_hostile_regions();
    test_doorbell();
    test_noise();
    return check_finish();
}
