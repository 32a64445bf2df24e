/* SPDX-License-Identifier: MIT */
/* virtio.c's other half: virtio_features.c. */
#ifndef VIRTIO_INTERNAL_H
#define VIRTIO_INTERNAL_H

#include <drivers/virtio/virtio.h>

/* All bits to accept where they are offered: the core's and the driver's. */
uint64_t virtio_features_wanted(const struct virtio_device *device);

#endif
