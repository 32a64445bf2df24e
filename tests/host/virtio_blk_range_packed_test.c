/* SPDX-License-Identifier: MIT */
/* Ranges, lifetime and the cache's mode over a packed ring. */
#include "fake_packed_device.h"

#define RING_FEATURES BIT(VIRTIO_F_RING_PACKED)
#include "virtio_blk_range_test.h"

int main(void)
{
    return test_all();
}
