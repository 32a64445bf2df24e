/* SPDX-License-Identifier: MIT */
/* PCI: what firmware set up, found again. Bus numbers and windows are the firmware's, and so are the BARs of
 * what was there at boot; what is plugged in later gets its addresses from its bridge's windows.
 * Configuration space through ECAM where the MCFG table has it, else through ports 0xcf8.
 *
 * pci_init() walks all buses, lists the functions in order of segment, bus, slot and function, and then calls
 * in the same order the probe of each driver (a linker set) that matches. Then slots are watched, and devices
 * behind them come and go (pci_hotplug.c). Devices on a root bus stay for ever.
 *
 * All calls: thread context, but for the configuration accesses: any context. */
#ifndef DRIVERS_PCI_PCI_H
#define DRIVERS_PCI_PCI_H

#include <drivers/pci/pci_spec.h>
#include <kernel/base/linker_set.h>
#include <kernel/base/list.h>
#include <kernel/base/types.h>
#include <kernel/irq.h>
#include <kernel/mutex.h>

#define PCI_BAR_COUNT 6u

struct pci_bar {
    phys_addr_t address; /* or the port */
    uint64_t bytes;      /* 0: none, or the upper half of a 64-bit one */
    bool is_port, is_64bit, is_prefetchable;
};

/* What a bridge lets through, from `next` on still to be given out. */
struct pci_window {
    uint64_t next, end;
};
struct pci_windows {
    struct pci_window memory, prefetchable;
};

struct pci_msix {
    volatile uint8_t *table; /* NULL: not enabled */
    uint16_t count;          /* entries */
    uint8_t capability;      /* offset, 0: none */
};

struct pci_driver;

/* Lock legend: I constant while it is listed; l pci_mutex; d the driver that is bound; b constant while one
 * is bound. */
struct pci_device {
    struct list node;            /* l */
    struct pci_device *bridge;   /* I: NULL on a root bus */
    volatile uint8_t *ecam;      /* I: this function's 4 KiB; NULL: by port */
    volatile uint8_t *secondary; /* I: a bridge's: the registers of the bus behind it; NULL: by port */
    uint16_t segment;            /* I */
    uint8_t bus, slot, function; /* I */
    uint16_t vendor_id, device_id, subsystem_vendor_id, subsystem_id; /* I */
    uint8_t class_code, subclass, interface, revision;                /* I */
    uint8_t header_type;                                              /* I: 0 device, 1 bridge */
    struct pci_bar bars[PCI_BAR_COUNT]; /* b: sized when a driver is about to be bound */
    struct pci_msix msix;               /* d */
    const struct pci_driver *driver;    /* b: NULL without */
    void *driver_data;                  /* d */
    const char *driver_note;            /* d: for lspci: "legacy PCI"; or NULL */
    bool is_fixed;                      /* d: the driver cannot part with it, though it has `remove` */
    char name[16];                      /* I: "00:03.0", with the segment before it where that is not 0 */
};

struct pci_driver {
    const char *name;
    uint16_t vendor_id, device_id_first, device_id_last;
    /* 0: bound. Otherwise the device is left alone; the driver has said why. */
    int (*probe)(struct pci_device *device);
    /* The device goes away, or has gone already. NULL: the driver cannot part with it. */
    void (*remove)(struct pci_device *device);
};
#define PCI_DRIVER(object) linker_set_add(pci_drivers, const struct pci_driver, object)

/* Once, when threads, interrupts and the layers that drivers register with are up. */
void pci_init(void);
/* There is a bus with devices. */
bool pci_is_present(void);
/* While it is held, the list of devices stays as it is. */
extern struct mutex pci_mutex;
/* In order; NULL past the end. pci_mutex held. */
struct pci_device *pci_device_at(uint32_t index);

/* For one thread, the one that watches the slots. Lists the functions behind `bridge`, whose bus was empty,
 * gives them addresses, binds their drivers; how many functions there are. */
uint32_t pci_add_behind(struct pci_device *bridge);
/* True unless a driver cannot part with its device. */
bool pci_can_remove_behind(const struct pci_device *bridge);
/* Takes everything behind `bridge` away from its drivers and forgets it. */
void pci_remove_behind(struct pci_device *bridge);
/* Watches the slots of all bridges that say that cards come and go there. Once, after the walk. */
void pci_hotplug_init(void);

/* Out of configuration space: all ones are read, writes are dropped. Offsets are aligned to the width. */
uint8_t pci_config_read8(const struct pci_device *device, uint32_t offset);
uint16_t pci_config_read16(const struct pci_device *device, uint32_t offset);
uint32_t pci_config_read32(const struct pci_device *device, uint32_t offset);
void pci_config_write8(const struct pci_device *device, uint32_t offset, uint8_t value);
void pci_config_write16(const struct pci_device *device, uint32_t offset, uint16_t value);
void pci_config_write32(const struct pci_device *device, uint32_t offset, uint32_t value);

/* The offsets of all capabilities with `id`, at most `limit`; how many. Loops, offsets into the header and
 * unaligned ones end the walk. */
uint32_t pci_capabilities(const struct pci_device *device, uint8_t id, uint8_t *offsets, uint32_t limit);
/* Finds out address and size of each BAR, with the device's decoding off meanwhile. */
void pci_size_bars(struct pci_device *device);
/* The windows of a bridge, as firmware set them, with nothing given out. */
void pci_read_windows(const struct pci_device *bridge, struct pci_windows *windows);
/* Gives each memory BAR of a device, sized and with decoding off, an address out of the windows. 0; -ENOSPC
 * after one line. */
must_check int pci_assign_bars(struct pci_device *device, struct pci_windows *windows);
/* True when [offset, offset + bytes) lies inside a memory BAR of the device. */
bool pci_bar_contains(const struct pci_device *device, uint32_t bar, uint64_t offset, uint64_t bytes);
/* Maps that range as device registers; NULL when it is not inside the BAR, or without address space. */
must_check volatile void *pci_map_bar(const struct pci_device *device, uint32_t bar, uint64_t offset,
                                      size_t bytes);

/* The first of the ports of port BAR `bar`; false unless there are at least `bytes`. */
bool pci_bar_ports(const struct pci_device *device, uint32_t bar, uint64_t bytes, uint16_t *port);

/* Port decoding on, for a device that is driven through ports. */
void pci_enable_ports(struct pci_device *device);
/* Memory decoding and bus mastering on. */
void pci_enable(struct pci_device *device);
/* The device can no longer reach memory. */
void pci_disable_bus_master(struct pci_device *device);

/* MSI-X on, every entry masked, INTx off. 0 with msix.count entries; -ENODEV (none), -EINVAL (a table that
 * is not inside its BAR, in one log line), -ENOMEM. */
must_check int pci_msix_enable(struct pci_device *device);
/* Points entry `index` at `irq` and unmasks it. Again with another irq: moves it. */
void pci_msix_attach(struct pci_device *device, uint32_t index, const struct irq *irq);
void pci_msix_mask(struct pci_device *device, uint32_t index);
void pci_msix_disable(struct pci_device *device);

/* MSI: the function's one message is `irq`, INTx off. 0, -ENODEV. */
must_check int pci_msi_enable(struct pci_device *device, const struct irq *irq);

/* A handler on the line of the device's interrupt pin; shared, so the handler must ask its device. -ENODEV
 * when firmware routed it nowhere, or irq_attach's errors. */
must_check int pci_intx_attach(struct pci_device *device, irq_handler *handler, void *context,
                               const char *name, struct irq **irq);

#endif
