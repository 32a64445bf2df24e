/* SPDX-License-Identifier: MIT */
/* Virtio over PCI (virtio 1.2, 4.1). */
#ifndef DRIVERS_VIRTIO_TRANSPORT_PCI_SPEC_H
#define DRIVERS_VIRTIO_TRANSPORT_PCI_SPEC_H

#include <kernel/base/types.h>

/* 4.1.2: transitional devices have ids of their own, modern ones 0x1040 + type. */
#define VIRTIO_PCI_VENDOR         0x1af4u
#define VIRTIO_PCI_DEVICE_FIRST   0x1000u
#define VIRTIO_PCI_DEVICE_MODERN  0x1040u
#define VIRTIO_PCI_DEVICE_LAST    0x107fu
#define VIRTIO_PCI_DEVICE_NETWORK 0x1000u
#define VIRTIO_PCI_DEVICE_BLOCK   0x1001u
#define VIRTIO_PCI_DEVICE_CONSOLE 0x1003u
#define VIRTIO_PCI_DEVICE_ENTROPY 0x1005u

/* struct virtio_pci_cap (4.1.4). */
#define VIRTIO_PCI_CAP_LENGTH      2u /* cap_len */
#define VIRTIO_PCI_CAP_TYPE        3u /* cfg_type */
#define VIRTIO_PCI_CAP_BAR         4u
#define VIRTIO_PCI_CAP_OFFSET      8u
#define VIRTIO_PCI_CAP_BYTES       12u /* length */
#define VIRTIO_PCI_CAP_SIZE        16u
#define VIRTIO_PCI_CAP_MULTIPLIER  16u /* notify_off_multiplier, in a notification capability */
#define VIRTIO_PCI_CAP_NOTIFY_SIZE 20u

enum virtio_pci_cap_type {
    VIRTIO_PCI_CAP_COMMON_CFG = 1,
    VIRTIO_PCI_CAP_NOTIFY_CFG = 2,
    VIRTIO_PCI_CAP_ISR_CFG = 3,
    VIRTIO_PCI_CAP_DEVICE_CFG = 4,
};

#define VIRTIO_PCI_ISR_QUEUE  1u
#define VIRTIO_PCI_ISR_CONFIG 2u

#define VIRTIO_MSI_NO_VECTOR 0xffffu

/* 4.1.4.3. Only its offsets are used: registers are reached through mmio_*. */
struct virtio_pci_common_cfg {
    uint32_t device_feature_select, device_feature, driver_feature_select, driver_feature;
    uint16_t config_msix_vector, num_queues;
    uint8_t device_status, config_generation;
    uint16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
    uint64_t queue_desc, queue_driver, queue_device;
    uint16_t queue_notify_data, queue_reset;
};
_Static_assert(offsetof(struct virtio_pci_common_cfg, device_status) == 0x14, "4.1.4.3");
_Static_assert(offsetof(struct virtio_pci_common_cfg, queue_select) == 0x16, "4.1.4.3");
_Static_assert(offsetof(struct virtio_pci_common_cfg, queue_notify_off) == 0x1e, "4.1.4.3");
_Static_assert(offsetof(struct virtio_pci_common_cfg, queue_desc) == 0x20, "4.1.4.3");
_Static_assert(offsetof(struct virtio_pci_common_cfg, queue_notify_data) == 0x38, "4.1.4.3");

/* 4.1.4.8. Only its offsets are used: the registers are ports. */
struct virtio_pci_legacy {
    uint32_t device_features, driver_features, queue_address;
    uint16_t queue_size, queue_select, queue_notify;
    uint8_t device_status, isr_status;
    /* Only while MSI-X is on. Otherwise the configuration is here already. */
    uint16_t config_msix_vector, queue_msix_vector;
};
_Static_assert(offsetof(struct virtio_pci_legacy, queue_size) == 12, "4.1.4.8");
_Static_assert(offsetof(struct virtio_pci_legacy, isr_status) == 19, "4.1.4.8");
_Static_assert(offsetof(struct virtio_pci_legacy, config_msix_vector) == 20, "4.1.4.8");
_Static_assert(sizeof(struct virtio_pci_legacy) == 24, "4.1.4.8");

/* What every modern device has: up to queue_device. */
#define VIRTIO_PCI_COMMON_BYTES offsetof(struct virtio_pci_common_cfg, queue_notify_data)

#endif
