/* SPDX-License-Identifier: MIT */
/* The walk over all buses and the list of what it found; and what comes and goes behind a slot later.
 *
 * It starts at the first bus of each ECAM window (or at bus 0 by port) and goes down through bridges as
 * firmware numbered them. A bus is walked once: a bridge that leads upwards, to itself, or to a bus that was
 * seen already gets one line and is not followed. So the depth is bounded by the bus numbers.
 * The boot thread makes the list, later the thread that watches the slots is the only one that changes it:
 * under pci_mutex, which it needs not for looking. Drivers are called without the mutex. */
#include <arch/acpi.h>
#include <arch/mmu.h>
#include <drivers/pci/pci.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/printf.h>

#define SLOT_COUNT          32u
#define FUNCTION_COUNT      8u
#define ECAM_FUNCTION_BYTES 4096u
#define ECAM_BUS_BYTES      (SLOT_COUNT * FUNCTION_COUNT * ECAM_FUNCTION_BYTES)

linker_set_declare(pci_drivers, const struct pci_driver);

struct mutex pci_mutex = MUTEX_INIT(pci_mutex, "pci");
static struct list devices = LIST_INIT(devices); /* pci_mutex to change */

/* One segment's walk. */
struct walk {
    const struct acpi_ecam *ecam; /* NULL: by port */
    uint16_t segment;
    uint8_t bus_last;
    uint8_t seen[32]; /* a bit a bus */
};

static void walk_bus(struct walk *walk, uint8_t bus, struct pci_device *bridge);

static void read_identity(struct pci_device *device)
{
    device->vendor_id = pci_config_read16(device, PCI_VENDOR_ID);
    device->device_id = pci_config_read16(device, PCI_DEVICE_ID);
    device->revision = pci_config_read8(device, PCI_REVISION);
    device->interface = pci_config_read8(device, PCI_INTERFACE);
    device->subclass = pci_config_read8(device, PCI_SUBCLASS);
    device->class_code = pci_config_read8(device, PCI_CLASS);
    device->header_type = pci_config_read8(device, PCI_HEADER_TYPE) & 0x7f;
    if (device->header_type == 0) {
        device->subsystem_vendor_id = pci_config_read16(device, PCI_SUBSYSTEM_VENDOR_ID);
        device->subsystem_id = pci_config_read16(device, PCI_SUBSYSTEM_ID);
    }
}

static void name_device(struct pci_device *device)
{
    char segment[8] = "";
    if (device->segment != 0)
        snprintf(segment, sizeof(segment), "%04x:", device->segment);
    snprintf(device->name, sizeof(device->name), "%s%02x:%02x.%u", segment, device->bus, device->slot,
             device->function);
}

static void follow_bridge(struct walk *walk, struct pci_device *bridge)
{
    uint8_t bus = pci_config_read8(bridge, PCI_SECONDARY_BUS);
    if (bus == 0)
        return; /* firmware left it unconfigured: nothing is behind it */
    if (bus <= bridge->bus || bus > walk->bus_last || walk->seen[bus / 8] & 1u << bus % 8) {
        log_warning("pci", "%s: bridge to bus %u is not followed: not above its own, seen, or past %u",
                    bridge->name, bus, walk->bus_last);
        return;
    }
    walk_bus(walk, bus, bridge);
}

/* Its place in the list: by segment, bus, slot and function. */
static uint64_t order_of(const struct pci_device *device)
{
    return (uint64_t)device->segment << 24 | (uint64_t)device->bus << 16 | (uint64_t)device->slot << 8 |
           device->function;
}

static void list_device(struct pci_device *device)
{
    MUTEX_SCOPED(&pci_mutex);
    struct list *after = &devices;
    list_foreach (node, &devices) {
        if (order_of(list_entry(node, struct pci_device, node)) > order_of(device))
            break;
        after = node;
    }
    list_push_front(after, &device->node);
}

