/* SPDX-License-Identifier: MIT */
/* Configuration space as PCI Local Bus 3.0, chapter 6, and PCI Express 5.0, 7.5 define it. */
#ifndef DRIVERS_PCI_PCI_SPEC_H
#define DRIVERS_PCI_PCI_SPEC_H

enum pci_register {
    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION = 0x08,
    PCI_INTERFACE = 0x09,
    PCI_SUBCLASS = 0x0a,
    PCI_CLASS = 0x0b,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_SECONDARY_BUS = 0x19,   /* header type 1 */
    PCI_SUBORDINATE_BUS = 0x1a, /* header type 1 */
    PCI_SUBSYSTEM_VENDOR_ID = 0x2c,
    PCI_SUBSYSTEM_ID = 0x2e,
    PCI_MEMORY_BASE = 0x20, /* header type 1, as those below */
    PCI_MEMORY_LIMIT = 0x22,
    PCI_PREFETCHABLE_BASE = 0x24,
    PCI_PREFETCHABLE_LIMIT = 0x26,
    PCI_PREFETCHABLE_BASE_UPPER = 0x28,
    PCI_PREFETCHABLE_LIMIT_UPPER = 0x2c,
    PCI_CAPABILITIES = 0x34,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,
};

enum pci_command {
    PCI_COMMAND_IO = 0x001,
    PCI_COMMAND_MEMORY = 0x002,
    PCI_COMMAND_BUS_MASTER = 0x004,
    PCI_COMMAND_INTX_DISABLE = 0x400,
};

#define PCI_STATUS_CAPABILITIES   0x10u
#define PCI_HEADER_MULTI_FUNCTION 0x80u
#define PCI_CLASS_BRIDGE          0x06u

#define PCI_BAR_IO          0x1u
#define PCI_BAR_TYPE_MASK   0x6u
#define PCI_BAR_TYPE_64     0x4u
#define PCI_BAR_PREFETCH    0x8u
#define PCI_BAR_IO_MASK     0xfffffffcu
#define PCI_BAR_MEMORY_MASK 0xfffffff0u

enum pci_capability {
    PCI_CAP_MSI = 0x05,
    PCI_CAP_VENDOR = 0x09,
    PCI_CAP_EXPRESS = 0x10,
    PCI_CAP_MSIX = 0x11,
};

#define PCI_PREFETCHABLE_TYPE 0xfu
#define PCI_PREFETCHABLE_64   0x1u

/* PCI Express: offsets from the capability (PCI Express 5.0, 7.5.3). */
#define PCI_EXPRESS_FLAGS         0x02u
#define PCI_EXPRESS_LINK_CAP      0x0cu
#define PCI_EXPRESS_LINK_STATUS   0x12u
#define PCI_EXPRESS_SLOT_CAP      0x14u
#define PCI_EXPRESS_SLOT_CONTROL  0x18u
#define PCI_EXPRESS_SLOT_STATUS   0x1au
#define PCI_EXPRESS_FLAGS_SLOT    0x0100u
#define PCI_EXPRESS_FLAGS_MESSAGE 0x3e00u     /* interrupt message number */
#define PCI_LINK_CAP_ACTIVE       0x00100000u /* reports when the link is active */
#define PCI_LINK_STATUS_ACTIVE    0x2000u
#define PCI_SLOT_CAP_HOT_PLUG     0x00000040u
#define PCI_SLOT_CAP_NO_COMMANDS  0x00040000u /* a command is completed at once */
#define PCI_SLOT_CAP_NUMBER_SHIFT 19

enum pci_slot_control {
    PCI_SLOT_CONTROL_BUTTON = 0x0001, /* the first five: interrupt when */
    PCI_SLOT_CONTROL_FAULT = 0x0002,
    PCI_SLOT_CONTROL_PRESENCE = 0x0008,
    PCI_SLOT_CONTROL_INTERRUPT = 0x0020,
    PCI_SLOT_CONTROL_LINK = 0x1000,
    PCI_SLOT_CONTROL_INDICATOR = 0x0300, /* power indicator */
    PCI_SLOT_CONTROL_INDICATOR_ON = 0x0100,
    PCI_SLOT_CONTROL_INDICATOR_BLINK = 0x0200,
    PCI_SLOT_CONTROL_INDICATOR_OFF = 0x0300,
    PCI_SLOT_CONTROL_POWER_OFF = 0x0400,
};

enum pci_slot_status {
    PCI_SLOT_STATUS_BUTTON = 0x0001,
    PCI_SLOT_STATUS_FAULT = 0x0002,
    PCI_SLOT_STATUS_PRESENCE = 0x0008,
    PCI_SLOT_STATUS_COMMAND = 0x0010, /* a command is completed */
    PCI_SLOT_STATUS_OCCUPIED = 0x0040,
    PCI_SLOT_STATUS_LINK = 0x0100,
};

/* MSI: offsets from the capability (PCI 3.0, 6.8.1). */
#define PCI_MSI_CONTROL          2u
#define PCI_MSI_ADDRESS_LOW      4u
#define PCI_MSI_ADDRESS_HIGH     8u  /* of 64 bits */
#define PCI_MSI_DATA             8u  /* behind an address of 32 bits */
#define PCI_MSI_DATA_64          12u /* behind one of 64 */
#define PCI_MSI_CONTROL_ENABLE   0x0001u
#define PCI_MSI_CONTROL_MESSAGES 0x0070u /* how many it may use, as a power of two */
#define PCI_MSI_CONTROL_64       0x0080u

/* MSI-X: offsets from the capability (PCI 3.0, 6.8.2). */
#define PCI_MSIX_CONTROL        2u
#define PCI_MSIX_TABLE          4u
#define PCI_MSIX_CONTROL_SIZE   0x07ffu
#define PCI_MSIX_CONTROL_MASK   0x4000u
#define PCI_MSIX_CONTROL_ENABLE 0x8000u
#define PCI_MSIX_BIR_MASK       0x7u
/* A table entry. */
#define PCI_MSIX_ENTRY_BYTES        16u
#define PCI_MSIX_ENTRY_ADDRESS_LOW  0u
#define PCI_MSIX_ENTRY_ADDRESS_HIGH 4u
#define PCI_MSIX_ENTRY_DATA         8u
#define PCI_MSIX_ENTRY_CONTROL      12u
#define PCI_MSIX_ENTRY_MASKED       1u

#endif
