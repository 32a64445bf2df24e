/* SPDX-License-Identifier: MIT */
/* Where a modern PCI device has its registers: the vendor capabilities of virtio 1.2, 4.1.4. All of it is the
 * device's word, so it is checked: the capability is long enough, the BAR exists, the range lies inside it.
 * A structure that is announced more than once is taken where it is first announced usably (4.1.4.1); unknown
 * types are passed over. Pure logic over pci_config_*, so the host's tests drive it. */
#include <kernel/base/error.h>
#include <kernel/log.h>

#include "transport_pci_internal.h"

#define CAPABILITIES_MAX 48u
/* What is used of a structure at most: a page for the doorbell of each of VIRTQUEUES_MAX queues. */
#define REGION_BYTES_MAX 65536u

static bool read_region(const struct pci_device *pci, uint32_t capability, uint32_t needed_bytes,
                        struct virtio_pci_region *region)
{
    struct virtio_pci_region found = {
        .bar = pci_config_read8(pci, capability + VIRTIO_PCI_CAP_BAR),
        .offset = pci_config_read32(pci, capability + VIRTIO_PCI_CAP_OFFSET),
        .bytes = pci_config_read32(pci, capability + VIRTIO_PCI_CAP_BYTES),
    };
    if (region->bytes > 0)
        return true; /* the first one counts */
    if (found.bar < PCI_BAR_COUNT && pci->bars[found.bar].is_port)
        return true; /* an alternative that is not used here */
    if (found.bytes < needed_bytes || !pci_bar_contains(pci, found.bar, found.offset, found.bytes)) {
        log_warning("virtio", "%s: capability 0x%x: 0x%x bytes at 0x%x are not inside BAR %u, or too few",
                    pci->name, capability, found.bytes, found.offset, found.bar);
        return false;
    }
    found.bytes = MIN(found.bytes, REGION_BYTES_MAX);
    *region = found;
    return true;
}

static void read_capability(const struct pci_device *pci, uint32_t capability,
                            struct virtio_pci_regions *regions)
{
    uint8_t length = pci_config_read8(pci, capability + VIRTIO_PCI_CAP_LENGTH);
    uint8_t type = pci_config_read8(pci, capability + VIRTIO_PCI_CAP_TYPE);
    uint32_t needed = type == VIRTIO_PCI_CAP_NOTIFY_CFG ? VIRTIO_PCI_CAP_NOTIFY_SIZE : VIRTIO_PCI_CAP_SIZE;
    if (length < needed || capability + needed > 256) {
        log_warning("virtio", "%s: capability 0x%x of type %u is cut short (%u bytes)", pci->name, capability,
                    type, length);
        return;
    }
    switch (type) {
    case VIRTIO_PCI_CAP_COMMON_CFG:
        (void)read_region(pci, capability, VIRTIO_PCI_COMMON_BYTES, &regions->common);
        break;
    case VIRTIO_PCI_CAP_NOTIFY_CFG:
        if (regions->notify.bytes == 0 && read_region(pci, capability, 2, &regions->notify))
            regions->notify_multiplier = pci_config_read32(pci, capability + VIRTIO_PCI_CAP_MULTIPLIER);
        break;
    case VIRTIO_PCI_CAP_ISR_CFG:
        (void)read_region(pci, capability, 1, &regions->isr);
        break;
    case VIRTIO_PCI_CAP_DEVICE_CFG:
        (void)read_region(pci, capability, 1, &regions->config);
        break;
    default:
        break;
    }
}

int virtio_pci_find_regions(const struct pci_device *pci, struct virtio_pci_regions *regions)
{
    uint8_t capabilities[CAPABILITIES_MAX];
    uint32_t count = pci_capabilities(pci, PCI_CAP_VENDOR, capabilities, CAPABILITIES_MAX);
    *regions = (struct virtio_pci_regions){.notify_multiplier = 0};
    for (uint32_t i = 0; i < count; i++)
        read_capability(pci, capabilities[i], regions);
    if (count == 0)
        return -ENODEV;
    if (regions->common.bytes == 0 || regions->notify.bytes == 0 || regions->isr.bytes == 0) {
        log_error("virtio", "%s: no usable %s registers", pci->name,
                  regions->common.bytes == 0   ? "common"
                  : regions->notify.bytes == 0 ? "notification"
                                               : "interrupt status");
        return -EINVAL;
    }
    return 0;
}

bool virtio_pci_doorbell_offset(const struct virtio_pci_regions *regions, uint16_t queue_notify_off,
                                uint32_t bytes, uint32_t *offset)
{
    /* 4.1.4.4. A multiplier of 0 gives all queues one doorbell, told apart by the value written. */
    uint64_t at = (uint64_t)queue_notify_off * regions->notify_multiplier;
    if (at + bytes > regions->notify.bytes || (regions->notify.offset + at) % bytes != 0)
        return false;
    *offset = (uint32_t)at;
    return true;
}