/* Lists the function behind `probe`, whose address is filled in. False without memory. */
static bool add_function(struct walk *walk, const struct pci_device *probe)
{
    struct pci_device *device = heap_alloc_zeroed(sizeof(*device));
    if (!device) {
        log_error("pci", "no memory for another device");
        return false;
    }
    *device = *probe;
    read_identity(device);
    name_device(device);
    list_device(device);
    log_debug("pci", "%s: %04x:%04x class %02x%02x", device->name, device->vendor_id, device->device_id,
              device->class_code, device->subclass);
    if (device->header_type == 1 && device->class_code == PCI_CLASS_BRIDGE)
        follow_bridge(walk, device);
    return true;
}

static void walk_slot(struct walk *walk, struct pci_device probe, volatile uint8_t *window)
{
    uint32_t functions = 1;
    for (uint32_t function = 0; function < functions; function++) {
        probe.function = (uint8_t)function;
        if (window)
            probe.ecam = window + (probe.slot * FUNCTION_COUNT + function) * ECAM_FUNCTION_BYTES;
        if (pci_config_read16(&probe, PCI_VENDOR_ID) == 0xffff)
            continue; /* function 0 missing: functions is still 1 */
        if (function == 0 && pci_config_read8(&probe, PCI_HEADER_TYPE) & PCI_HEADER_MULTI_FUNCTION)
            functions = FUNCTION_COUNT;
        if (!add_function(walk, &probe))
            return;
    }
}

static void walk_bus(struct walk *walk, uint8_t bus, struct pci_device *bridge)
{
    volatile uint8_t *window = NULL;
    walk->seen[bus / 8] |= (uint8_t)(1u << bus % 8);
    if (walk->ecam) {
        window = mmu_map_device(walk->ecam->address + (uint64_t)bus * ECAM_BUS_BYTES, ECAM_BUS_BYTES);
        if (!window) {
            log_error("pci", "no address space for the registers of bus %u", bus);
            return;
        }
    }
    if (bridge)
        bridge->secondary = window;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        struct pci_device probe = {
            .bridge = bridge, .segment = walk->segment, .bus = bus, .slot = (uint8_t)slot};
        walk_slot(walk, probe, window);
    }
}

static void walk_segment(const struct acpi_ecam *ecam)
{
    struct walk walk = {
        .ecam = ecam, .segment = ecam ? ecam->segment : 0, .bus_last = ecam ? ecam->bus_last : 255};
    walk_bus(&walk, ecam ? ecam->bus_first : 0, NULL);
}

/* Without ECAM: is there a host bridge behind the ports at all? */
static bool has_port_access(void)
{
    const struct pci_device host_bridge = {.bus = 0};
    return pci_config_read16(&host_bridge, PCI_VENDOR_ID) != 0xffff;
}

static const struct pci_driver *find_driver(const struct pci_device *device)
{
    linker_set_foreach (pci_drivers, const struct pci_driver, driver) {
        if (device->vendor_id == driver->vendor_id && device->device_id >= driver->device_id_first &&
            device->device_id <= driver->device_id_last)
            return driver;
    }
    return NULL;
}

/* Its BARs are sized and have addresses. */
static void bind_driver(struct pci_device *device)
{
    const struct pci_driver *driver = find_driver(device);
    if (!driver)
        return;
    log_info("pci", "%s: %04x:%04x class %02x%02x, driver %s", device->name, device->vendor_id,
             device->device_id, device->class_code, device->subclass, driver->name);
    if (driver->probe(device) == 0)
        device->driver = driver;
}

static void bind_drivers(void)
{
    list_foreach (node, &devices) {
        struct pci_device *device = list_entry(node, struct pci_device, node);
        if (!find_driver(device))
            continue;
        pci_size_bars(device);
        bind_driver(device);
    }
}

