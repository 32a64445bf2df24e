/* SPDX-License-Identifier: MIT */
/* The scripts of vring_fuzz.h on a packed ring. */
#include "fake_packed_device.h"

#define RING_FEATURES    BIT(VIRTIO_F_RING_PACKED)
#define RING_SIZE(which) (2u + 3u * (which))
#include "vring_fuzz.h"

static uint32_t driver_area_bytes(const struct virtqueue *ring)
{
    (void)ring;
    return (uint32_t)sizeof(struct pvirtq_event_suppress);
}

static uint32_t device_area_bytes(const struct virtqueue *ring)
{
    return driver_area_bytes(ring);
}
