/* SPDX-License-Identifier: MIT */
/* The scripts of vring_fuzz.h on a split ring. */
#include "fake_device.h"

#define RING_FEATURES    0
#define RING_SIZE(which) (2u << (which))
#include "vring_fuzz.h"

static uint32_t driver_area_bytes(const struct virtqueue *ring)
{
    return (uint32_t)sizeof(struct virtq_avail) + (ring->size + 1u) * 2u;
}

static uint32_t device_area_bytes(const struct virtqueue *ring)
{
    return (uint32_t)(sizeof(struct virtq_used) + ring->size * sizeof(struct virtq_used_elem)) + 2;
}