void pci_init(void)
{
    assert(list_is_empty(&devices));
    for (uint32_t i = 0; i < acpi_info.ecam_count; i++)
        walk_segment(&acpi_info.ecams[i]);
    /* Also where the MCFG's window leads nowhere. */
    bool is_by_port = list_is_empty(&devices) && has_port_access();
    if (is_by_port)
        walk_segment(NULL);
    uint32_t count = 0;
    list_foreach (node, &devices)
        count++;
    if (count == 0)
        log_info("pci", "none");
    else
        log_info("pci", "%u functions, by %s", count, is_by_port ? "ports" : "ECAM");
    bind_drivers();
    pci_hotplug_init();
}

/* ---- Behind a slot ------------------------------------------------------------------------------------- */

/* A function there uses the line of the port's own pin, which is routed, if it has the same pin: the slot
 * number is 0, so the port turns none into another (PCI-to-PCI bridge 1.2, 9.1). */
static void inherit_line(struct pci_device *device)
{
    const struct pci_device *bridge = device->bridge;
    if (pci_config_read8(device, PCI_INTERRUPT_PIN) == pci_config_read8(bridge, PCI_INTERRUPT_PIN))
        pci_config_write8(device, PCI_INTERRUPT_LINE, pci_config_read8(bridge, PCI_INTERRUPT_LINE));
}

static void start_device(struct pci_device *device, struct pci_windows *windows)
{
    pci_size_bars(device);
    if (pci_assign_bars(device, windows) != 0)
        return;
    inherit_line(device);
    bind_driver(device);
}

uint32_t pci_add_behind(struct pci_device *bridge)
{
    uint32_t count = 0;
    struct pci_windows windows;
    struct walk walk = {.segment = bridge->segment};
    struct pci_device probe = {
        .bridge = bridge, .segment = bridge->segment, .bus = pci_config_read8(bridge, PCI_SECONDARY_BUS)};
    walk_slot(&walk, probe, bridge->secondary); /* a link leads to one slot */
    pci_read_windows(bridge, &windows);
    list_foreach (node, &devices) {
        struct pci_device *device = list_entry(node, struct pci_device, node);
        if (device->bridge != bridge)
            continue;
        count++;
        start_device(device, &windows);
    }
    return count;
}

bool pci_can_remove_behind(const struct pci_device *bridge)
{
    list_foreach (node, &devices) {
        const struct pci_device *device = list_entry(node, struct pci_device, node);
        if (device->bridge != bridge)
            continue;
        if ((device->driver && (!device->driver->remove || device->is_fixed)) ||
            !pci_can_remove_behind(device))
            return false;
    }
    return true;
}

static void remove_device(struct pci_device *device)
{
    pci_remove_behind(device);
    if (device->driver)
        device->driver->remove(device);
    log_info("pci", "%s: removed", device->name);
    mutex_lock(&pci_mutex);
    list_remove(&device->node);
    mutex_unlock(&pci_mutex);
    heap_free(device);
}

void pci_remove_behind(struct pci_device *bridge)
{
    assert(pci_can_remove_behind(bridge));
    for (;;) {
        struct pci_device *found = NULL;
        list_foreach (node, &devices) {
            struct pci_device *device = list_entry(node, struct pci_device, node);
            if (device->bridge == bridge)
                found = device;
        }
        if (!found)
            return;
        remove_device(found);
    }
}

bool pci_is_present(void)
{
    return !list_is_empty(&devices);
}

struct pci_device *pci_device_at(uint32_t index)
{
    assert(mutex_is_held(&pci_mutex));
    list_foreach (node, &devices) {
        if (index-- == 0)
            return list_entry(node, struct pci_device, node);
    }
    return NULL;
}

volatile void *pci_map_bar(const struct pci_device *device, uint32_t bar, uint64_t offset, size_t bytes)
{
    if (!pci_bar_contains(device, bar, offset, bytes)) {
        log_error("pci", "%s: BAR %u has no range 0x%llx + 0x%zx", device->name, bar,
                  (unsigned long long)offset, bytes);
        return NULL;
    }
    return mmu_map_device(device->bars[bar].address + offset, bytes);
}
