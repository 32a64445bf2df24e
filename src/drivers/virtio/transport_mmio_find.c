/* SPDX-License-Identifier: MIT */
/* Where the mmio devices are, which no bus tells: on the command line, as Linux takes it and as QEMU's
 * microvm appends it without ACPI,
 *
 *     virtio_mmio.device=512@0xfeb00e00:12        bytes @ address : line, once a device
 *
 * or, with none named and no PCI, in the slots of that machine. With ACPI it names them in its DSDT only, in
 * AML, which nothing here reads; but they are always the same. Elsewhere nobody looks: those addresses are a
 * PC's PCI devices. Boot thread, once. */
#include <arch/acpi.h>
#include <arch/ioapic.h>
#include <drivers/pci/pci.h>
#include <kernel/base/bits.h>
#include <kernel/base/error.h>
#include <kernel/cmdline.h>
#include <kernel/log.h>
#include <kernel/string.h>

#include "transport_mmio_internal.h"

CMDLINE_KEY(virtio_mmio_device, "virtio_mmio.device", "BYTES@ADDRESS:GSI",
            "an mmio device; given once for each");

#define BYTES_MAX     MIB(1)
#define GSI_MAX       1023u
#define SLOTS_ADDRESS 0xfeb00000u
#define SLOT_BYTES    0x200u

/* ---- Named -------------------------------------------------------------------------------------------- */

/* Cuts `text` at the first `mark`; the rest, or NULL. */
static char *cut(char *text, char mark)
{
    char *at = strchr(text, mark);
    if (!at)
        return NULL;
    *at = '\0';
    return at + 1;
}

int virtio_mmio_parse(const char *text, struct virtio_mmio_slot *slot)
{
    char copy[64];
    uint64_t bytes, address, gsi;
    if (string_copy(copy, text, sizeof(copy)) >= sizeof(copy))
        return -EINVAL;
    char *address_text = cut(copy, '@');
    char *gsi_text = address_text ? cut(address_text, ':') : NULL;
    if (!gsi_text)
        return -EINVAL;
    cut(gsi_text, ':');
    if (string_to_size(copy, &bytes) != 0 || string_to_u64(address_text, &address) != 0 ||
        string_to_u64(gsi_text, &gsi) != 0)
        return -EINVAL;
    if (bytes < VIRTIO_MMIO_CONFIG || bytes > BYTES_MAX || gsi > GSI_MAX || !is_aligned(address, 4))
        return -EINVAL;
    *slot = (struct virtio_mmio_slot){address, (uint32_t)bytes, (uint32_t)gsi};
    return 0;
}

/* The device is nobody's yet: no key before the `index`th names its address. */
static bool is_first(uint32_t index, phys_addr_t address)
{
    struct virtio_mmio_slot other;
    for (uint32_t i = 0; i < index; i++) {
        if (virtio_mmio_parse(cmdline_value("virtio_mmio.device", i), &other) == 0 &&
            other.address == address)
            return false;
    }
    return true;
}

/* How many there are, good or not. */
static uint32_t add_named(void)
{
    struct virtio_mmio_slot slot;
    const char *text;
    uint32_t index = 0;
    for (; (text = cmdline_value("virtio_mmio.device", index)) != NULL; index++) {
        if (virtio_mmio_parse(text, &slot) != 0)
            log_warning("cmdline", "virtio_mmio.device='%s' is not BYTES@ADDRESS:GSI: ignored", text);
        else if (!is_first(index, slot.address))
            log_warning("cmdline", "virtio_mmio.device='%s' is there twice: ignored", text);
        else
            (void)!virtio_mmio_add(&slot, false); /* it has said why not */
    }
    return index;
}

/* ---- Slots of the microvm ----------------------------------------------------------------------------- */

/* Behind its second I/O APIC where it has one; otherwise among the lines of the first. */
static void add_slots(void)
{
    bool has_second = ioapic_gsi_count() > 24, has_acpi = acpi_info.cpu_count > 0;
    uint32_t gsi_first = has_second ? 24 : has_acpi ? 16 : 5;
    /* QEMU fills them from the last one on. */
    for (uint32_t i = has_second ? 24 : 8; i-- > 0;) {
        struct virtio_mmio_slot slot = {SLOTS_ADDRESS + i * SLOT_BYTES, SLOT_BYTES, gsi_first + i};
        if (virtio_mmio_add(&slot, true) == -ENXIO)
            return; /* it is no such machine */
    }
}

void virtio_mmio_init(void)
{
    if (add_named() == 0 && !pci_is_present())
        add_slots();
}
