/* SPDX-License-Identifier: MIT */
/* The mmio transport's files: transport_mmio.c (the ops, modern and legacy), transport_mmio_find.c (where the
 * devices are, which no bus tells). */
#ifndef TRANSPORT_MMIO_INTERNAL_H
#define TRANSPORT_MMIO_INTERNAL_H

#include <drivers/virtio/transport_mmio_spec.h>
#include <drivers/virtio/virtio.h>

/* A place where a device may be, and the line that it would interrupt by. */
struct virtio_mmio_slot {
    phys_addr_t address;
    uint32_t bytes, gsi;
};

/* Hands the slot's device to the core. 0; -ENXIO: no virtio there; -ENODEV: an empty slot; -EINVAL: of an
 * unknown version; or what virtio_device_add says. With one line, but for the first two of a guess. */
must_check int virtio_mmio_add(const struct virtio_mmio_slot *slot, bool is_a_guess);

/* "512@0xfeb00e00:12", and perhaps ":ID", which is passed over. 0 or -EINVAL. */
must_check int virtio_mmio_parse(const char *text, struct virtio_mmio_slot *slot);

#endif
